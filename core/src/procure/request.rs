//! What to list, and what to read.

use serde::{Deserialize, Serialize};

use super::date::Date;
use super::money::Money;
use super::store::RecordKind;
use crate::error::{Error, Result};

/// Which records to list. An empty request lists what the source calls current.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ListRequest {
    /// The first day, by the source's own reckoning of a record's day.
    pub from: Option<Date>,
    /// The last day.
    pub to: Option<Date>,
    /// Words that the name or description must hold.
    pub text: Option<String>,
    /// The state, as the source names it.
    pub state: Option<String>,
    /// The buyer's code.
    pub buyer: Option<String>,
    /// The supplier's code or tax number.
    pub supplier: Option<String>,
    /// The region, as the source names it.
    pub region: Option<String>,
    /// Kinds of records, as the letters of their codes: `LE`, `LP`, `SE`. Empty for all.
    pub kinds: Vec<String>,
    /// The least amount. Records in another currency, or without an amount, do not match.
    pub min_amount: Option<Money>,
    /// The greatest amount. Records in another currency, or without an amount, do not match.
    pub max_amount: Option<Money>,
    /// The source, where there are several: `v1`, `ocds`, `ocds_direct` (direct awards), `ocds_framework` (orders
    /// under framework agreements).
    pub source: Option<String>,
    /// Which end comes first.
    pub sorting: Sorting,
    /// Most rows to give.
    pub limit: Option<usize>,
    /// Where an earlier listing ended.
    pub cursor: Option<String>,
}

impl ListRequest {
    /// Whatever is current.
    pub fn new() -> Self {
        Self::default()
    }

    /// One day.
    pub fn on(day: Date) -> Self {
        Self::between(day, day)
    }

    /// Days from `from` to `to`, both included.
    pub fn between(from: Date, to: Date) -> Self {
        Self { from: Some(from), to: Some(to), ..Self::default() }
    }

    /// Keeps records that hold these words.
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Keeps records in this state.
    pub fn with_state(mut self, state: impl Into<String>) -> Self {
        self.state = Some(state.into());
        self
    }

    /// Keeps records of this buyer.
    pub fn with_buyer(mut self, buyer: impl Into<String>) -> Self {
        self.buyer = Some(buyer.into());
        self
    }

    /// Keeps records of this supplier.
    pub fn with_supplier(mut self, supplier: impl Into<String>) -> Self {
        self.supplier = Some(supplier.into());
        self
    }

    /// Keeps records of this region.
    pub fn with_region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Keeps records whose code has these letters.
    pub fn with_kinds<K: Into<String>>(mut self, kinds: impl IntoIterator<Item = K>) -> Self {
        self.kinds = kinds.into_iter().map(Into::into).collect();
        self
    }

    /// Keeps records with an amount in this range, each end in its own currency.
    pub fn with_amount(
        mut self,
        least: impl Into<Option<Money>>,
        greatest: impl Into<Option<Money>>,
    ) -> Self {
        (self.min_amount, self.max_amount) = (least.into(), greatest.into());
        self
    }

    /// Asks one of several sources.
    pub fn with_source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Which end comes first.
    pub fn with_sorting(mut self, sorting: Sorting) -> Self {
        self.sorting = sorting;
        self
    }

    /// Goes on where an earlier listing ended.
    pub fn with_cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// Gives at most so many rows.
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Fails if the range is upside down.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check(&self) -> Result<()> {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => {
                Err(Error::invalid_request(format!("the range ends on {to}, before it begins on {from}")))
            }
            _ => Ok(()),
        }
    }
}

/// Which record to read.
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
    /// The record with this code.
    pub fn new(code: impl Into<String>) -> Self {
        Self { code: code.into(), source: None }
    }

    /// Asks one of several sources.
    pub fn with_source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Fails if there is no code.
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

/// Which listing to tell the cost of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PlanRequest {
    /// What is listed.
    pub kind: RecordKind,
    /// The listing.
    pub list: ListRequest,
}

impl PlanRequest {
    /// A listing of records of a kind.
    pub fn new(kind: RecordKind, list: ListRequest) -> Self {
        Self { kind, list }
    }
}

/// Which end of a listing comes first.
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
