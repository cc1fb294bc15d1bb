//! A store in a PostgreSQL database, which several machines can share.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Column, Row, Transaction};

use self::pool::{Pool, Retry, SqlValue};
use self::server::Server;
use super::sql::{Database, LINE, PENDING, RECORD, SqlCell, SqlParameter, SqlRow, text};
use super::sql_steps::{Outcome, Step, StepKind, line_values};
use super::{StoreAddress, StoredLine};
use crate::error::{Error, Result};

#[cfg(test)]
mod lines_tests;
mod pool;
mod schema;
mod server;
#[cfg(test)]
pub(super) mod tests;
mod tls;

/// The most lines of one statement.
const LINES_PER_STATEMENT: usize = 4_000;

/// A store in a PostgreSQL database, in the schema `ayni`. Clones share their connections.
///
/// It replaces broken connections and waits for a server that restarts. A write of which it can't tell whether it happened
/// is an error and is not retried.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pool: Arc<Pool>,
}

impl PostgresStore {
    /// Connects, and migrates the schema to its newest version.
    ///
    /// The address is `postgres://user:password@host:port/database`, with `sslmode` (`disable`, `prefer`,
    /// `require`, `verify-full`) and `sslrootcert`. Every encrypted connection verifies the server. Without `sslmode`,
    /// connections to this machine are not encrypted, and others are if the server offers it.
    ///
    /// # Errors
    /// `config_invalid` for an address that cannot work, a server that refuses the connection, or a schema of a newer
    /// release; `unavailable` if the server cannot be reached.
    pub async fn open(address: impl Into<StoreAddress>) -> Result<Self> {
        let pool = Pool::new(Server::parse(&address.into())?);
        schema::migrate(&pool).await?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// The address. It is displayed without its password.
    pub fn address(&self) -> &StoreAddress {
        self.pool.server().address()
    }
}

impl SqlParameter {
    /// The value with its type, unless it is a text that PostgreSQL cannot store.
    fn typed(&self) -> Result<SqlValue<'_>> {
        let has_nul = match self {
            Self::Text(text) => text.as_ref().is_some_and(|text| text.contains('\0')),
            Self::Texts(texts) => texts.iter().any(|text| text.contains('\0')),
            _ => false,
        };
        if has_nul {
            return Err(Error::invalid_request("a name, code or text with NUL cannot be stored"));
        }
        Ok(match self {
            Self::Integer(number) => (number, Type::INT8),
            Self::Flag(flag) => (flag, Type::BOOL),
            Self::Text(text) => (text, Type::TEXT),
            Self::Texts(texts) => (texts, Type::TEXT_ARRAY),
            Self::Bytes(bytes) => (bytes, Type::BYTEA),
        })
    }
}

fn typed(values: &[SqlParameter]) -> Result<Vec<SqlValue<'_>>> {
    values.iter().map(SqlParameter::typed).collect()
}

fn cells(row: &Row) -> Result<SqlRow> {
    let cell = |(at, column): (usize, &Column)| {
        let cell = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(at).map(|number| number.map(SqlCell::Integer)),
            Type::BOOL => {
                row.try_get::<_, Option<bool>>(at).map(|flag| flag.map(|flag| SqlCell::Integer(flag.into())))
            }
            Type::BYTEA => row
                .try_get::<_, Option<&[u8]>>(at)
                .map(|bytes| bytes.map(|bytes| SqlCell::Bytes(Bytes::copy_from_slice(bytes)))),
            _ => row.try_get::<_, Option<String>>(at).map(|text| text.map(SqlCell::Text)),
        };
        cell.map(|cell| cell.unwrap_or(SqlCell::Null)).map_err(|error| pool::to_error(&error))
    };
    row.columns().iter().enumerate().map(cell).collect::<Result<_>>().map(SqlRow)
}

/// Steps with their values as PostgreSQL takes them.
type TypedSteps<'a> = Vec<(&'a Step, Vec<Vec<SqlValue<'a>>>)>;

