//! What a request will cost, and how complete an answer is.

use serde::{Deserialize, Serialize};

use super::date::Date;

/// What a request costs, told before anything is sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Plan {
    /// The calls, without repetitions of failed ones.
    pub calls: u32,
    /// Whether it will be exactly so many. It is not where details have to be read, or pages counted, to know.
    pub exact: bool,
    /// Of these, the calls that count against the ticket's quota of the day.
    pub quota_calls: u32,
    /// The calls that the quota of the day still allows.
    pub quota_left: u32,
    /// The share of the day's whole quota that the request takes, in per cent.
    pub quota_percent: f64,
    /// How long it will take at least, by the gap between calls.
    pub least_seconds: f64,
    /// The days that are asked for, in the order of the request.
    pub days_asked: Vec<Date>,
    /// The days that the store already has in full.
    pub days_known: Vec<Date>,
    /// Whether the source would rather have it at night, between 22:00 and 07:00 in Chile.
    pub better_at_night: bool,
}

/// How complete a day of a listing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Completeness {
    /// All that the source had of a day that is over.
    Complete,
    /// Not all: the day is not over, or the source's own filter is known to miss some, or the listing ended within it.
    Partial,
    /// The source could not be asked.
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
    /// How many rows the source gave, before filtering.
    pub rows: usize,
    /// Whether the rows came out of the store.
    pub from_store: bool,
    /// Why it failed, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl DayReport {
    /// A day.
    pub fn new(day: Date, completeness: Completeness) -> Self {
        Self { day, completeness, rows: 0, from_store: false, problem: None }
    }
}
