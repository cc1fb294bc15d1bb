//! The store over a real server, which `AYNI_POSTGRES_URL` names.

use std::sync::Arc;

use tokio_postgres::NoTls;

use super::*;
use crate::error::ErrorKind;
use crate::procure::Change;
use crate::procure::store::tests::{
    a_month_of_lines_is_seen_when_it_is_whole, event, every_promise_holds, row,
};
use crate::procure::store::{
    Batch, Form, RecordKind, RecordQuery, Store, open_store, unique, update_document,
};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!(
            "{name} is not set: the feature `postgres` is tested over a real server. \
             Run `scripts/test rust`, or `scripts/postgres run cargo test …`"
        )
    })
}

/// A database of its own on the server of the tests.
pub(crate) async fn database() -> StoreAddress {
    let server = variable("AYNI_POSTGRES_URL");
    let name = format!("ayni_{}_{}", std::process::id(), unique());
    administrate(&server, &format!("CREATE DATABASE {name}")).await;
    StoreAddress::new(server.replacen("/postgres?", &format!("/{name}?"), 1))
}

/// Runs a statement beside the store.
pub(crate) async fn administrate(address: &str, statement: &str) {
    let (client, connection) = tokio_postgres::connect(address, NoTls).await.expect("connected");
    let task = tokio::spawn(connection);
    client.batch_execute(statement).await.expect(statement);
    drop(client);
    task.await.expect("joined").expect("closed");
}

pub(super) async fn opened(address: &StoreAddress) -> PostgresStore {
    PostgresStore::open(address.clone()).await.expect("opened")
}