/// Runs steps in a transaction.
async fn run_steps(
    transaction: &Transaction<'_>,
    steps: &TypedSteps<'_>,
) -> Result<Outcome, tokio_postgres::Error> {
    let mut outcome = Outcome::default();
    for (at, (step, rows)) in steps.iter().enumerate() {
        let statement = step.statement(outcome.id);
        let mut count = 0;
        match step.kind {
            StepKind::Lock(lock) => {
                let number = schema::lock_number(lock);
                let lock = "SELECT pg_advisory_xact_lock($1)";
                transaction.query_typed(lock, &[(&number, Type::INT8)]).await?;
            }
            StepKind::Script => transaction.batch_execute(&statement).await?,
            StepKind::Find => {
                let values = rows.concat();
                let found = transaction.query_typed_opt(&statement, &values).await?;
                outcome.id = found.map(|row| row.try_get(0)).transpose()?;
            }
            StepKind::Any | StepKind::One => {
                // All are sent before the first answer is waited for, and run in this order.
                let sent = rows.iter().map(|values| transaction.execute_typed(&statement, values));
                count = try_join_all(sent).await?.into_iter().sum();
            }
        }
        outcome.changed += count;
        if (step.kind == StepKind::Find && outcome.id.is_none()) || (step.kind == StepKind::One && count != 1)
        {
            return Ok(Outcome { refused: Some(at), ..outcome });
        }
    }
    Ok(outcome)
}

/// Lines as arrays, one per column: a statement inserts as many lines as it likes in one round trip.
fn line_columns(lines: Vec<StoredLine>) -> Result<Vec<(Box<dyn ToSql + Sync + Send>, Type)>> {
    macro_rules! column {
        ($column:expr, $kind:ident, $of:ident) => {{
            let column = $column.map(|cell| if let SqlParameter::$kind(value) = cell { value } else { None });
            (Box::new(column.collect::<Vec<_>>()) as Box<dyn ToSql + Sync + Send>, Type::$of)
        }};
    }
    let count = lines.len();
    let mut columns: Vec<Vec<SqlParameter>> = vec![Vec::with_capacity(count); LINE.split(',').count()];
    for line in lines {
        let values = line_values(line)?;
        typed(&values)?;
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    // The types of the columns, also where there are no lines.
    let examples = line_values(StoredLine::default())?;
    let typed = |(column, example): (Vec<SqlParameter>, SqlParameter)| match example {
        SqlParameter::Integer(_) => column!(column.into_iter(), Integer, INT8_ARRAY),
        SqlParameter::Flag(_) => column!(column.into_iter(), Flag, BOOL_ARRAY),
        SqlParameter::Bytes(_) => column!(column.into_iter(), Bytes, BYTEA_ARRAY),
        _ => column!(column.into_iter(), Text, TEXT_ARRAY),
    };
    Ok(columns.into_iter().zip(examples).map(typed).collect())
}

/// The statement that inserts lines into an edition and counts them, if the edition is being written.
fn insert_statement(edition: i64) -> String {
    let arrays: Vec<String> = (2..).zip(LINE.split(',')).map(|(place, _)| format!("${place}")).collect();
    format!(
        "WITH written AS (
             UPDATE ayni.editions SET lines = lines + cardinality($2)
             WHERE edition = $1 AND state = {PENDING} RETURNING edition
         ), added AS (
             INSERT INTO ayni.lines_{edition} ({LINE}) SELECT line.* FROM written, unnest({}) AS line
         )
         SELECT edition FROM written",
        arrays.join(", ")
    )
}

