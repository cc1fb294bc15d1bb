//! The tables, in their own schema `ayni`. The rest of the database belongs to the application.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::super::sql_steps::Lock;
use super::pool::{Pool, begin, to_error, with_timeout};
use crate::error::{Error, Result};
use crate::procure::search_words;

/// The changes from each version of the schema to the next. Existing ones are never edited.
///
/// Codes, names and days sort bytewise, as in the other stores, whatever the database's collation is.
pub(super) const MIGRATIONS: [&str; 3] = [
    r#"
    CREATE TABLE ayni.documents (
        name TEXT COLLATE "C" PRIMARY KEY, version BIGINT NOT NULL, body BYTEA NOT NULL
    );
    CREATE TABLE ayni.answers (
        key TEXT COLLATE "C" PRIMARY KEY, as_of BIGINT NOT NULL, body BYTEA NOT NULL
    );
    CREATE INDEX answers_by_age ON ayni.answers (as_of);
    CREATE TABLE ayni.records (
        kind TEXT COLLATE "C" NOT NULL, form TEXT COLLATE "C" NOT NULL, code TEXT COLLATE "C" NOT NULL,
        state TEXT NOT NULL, open BOOLEAN NOT NULL, day TEXT COLLATE "C", closes TEXT,
        source TEXT NOT NULL, as_of BIGINT NOT NULL, revision BIGINT NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (kind, form, code)
    );
    CREATE INDEX records_by_day ON ayni.records (kind, form, day);
    CREATE INDEX records_open ON ayni.records (kind, form, code) WHERE open;
    CREATE TABLE ayni.events (
        position BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind TEXT COLLATE "C" NOT NULL, code TEXT COLLATE "C" NOT NULL, revision BIGINT NOT NULL,
        change TEXT NOT NULL, fingerprint TEXT NOT NULL, noticed BIGINT NOT NULL,
        UNIQUE (kind, code, revision)
    );
"#,
    r#"
    CREATE TABLE ayni.editions (
        edition BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind TEXT COLLATE "C" NOT NULL, month TEXT COLLATE "C" NOT NULL,
        state SMALLINT NOT NULL, lines BIGINT NOT NULL
    );
    CREATE UNIQUE INDEX editions_written ON ayni.editions (kind, month) WHERE state = 0;
    CREATE UNIQUE INDEX editions_seen ON ayni.editions (kind, month) WHERE state = 1;
"#,
    "ALTER TABLE ayni.records ADD COLUMN words TSVECTOR;
     CREATE INDEX records_by_word ON ayni.records USING gin (words)",
];

/// The lock for migrations. The numbers of locks are the word "ayni" and a counter.
const MIGRATION_LOCK: i64 = 0x6179_6e69_0000_0001;

pub(super) fn lock_number(lock: Lock) -> i64 {
    match lock {
        Lock::Events => 0x6179_6e69_0000_0002,
        Lock::Editions => 0x6179_6e69_0000_0003,
    }
}

/// Migrates the schema to the newest version. Other processes that migrate at the same time wait.
///
/// # Errors
/// `config_invalid` for a schema of a newer release or without the right to change it; other errors of the server.
pub(super) async fn migrate(pool: &Pool) -> Result<()> {
    let mut connection = pool.acquire().await?;
    let migrated = with_timeout(migrate_on(&mut connection.client)).await?;
    let is_newer = migrated.map_err(|error| to_error(&error))?;
    pool.release(connection);
    match is_newer {
        true => Err(Error::config("the store's schema 'ayni' was written by a newer release of ayni")),
        false => Ok(()),
    }
}

/// Migrates unless the schema is of a newer release.
async fn migrate_on(client: &mut Client) -> Result<bool, tokio_postgres::Error> {
    let transaction = begin(client).await?;
    let lock = "SELECT pg_advisory_xact_lock($1)";
    transaction.query_typed(lock, &[(&MIGRATION_LOCK, Type::INT8)]).await?;
    // `IF NOT EXISTS` would need the right to create it even if it exists.
    let existing = "SELECT to_regnamespace('ayni') IS NOT NULL, to_regclass('ayni.migrations') IS NOT NULL";
    let existing = transaction.query_typed_one(existing, &[]).await?;
    if !existing.try_get(0)? {
        transaction.batch_execute("CREATE SCHEMA ayni").await?;
    }
    if !existing.try_get(1)? {
        let table = "CREATE TABLE ayni.migrations (version BIGINT PRIMARY KEY, made TIMESTAMPTZ NOT NULL DEFAULT now())";
        transaction.batch_execute(table).await?;
    }
    let newest = "SELECT coalesce(max(version), 0) FROM ayni.migrations";
    let version: i64 = transaction.query_typed_one(newest, &[]).await?.try_get(0)?;
    let Some(pending) = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..)) else {
        return Ok(true);
    };
    for (migration, number) in pending.iter().zip(version + 1..) {
        transaction.batch_execute(migration).await?;
        let note = "INSERT INTO ayni.migrations (version) VALUES ($1)";
        transaction.execute_typed(note, &[(&number, Type::INT8)]).await?;
    }
    if !pending.is_empty() {
        index_all_words(&transaction).await?;
    }
    transaction.commit().await.map(|()| false)
}

/// Files the words of records that an earlier release has written.
async fn index_all_words(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    let find = "SELECT kind, form, code, body FROM ayni.records
         WHERE words IS NULL AND form IN ('row', 'detail') LIMIT 1000";
    let update = "UPDATE ayni.records AS own SET words = array_to_tsvector(string_to_array(said.words, ' '))
         FROM unnest($1, $2, $3, $4) AS said (kind, form, code, words)
         WHERE own.kind = said.kind AND own.form = said.form AND own.code = said.code";
    loop {
        let rows = transaction.query_typed(find, &[]).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut columns: [Vec<String>; 4] = Default::default();
        for row in &rows {
            for (at, column) in columns.iter_mut().enumerate().take(3) {
                column.push(row.try_get(at)?);
            }
            columns[3].push(search_words::of_body(row.try_get(3)?));
        }
        let [kinds, forms, codes, words] = &columns;
        let typed = [kinds, forms, codes, words].map(|column| (column as _, Type::TEXT_ARRAY));
        transaction.execute_typed(update, &typed).await?;
    }
}
