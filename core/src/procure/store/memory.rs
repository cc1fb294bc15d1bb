//! A store in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::ready;

use super::lines::superseded;
use super::{
    Batch, Form, LineQuery, LineStore, RecordKind, RecordQuery, Store, StoredAnswer, StoredDocument,
    StoredEvent, StoredLine, StoredRecord,
};
use crate::context::BoxFuture;
use crate::error::Result;
use crate::procure::search_words::{SearchWords, texts_of};
use crate::procure::{Month, Timestamp};

/// A store in memory. It ends with the process, which then starts counting the day's quota from zero.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    documents: BTreeMap<String, StoredDocument>,
    answers: BTreeMap<String, StoredAnswer>,
    records: BTreeMap<(RecordKind, Form, String), StoredRecord>,
    events: Vec<StoredEvent>,
    known_events: BTreeSet<(RecordKind, String, u64)>,
    last_edition: u64,
    /// The editions that are being written, with their numbers, and the published ones.
    pending: BTreeMap<(RecordKind, Month), (u64, Vec<StoredLine>)>,
    published: BTreeMap<(RecordKind, Month), Vec<StoredLine>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn limit_answers(&mut self, max_bytes: u64) -> u64 {
        let mut newest: Vec<(Timestamp, u64, String)> = self
            .answers
            .iter()
            .map(|(key, answer)| (answer.as_of, answer.body.len() as u64, key.clone()))
            .collect();
        newest.sort_unstable_by_key(|(as_of, _, _)| std::cmp::Reverse(*as_of));
        let (mut total, mut deleted) = (0_u64, 0);
        for (_, bytes, key) in newest {
            total = total.saturating_add(bytes);
            if total > max_bytes {
                self.answers.remove(&key);
                deleted += 1;
            }
        }
        deleted
    }

    fn apply(&mut self, batch: Batch) -> bool {
        let version =
            |contents: &Self, name: &str| contents.documents.get(name).map_or(0, |document| document.version);
        if batch.documents.iter().any(|(name, read, _)| version(self, name) != *read) {
            return false;
        }
        for (name, read, body) in batch.documents {
            self.documents.insert(name, StoredDocument { version: read + 1, body });
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
        let words = SearchWords::new(query.text.as_deref().unwrap_or_default());
        let has_words = |record: &StoredRecord| {
            let (name, description) = texts_of(&record.body);
            words.stems().is_empty() || words.are_in(&[&name, &description])
        };
        let wanted = |record: &&StoredRecord| {
            query.open.is_none_or(|open| open == record.open)
                && query.from.is_none_or(|from| record.day.is_some_and(|day| day >= from))
                && query.to.is_none_or(|to| record.day.is_some_and(|day| day <= to))
                && has_words(record)
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
    fn document<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<StoredDocument>>> {
        Box::pin(ready(Ok(self.contents().documents.get(name).cloned())))
    }

    fn answer<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<StoredAnswer>>> {
        Box::pin(ready(Ok(self.contents().answers.get(key).cloned())))
    }

    fn store_answer<'a>(&'a self, key: &'a str, answer: StoredAnswer) -> BoxFuture<'a, Result<()>> {
        self.contents().answers.insert(key.to_owned(), answer);
        Box::pin(ready(Ok(())))
    }

    fn delete_answers(&self, before: Timestamp) -> BoxFuture<'_, Result<u64>> {
        let mut contents = self.contents();
        let count = contents.answers.len();
        contents.answers.retain(|_, answer| answer.as_of >= before);
        let forgotten = (count - contents.answers.len()) as u64;
        Box::pin(ready(Ok(forgotten)))
    }

    fn limit_answers(&self, max_bytes: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(ready(Ok(self.contents().limit_answers(max_bytes))))
    }

    fn records_by_code<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        codes: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>>> {
        let contents = self.contents();
        let found = codes.iter().filter_map(|code| contents.records.get(&(kind, form, code.clone())));
        Box::pin(ready(Ok(found.cloned().collect())))
    }

    fn records(&self, query: RecordQuery) -> BoxFuture<'_, Result<Vec<StoredRecord>>> {
        Box::pin(ready(Ok(self.contents().find(&query))))
    }

    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        Box::pin(ready(Ok(self.contents().apply(batch))))
    }

    fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>>> {
        let later = self
            .contents()
            .events
            .iter()
            .filter(|event| event.position > after)
            .take(limit)
            .cloned()
            .collect();
        Box::pin(ready(Ok(later)))
    }

    fn line_store(&self) -> Result<&dyn LineStore> {
        Ok(self)
    }
}

impl Contents {
    /// The kind and month of the edition that is being written under this number.
    fn edition(&mut self, edition: u64) -> Result<(RecordKind, Month)> {
        let found = self.pending.iter().find(|(_, (number, _))| *number == edition);
        found.map(|(key, _)| *key).ok_or_else(superseded)
    }

    fn add(&mut self, edition: u64, lines: Vec<StoredLine>) -> Result<()> {
        let key = self.edition(edition)?;
        if let Some((_, pending)) = self.pending.get_mut(&key) {
            pending.extend(lines);
        }
        Ok(())
    }

    fn publish(&mut self, edition: u64, batch: Batch) -> Result<bool> {
        let key = self.edition(edition)?;
        if !self.apply(batch) {
            return Ok(false);
        }
        if let Some((_, mut lines)) = self.pending.remove(&key) {
            lines.sort_by_key(|line| line.position);
            self.published.insert(key, lines);
        }
        Ok(true)
    }

    fn lines(&self, query: &LineQuery) -> Vec<(Month, StoredLine)> {
        let is = |wanted: &Option<String>, has: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| has == Some(wanted))
        };
        let wanted = |month: Month, line: &StoredLine| {
            line.position > query.position_after(month)
                && is(&query.code, Some(&line.code))
                && is(&query.product, line.product.as_deref())
                && is(&query.supplier, line.supplier.as_deref())
        };
        let months =
            self.published.iter().filter(|((kind, month), _)| *kind == query.kind && query.includes(*month));
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
        let mut contents = self.contents();
        contents.last_edition += 1;
        let edition = contents.last_edition;
        contents.pending.insert((kind, month), (edition, Vec::new()));
        Box::pin(ready(Ok(edition)))
    }

    fn add_lines(&self, edition: u64, lines: Vec<StoredLine>) -> BoxFuture<'_, Result<()>> {
        Box::pin(ready(self.contents().add(edition, lines)))
    }

    fn publish_edition(&self, edition: u64, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        Box::pin(ready(self.contents().publish(edition, batch)))
    }

    fn lines(&self, query: LineQuery) -> BoxFuture<'_, Result<Vec<(Month, StoredLine)>>> {
        Box::pin(ready(Ok(self.contents().lines(&query))))
    }

    fn months(&self, kind: RecordKind) -> BoxFuture<'_, Result<Vec<(Month, u64)>>> {
        let contents = self.contents();
        let months = contents.published.iter().filter(|((of, _), _)| *of == kind);
        let months = months.map(|((_, month), lines)| (*month, lines.len() as u64)).collect();
        Box::pin(ready(Ok(months)))
    }
}
