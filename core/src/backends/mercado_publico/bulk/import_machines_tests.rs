//! A month into a database that machines share: two that import it at once, a server that goes away meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::import_tests::{Files, ImportBench, june, orders};
use super::*;
use crate::context::Progress;
use crate::error::ErrorKind;
use crate::procure::store::{PostgresStore, SharedStore, StoreAddress, administrate, cut_off, database};
use ayni_testkit::bulk::{order_lines, quotes, tender_offers, zip};

async fn opened(address: &StoreAddress) -> SharedStore {
    Arc::new(PostgresStore::open(address.clone()).await.expect("opened"))
}

async fn bench(address: &StoreAddress, file: Vec<u8>) -> ImportBench {
    let mut bench = ImportBench::new(Files::serving(file, "\"a\""));
    bench.store = opened(address).await;
    bench
}

/// Does something in between, from where the import tells of its progress.
fn meanwhile(work: impl Future<Output = ()>) {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work));
}

/// Has the server end all connections to a database and take no more, or take them again.
async fn serves(address: &StoreAddress, serves: bool) {
    let url = address.expose();
    let begin = url.find("/ayni_").expect("a name") + 1;
    let name = &url[begin..url.find('?').expect("parameters")];
    let server = std::env::var("AYNI_POSTGRES_URL").expect("a server");
    administrate(&server, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {serves}")).await;
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    administrate(&server, &end).await;
}

/// How many tables of lines there are.
async fn tables(address: &StoreAddress) -> usize {
    let (client, connection) =
        tokio_postgres::connect(address.expose(), tokio_postgres::NoTls).await.expect("connected");
    tokio::spawn(connection);
    let count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'ayni' AND tablename LIKE 'lines\\_%'";
    let count: i64 = client.query_one(count, &[]).await.expect("counted").get(0);
    usize::try_from(count).expect("few")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_sets_are_the_same_in_a_database_as_in_memory() {
    let address = database().await;
    for (set, file) in [
        (BulkSet::OrderLines, order_lines(3).with_rows(700).csv()),
        (BulkSet::TenderOffers, tender_offers(3).with_rows(700).csv()),
        (BulkSet::Quotes, quotes(3).with_rows(700).csv()),
    ] {
        let file = zip(&[("1.csv", &file), ("2.csv", &file)]);
        for raw in [true, false] {
            let in_memory = ImportBench::new(Files::serving(file.clone(), "\"a\""));
            let in_database = bench(&address, file.clone()).await;
            for bench in [&in_memory, &in_database] {
                let request = bench.request(set).with_raw(raw).with_anew(true);
                let report = bench.client().import_month(&bench.cx(), &request).await.expect("imported");
                assert_eq!((report.changed, report.lines), (true, 1400));
            }
            let lines = in_memory.lines(set).await;
            assert_eq!(in_database.lines(set).await, lines);
            assert_eq!(lines.iter().filter(|line| line.body.is_empty()).count(), if raw { 0 } else { 1400 });
            let again = in_database.import(set).await.expect("asked");
            assert_eq!(again.changed, raw, "the same file, but perhaps another wish");
        }
    }
    assert_eq!(tables(&address).await, 3, "what was replaced takes no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_machines_that_import_a_month_at_once_the_later_one_wins() {
    let address = database().await;
    let earlier = bench(&address, orders(1, 9_000)).await;
    let begun = Arc::new(AtomicUsize::new(0));
    let (other, count) = (address.clone(), Arc::clone(&begun));
    let cx = earlier.cx().with_progress(move |event: Progress| {
        if matches!(event, Progress::Reading { .. }) && count.fetch_add(1, Ordering::SeqCst) == 0 {
            meanwhile(async {
                let later = bench(&other, orders(2, 50)).await;
                assert_eq!(later.import(BulkSet::OrderLines).await.expect("imported").lines, 50);
            });
        }
    });
    let request = earlier.request(BulkSet::OrderLines);
    let error = earlier.client().import_month(&cx, &request).await.expect_err("superseded");
    assert_eq!((error.kind(), begun.load(Ordering::SeqCst)), (ErrorKind::Conflict, 1));
    assert_eq!(earlier.lines(BulkSet::OrderLines).await.len(), 50);
    assert_eq!(tables(&address).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_machines_that_import_a_month_at_once_one_at_least_comes_through_whole() {
    let address = database().await;
    let machine = |which: usize| {
        let address = address.clone();
        tokio::spawn(async move {
            let bench = bench(&address, orders(which as u64, 5_000 + which)).await;
            bench.import(BulkSet::OrderLines).await
        })
    };
    let machines: Vec<_> = (0..6).map(machine).collect();
    let mut imported = Vec::new();
    for machine in machines {
        match machine.await.expect("joined") {
            Ok(report) => imported.push(report.lines),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
        }
    }
    let store = opened(&address).await;
    let months = store.line_store().expect("lines").months(BulkSet::OrderLines.kind()).await.expect("read");
    assert_eq!(months.len(), 1, "{imported:?}");
    assert!(imported.contains(&months[0].1), "{imported:?} {months:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_leaves_the_month_as_it_was_and_the_next_import_is_whole() {
    let address = database().await;
    let bench = bench(&address, orders(1, 9_000)).await;
    let other = address.clone();
    let cx = bench.cx().with_progress(move |event: Progress| {
        if matches!(event, Progress::Reading { .. }) {
            meanwhile(serves(&other, false));
        }
    });
    for already in [0, 9_000] {
        let request = bench.request(BulkSet::OrderLines).with_anew(already > 0);
        let error = bench.client().import_month(&cx, &request).await.expect_err("no server");
        assert_eq!(error.context().iter().filter(|(name, _)| *name == "sqlstate").count(), 1, "{error:?}");
        serves(&address, true).await;
        assert_eq!(bench.lines(BulkSet::OrderLines).await.len(), already);
        let report = bench.client().import_month(&bench.cx(), &request).await.expect("imported");
        let positions: Vec<u64> =
            bench.lines(BulkSet::OrderLines).await.iter().map(|line| line.position).collect();
        assert_eq!((report.lines, positions), (9_000, (1..=9_000).collect()));
        assert_eq!(tables(&address).await, 1, "what was given up takes no room");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_ended_all_the_time_cost_no_line_and_give_none_twice() {
    let address = database().await;
    let bench = bench(&address, orders(1, 20_000)).await;
    let cuts = Arc::new(AtomicUsize::new(0));
    let (other, count) = (address.clone(), Arc::clone(&cuts));
    let cx = bench.cx().with_progress(move |event: Progress| {
        if matches!(event, Progress::Reading { .. }) {
            count.fetch_add(1, Ordering::SeqCst);
            meanwhile(cut_off(&other));
        }
    });
    let request = bench.request(BulkSet::OrderLines);
    let report = bench.client().import_month(&cx, &request).await.expect("imported");
    assert!(cuts.load(Ordering::SeqCst) >= 5);
    let lines = bench.lines(BulkSet::OrderLines).await;
    assert_eq!((report.lines, lines.len()), (20_000, 20_000));
    let store = opened(&address).await;
    let months = store.line_store().expect("lines").months(BulkSet::OrderLines.kind()).await.expect("read");
    assert_eq!(months, [(june(), 20_000)]);
}
