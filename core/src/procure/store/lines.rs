//! Lines of monthly files: millions of small records that come and go by the month.

use bytes::Bytes;

use super::{Batch, RecordKind};
use crate::context::BoxFuture;
use crate::error::Result;
use crate::procure::{Date, Decimal, Money, Month};

/// The columns by which lines are searched; databases have an index of each.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) const SEARCHED: [&str; 3] = ["code", "product", "supplier"];

/// Keeps lines of monthly files: a part of a [`Store`](super::Store), for those that have it.
///
/// A month is written as a new *edition*, in as many calls as it takes, and nobody sees any of it until it is
/// published: then it takes the place of the edition before, all at once.
///
/// Contract:
/// - of a month's editions at most one is seen; a process that is killed at any point changes nothing of that;
/// - the newest edition begun wins: adding to or publishing an older one is `conflict`;
/// - an edition that was never published is forgotten when the next of its month begins.
pub trait LineStore: Send + Sync {
    /// Begins an edition and gives the number by which it is written.
    fn begin_edition(&self, kind: RecordKind, month: Month) -> BoxFuture<'_, Result<u64>>;

    /// Adds lines to an edition.
    fn add_lines(&self, edition: u64, lines: Vec<StoredLine>) -> BoxFuture<'_, Result<()>>;

    /// Shows an edition in the place of the one before, and writes `batch` with it. `false`, and nothing
    /// written, if a document is no longer of the version that was read.
    fn publish_edition(&self, edition: u64, batch: Batch) -> BoxFuture<'_, Result<bool>>;

    /// Lines by month and place in ascending order.
    fn lines(&self, query: LineQuery) -> BoxFuture<'_, Result<Vec<(Month, StoredLine)>>>;

    /// The months of a kind that are there, each with the number of its lines.
    fn months(&self, kind: RecordKind) -> BoxFuture<'_, Result<Vec<(Month, u64)>>>;
}

/// A line of an order, an offer for a line of a tender, or a quote for a product of a quick purchase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredLine {
    /// Its place in the month's files, from 1.
    pub position: u64,
    /// The code of the order, tender or quick purchase.
    pub code: String,
    /// The line's number at the source.
    pub line_id: Option<i64>,
    /// The day of sending or publishing.
    pub day: Option<Date>,
    /// The state of the order, tender or quick purchase.
    pub state: String,
    /// The buyer's code; of quick purchases, its tax number.
    pub buyer: Option<String>,
    /// The supplier's tax number, as the source writes it.
    pub supplier: Option<String>,
    /// The supplier's name.
    pub supplier_name: Option<String>,
    /// The product's code in the classification of the United Nations (UNSPSC).
    pub product: Option<String>,
    /// What it is.
    pub name: String,
    /// What the buyer says of it.
    pub description: Option<String>,
    /// How much of it.
    pub quantity: Option<Decimal>,
    /// In which unit.
    pub unit: Option<String>,
    /// The price of one unit.
    pub unit_price: Option<Money>,
    /// The price of the line.
    pub total: Option<Money>,
    /// Whether the offer or quote was chosen.
    pub chosen: Option<bool>,
    /// The whole row as JSON; empty if it is not kept.
    pub body: Bytes,
}

/// Which lines.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineQuery {
    /// Of what kind of record.
    pub kind: RecordKind,
    /// Only from this month on.
    pub from: Option<Month>,
    /// Only up to this month.
    pub to: Option<Month>,
    /// Only of the record with this code.
    pub code: Option<String>,
    /// Only of this product.
    pub product: Option<String>,
    /// Only of the supplier with this tax number, as the source writes it.
    pub supplier: Option<String>,
    /// Only what comes after this month and place: the last of the page before.
    pub after: Option<(Month, u64)>,
    /// The most lines.
    pub limit: usize,
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
            limit: 1000,
        }
    }

    /// Only of these months, both included.
    pub fn with_months(mut self, from: Month, to: Month) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    /// Only of the record with this code.
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Only of this product.
    pub fn with_product(mut self, product: impl Into<String>) -> Self {
        self.product = Some(product.into());
        self
    }

    /// Only of the supplier with this tax number, as the source writes it.
    pub fn with_supplier(mut self, tax_number: impl Into<String>) -> Self {
        self.supplier = Some(tax_number.into());
        self
    }

    /// The page behind this line.
    pub fn with_after(mut self, month: Month, position: u64) -> Self {
        self.after = Some((month, position));
        self
    }

    /// The most lines.
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// What the searched columns must hold, where that is asked for.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let wanted = [&self.code, &self.product, &self.supplier];
        SEARCHED.into_iter().zip(wanted).filter_map(|(column, wanted)| Some((column, wanted.as_ref()?)))
    }

    /// Whether lines of a month are asked for.
    pub(super) fn wants(&self, month: Month) -> bool {
        let is_after = self.after.is_none_or(|(after, _)| month >= after);
        is_after && self.from.is_none_or(|from| month >= from) && self.to.is_none_or(|to| month <= to)
    }

    /// The last place in a month that was given already.
    pub(super) fn given(&self, month: Month) -> u64 {
        self.after.filter(|(after, _)| *after == month).map_or(0, |(_, position)| position)
    }
}

/// The error of an edition that is not the newest, or was never begun.
pub(super) fn superseded() -> crate::error::Error {
    crate::error::Error::new(
        crate::error::ErrorKind::Conflict,
        "a newer edition of the month has begun meanwhile; this one is given up",
    )
}
