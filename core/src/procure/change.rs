//! What an incremental sync tells.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::store::RecordKind;
use super::time::Timestamp;

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It takes offers, and was not known before.
    Opened,
    /// Its closing time changed, or it was suspended or resumed.
    Amended,
    /// It takes no more offers.
    Closed,
    /// It was decided; an order was accepted or received.
    Awarded,
    /// It was called off, or nobody won.
    Cancelled,
}

impl Change {
    /// `opened`, `amended`, `closed`, `awarded` or `cancelled`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Amended => "amended",
            Self::Closed => "closed",
            Self::Awarded => "awarded",
            Self::Cancelled => "cancelled",
        }
    }

    /// The change spelt `text`, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Opened, Self::Amended, Self::Closed, Self::Awarded, Self::Cancelled]
            .into_iter()
            .find(|change| change.as_str() == text)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One change of one record. The store keeps an event once: two with the same kind, code, change and
/// fingerprint are the same event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChangeEvent {
    /// What kind of record.
    pub kind: RecordKind,
    /// Its code.
    pub code: String,
    /// What happened to it.
    pub change: Change,
    /// What it changed to: state and closing time.
    pub fingerprint: String,
    /// When it was noticed.
    pub noticed: Timestamp,
}

impl ChangeEvent {
    /// A change.
    pub fn new(
        kind: RecordKind,
        code: impl Into<String>,
        change: Change,
        fingerprint: impl Into<String>,
        noticed: Timestamp,
    ) -> Self {
        Self { kind, code: code.into(), change, fingerprint: fingerprint.into(), noticed }
    }
}
