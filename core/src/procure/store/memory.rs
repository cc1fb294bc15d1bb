//! A store that forgets when the process ends.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::ready;

use super::{Batch, Document, Form, KeptAnswer, RecordKind, RecordQuery, Store, StoredEvent, StoredRecord};
use crate::context::BoxFuture;
use crate::error::Result;
use crate::procure::Timestamp;

/// A store in memory. It forgets when the process ends: the quota of the day is then counted from nothing.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    documents: BTreeMap<String, Document>,
    answers: BTreeMap<String, KeptAnswer>,
    records: BTreeMap<(RecordKind, Form, String), StoredRecord>,
    events: Vec<StoredEvent>,
    known_events: BTreeSet<(RecordKind, String, u64)>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn apply(&mut self, batch: Batch) -> bool {
        let version =
            |kept: &Self, name: &str| kept.documents.get(name).map_or(0, |document| document.version);
        if batch.documents.iter().any(|(name, read, _)| version(self, name) != *read) {
            return false;
        }
        for (name, read, body) in batch.documents {
            self.documents.insert(name, Document { version: read + 1, body });
        }
        for record in batch.records {
            self.records.insert((record.kind, record.form, record.code.clone()), record);
        }
        for (event, revision) in batch.events {
            if self.known_events.insert((event.kind, event.code.clone(), revision)) {
                let position = self.events.len() as u64 + 1;
                self.events.push(StoredEvent { position, revision, event });
            }
        }
        true
    }

    fn find(&self, query: &RecordQuery) -> Vec<StoredRecord> {
        let after = (query.kind, query.form, query.after.clone().unwrap_or_default());
        let start = if query.after.is_some() { Bound::Excluded(after) } else { Bound::Included(after) };
        let wanted = |record: &&StoredRecord| {
            query.open.is_none_or(|open| open == record.open)
                && query.from.is_none_or(|from| record.day.is_some_and(|day| day >= from))
                && query.to.is_none_or(|to| record.day.is_some_and(|day| day <= to))
        };
        self.records
            .range((start, Bound::Unbounded))
            .map(|(_, record)| record)
            .take_while(|record| (record.kind, record.form) == (query.kind, query.form))
            .filter(wanted)
            .take(query.limit)
            .cloned()
            .collect()
    }
}

impl Store for MemoryStore {
    fn document<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Document>>> {
        Box::pin(ready(Ok(self.kept().documents.get(name).cloned())))
    }

    fn answer<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KeptAnswer>>> {
        Box::pin(ready(Ok(self.kept().answers.get(key).cloned())))
    }

    fn keep_answer<'a>(&'a self, key: &'a str, answer: KeptAnswer) -> BoxFuture<'a, Result<()>> {
        self.kept().answers.insert(key.to_owned(), answer);
        Box::pin(ready(Ok(())))
    }

    fn forget_answers(&self, before: Timestamp) -> BoxFuture<'_, Result<u64>> {
        let mut kept = self.kept();
        let count = kept.answers.len();
        kept.answers.retain(|_, answer| answer.as_of >= before);
        let forgotten = (count - kept.answers.len()) as u64;
        Box::pin(ready(Ok(forgotten)))
    }

    fn record<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        code: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>>> {
        Box::pin(ready(Ok(self.kept().records.get(&(kind, form, code.to_owned())).cloned())))
    }

    fn records(&self, query: RecordQuery) -> BoxFuture<'_, Result<Vec<StoredRecord>>> {
        Box::pin(ready(Ok(self.kept().find(&query))))
    }

    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        Box::pin(ready(Ok(self.kept().apply(batch))))
    }

    fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>>> {
        let later =
            self.kept().events.iter().filter(|event| event.position > after).take(limit).cloned().collect();
        Box::pin(ready(Ok(later)))
    }
}
