//! A store in an SQLite file.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params_from_iter};

use super::StoredLine;
use super::sql::{Database, RECORD, SqlCell, SqlParameter, SqlRow, integer, number, text};
use super::sql_steps::{Outcome, Step, StepKind, if_pending, line_values};
use crate::error::{Error, ErrorKind, Result};
use crate::procure::search_words;
use crate::runtime::run_blocking;

/// The changes from each version of the file to the next. Existing ones are never edited.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE documents (name TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE answers (key TEXT PRIMARY KEY, as_of INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE INDEX answers_by_age ON answers (as_of);
    CREATE TABLE records (
        kind TEXT NOT NULL, form TEXT NOT NULL, code TEXT NOT NULL,
        state TEXT NOT NULL, open INTEGER NOT NULL, day TEXT, closes TEXT,
        source TEXT NOT NULL, as_of INTEGER NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (kind, form, code)
    ) WITHOUT ROWID;
    CREATE INDEX records_by_day ON records (kind, form, day);
    CREATE INDEX records_open ON records (kind, form, code) WHERE open = 1;
    CREATE TABLE events (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL, code TEXT NOT NULL, revision INTEGER NOT NULL,
        change TEXT NOT NULL, fingerprint TEXT NOT NULL, noticed INTEGER NOT NULL,
        UNIQUE (kind, code, revision)
    );
",
    "
    CREATE TABLE editions (
        edition INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL, month TEXT NOT NULL, state INTEGER NOT NULL, lines INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX editions_seen ON editions (kind, month) WHERE state = 1;
",
    "
    CREATE TABLE record_ids (
        id INTEGER PRIMARY KEY, kind TEXT NOT NULL, form TEXT NOT NULL, code TEXT NOT NULL, UNIQUE (kind, form, code)
    );
    CREATE VIRTUAL TABLE record_words USING fts5(words, content='', contentless_delete=1);
",
];

/// How long a writer waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A store in an SQLite file, which the processes of one machine can share. Every call runs on a thread for blocking
/// work.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    connection: Arc<Mutex<Connection>>,
    path: Arc<Path>,
}

impl SqliteStore {
    /// Opens or creates the file, and migrates it to the newest version.
    ///
    /// # Errors
    /// `config_invalid` if the file cannot be opened or was written by a newer release.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path: Arc<Path> = path.into().into();
        let target = Arc::clone(&path);
        let connection = run_blocking(move || connect(&target)).await?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), path })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on a thread for blocking work.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let connection = Arc::clone(&self.connection);
        run_blocking(move || {
            work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner)).map_err(to_error)
        })
        .await
    }
}

/// Runs steps in a transaction, which is rolled back when it is dropped.
fn run_steps(connection: &mut Connection, steps: &[Step]) -> rusqlite::Result<Outcome> {
    // Immediate: a transaction that starts with a read cannot be upgraded while another one writes.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut outcome = Outcome::default();
    for (at, step) in steps.iter().enumerate() {
        let statement = placeholders(&step.statement(outcome.id));
        let mut count = 0;
        match step.kind {
            // Only one transaction writes at a time.
            StepKind::Lock(_) => continue,
            StepKind::Script => transaction.execute_batch(&statement)?,
            StepKind::Find => {
                let mut found = transaction.prepare_cached(&statement)?;
                let values = params_from_iter(step.values.iter().flatten());
                outcome.id = found.query_row(values, |row| row.get(0)).optional()?;
            }
            StepKind::Any | StepKind::One => {
                let mut prepared = transaction.prepare_cached(&statement)?;
                for values in &step.values {
                    count += prepared.execute(params_from_iter(values))? as u64;
                }
            }
        }
        outcome.changed += count;
        if (step.kind == StepKind::Find && outcome.id.is_none()) || (step.kind == StepKind::One && count != 1)
        {
            return Ok(Outcome { refused: Some(at), ..outcome });
        }
    }
    transaction.commit()?;
    Ok(outcome)
}

