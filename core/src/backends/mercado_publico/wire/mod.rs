//! The sources' bodies.

pub(crate) mod compra_agil;
pub(crate) mod ocds;
pub(crate) mod order;
pub(crate) mod privacy;
pub(crate) mod tender;
pub(crate) mod v1;

#[cfg(test)]
mod samples_tests;

use bytes::Bytes;

use crate::procure::{Origin, Raw, Source, Timestamp, ZoneMark};

/// A body and what its records have in common.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// The bytes, [`prepared`](crate::procure::json::walk::prepared).
    pub(crate) bytes: Bytes,
    /// Where they are from.
    pub(crate) source: Source,
    /// When they were given.
    pub(crate) as_of: Timestamp,
    /// Whether they are older than they should be.
    pub(crate) stale: bool,
    /// How a `Z` is to be read.
    pub(crate) mark: ZoneMark,
}

impl Body {
    pub(crate) fn new(bytes: Bytes, source: Source, as_of: Timestamp) -> Self {
        Self { bytes, source, as_of, stale: false, mark: ZoneMark::WallClock }
    }

    /// Where a record of this body is from.
    pub(crate) fn origin(&self, raw: Raw) -> Origin {
        Origin { stale: self.stale, ..Origin::new(self.source.clone(), self.as_of, raw) }
    }
}
