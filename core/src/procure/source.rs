//! What a source can do.

use serde::Serialize;

use super::record::Source;
use crate::error::Operation;

/// What one source of a procurement backend can do by itself. What it cannot, the backend does by more calls or
/// by filtering; a plan tells how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SourceInfo {
    /// The source.
    pub source: Source,
    /// What it gives.
    #[serde(serialize_with = "names")]
    pub operations: Vec<Operation>,
    /// Whether it needs a ticket.
    pub needs_ticket: bool,
    /// Whether its calls count against the ticket's quota of the day.
    pub counts_quota: bool,
    /// Whether it takes a range of days.
    pub ranges: bool,
    /// Whether it searches by words.
    pub text: bool,
    /// Whether it gives its lists in pages.
    pub pages: bool,
    /// Whether it tells what changed since a moment.
    pub changes: bool,
    /// Whether it names everybody who made an offer.
    pub bidders: bool,
}

impl SourceInfo {
    /// A source that gives these and can do nothing else.
    pub fn new(source: Source, operations: impl Into<Vec<Operation>>) -> Self {
        Self {
            source,
            operations: operations.into(),
            needs_ticket: false,
            counts_quota: false,
            ranges: false,
            text: false,
            pages: false,
            changes: false,
            bidders: false,
        }
    }
}

fn names<S: serde::Serializer>(operations: &[Operation], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(operations.iter().map(|operation| operation.as_str()))
}