/// SQLite numbers `$1` by where it first appears, and `?1` by its number.
fn placeholders(statement: &str) -> String {
    statement.replace('$', "?")
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

fn to_error(error: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let (kind, message) = match error.sqlite_error_code() {
        _ if is_busy(&error) => (ErrorKind::Unavailable, "the store's file is locked by another process"),
        Some(ErrorCode::DiskFull) => {
            (ErrorKind::Unavailable, "the disk of the store is full; nothing was written: make room on it")
        }
        _ if is_damage(&error) => (
            ErrorKind::Unexpected,
            "the store's file is damaged: restore a copy, or move it away and a new one is made",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            (ErrorKind::PermissionDenied, "the store's file may not be written")
        }
        _ => (ErrorKind::Unexpected, "the store's file could not be read or written"),
    };
    let is_missing_table = error.to_string().contains("no such table");
    let error = Error::new(kind, message).with_source(error);
    if is_missing_table { error.with_context("reason", "no_table") } else { error }
}

fn connect(path: &Path) -> Result<Connection> {
    let refuse = |error: rusqlite::Error| match is_damage(&error) {
        true => to_error(error).with_context("path", path.display().to_string()),
        false => Error::config(format!("the store '{}' cannot be opened", path.display())).with_source(error),
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| {
            Error::config(format!("the folder of the store '{}' cannot be created", path.display()))
                .with_source(error)
        })?;
    }
    let mut connection = retry_while_busy(|| open_connection(path)).map_err(refuse)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Retries while others hold the file. SQLite waits for them itself, except where two could wait for each other, for
/// example when both create the file.
fn retry_while_busy<T>(work: impl Fn() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let end = Instant::now() + BUSY_TIMEOUT;
    loop {
        match work() {
            Err(error) if is_busy(&error) && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(2));
            }
            outcome => return outcome,
        }
    }
}

fn open_connection(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // With a write-ahead log no committed batch is lost if the process is killed.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // 32 MB: a month of lines goes through the log, and each checkpoint waits for the disk.
    connection.pragma_update(None, "wal_autocheckpoint", 8_000)?;
    // A month's indexes are sorted in it. More memory is hardly faster.
    connection.pragma_update(None, "cache_size", -6_144)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<()> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(to_error)?;
    let version: usize =
        transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(to_error)?;
    let pending = MIGRATIONS.get(version..).ok_or_else(|| {
        Error::config(format!("the store '{}' was written by a newer release of ayni", path.display()))
    })?;
    for migration in pending {
        transaction.execute_batch(migration).map_err(to_error)?;
    }
    if !pending.is_empty() {
        index_all_words(&transaction).map_err(to_error)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len()).map_err(to_error)?;
    transaction.commit().map_err(to_error)
}

/// Files the words of records that an earlier release has written.
fn index_all_words(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut statement =
        transaction.prepare("SELECT kind, form, code, body FROM records WHERE form IN ('row', 'detail')")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let words = search_words::of_body(row.get_ref(3)?.as_blob()?);
        let key: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
        let [kind, form, code] = &key;
        transaction.prepare_cached(RECORD_ID)?.execute([kind, form, code])?;
        transaction.prepare_cached(RECORD_WORDS)?.execute([kind, form, code, &words])?;
    }
    Ok(())
}

/// Gives a record a number, and files its words under it.
const RECORD_ID: &str = "INSERT OR IGNORE INTO record_ids (kind, form, code) VALUES (?1, ?2, ?3)";
const RECORD_WORDS: &str = "INSERT OR REPLACE INTO record_words (rowid, words)
     SELECT id, ?4 FROM record_ids WHERE kind = ?1 AND form = ?2 AND code = ?3";

impl ToSql for SqlParameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Integer(number) => number.to_sql(),
            Self::Flag(flag) => flag.to_sql(),
            Self::Text(text) => text.to_sql(),
            Self::Bytes(bytes) => bytes.to_sql(),
            Self::Texts(texts) => serde_json::to_string(texts)
                .map(ToSqlOutput::from)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into())),
        }
    }
}

fn cell(value: ValueRef<'_>) -> rusqlite::Result<SqlCell> {
    Ok(match value {
        ValueRef::Null => SqlCell::Null,
        ValueRef::Integer(number) => SqlCell::Integer(number),
        ValueRef::Blob(bytes) => SqlCell::Bytes(Bytes::copy_from_slice(bytes)),
        other => SqlCell::Text(other.as_str()?.to_owned()),
    })
}

