//! What a sync could not read. It is set aside, reported and tried again later, so that it is not in the way of the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::procure::Timestamp;
use crate::procure::store::{RecordKind, SharedStore, document_body, read_document, update_document};

/// The wait after the first failure. It doubles with each one.
const FIRST_WAIT: Duration = Duration::from_secs(3600);
const MAX_WAIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A record, or the list of a day, that a sync could not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FailedRead {
    /// The code of the record, or the day.
    pub name: String,
    /// Why, in one sentence.
    pub problem: String,
    /// How often it failed.
    pub attempts: u32,
    /// From when on a sync tries again.
    pub retry_at: Timestamp,
}

#[derive(Debug)]
pub(super) struct SetAside {
    store: SharedStore,
    name: String,
    entries: BTreeMap<String, FailedRead>,
}

impl SetAside {
    pub(super) async fn read(store: SharedStore, kind: RecordKind) -> Result<Self> {
        let name = format!("sync/{}/set-aside", kind.as_str());
        let document = store.document(&name).await?;
        let entries = read_document(SET_ASIDE, document.as_ref().map(|document| &*document.body))?;
        Ok(Self { store, name, entries })
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &FailedRead> {
        self.entries.values()
    }

    pub(super) fn attempts(&self, name: &str) -> u32 {
        self.entries.get(name).map_or(0, |entry| entry.attempts)
    }

    /// Whether it is not to be tried yet.
    pub(super) fn waits(&self, name: &str, now: Timestamp) -> bool {
        // A time far in the future is that of a wrong clock.
        let waits = |entry: &FailedRead| entry.retry_at > now && entry.retry_at <= now.plus(MAX_WAIT);
        self.entries.get(name).is_some_and(waits)
    }

    /// Sets aside what could not be read.
    pub(super) async fn put(&mut self, name: &str, error: &Error, now: Timestamp) -> Result<()> {
        let attempts = self.attempts(name).saturating_add(1);
        let wait = FIRST_WAIT.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(MAX_WAIT);
        let entry = FailedRead {
            name: name.to_owned(),
            problem: error.message().to_owned(),
            attempts,
            retry_at: now.plus(wait),
        };
        self.change(|entries| drop(entries.insert(name.to_owned(), entry.clone()))).await
    }

    /// Forgets those for which `is_done` holds.
    pub(super) async fn remove(&mut self, is_done: impl Fn(&str) -> bool) -> Result<()> {
        if !self.entries.keys().any(|name| is_done(name)) {
            return Ok(());
        }
        self.change(|entries| entries.retain(|name, _| !is_done(name))).await
    }

    async fn change(&mut self, change: impl Fn(&mut BTreeMap<String, FailedRead>)) -> Result<()> {
        self.entries = update_document(&*self.store, &self.name, |body| {
            let mut entries = read_document(SET_ASIDE, body)?;
            change(&mut entries);
            Ok((Some(document_body(&entries)?), entries))
        })
        .await?;
        Ok(())
    }
}

const SET_ASIDE: &str = "what the sync set aside";

/// Whether an error is about what was read, so that the rest can still be read.
pub(super) fn is_about_the_record(error: &Error) -> bool {
    let stops = |(name, value): &(&str, String)| {
        matches!((*name, value.as_str()), ("reason", "breaker_open") | ("phase", "total"))
    };
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::InvalidRequest
            | ErrorKind::ResponseInvalid
            | ErrorKind::Timeout
            | ErrorKind::Unavailable
            | ErrorKind::Interrupted
    ) && !error.context().iter().any(stops)
}
