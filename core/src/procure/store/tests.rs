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
    let wanted = ["1-3-LE26", "9-9-LE26", "1-1-LE26"].map(str::to_owned);
    let found = store.records_by_code(RecordKind::Tender, Form::Row, &wanted).await.expect("read");
    let mut found: Vec<String> = found.into_iter().map(|record| record.code).collect();
    found.sort();
    assert_eq!(found, ["1-1-LE26", "1-3-LE26"]);
    let changed = StoredRecord { revision: 2, ..row("1-1-LE26", "cerrada", false, "2026-10-14") };
    assert!(store.apply(Batch::new().with_record(changed.clone())).await.expect("written"));
    let read = store.record(RecordKind::Tender, Form::Row, "1-1-LE26").await.expect("read");
    assert_eq!(read, Some(changed));
}

async fn records_are_found_by_words(store: &dyn Store) {
    let named = |code: &str, body: &str| StoredRecord {
        body: Bytes::from(body.to_owned()),
        ..row(code, "publicada", true, "2026-10-14")
    };
    let bodies = [
        (
            "3-1-LE26",
            r#"{"Nombre":"Adquisici&oacute;n de AMBULANCIAS 4x4 (100%)","Descripcion":"Para la posta rural"}"#,
        ),
        ("3-2-LE26", r#"{"nombre":"Servicio de alimentación","descripcion":"Luces y útiles"}"#),
        ("3-3-LE26", r#"{"tender":{"title":"Sillas","description":"Mesas de Ñuñoa"}}"#),
    ];
    let records = bodies.iter().map(|(code, body)| named(code, body)).collect();
    assert!(store.apply(Batch { records, ..Batch::new() }).await.expect("written"));
    for (text, expected) in [
        ("ambulancia", &["3-1-LE26"][..]),
        ("ADQUISICION ambulancias", &["3-1-LE26"]),
        ("100%", &["3-1-LE26"]),
        ("posta 4X4", &["3-1-LE26"]),
        ("luz util", &["3-2-LE26"]),
        ("mesa nunoa", &["3-3-LE26"]),
        ("TI", &[]),
        ("ambulancia silla", &[]),
        ("aliment", &[]),
        ("%", &["3-1-LE26", "3-2-LE26", "3-3-LE26"]),
    ] {
        let query = RecordQuery::new(RecordKind::Tender, Form::Row).with_after("3-0").with_text(text);
        let found = store.records(query).await.expect("read");
        assert_eq!(found.iter().map(|record| record.code.as_str()).collect::<Vec<_>>(), expected, "{text}");
    }
    let renamed = named("3-1-LE26", r#"{"Nombre":"Camionetas"}"#);
    assert!(store.apply(Batch::new().with_record(renamed)).await.expect("written"));
    let query = |text: &str| RecordQuery::new(RecordKind::Tender, Form::Row).with_text(text);
    assert!(store.records(query("ambulancia")).await.expect("read").is_empty());
    assert_eq!(store.records(query("camioneta")).await.expect("read").len(), 1);
}

/// Vectors are found by what their codes begin with: those of one space follow each other.
async fn vectors_of_a_space_follow_each_other(store: &dyn Store) {
    let vector =
        |code: &str| StoredRecord { form: Form::Vector, ..row(code, "publicada", true, "2026-10-14") };
    let codes = ["aa/1-1-LE26", "aa/10-2-LE26", "aa/2-1-L126", "ab/1-1-LE26", "a9/1-1-LE26"];
    let batch = Batch { records: codes.iter().map(|code| vector(code)).collect(), ..Batch::new() };
    assert!(store.apply(batch).await.expect("written"));
    let (mut found, mut query) =
        (Vec::new(), RecordQuery::new(RecordKind::Tender, Form::Vector).with_after("aa/").with_limit(2));
    loop {
        let page = store.records(query.clone()).await.expect("read");
        let Some(last) = page.last().map(|record| record.code.clone()) else { break };
        found.extend(page.into_iter().map(|record| record.code));
        query = query.with_after(last);
    }
    found[..3].sort();
    assert_eq!(found, codes[..4]);
    assert!(
        store.records(RecordQuery::new(RecordKind::Tender, Form::Detail)).await.expect("read").is_empty()
    );
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
        |day: &str| StoredAnswer { as_of: moment(&format!("{day}T10:00:00-03:00")), body: Bytes::from("{}") };
    store.store_answer("old", answer("2026-10-01")).await.expect("kept");
    store.store_answer("new", answer("2026-10-10")).await.expect("kept");
    store.store_answer("new", answer("2026-10-11")).await.expect("kept");
    assert_eq!(store.answer("new").await.expect("read"), Some(answer("2026-10-11")));
    assert_eq!(store.limit_answers(1_000).await.expect("bounded"), 0);
    assert_eq!(store.delete_answers(moment("2026-10-05T00:00:00-03:00")).await.expect("forgotten"), 1);
    assert_eq!(store.answer("old").await.expect("read"), None);
    let large = |day: &str| StoredAnswer { body: Bytes::from("0123456789"), ..answer(day) };
    for (key, day) in [("a", "2026-10-12"), ("c", "2026-10-14"), ("b", "2026-10-13")] {
        store.store_answer(key, large(day)).await.expect("kept");
    }
    assert_eq!(store.limit_answers(25).await.expect("bounded"), 2, "the oldest");
    for (key, is_there) in [("new", false), ("a", false), ("b", true), ("c", true)] {
        assert_eq!(store.answer(key).await.expect("read").is_some(), is_there, "{key}");
    }
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

pub(crate) fn line(position: u64, code: &str, product: &str) -> StoredLine {
    let amount = |text: &str| text.parse().expect("a number");
    StoredLine {
        position,
        code: code.to_owned(),
        line_id: Some(7),
        day: Some("2026-06-30".parse().expect("a day")),
        state: "aceptada".to_owned(),
        supplier: Some(format!("{position}-9")),
        product: Some(product.to_owned()),
        name: "Ñandú".to_owned(),
        quantity: Some(amount("1.50")),
        unit_price: Some(crate::procure::Money::new(
            amount("3.9333333333333331"),
            crate::procure::Currency::Clf,
        )),
        chosen: Some(true),
        body: Bytes::from("{\"a\":1}"),
        ..StoredLine::default()
    }
}

pub(crate) async fn a_month_of_lines_is_seen_when_it_is_whole(store: &dyn Store) {
    let lines = store.line_store().expect("lines");
    let month = |text: &str| text.parse::<crate::procure::Month>().expect("a month");
    let (june, july) = (month("2026-06"), month("2026-07"));
    let query = LineQuery::new(RecordKind::PurchaseOrder);
    let all = async |query: LineQuery| -> Vec<(crate::procure::Month, u64)> {
        let found = lines.lines(query).await.expect("read");
        found.into_iter().map(|(month, line)| (month, line.position)).collect()
    };
    let write = async |month, some: Vec<StoredLine>| {
        let edition = lines.begin_edition(RecordKind::PurchaseOrder, month).await.expect("begun");
        lines.add_lines(edition, some).await.expect("added");
        edition
    };
    let first = write(june, vec![line(1, "1-1-SE26", "10"), line(2, "1-1-SE26", "11")]).await;
    lines.add_lines(first, vec![line(3, "1-2-SE26", "10")]).await.expect("added");
    assert!(all(query.clone()).await.is_empty(), "nobody sees what is not whole");
    assert!(
        lines.publish_edition(first, Batch::new().with_document("month", 0, "x")).await.expect("published")
    );
    assert_eq!(&*store.document("month").await.expect("read").expect("there").body, b"x");
    let later = write(july, vec![line(1, "1-3-SE26", "10")]).await;
    assert!(lines.publish_edition(later, Batch::new()).await.expect("published"));
    assert_eq!(all(query.clone()).await, [(june, 1), (june, 2), (june, 3), (july, 1)]);
    assert_eq!(all(query.clone().with_product("10")).await, [(june, 1), (june, 3), (july, 1)]);
    assert_eq!(all(query.clone().with_code("1-1-SE26")).await, [(june, 1), (june, 2)]);
    assert_eq!(all(query.clone().with_supplier("3-9")).await, [(june, 3)]);
    assert_eq!(all(query.clone().with_months(july, july)).await, [(july, 1)]);
    assert_eq!(all(query.clone().with_limit(2)).await, [(june, 1), (june, 2)]);
    assert_eq!(all(query.clone().with_after(june, 2)).await, [(june, 3), (july, 1)]);
    assert!(all(LineQuery::new(RecordKind::Tender)).await.is_empty());
    let kept = lines.lines(query.clone().with_limit(1)).await.expect("read").remove(0).1;
    assert_eq!(kept, line(1, "1-1-SE26", "10"));

    // A month that is written anew takes the place of the old one at once; what is given up leaves nothing.
    let given_up = write(june, vec![line(1, "9-9-SE26", "99")]).await;
    let second = write(june, vec![line(1, "2-1-SE26", "10")]).await;
    for error in [
        lines.add_lines(given_up, vec![line(2, "9-9-SE26", "99")]).await.expect_err("superseded"),
        lines.publish_edition(given_up, Batch::new()).await.expect_err("superseded"),
        lines.add_lines(first, Vec::new()).await.expect_err("published by now"),
        lines.add_lines(4_000_000, Vec::new()).await.expect_err("never begun"),
    ] {
        assert_eq!(error.kind(), crate::ErrorKind::Conflict);
    }
    assert!(
        !lines.publish_edition(second, Batch::new().with_document("month", 0, "y")).await.expect("refused")
    );
    assert_eq!(all(query.clone()).await.len(), 4, "a refused edition is not seen");
    assert!(
        lines.publish_edition(second, Batch::new().with_document("month", 1, "y")).await.expect("published")
    );
    assert_eq!(all(query).await, [(june, 1), (july, 1)]);
    assert_eq!(lines.months(RecordKind::PurchaseOrder).await.expect("read"), [(june, 1), (july, 1)]);
}

pub(crate) async fn every_promise_holds(store: Arc<dyn Store>) {
    documents_are_replaced_only_by_who_read_the_newest(&*store).await;
    a_batch_is_written_as_a_whole_or_not_at_all(&*store).await;
    records_are_found_by_day_state_and_page(&*store).await;
    vectors_of_a_space_follow_each_other(&*store).await;
    records_are_found_by_words(&*store).await;
    events_are_kept_once_and_in_order(&*store).await;
    answers_are_kept_and_forgotten_by_age(&*store).await;
    counting_at_the_same_time_loses_nothing(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_memory_keeps_its_promises() {
    let store = Arc::new(MemoryStore::new());
    a_month_of_lines_is_seen_when_it_is_whole(&*store).await;
    every_promise_holds(store).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_a_file_keeps_its_promises_and_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deeper").join("store.db");
    let store = Arc::new(SqliteStore::open(&path).await.expect("opened"));
    a_month_of_lines_is_seen_when_it_is_whole(&*store).await;
    every_promise_holds(store).await;
    let again = SqliteStore::open(&path).await.expect("opened again");
    assert_eq!(&*again.document("count").await.expect("read").expect("there").body, b"40");
    assert_eq!(again.events(0, 10).await.expect("read").len(), 2);
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_process_that_is_killed_while_it_writes_a_month_leaves_the_old_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let june = "2026-06".parse().expect("a month");
    let query = LineQuery::new(RecordKind::PurchaseOrder);
    {
        let store = SqliteStore::open(&path).await.expect("opened");
        let edition = store.begin_edition(RecordKind::PurchaseOrder, june).await.expect("begun");
        store.add_lines(edition, vec![line(1, "1-1-SE26", "10")]).await.expect("added");
        assert!(store.publish_edition(edition, Batch::new()).await.expect("published"));
        let next = store.begin_edition(RecordKind::PurchaseOrder, june).await.expect("begun");
        store
            .add_lines(next, vec![line(1, "2-2-SE26", "10"), line(2, "2-2-SE26", "10")])
            .await
            .expect("added");
    }
    let store = SqliteStore::open(&path).await.expect("opened again");
    let found = LineStore::lines(&store, query.clone()).await.expect("read");
    assert_eq!(found.iter().map(|(_, line)| line.code.as_str()).collect::<Vec<_>>(), ["1-1-SE26"]);
    let edition = store.begin_edition(RecordKind::PurchaseOrder, june).await.expect("begun");
    assert!(store.publish_edition(edition, Batch::new()).await.expect("published"));
    assert!(LineStore::lines(&store, query).await.expect("read").is_empty());
    // Neither what was given up nor what was replaced takes any room.
    let tables = rusqlite::Connection::open(&path).expect("opened");
    let count: i64 = tables
        .query_row(
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name LIKE 'lines_%'",
            [],
            |row| row.get(0),
        )
        .expect("counted");
    assert_eq!(count, 1);
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

/// SQLite itself refuses one of two that turn the log on in a new file, without waiting.
#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_may_be_opened_by_many_at_once() {
    for _ in 0..200 {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let start = Arc::new(tokio::sync::Barrier::new(4));
        let opened = (0..4).map(|_| {
            let (start, path) = (Arc::clone(&start), path.clone());
            tokio::spawn(async move {
                start.wait().await;
                SqliteStore::open(path).await
            })
        });
        for opened in opened.collect::<Vec<_>>() {
            opened.await.expect("not ended").expect("opened");
        }
    }
}
