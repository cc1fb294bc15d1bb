//! Changes of records, as a sync reports them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::store::RecordKind;
use super::time::Timestamp;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It is new and open for offers.
    Opened,
    /// Its closing time changed, or it was suspended or resumed.
    Amended,
    /// It is closed for offers.
    Closed,
    /// It was decided; an order was accepted or received.
    Awarded,
    /// It was cancelled, or nobody won.
    Cancelled,
}

names! {
    Change {
        Opened = "opened", Amended = "amended", Closed = "closed", Awarded = "awarded", Cancelled = "cancelled"
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A change of a record. A store keeps one event for each revision of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChangeEvent {
    /// The kind of record.
    pub kind: RecordKind,
    /// Its code.
    pub code: String,
    /// What happened to it.
    pub change: Change,
    /// The new state and closing time.
    pub fingerprint: String,
    /// When the sync noticed it, to the millisecond, as stores keep it.
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
        let noticed = Timestamp::of_unix_millis(noticed.unix_millis());
        Self { kind, code: code.into(), change, fingerprint: fingerprint.into(), noticed }
    }
}
