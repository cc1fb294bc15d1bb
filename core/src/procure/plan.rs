//! The cost of a request, and how complete an answer is.

use serde::{Deserialize, Serialize};

use super::date::Date;

/// The cost of a request, known before anything is sent. It never takes more calls than this, apart from retries.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Plan {
    /// The most calls that the request makes, without retries.
    pub calls: u32,
    /// Whether it makes exactly that many. It may make fewer if that depends on details or on the number of pages.
    pub exact: bool,
    /// The ceiling of the request: when it is reached, the listing ends with a cursor.
    pub max_calls: u32,
    /// The calls of the whole list over all its cursors; `None` if that depends on details or on the number of pages.
    pub total_calls: Option<u32>,
    /// The number of these that count against the ticket's daily quota.
    pub quota_calls: u32,
    /// The calls left in the daily quota.
    pub quota_left: u32,
    /// The request's share of the whole daily quota, in per cent.
    pub quota_percent: f64,
    /// The shortest time that it takes, because of the gap between calls.
    pub least_seconds: f64,
    /// The days of the request, in its order.
    pub days_asked: Vec<Date>,
    /// The days that are already in the store.
    pub days_known: Vec<Date>,
    /// Whether it is large enough that the source asks to run it at night, between 22:00 and 07:00 in Chile.
    pub better_at_night: bool,
}

/// The calls that a listing made, and its ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CallCount {
    /// The calls that it made, with retries.
    pub made: u32,
    /// The most that it could make. A listing that needs more ends there with a cursor.
    pub max: u32,
}

/// How complete a day of a listing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Completeness {
    /// Complete: the day is over, and all of the source's records are there.
    Complete,
    /// Not complete: the day is not over, the source's own filter may miss some, or the listing ended within it.
    Partial,
    /// The request for the day failed.
    Failed,
}

/// How complete one day of a listing is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DayReport {
    /// The day.
    pub day: Date,
    /// How complete it is.
    pub completeness: Completeness,
    /// The number of the source's rows, before filtering.
    pub rows: usize,
    /// Whether the rows are from the store.
    pub from_store: bool,
    /// Why it failed, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl DayReport {
    /// The report of a day.
    pub fn new(day: Date, completeness: Completeness) -> Self {
        Self { day, completeness, rows: 0, from_store: false, problem: None }
    }
}