/// Ends every connection to the database of `address`, as a restarting server does.
pub(crate) async fn cut_off(address: &StoreAddress) {
    administrate(
        address.expose(),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_in_a_database_keeps_its_promises_and_what_was_written() {
    let address = database().await;
    let store = Arc::new(opened(&address).await);
    a_month_of_lines_is_seen_when_it_is_whole(&*store).await;
    every_promise_holds(store).await;
    let again = open_store(&address).await.expect("opened again");
    assert_eq!(&*again.document("count").await.expect("read").expect("there").body, b"40");
    assert_eq!(again.events(0, 10).await.expect("read").len(), 2);
    assert!(again.spans_machines());
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_open_at_the_same_time_make_the_schema_once() {
    let address = database().await;
    let opening = (0..8).map(|_| {
        let address = address.clone();
        tokio::spawn(async move { PostgresStore::open(address).await })
    });
    for opened in futures_util::future::join_all(opening).await {
        opened.expect("joined").expect("opened");
    }
    let rows =
        opened(&address).await.pool.rows("SELECT version FROM ayni.migrations", &[]).await.expect("read");
    assert_eq!(rows.len(), schema::MIGRATIONS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_newer_release_is_refused() {
    let address = database().await;
    opened(&address).await;
    administrate(address.expose(), "INSERT INTO ayni.migrations (version) VALUES (999)").await;
    let error = PostgresStore::open(address).await.expect_err("refused");
    assert!(error.message().contains("newer release"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_make_the_schema_uses_one_that_is_there() {
    let address = database().await;
    let user = format!("app_{}", unique());
    let connecting = address.expose().replacen("ayni@", &format!("{user}@"), 1);
    administrate(address.expose(), &format!("CREATE ROLE {user} LOGIN")).await;
    let error = PostgresStore::open(connecting.as_str()).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(error.message().contains("schema 'ayni'"), "{error}");
    administrate(address.expose(), &format!("CREATE SCHEMA ayni AUTHORIZATION {user}")).await;
    let store = PostgresStore::open(connecting.as_str()).await.expect("opened");
    assert!(store.apply(Batch::new().with_document("a", 0, "1")).await.expect("written"));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_count_exactly_whoever_else_counts() {
    let address = database().await;
    let count = |address: StoreAddress| async move {
        let store = opened(&address).await;
        for _ in 0..25 {
            update_document(&store, "count", |old| {
                let old: u64 = old.map_or(0, |body| String::from_utf8_lossy(body).parse().expect("a number"));
                Ok((Some((old + 1).to_string().into_bytes()), ()))
            })
            .await
            .expect("counted");
        }
    };
    let replicas = (0..8).map(|_| tokio::spawn(count(address.clone())));
    futures_util::future::join_all(replicas).await.into_iter().for_each(|replica| replica.expect("joined"));
    let document = opened(&address).await.document("count").await.expect("read").expect("there");
    assert_eq!((&*document.body, document.version), (&b"200"[..], 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_the_events_misses_none_of_several_writers() {
    let address = database().await;
    let write = |writer: usize| {
        let address = address.clone();
        tokio::spawn(async move {
            let store = opened(&address).await;
            for index in 0..40 {
                let code = format!("{writer}-{index}-LE26");
                let batch = Batch {
                    records: (0..20)
                        .map(|other| row(&format!("{other}-1-LE26"), "x", true, "2026-10-14"))
                        .collect(),
                    events: vec![(event(&code, Change::Opened), 1)],
                    ..Batch::new()
                };
                assert!(store.apply(batch).await.expect("written"));
            }
        })
    };
    let writers: Vec<_> = (0..4).map(write).collect();
    let (store, mut seen, mut place) = (opened(&address).await, Vec::new(), 0);
    while seen.len() < 160 {
        let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let news = store.events(place, 7).await.expect("read");
        assert!(!(done && news.is_empty()), "only {} of 160 were seen", seen.len());
        place = news.last().map_or(place, |event| event.position);
        seen.extend(news.into_iter().map(|event| event.event.code));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 160);
    futures_util::future::join_all(writers).await.into_iter().for_each(|writer| writer.expect("joined"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_broke_are_made_anew() {
    let address = database().await;
    let store = opened(&address).await;
    for version in 0..5 {
        assert!(store.apply(Batch::new().with_document("a", version, "x")).await.expect("written"));
        cut_off(&address).await;
        assert_eq!(
            store.document("a").await.expect("read").map(|document| document.version),
            Some(version + 1)
        );
        cut_off(&address).await;
        // A write that meets a connection's end is an error, because nobody knows whether it happened.
        while !store.pool.knows_that_all_are_closed() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_given_up_leaves_nothing_behind() {
    let address = database().await;
    let store = opened(&address).await;
    let (holder, connection) = tokio_postgres::connect(address.expose(), NoTls).await.expect("connected");
    tokio::spawn(connection);
    holder.batch_execute("BEGIN; LOCK TABLE ayni.records").await.expect("locked");
    let batch = Batch::new().with_document("a", 0, "x").with_record(row("1-1-LE26", "x", true, "2026-10-14"));
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(200), store.apply(batch.clone()));
    assert!(waiting.await.is_err(), "the table is locked");
    holder.batch_execute("ROLLBACK").await.expect("unlocked");
    assert_eq!(store.document("a").await.expect("read"), None);
    assert!(store.apply(batch).await.expect("written"));
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_sort_byte_by_byte_whatever_the_databases_language() {
    let store = opened(&database().await).await;
    let codes = ["1-10-LE26", "1-2-LE26", "10-1-LE26", "a-1-LE26", "é-1-LE26"];
    let records = codes.iter().rev().map(|code| row(code, "x", true, "2026-10-14")).collect();
    assert!(store.apply(Batch { records, ..Batch::new() }).await.expect("written"));
    let found = store.records(RecordQuery::new(RecordKind::Tender, Form::Row)).await.expect("read");
    assert_eq!(found.iter().map(|record| record.code.as_str()).collect::<Vec<_>>(), codes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_database_cannot_keep_is_refused_and_nothing_of_it_written() {
    let store = opened(&database().await).await;
    let batch = Batch::new().with_document("a", 0, "x").with_record(row("1\0", "x", true, "2026-10-14"));
    assert_eq!(store.apply(batch).await.expect_err("a NUL").kind(), ErrorKind::InvalidRequest);
    assert_eq!(store.document("a").await.expect("read"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_us_or_is_not_there_is_told_without_the_password() {
    let address = database().await;
    let nowhere = address.expose().replacen("/ayni_", "/nowhere_", 1);
    let error = PostgresStore::open(nowhere.as_str()).await.expect_err("no such database");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(error.message().contains("nowhere_"), "{error}");

    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let url = format!("postgres://ana:CANARY@127.0.0.1:{port}/app");
    let begun = std::time::Instant::now();
    let error = PostgresStore::open(url.as_str()).await.expect_err("nobody there");
    assert!(begun.elapsed() > std::time::Duration::from_secs(8), "a server that restarts is waited for");
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, true));
    assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_connections_are_to_a_server_that_is_trusted_and_named() {
    let url = variable("AYNI_POSTGRES_TLS_URL");
    let store = PostgresStore::open(url.as_str()).await.expect("opened with a password, encrypted");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let rows = store.pool.rows(encrypted, &[]).await.expect("read");
    assert!(rows[0].get::<_, bool>(0));

    let (start, password) = (url.find("ayni:").expect("a user") + 5, url.find('@').expect("a server"));
    let password = &url[start..password];
    let untrusted = url.split("&sslrootcert").next().expect("a beginning").to_owned();
    for (address, says) in [
        (untrusted.clone(), "certificate"),
        (untrusted.replace("verify-full", "prefer"), "certificate"),
        (url.replacen("localhost", "127.0.0.1", 1), "certificate"),
        (url.replacen(password, "wrong", 1), "password authentication failed"),
        (url.replacen(&format!(":{password}"), "", 1), "password"),
        (format!("{url}&channel_binding=require"), "channel binding"),
    ] {
        let begun = std::time::Instant::now();
        let error = PostgresStore::open(address.as_str()).await.expect_err(says);
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
        assert!(error.message().contains(says), "{error}");
        assert!(!format!("{error:?}").contains(password), "{error:?}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "waiting does not mend it");
    }
}
