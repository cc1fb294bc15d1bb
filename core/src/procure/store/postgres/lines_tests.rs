//! Lines in a database that machines share: who wins, who waits for whom, what an answer that is lost costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_postgres::NoTls;

use super::tests::{administrate, database, opened};
use super::*;
use crate::error::ErrorKind;
use crate::procure::Month;
use crate::procure::store::tests::{line, row};
use crate::procure::store::{Batch, Form, LineQuery, LineStore, RecordKind, Store};

const ORDERS: RecordKind = RecordKind::PurchaseOrder;

fn june() -> Month {
    "2026-06".parse().expect("a month")
}

/// Writes a month of `count` lines that all have this code.
async fn write(store: &PostgresStore, code: &str, count: u64) {
    let edition = store.begin_edition(ORDERS, june()).await.expect("begun");
    let lines = (1..=count).map(|position| line(position, code, "10")).collect();
    store.add_lines(edition, lines).await.expect("added");
    assert!(store.publish_edition(edition, Batch::new()).await.expect("published"));
}

async fn codes(store: &PostgresStore) -> Vec<String> {
    let query = LineQuery::new(ORDERS).with_limit(usize::MAX);
    let found = LineStore::lines(store, query).await.expect("read");
    found.into_iter().map(|(_, line)| line.code).collect()
}

