//! The tables, in their own schema `ayni`. The rest of the database belongs to the application.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::editions::EDITIONS;
use super::pool::{begin, to_error};
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
    EDITIONS,
    "ALTER TABLE ayni.records ADD COLUMN words TSVECTOR;
     CREATE INDEX records_by_word ON ayni.records USING gin (words)",
];

/// The lock for migrations. The numbers of locks are the word "ayni" and a counter.
const MIGRATION_LOCK: i64 = 0x6179_6e69_0000_0001;
/// The lock for writing events, held until they are committed.
pub(super) const EVENT_LOCK: i64 = 0x6179_6e69_0000_0002;
pub(super) const EDITION_LOCK: i64 = 0x6179_6e69_0000_0003;

/// Migrates the schema to the newest version. Other processes that migrate at the same time wait.
///
/// # Errors
/// `config_invalid` for a schema of a newer release or without the right to change it; other errors of the server.
pub(super) async fn migrate(client: &mut Client) -> Result<()> {
    let transaction = begin(client).await.map_err(|error| to_error(&error))?;
    let lock = "SELECT pg_advisory_xact_lock($1)";
    transaction
        .query_typed(lock, &[(&MIGRATION_LOCK, Type::INT8)])
        .await
        .map_err(|error| to_error(&error))?;
    // `IF NOT EXISTS` would need the right to create it even if it exists.
    let existing = "SELECT to_regnamespace('ayni') IS NOT NULL, to_regclass('ayni.migrations') IS NOT NULL";
    let existing = transaction.query_typed_one(existing, &[]).await.map_err(|error| to_error(&error))?;
    if !existing.try_get(0).map_err(|error| to_error(&error))? {
        transaction.batch_execute("CREATE SCHEMA ayni").await.map_err(|error| to_error(&error))?;
    }
    if !existing.try_get(1).map_err(|error| to_error(&error))? {
        let table = "CREATE TABLE ayni.migrations (version BIGINT PRIMARY KEY, made TIMESTAMPTZ NOT NULL DEFAULT now())";
        transaction.batch_execute(table).await.map_err(|error| to_error(&error))?;
    }
    let newest = "SELECT coalesce(max(version), 0) FROM ayni.migrations";
    let newest = transaction.query_typed_one(newest, &[]).await.map_err(|error| to_error(&error))?;
    let version: i64 = newest.try_get(0).map_err(|error| to_error(&error))?;
    let pending = usize::try_from(version)
        .ok()
        .and_then(|version| MIGRATIONS.get(version..))
        .ok_or_else(|| Error::config("the store's schema 'ayni' was written by a newer release of ayni"))?;
    for (migration, number) in pending.iter().zip(version + 1..) {
        transaction.batch_execute(migration).await.map_err(|error| to_error(&error))?;
        let note = "INSERT INTO ayni.migrations (version) VALUES ($1)";
        transaction.execute_typed(note, &[(&number, Type::INT8)]).await.map_err(|error| to_error(&error))?;
    }
    if !pending.is_empty() {
        index_all_words(&transaction).await.map_err(|error| to_error(&error))?;
    }
    transaction.commit().await.map_err(|error| to_error(&error))
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
