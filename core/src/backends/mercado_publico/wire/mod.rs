//! The bodies of the services' answers.

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

#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// The bytes, [`prepared`](crate::procure::json::walk::prepared).
    pub(crate) bytes: Bytes,
    pub(crate) source: Source,
    pub(crate) as_of: Timestamp,
    /// Whether it is an old answer, used because the service is unavailable.
    pub(crate) stale: bool,
    /// How to read a `Z` in its times.
    pub(crate) mark: ZoneMark,
}

impl Body {
    pub(crate) fn new(bytes: Bytes, source: Source, as_of: Timestamp) -> Self {
        Self { bytes, source, as_of, stale: false, mark: ZoneMark::WallClock }
    }

    pub(crate) fn origin(&self, raw: Raw) -> Origin {
        Origin { stale: self.stale, ..Origin::new(self.source.clone(), self.as_of, raw) }
    }
}
