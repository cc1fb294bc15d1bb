//! Requests for records.

use serde::{Deserialize, Serialize};

use super::date::Date;
use super::money::Money;
use super::store::RecordKind;
use crate::error::{Error, Result};

/// A request for a list of records. An empty request lists what the source considers current.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ListRequest {
    /// The first day. The source decides which day a record belongs to.
    pub from: Option<Date>,
    /// The last day.
    pub to: Option<Date>,
    /// Words that the name or description must contain, whole: case, accents and number do not matter. Lists without
    /// descriptions are searched by name.
    pub text: Option<String>,
    /// The state: a name of the source, whatever its case and accents, or a number.
    pub state: Option<String>,
    /// The buyer's code.
    pub buyer: Option<String>,
    /// The supplier's code or tax number.
    pub supplier: Option<String>,
    /// The region: its name, number or Roman number.
    pub region: Option<String>,
    /// Kinds of records, by the letters in their codes: `LE`, `LP`, `SE`. Empty for all.
    pub kinds: Vec<String>,
    /// The lowest amount. Records in another currency, or without an amount, do not match.
    pub min_amount: Option<Money>,
    /// The highest amount. Records in another currency, or without an amount, do not match.
    pub max_amount: Option<Money>,
    /// The source, if there are several: `v1`, `ocds`, `ocds_direct` (direct awards), `ocds_framework` (orders
    /// under framework agreements).
    pub source: Option<String>,
    /// The order.
    pub sorting: Sorting,
    /// The most rows to return.
    pub limit: Option<usize>,
    /// The most calls to make. When they are made, the listing ends with what it found and a cursor.
    pub max_calls: Option<u32>,
    /// The cursor of an earlier listing.
    pub cursor: Option<String>,
}

impl ListRequest {
    /// A request for current records.
    pub fn new() -> Self {
        Self::default()
    }

    /// A request for the records of one day.
    pub fn on(day: Date) -> Self {
        Self::between(day, day)
    }

    /// A request for the records of the days from `from` to `to`, both included.
    pub fn between(from: Date, to: Date) -> Self {
        Self { from: Some(from), to: Some(to), ..Self::default() }
    }

    setters! {
        /// Selects records that contain these words.
        with_text: text = some into String;
        /// Selects records in this state.
        with_state: state = some into String;
        /// Selects records of this buyer.
        with_buyer: buyer = some into String;
        /// Selects records of this supplier.
        with_supplier: supplier = some into String;
        /// Selects records of this region.
        with_region: region = some into String;
    }

    /// Selects records whose code has these letters.
    pub fn with_kinds<K: Into<String>>(mut self, kinds: impl IntoIterator<Item = K>) -> Self {
        self.kinds = kinds.into_iter().map(Into::into).collect();
        self
    }

    /// Selects records with an amount in this range, each end with its own currency.
    pub fn with_amount(
        mut self,
        least: impl Into<Option<Money>>,
        greatest: impl Into<Option<Money>>,
    ) -> Self {
        (self.min_amount, self.max_amount) = (least.into(), greatest.into());
        self
    }

    setters! {
        /// Selects one of several sources.
        with_source: source = some into String;
        /// Sets the order.
        with_sorting: sorting = Sorting;
        /// Goes on from the cursor of an earlier listing.
        with_cursor: cursor = some into String;
        /// Sets the most rows to return.
        with_limit: limit = some usize;
        /// Sets the most calls to make.
        with_max_calls: max_calls = some u32;
    }

    /// Checks that the range does not end before it starts, and that the limits allow something.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check(&self) -> Result<()> {
        if self.limit == Some(0) || self.max_calls == Some(0) {
            return Err(Error::invalid_request("`limit` and `max_calls` must be at least 1"));
        }
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => {
                Err(Error::invalid_request(format!("the range ends on {to}, before it starts on {from}")))
            }
            _ => Ok(()),
        }
    }
}

/// A request for one record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GetRequest {
    /// The record's code: `1509-5-L114`.
    pub code: String,
    /// The source, where there are several: `v1`, `ocds`.
    pub source: Option<String>,
}

impl GetRequest {
    /// A request for the record with this code.
    pub fn new(code: impl Into<String>) -> Self {
        Self { code: code.into(), source: None }
    }

    setters! {
        /// Selects one of several sources.
        with_source: source = some into String;
    }

    /// Checks that there is a code.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check(&self) -> Result<()> {
        if self.code.trim().is_empty() {
            return Err(Error::invalid_request("the record's code is empty"));
        }
        Ok(())
    }
}

/// A request for the plan of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PlanRequest {
    /// The kind of record to list.
    pub kind: RecordKind,
    /// The listing.
    pub list: ListRequest,
}

impl PlanRequest {
    /// A request for the plan of a listing of records of a kind.
    pub fn new(kind: RecordKind, list: ListRequest) -> Self {
        Self { kind, list }
    }
}

/// The order of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sorting {
    /// The newest record first.
    #[default]
    NewestFirst,
    /// The oldest record first.
    OldestFirst,
}
