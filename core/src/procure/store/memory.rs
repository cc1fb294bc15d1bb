//! A store that forgets when the process ends.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::ready;

use super::lines::superseded;
use super::{
    Batch, Document, Form, KeptAnswer, LineQuery, LineStore, RecordKind, RecordQuery, Store, StoredEvent,
    StoredLine, StoredRecord,
};
use crate::context::BoxFuture;
use crate::error::Result;
use crate::procure::{Month, Timestamp};

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
    last_edition: u64,
    /// The months that are being written, and those that are seen.
    written: BTreeMap<(RecordKind, Month), (u64, Vec<StoredLine>)>,
    seen: BTreeMap<(RecordKind, Month), Vec<StoredLine>>,
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

    fn line_store(&self) -> Result<&dyn LineStore> {
        Ok(self)
    }
}

impl Kept {
    /// The edition that is being written under this number.
    fn edition(&mut self, edition: u64) -> Result<(RecordKind, Month)> {
        let found = self.written.iter().find(|(_, (number, _))| *number == edition);
        found.map(|(part, _)| *part).ok_or_else(superseded)
    }

    fn add(&mut self, edition: u64, lines: Vec<StoredLine>) -> Result<()> {
        let part = self.edition(edition)?;
        if let Some((_, written)) = self.written.get_mut(&part) {
            written.extend(lines);
        }
        Ok(())
    }

    fn publish(&mut self, edition: u64, batch: Batch) -> Result<bool> {
        let part = self.edition(edition)?;
        if !self.apply(batch) {
            return Ok(false);
        }
        if let Some((_, mut lines)) = self.written.remove(&part) {
            lines.sort_by_key(|line| line.position);
            self.seen.insert(part, lines);
        }
        Ok(true)
    }

    fn lines(&self, query: &LineQuery) -> Vec<(Month, StoredLine)> {
        let is = |wanted: &Option<String>, has: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| has == Some(wanted))
        };
        let wanted = |month: Month, line: &StoredLine| {
            line.position > query.given(month)
                && is(&query.code, Some(&line.code))
                && is(&query.product, line.product.as_deref())
                && is(&query.supplier, line.supplier.as_deref())
        };
        let months = self.seen.iter().filter(|((kind, month), _)| *kind == query.kind && query.wants(*month));
        months
            .flat_map(|((_, month), lines)| lines.iter().map(|line| (*month, line)))
            .filter(|(month, line)| wanted(*month, line))
            .take(query.limit)
            .map(|(month, line)| (month, line.clone()))
            .collect()
    }
}

impl LineStore for MemoryStore {
    fn begin_edition(&self, kind: RecordKind, month: Month) -> BoxFuture<'_, Result<u64>> {
        let mut kept = self.kept();
        kept.last_edition += 1;
        let edition = kept.last_edition;
        kept.written.insert((kind, month), (edition, Vec::new()));
        Box::pin(ready(Ok(edition)))
    }

    fn add_lines(&self, edition: u64, lines: Vec<StoredLine>) -> BoxFuture<'_, Result<()>> {
        Box::pin(ready(self.kept().add(edition, lines)))
    }

    fn publish_edition(&self, edition: u64, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        Box::pin(ready(self.kept().publish(edition, batch)))
    }

    fn lines(&self, query: LineQuery) -> BoxFuture<'_, Result<Vec<(Month, StoredLine)>>> {
        Box::pin(ready(Ok(self.kept().lines(&query))))
    }

    fn months(&self, kind: RecordKind) -> BoxFuture<'_, Result<Vec<(Month, u64)>>> {
        let kept = self.kept();
        let months = kept.seen.iter().filter(|((of, _), _)| *of == kind);
        let months = months.map(|((_, month), lines)| (*month, lines.len() as u64)).collect();
        Box::pin(ready(Ok(months)))
    }
}