impl Database for SqliteStore {
    const SPANS_MACHINES: bool = false;
    const SCHEMA: &'static str = "";
    const CODE_IN_LIST: &'static str = "code IN (SELECT value FROM json_each($3))";
    const OPEN: [&'static str; 2] = ["open = 1", "open = 0"];
    const HAS_WORDS: &'static str = "code IN (SELECT code FROM record_ids WHERE kind = $1 AND form = $2
         AND id IN (SELECT rowid FROM record_words WHERE record_words MATCH $6))";
    const LINE_TABLE: &'static str = "
        position INTEGER PRIMARY KEY, code TEXT NOT NULL, line_id INTEGER, day TEXT, state TEXT NOT NULL, buyer TEXT,
        supplier TEXT, supplier_name TEXT, product TEXT, name TEXT NOT NULL, description TEXT, quantity TEXT, unit TEXT,
        unit_price TEXT, unit_currency TEXT, total TEXT, total_currency TEXT, chosen INTEGER, body BLOB";
    // The position is in every index already.
    const LINE_INDEX: &'static str = "";
    const AFTER_INDEXES: &'static str = "";
    const HOLD: [&'static str; 2] = ["", ""];
    const BEFORE_DROP: &'static str = "";

    fn words(stems: &[String]) -> String {
        stems.iter().map(|stem| format!("\"{stem}\"")).collect::<Vec<_>>().join(" ")
    }

    fn write_record(values: Vec<SqlParameter>, words: Option<String>) -> Vec<Step> {
        let key: Vec<SqlParameter> = values.iter().take(3).cloned().collect();
        let statement =
            format!("INSERT OR REPLACE INTO records ({RECORD}) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)");
        let mut steps = vec![Step::any(statement, values)];
        if let Some(words) = words {
            let filed = key.iter().cloned().chain([text(words)]).collect();
            steps.extend([Step::any(RECORD_ID, key), Step::any(RECORD_WORDS, filed)]);
        }
        steps
    }

    async fn rows(&self, statement: String, values: Vec<SqlParameter>) -> Result<Vec<SqlRow>> {
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(&placeholders(&statement))?;
            let columns = statement.column_count();
            let read = |row: &rusqlite::Row<'_>| {
                (0..columns).map(|at| cell(row.get_ref(at)?)).collect::<rusqlite::Result<_>>().map(SqlRow)
            };
            statement.query_map(params_from_iter(values), read)?.collect()
        })
        .await
    }

    async fn transact(&self, steps: Vec<Step>, _: bool) -> Result<Outcome> {
        self.run(move |connection| run_steps(connection, &steps)).await
    }

    async fn insert_lines(&self, edition: i64, lines: Vec<StoredLine>) -> Result<bool> {
        let (count, places) = (integer(lines.len()), (1..=19).map(|at| format!("${at}")).collect::<Vec<_>>());
        let insert = format!("INSERT INTO lines_{edition} VALUES ({})", places.join(", "));
        let values = lines.into_iter().map(line_values).collect::<Result<_>>()?;
        let steps = vec![
            if_pending::<Self>(edition, ""),
            Step::many(insert, values),
            Step::any(
                "UPDATE editions SET lines = lines + $2 WHERE edition = $1",
                vec![number(edition), count],
            ),
        ];
        Ok(self.transact(steps, false).await?.refused.is_none())
    }

    fn is_missing_table(error: &Error) -> bool {
        error.context().iter().any(|(name, value)| (*name, value.as_str()) == ("reason", "no_table"))
    }

    fn is_held(_: &Error) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procure::Timestamp;
    use crate::procure::store::{Store, StoredAnswer};

    #[tokio::test]
    async fn a_full_disk_and_a_damaged_file_are_errors_of_their_own_and_nothing_is_lost() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let store = SqliteStore::open(&path).await.expect("opened");
        let answer = |bytes: usize| StoredAnswer {
            as_of: Timestamp::of_unix_millis(0),
            body: Bytes::from(vec![b'x'; bytes]),
        };
        store.store_answer("kept", answer(10)).await.expect("written");
        let limit = |pages: i64| {
            let connection = store.connection.lock().unwrap_or_else(PoisonError::into_inner);
            connection.pragma_update(None, "max_page_count", pages).expect("set");
        };
        limit(1);
        let error = store.store_answer("large", answer(1 << 20)).await.expect_err("full");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("full"), "{error}");
        limit(1 << 20);
        store.store_answer("large", answer(1 << 20)).await.expect("written");
        assert_eq!(store.answer("kept").await.expect("read"), Some(answer(10)));

        let damaged = folder.path().join("damaged.db");
        std::fs::write(&damaged, vec![b'?'; 8192]).expect("written");
        let error = SqliteStore::open(&damaged).await.expect_err("damaged");
        assert!(error.message().contains("damaged"), "{error}");
        assert_eq!(std::fs::read(&damaged).expect("read"), vec![b'?'; 8192]);
    }
}
