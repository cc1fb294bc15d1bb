//! A store that says when it has been called so many times.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use ayni::Result;
use ayni::context::BoxFuture;
use ayni::procure::Timestamp;
use ayni::procure::store::{
    Batch, Form, RecordKind, RecordQuery, SqliteStore, Store, StoredAnswer, StoredDocument, StoredEvent,
    StoredRecord,
};

/// What it says.
pub(crate) const HERE: &str = "here";

static CALLS: AtomicU64 = AtomicU64::new(0);

/// The calls of all such stores of this process so far.
pub(crate) fn calls() -> u64 {
    CALLS.load(Ordering::SeqCst)
}

#[derive(Debug)]
pub(crate) struct Marked {
    store: SqliteStore,
    mark: u64,
}

impl Marked {
    /// Says `here` at the call that has this many before it.
    pub(crate) fn new(store: SqliteStore, mark: u64) -> Self {
        Self { store, mark }
    }

    fn inner(&self) -> &SqliteStore {
        if CALLS.fetch_add(1, Ordering::SeqCst) == self.mark {
            println!("{HERE}");
            std::io::stdout().flush().expect("said");
        }
        &self.store
    }
}

impl Store for Marked {
    fn document<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<StoredDocument>>> {
        self.inner().document(name)
    }

    fn answer<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<StoredAnswer>>> {
        self.inner().answer(key)
    }

    fn store_answer<'a>(&'a self, key: &'a str, answer: StoredAnswer) -> BoxFuture<'a, Result<()>> {
        self.inner().store_answer(key, answer)
    }

    fn delete_answers(&self, before: Timestamp) -> BoxFuture<'_, Result<u64>> {
        self.inner().delete_answers(before)
    }

    fn limit_answers(&self, max_bytes: u64) -> BoxFuture<'_, Result<u64>> {
        self.inner().limit_answers(max_bytes)
    }

    fn records_by_code<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        codes: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>>> {
        self.inner().records_by_code(kind, form, codes)
    }

    fn record<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        code: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>>> {
        self.inner().record(kind, form, code)
    }

    fn records(&self, query: RecordQuery) -> BoxFuture<'_, Result<Vec<StoredRecord>>> {
        self.inner().records(query)
    }

    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        self.inner().apply(batch)
    }

    fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>>> {
        self.inner().events(after, limit)
    }
}
