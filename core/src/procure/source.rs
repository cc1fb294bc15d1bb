//! The abilities of a source.

use serde::Serialize;

use super::record::Source;
use crate::error::Operation;

/// What a source of a procurement backend can do by itself. The backend does the rest with more calls or by filtering; a
/// plan says how many calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SourceInfo {
    /// The source.
    pub source: Source,
    /// The operations that it supports.
    #[serde(serialize_with = "names")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub operations: Vec<Operation>,
    /// Whether it needs a ticket.
    pub needs_ticket: bool,
    /// Whether its calls count against the ticket's daily quota.
    pub counts_quota: bool,
    /// Whether it accepts a range of days.
    pub ranges: bool,
    /// Whether it searches by words.
    pub text: bool,
    /// Whether its lists have pages.
    pub pages: bool,
    /// Whether it lists the changes since a given time.
    pub changes: bool,
    /// Whether it names all bidders.
    pub bidders: bool,
}

impl SourceInfo {
    /// A source that supports these operations and nothing else.
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
