//! A store that fails is not a service that fails; and a store is asked seldom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::SyncRequest;
use super::testing::{Bench, day};
use crate::context::BoxFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::procure::store::{
    Batch, Form, MemoryStore, RecordKind, RecordQuery, Store, StoredAnswer, StoredDocument, StoredEvent,
    StoredRecord,
};
use crate::procure::{GetRequest, ProcurementClient, Timestamp};

/// Counts how often records are read, and writes unless it is broken.
#[derive(Debug, Default)]
struct Breaking {
    store: MemoryStore,
    is_broken: AtomicBool,
    reads: AtomicUsize,
}

impl Store for Breaking {
    fn document<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<StoredDocument>>> {
        self.store.document(name)
    }

    fn answer<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<StoredAnswer>>> {
        self.store.answer(key)
    }

    fn store_answer<'a>(&'a self, key: &'a str, answer: StoredAnswer) -> BoxFuture<'a, Result<()>> {
        self.store.store_answer(key, answer)
    }

    fn delete_answers(&self, before: Timestamp) -> BoxFuture<'_, Result<u64>> {
        self.store.delete_answers(before)
    }

    fn limit_answers(&self, max_bytes: u64) -> BoxFuture<'_, Result<u64>> {
        self.store.limit_answers(max_bytes)
    }

    fn records_by_code<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        codes: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.store.records_by_code(kind, form, codes)
    }

    fn records(&self, query: RecordQuery) -> BoxFuture<'_, Result<Vec<StoredRecord>>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.store.records(query)
    }

    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        if self.is_broken.load(Ordering::SeqCst) {
            let error = Error::new(ErrorKind::Unavailable, "the store's server is gone");
            return Box::pin(std::future::ready(Err(error)));
        }
        self.store.apply(batch)
    }

    fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>>> {
        self.store.events(after, limit)
    }
}

fn bench() -> (Bench, Arc<Breaking>) {
    let store = Arc::new(Breaking::default());
    let mut bench = Bench::at("2026-10-14T12:00:00");
    bench.store = Arc::<Breaking>::clone(&store);
    bench.chile.details("1-1-LE26", r#""CodigoEstado":8,"Estado":"Adjudicada""#);
    (bench, store)
}

#[tokio::test]
async fn a_store_that_fails_does_not_have_the_service_left_alone() {
    let (bench, store) = bench();
    let (client, cx) = (bench.client(), bench.cx());
    store.is_broken.store(true, Ordering::SeqCst);
    for _ in 0..8 {
        let error = client.tender(&cx, GetRequest::new("1-1-LE26")).await.expect_err("not to be counted");
        assert_eq!(error.message(), "the store's server is gone");
    }
    assert_eq!(bench.chile.calls(), 0, "what cannot be counted is not asked");
    store.is_broken.store(false, Ordering::SeqCst);
    client.tender(&cx, GetRequest::new("1-1-LE26")).await.expect("asked at once");
}

#[tokio::test]
async fn a_service_that_is_down_is_tried_by_a_call_that_reaches_it() {
    let (bench, store) = bench();
    let (client, cx) = (bench.client(), bench.cx());
    let reason = async |why: &str| {
        let error = client.tender(&cx, GetRequest::new("1-1-LE26")).await.expect_err(why);
        error.context().iter().any(|(name, value)| (*name, value.as_str()) == ("reason", "breaker_open"))
    };
    bench.chile.next([(503, "<html>mantenimiento</html>"); 5]);
    while !reason("down").await {}
    assert_eq!(bench.chile.calls(), 5);
    bench.clock.advance(Duration::from_secs(61));
    store.is_broken.store(true, Ordering::SeqCst);
    assert!(!reason("the store").await);
    store.is_broken.store(false, Ordering::SeqCst);
    bench.chile.next([(503, "<html>mantenimiento</html>")]);
    assert!(reason("one tries, and that is not the one that the store kept from it").await);
    assert_eq!(bench.chile.calls(), 6);
}

/// A batch of rows is compared with the store in one query, not in one for each.
#[tokio::test]
async fn a_batch_with_many_rows_reads_the_store_as_often_as_one_with_few() {
    let mut reads = Vec::new();
    for rows in [2, 100] {
        let (bench, store) = bench();
        for number in 0..rows {
            let code: &'static str = Box::leak(format!("1-{number}-LE26").into_boxed_str());
            bench.chile.lists("14102026", code, (5, "2026-10-20T15:00:00"));
        }
        let (client, cx) = (bench.client(), bench.cx());
        let today = SyncRequest::new(RecordKind::Tender, day("2026-10-14"));
        assert_eq!(client.sync(&cx, &today).await.expect("synced").rows, rows);
        reads.push(store.reads.load(Ordering::SeqCst));
    }
    assert!(reads[0] > 0 && reads[0] == reads[1], "{reads:?}");
}
