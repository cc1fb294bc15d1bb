//! Lines of monthly files: millions of small records that are replaced a month at a time.

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use super::{Batch, RecordKind};
use crate::context::BoxFuture;
use crate::error::Result;
use crate::procure::{Date, Decimal, Money, Month, Raw};

/// The columns by which lines are queried. Databases index each.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) const INDEXED_COLUMNS: [&str; 3] = ["code", "product", "supplier"];

/// Stores lines of monthly files: an optional part of a [`Store`](super::Store).
///
/// A month is written as a new *edition*, in several calls. Readers see none of it until it is published, and then it
/// replaces the previous edition atomically.
///
/// Contract:
/// - at most one edition of a month is visible, also if a process is killed at any point;
/// - the edition that began last wins: adding to or publishing an older one is `conflict`;
/// - an edition that was never published is deleted when the next one of its month begins.
pub trait LineStore: Send + Sync {
    /// Begins an edition and returns its number.
    fn begin_edition(&self, kind: RecordKind, month: Month) -> BoxFuture<'_, Result<u64>>;

    /// Adds lines to an edition.
    fn add_lines(&self, edition: u64, lines: Vec<StoredLine>) -> BoxFuture<'_, Result<()>>;

    /// Publishes an edition in place of the previous one, and writes `batch` with it. Returns `false` and writes nothing if
    /// a document no longer has the version that was read.
    fn publish_edition(&self, edition: u64, batch: Batch) -> BoxFuture<'_, Result<bool>>;

    /// Lines, ordered by month and position.
    fn lines(&self, query: LineQuery) -> BoxFuture<'_, Result<Vec<(Month, StoredLine)>>>;

    /// The published months of a kind, each with its number of lines.
    fn months(&self, kind: RecordKind) -> BoxFuture<'_, Result<Vec<(Month, u64)>>>;
}

/// A published month, and its number of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StoredMonth {
    /// The month.
    pub month: Month,
    /// Its number of lines.
    pub lines: u64,
}

/// A line and its month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MonthLine {
    /// The month.
    pub month: Month,
    /// The line.
    pub line: StoredLine,
}

/// A line of an order, an offer for a line of a tender, or a quote for a product of a quick purchase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StoredLine {
    /// The position in the month's files, from 1.
    pub position: u64,
    /// The code of the order, tender or quick purchase.
    pub code: String,
    /// The source's number of the line.
    pub line_id: Option<i64>,
    /// The day on which it was sent or published.
    pub day: Option<Date>,
    /// The state of the order, tender or quick purchase.
    pub state: String,
    /// The buyer's code; for quick purchases its tax number.
    pub buyer: Option<String>,
    /// The supplier's tax number, as the source writes it.
    pub supplier: Option<String>,
    /// The supplier's name.
    pub supplier_name: Option<String>,
    /// The product's UNSPSC code.
    pub product: Option<String>,
    /// The product or service.
    pub name: String,
    /// The buyer's description.
    pub description: Option<String>,
    /// The quantity.
    pub quantity: Option<Decimal>,
    /// The unit of the quantity.
    pub unit: Option<String>,
    /// The price per unit.
    pub unit_price: Option<Money>,
    /// The price of the line.
    pub total: Option<Money>,
    /// Whether the offer or quote was chosen.
    pub chosen: Option<bool>,
    /// The whole row as JSON; empty if it was not stored.
    #[serde(serialize_with = "as_json")]
    #[cfg_attr(feature = "schema", schemars(with = "Raw"))]
    pub body: Bytes,
}

/// Selects lines.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LineQuery {
    /// The kind of record that the lines belong to.
    pub kind: RecordKind,
    /// The first month.
    pub from: Option<Month>,
    /// The last month.
    pub to: Option<Month>,
    /// Only lines of the record with this code.
    pub code: Option<String>,
    /// Only lines of this product.
    pub product: Option<String>,
    /// Only lines of the supplier with this tax number, as the source writes it.
    pub supplier: Option<String>,
    /// Only lines after this month and position, those of the last line of the previous page.
    pub after: Option<(Month, u64)>,
    /// The page size.
    #[serde(default = "default_limit")]
    pub limit: usize,
}

pub(super) fn default_limit() -> usize {
    1000
}

pub(super) fn as_json<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    Raw::of_parsed(body.clone()).serialize(serializer)
}

impl LineQuery {
    /// The first page of all lines of a kind.
    pub fn new(kind: RecordKind) -> Self {
        Self {
            kind,
            from: None,
            to: None,
            code: None,
            product: None,
            supplier: None,
            after: None,
            limit: default_limit(),
        }
    }

    /// Selects lines of these months, both included.
    pub fn with_months(mut self, from: Month, to: Month) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    setters! {
        /// Selects lines of the record with this code.
        with_code: code = some into String;
        /// Selects lines of this product.
        with_product: product = some into String;
        /// Selects lines of the supplier with this tax number, as the source writes it.
        with_supplier: supplier = some into String;
    }

    /// Selects the page after this line.
    pub fn with_after(mut self, month: Month, position: u64) -> Self {
        self.after = Some((month, position));
        self
    }

    setters! {
        /// Sets the page size.
        with_limit: limit = usize;
    }

    /// The indexed columns that have a condition, each with the value to match.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(super) fn conditions(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let conditions = [&self.code, &self.product, &self.supplier];
        INDEXED_COLUMNS
            .into_iter()
            .zip(conditions)
            .filter_map(|(column, conditions)| Some((column, conditions.as_ref()?)))
    }

    /// Whether the query includes lines of a month.
    pub(super) fn includes(&self, month: Month) -> bool {
        let is_after = self.after.is_none_or(|(after, _)| month >= after);
        is_after && self.from.is_none_or(|from| month >= from) && self.to.is_none_or(|to| month <= to)
    }

    /// The position after which lines of a month are selected.
    pub(super) fn position_after(&self, month: Month) -> u64 {
        self.after.filter(|(after, _)| *after == month).map_or(0, |(_, position)| position)
    }
}

/// The error for an edition that is not the newest or does not exist.
pub(super) fn superseded() -> crate::error::Error {
    crate::error::Error::new(
        crate::error::ErrorKind::Conflict,
        "a newer edition of the month has begun; this one can no longer be written",
    )
}
