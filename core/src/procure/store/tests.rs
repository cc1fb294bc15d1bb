//! What every store must do, run over each of them.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::procure::Change;

fn moment(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}

pub(crate) fn row(code: &str, state: &str, open: bool, day: &str) -> StoredRecord {
    let as_of = moment("2026-10-14T10:00:00-03:00");
    let body = Bytes::from(format!("{{\"c\":\"{code}\"}}"));
    StoredRecord {
        state: state.to_owned(),
        open,
        day: Some(day.parse().expect("a day")),
        closes: Some(moment("2026-10-26T15:30:00-03:00")),
        ..StoredRecord::new(RecordKind::Tender, Form::Row, code, Source::V1, as_of, body)
    }
}

pub(crate) fn event(code: &str, change: Change) -> ChangeEvent {
    ChangeEvent::new(RecordKind::Tender, code, change, "publicada", moment("2026-10-14T10:00:00-03:00"))
}

async fn documents_are_replaced_only_by_who_read_the_newest(store: &dyn Store) {
    assert_eq!(store.document("cursor").await.expect("read"), None);
    let write =
        |version, body: &'static str| store.apply(Batch::new().with_document("cursor", version, body));
    assert!(write(0, "a").await.expect("written"));
    assert!(!write(0, "b").await.expect("refused"));
    assert!(write(1, "c").await.expect("written"));
    let document = store.document("cursor").await.expect("read").expect("there");
    assert_eq!((document.version, &*document.body), (2, &b"c"[..]));
}

async fn a_batch_is_written_as_a_whole_or_not_at_all(store: &dyn Store) {
    let refused = Batch {
        records: vec![row("9-9-LE26", "publicada", true, "2026-10-14")],
        events: vec![(event("9-9-LE26", Change::Opened), 1)],
        documents: vec![
            ("fresh".to_owned(), 0, Bytes::from("x")),
            ("cursor".to_owned(), 77, Bytes::from("y")),
        ],
    };
    assert!(!store.apply(refused).await.expect("refused"));
    assert_eq!(store.record(RecordKind::Tender, Form::Row, "9-9-LE26").await.expect("read"), None);
    assert_eq!(store.document("fresh").await.expect("read"), None);
    assert!(store.events(0, 10).await.expect("read").is_empty());
}

async fn records_are_found_by_day_state_and_page(store: &dyn Store) {
    let rows = [
        row("1-1-LE26", "publicada", true, "2026-10-12"),
        row("1-2-LE26", "cerrada", false, "2026-10-13"),
        row("1-3-LE26", "publicada", true, "2026-10-14"),
    ];
    let batch = Batch { records: rows.to_vec(), ..Batch::new() };
    assert!(store.apply(batch).await.expect("written"));
    let query = RecordQuery::new(RecordKind::Tender, Form::Row);
    let codes = async |query: RecordQuery| -> Vec<String> {
        store.records(query).await.expect("read").into_iter().map(|record| record.code).collect()
    };
    assert_eq!(store.records(query.clone()).await.expect("read"), rows);
    assert_eq!(codes(query.clone().with_open(true)).await, ["1-1-LE26", "1-3-LE26"]);
    let days =
        query.clone().with_days("2026-10-13".parse().expect("day"), "2026-10-14".parse().expect("day"));
    assert_eq!(codes(days).await, ["1-2-LE26", "1-3-LE26"]);
    assert_eq!(codes(query.clone().with_after("1-1-LE26").with_limit(1)).await, ["1-2-LE26"]);
    assert!(codes(RecordQuery::new(RecordKind::Tender, Form::Detail)).await.is_empty());
    let changed = StoredRecord { revision: 2, ..row("1-1-LE26", "cerrada", false, "2026-10-14") };
    assert!(store.apply(Batch::new().with_record(changed.clone())).await.expect("written"));
    let read = store.record(RecordKind::Tender, Form::Row, "1-1-LE26").await.expect("read");
    assert_eq!(read, Some(changed));
}

async fn events_are_kept_once_and_in_order(store: &dyn Store) {
    let events = vec![(event("1-1-LE26", Change::Opened), 1), (event("1-1-LE26", Change::Closed), 2)];
    for _ in 0..2 {
        let batch = Batch { events: events.clone(), ..Batch::new() };
        assert!(store.apply(batch).await.expect("written"));
    }
    let kept = store.events(0, 10).await.expect("read");
    assert_eq!(
        kept.iter().map(|kept| kept.event.change).collect::<Vec<_>>(),
        [Change::Opened, Change::Closed]
    );
    let later = store.events(kept[0].position, 10).await.expect("read");
    assert_eq!(later, kept[1..]);
}

async fn answers_are_kept_and_forgotten_by_age(store: &dyn Store) {
    let answer =
        |day: &str| KeptAnswer { as_of: moment(&format!("{day}T10:00:00-03:00")), body: Bytes::from("{}") };
    store.keep_answer("old", answer("2026-10-01")).await.expect("kept");
    store.keep_answer("new", answer("2026-10-10")).await.expect("kept");
    store.keep_answer("new", answer("2026-10-11")).await.expect("kept");
    assert_eq!(store.answer("new").await.expect("read"), Some(answer("2026-10-11")));
    assert_eq!(store.forget_answers(moment("2026-10-05T00:00:00-03:00")).await.expect("forgotten"), 1);
    assert_eq!(store.answer("old").await.expect("read"), None);
}

async fn counting_at_the_same_time_loses_nothing(store: Arc<dyn Store>) {
    let count = |store: Arc<dyn Store>| async move {
        for _ in 0..10 {
            update_document(&*store, "count", |old| {
                let old: u64 = old.map_or(0, |body| String::from_utf8_lossy(body).parse().expect("a number"));
                Ok((Some((old + 1).to_string().into_bytes()), ()))
            })
            .await
            .expect("counted");
        }
    };
    let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(count(Arc::clone(&store)))).collect();
    for task in tasks {
        task.await.expect("joined");
    }
    assert_eq!(&*store.document("count").await.expect("read").expect("there").body, b"40");
}

pub(crate) async fn every_promise_holds(store: Arc<dyn Store>) {
    documents_are_replaced_only_by_who_read_the_newest(&*store).await;
    a_batch_is_written_as_a_whole_or_not_at_all(&*store).await;
    records_are_found_by_day_state_and_page(&*store).await;
    events_are_kept_once_and_in_order(&*store).await;
    answers_are_kept_and_forgotten_by_age(&*store).await;
    counting_at_the_same_time_loses_nothing(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_memory_keeps_its_promises() {
    every_promise_holds(Arc::new(MemoryStore::new())).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_a_file_keeps_its_promises_and_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deeper").join("store.db");
    every_promise_holds(Arc::new(SqliteStore::open(&path).await.expect("opened"))).await;
    let again = SqliteStore::open(&path).await.expect("opened again");
    assert_eq!(&*again.document("count").await.expect("read").expect("there").body, b"40");
    assert_eq!(again.events(0, 10).await.expect("read").len(), 2);
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_file_of_a_newer_release_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    rusqlite::Connection::open(&path).expect("opened").pragma_update(None, "user_version", 999).expect("set");
    let error = SqliteStore::open(&path).await.expect_err("refused");
    assert!(error.message().contains("newer release"), "{error}");
}