impl Database for PostgresStore {
    const SPANS_MACHINES: bool = true;
    const SCHEMA: &'static str = "ayni.";
    const CODE_IN_LIST: &'static str = "code = ANY($3)";
    const OPEN: [&'static str; 2] = ["open", "NOT open"];
    const HAS_WORDS: &'static str = "words @@ $6::text::tsquery";
    const LINE_TABLE: &'static str = r#"
        position BIGINT PRIMARY KEY, code TEXT COLLATE "C" NOT NULL, line_id BIGINT, day TEXT, state TEXT NOT NULL,
        buyer TEXT, supplier TEXT COLLATE "C", supplier_name TEXT, product TEXT COLLATE "C", name TEXT NOT NULL,
        description TEXT, quantity TEXT, unit TEXT, unit_price TEXT, unit_currency TEXT, total TEXT,
        total_currency TEXT, chosen BOOLEAN, body BYTEA"#;
    const LINE_INDEX: &'static str = ", position";
    // Without statistics the server would guess which of two indexes is more selective.
    const AFTER_INDEXES: &'static str = "ANALYZE ayni.lines_{edition} (code, product, supplier)";
    const HOLD: [&'static str; 2] = [" FOR UPDATE", " FOR UPDATE SKIP LOCKED"];
    // A backup of the database may hold locks on its tables for hours.
    const BEFORE_DROP: &'static str = "SET LOCAL lock_timeout = '2s';";

    fn words(stems: &[String]) -> String {
        stems.iter().map(|stem| format!("'{stem}'")).collect::<Vec<_>>().join(" & ")
    }

    fn write_record(mut values: Vec<SqlParameter>, words: Option<String>) -> Vec<Step> {
        let replaced = ["state", "open", "day", "closes", "source", "as_of", "revision", "body", "words"];
        let replaced = replaced.map(|column| format!("{column} = excluded.{column}")).join(", ");
        values.push(words.map_or(SqlParameter::Text(None), text));
        let statement = format!(
            "INSERT INTO ayni.records ({RECORD}, words) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
             array_to_tsvector(string_to_array($12, ' '))) ON CONFLICT (kind, form, code) DO UPDATE SET {replaced}"
        );
        vec![Step::any(statement, values)]
    }

    async fn rows(&self, statement: String, values: Vec<SqlParameter>) -> Result<Vec<SqlRow>> {
        let values = typed(&values)?;
        self.pool.rows(&statement, &values).await?.iter().map(cells).collect()
    }

    async fn transact(&self, steps: Vec<Step>, is_idempotent: bool) -> Result<Outcome> {
        let of_step = |step| Ok((step, Step::typed_rows(step)?));
        let typed: TypedSteps<'_> = steps.iter().map(of_step).collect::<Result<_>>()?;
        let retry = if is_idempotent { Retry::Idempotent } else { Retry::IfRolledBack };
        // The most common one, of a single statement: one round trip instead of three.
        if let [(step, rows)] = &*typed
            && let ([values], StepKind::Any | StepKind::One) = (&**rows, step.kind)
        {
            let changed = self.pool.execute(&step.statement(None), values, retry).await?;
            let refused = (step.kind == StepKind::One && changed != 1).then_some(0);
            return Ok(Outcome { refused, id: None, changed });
        }
        self.pool.transact(&typed, retry).await
    }

    /// A single statement: a machine that dies leaves no open transaction for others to wait for.
    async fn insert_lines(&self, edition: i64, lines: Vec<StoredLine>) -> Result<bool> {
        let (statement, mut lines) = (insert_statement(edition), lines.into_iter());
        loop {
            let columns = line_columns(lines.by_ref().take(LINES_PER_STATEMENT).collect())?;
            let mut values: Vec<SqlValue<'_>> = vec![(&edition, Type::INT8)];
            values.extend(columns.iter().map(|(column, of)| (&**column as &(dyn ToSql + Sync), of.clone())));
            let written = match self.pool.rows_long(&statement, &values).await {
                Ok(rows) => !rows.is_empty(),
                // The positions exist: an earlier attempt wrote all of these lines, and its answer was lost.
                Err((error, true)) if pool::has_sqlstate(&error, &SqlState::UNIQUE_VIOLATION) => true,
                Err((error, _)) => return Err(error),
            };
            if !written || lines.len() == 0 {
                return Ok(written);
            }
        }
    }

    fn is_missing_table(error: &Error) -> bool {
        pool::has_sqlstate(error, &SqlState::UNDEFINED_TABLE)
    }

    fn is_held(error: &Error) -> bool {
        pool::has_sqlstate(error, &SqlState::LOCK_NOT_AVAILABLE)
    }
}

impl Step {
    fn typed_rows(&self) -> Result<Vec<Vec<SqlValue<'_>>>> {
        self.values.iter().map(|values| typed(values)).collect()
    }
}