async fn numbers(store: &PostgresStore, statement: &str) -> Vec<i64> {
    let rows = store.pool.rows(statement, &[]).await.expect("read");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_editions_that_begin_at_once_the_newest_alone_is_written() {
    let address = database().await;
    let strict = "DO $$ BEGIN EXECUTE format(
        'ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$";
    administrate(address.expose(), strict).await;
    let begin = |_| {
        let address = address.clone();
        tokio::spawn(async move {
            let store = opened(&address).await;
            store.begin_edition(ORDERS, june()).await.expect("begun")
        })
    };
    let begun: Vec<_> = (0..12).map(begin).collect();
    let mut editions: Vec<u64> =
        futures_util::future::join_all(begun).await.into_iter().map(|begun| begun.expect("joined")).collect();
    editions.sort_unstable();
    let newest = editions.pop().expect("twelve");
    let store = opened(&address).await;
    for edition in editions {
        let error = store.add_lines(edition, vec![line(1, "a", "10")]).await.expect_err("superseded");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let error = store.publish_edition(edition, Batch::new()).await.expect_err("superseded");
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    store.add_lines(newest, vec![line(1, "b", "10")]).await.expect("added");
    assert!(store.publish_edition(newest, Batch::new()).await.expect("published"));
    assert_eq!(codes(&store).await, ["b"]);
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'ayni' AND tablename LIKE 'lines\\_%'";
    assert_eq!(numbers(&store, tables).await, [1], "those that lost take no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_while_a_month_is_replaced_reads_one_edition_whole() {
    let address = database().await;
    let store = opened(&address).await;
    write(&store, "0", 40).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let read = |_| {
        let (address, is_over) = (address.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            let (store, mut seen) = (opened(&address).await, Vec::new());
            while !is_over.load(Ordering::SeqCst) {
                let found = codes(&store).await;
                assert_eq!(found.len(), 40);
                assert!(found.iter().all(|code| *code == found[0]), "{found:?}");
                seen.push(found[0].parse::<u32>().expect("a number"));
            }
            assert!(seen.is_sorted(), "{seen:?}");
            seen.len()
        })
    };
    let readers: Vec<_> = (0..3).map(read).collect();
    for code in 1..=25 {
        write(&store, &code.to_string(), 40).await;
    }
    is_over.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.expect("joined") > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_database_that_takes_hours_holds_nobody_up() {
    let address = database().await;
    let store = opened(&address).await;
    write(&store, "old", 3).await;
    let (copier, connection) = tokio_postgres::connect(address.expose(), NoTls).await.expect("connected");
    tokio::spawn(connection);
    let tables = "SELECT edition FROM ayni.editions ORDER BY edition";
    let old = numbers(&store, tables).await;
    let hold = format!("BEGIN; LOCK TABLE ayni.lines_{} IN ACCESS SHARE MODE", old[0]);
    copier.batch_execute(&hold).await.expect("held");
    write(&store, "new", 2).await;
    assert_eq!(codes(&store).await, ["new", "new"]);
    assert_eq!(numbers(&store, tables).await.len(), 2, "the old one waits to be taken away");
    copier.batch_execute("COMMIT").await.expect("released");
    let begun = std::time::Instant::now();
    write(&store, "newer", 1).await;
    // Whoever else holds a table for a moment (autovacuum, a connection that is ending) leaves it for the next time.
    while numbers(&store, tables).await.len() > 1 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(120), "it is never taken away");
        write(&store, "newer", 1).await;
    }
    assert_eq!(codes(&store).await, ["newer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_the_release_before_is_brought_forward_with_what_is_in_it() {
    let address = database().await;
    let before = format!(
        "CREATE SCHEMA ayni; {}
         CREATE TABLE ayni.migrations (version BIGINT PRIMARY KEY, made TIMESTAMPTZ NOT NULL DEFAULT now());
         INSERT INTO ayni.migrations (version) VALUES (1);
         INSERT INTO ayni.documents (name, version, body) VALUES ('a', 3, 'x')",
        schema::MIGRATIONS[0]
    );
    administrate(address.expose(), &before).await;
    let store = opened(&address).await;
    assert_eq!(store.document("a").await.expect("read").expect("there").version, 3);
    write(&store, "a", 1).await;
    assert_eq!(codes(&opened(&address).await).await, ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portion_of_any_size_is_written_and_nothing_that_a_database_cannot_keep() {
    let store = opened(&database().await).await;
    let edition = store.begin_edition(ORDERS, june()).await.expect("begun");
    store.add_lines(edition, (1..=9_001).map(|at| line(at, "a", "10")).collect()).await.expect("added");
    let mut bare = StoredLine { position: 9_002, ..StoredLine::default() };
    store.add_lines(edition, vec![bare.clone()]).await.expect("added");
    bare.unit = Some("a\0b".to_owned());
    bare.position += 1;
    let error = store.add_lines(edition, vec![bare.clone()]).await.expect_err("a NUL");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let error = store.add_lines(edition, vec![line(9_002, "a", "10")]).await.expect_err("a place twice");
    assert_eq!(error.kind(), ErrorKind::Unexpected);
    assert!(store.publish_edition(edition, Batch::new()).await.expect("published"));
    assert_eq!(store.months(ORDERS).await.expect("read"), [(june(), 9_002)]);
    let last = LineQuery::new(ORDERS).with_after(june(), 9_000);
    let last = LineStore::lines(&store, last).await.expect("read");
    let bare = StoredLine { position: 9_002, ..StoredLine::default() };
    assert_eq!(last, [(june(), line(9_001, "a", "10")), (june(), bare)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_shows_no_edition_and_an_accepted_one_comes_with_it() {
    let store = opened(&database().await).await;
    let edition = store.begin_edition(ORDERS, june()).await.expect("begun");
    store.add_lines(edition, vec![line(1, "a", "10")]).await.expect("added");
    let batch = |version| {
        Batch::new().with_document("a", version, "x").with_record(row("1", "x", true, "2026-10-14"))
    };
    assert!(!store.publish_edition(edition, batch(7)).await.expect("refused"));
    assert!(codes(&store).await.is_empty());
    let record = store.record(RecordKind::Tender, Form::Row, "1");
    assert_eq!(record.await.expect("read"), None);
    assert!(store.publish_edition(edition, batch(0)).await.expect("published"));
    let record = store.record(RecordKind::Tender, Form::Row, "1");
    assert!(record.await.expect("read").is_some() && codes(&store).await == ["a"]);
}

/// Stands between a store and its server, and loses the answers to additions of lines.
#[derive(Debug, Default)]
struct Losing {
    loses: AtomicBool,
    lost: AtomicBool,
}

impl Losing {
    /// The address of the store behind it.
    async fn before(address: &StoreAddress) -> (Arc<Self>, String) {
        let url = address.expose();
        let name = &url[url.find("/ayni_").expect("a name") + 1..url.find('?').expect("parameters")];
        let (_, place) = url.split_once("?host=").expect("a socket");
        let (folder, port) = place.split_once("&port=").expect("a port");
        let socket = format!("{folder}/.s.PGSQL.{port}");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let own = format!("postgres://ayni@{}/{name}", listener.local_addr().expect("an address"));
        let losing = Arc::new(Self::default());
        let accepting = Arc::clone(&losing);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.expect("connected");
                tokio::spawn(Arc::clone(&accepting).pass_on(client, server));
            }
        });
        (losing, own)
    }

    /// Passes on what both say, until an addition was made that its store shall not hear of.
    async fn pass_on(self: Arc<Self>, mut client: TcpStream, mut server: UnixStream) {
        let (mut asked, mut told) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let mut is_addition = false;
        loop {
            tokio::select! {
                read = client.read(&mut asked) => match read {
                    Ok(read @ 1..) => {
                        let statement = b"INSERT INTO ayni.lines_";
                        is_addition |= asked[..read].windows(statement.len()).any(|part| part == statement);
                        server.write_all(&asked[..read]).await.expect("passed on");
                    }
                    _ => return,
                },
                read = server.read(&mut told) => match read {
                    Ok(read @ 1..) => {
                        // The server answers all at once, when it has committed.
                        if is_addition && self.loses.swap(false, Ordering::SeqCst) {
                            self.lost.store(true, Ordering::SeqCst);
                            return;
                        }
                        is_addition = false;
                        client.write_all(&told[..read]).await.expect("passed on");
                    }
                    _ => return,
                },
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_whose_answer_was_lost_are_written_once() {
    let address = database().await;
    let (losing, own) = Losing::before(&address).await;
    let store = PostgresStore::open(own.as_str()).await.expect("opened");
    let edition = store.begin_edition(ORDERS, june()).await.expect("begun");
    store.add_lines(edition, vec![line(1, "a", "10")]).await.expect("added");
    losing.loses.store(true, Ordering::SeqCst);
    let more = (2..=3_000).map(|position| line(position, "b", "10")).collect();
    store.add_lines(edition, more).await.expect("added");
    assert!(losing.lost.load(Ordering::SeqCst));
    assert!(store.publish_edition(edition, Batch::new()).await.expect("published"));
    assert_eq!(store.months(ORDERS).await.expect("read"), [(june(), 3_000)]);
    assert_eq!(codes(&opened(&address).await).await.len(), 3_000);
}
