//! A store in a PostgreSQL database, which several machines can share.

use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Column, Row};

use self::batch::BatchRows;
use self::pool::{Pool, Retry, SqlValue, with_timeout};
use self::server::Server;
use super::sql::{self, Database, SqlCell, SqlParameter, SqlRow, sql_store};
use super::{
    Batch, Form, LineStore, RecordKind, RecordQuery, Store, StoreAddress, StoredAnswer, StoredDocument,
    StoredEvent, StoredRecord,
};
use crate::context::BoxFuture;
use crate::error::{Error, Result};
use crate::procure::Timestamp;

mod batch;
mod editions;
mod line_columns;
mod lines;
#[cfg(test)]
mod lines_tests;
mod pool;
mod schema;
mod server;
#[cfg(test)]
pub(super) mod tests;
mod tls;

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
        let mut connection = pool.acquire().await?;
        with_timeout(schema::migrate(&mut connection.client)).await??;
        pool.release(connection);
        Ok(Self { pool: Arc::new(pool) })
    }

    /// The address. It is displayed without its password.
    pub fn address(&self) -> &StoreAddress {
        self.pool.server().address()
    }

    async fn write_batch(&self, batch: Batch) -> Result<bool> {
        let batch = BatchRows::of(batch)?;
        let repeat = if batch.is_idempotent() { Retry::Idempotent } else { Retry::IfRolledBack };
        // The most common batch: one round trip instead of three.
        if let Some((statement, values)) = batch.single_document() {
            return Ok(self.pool.execute(statement, &values, repeat).await? == 1);
        }
        self.pool.transact(&batch, repeat).await
    }

    async fn row(&self, statement: &str, values: &[SqlValue<'_>]) -> Result<Option<Row>> {
        Ok(self.pool.rows(statement, values).await?.into_iter().next())
    }
}

impl SqlParameter {
    fn typed(&self) -> SqlValue<'_> {
        match self {
            Self::Integer(number) => (number, Type::INT8),
            Self::Text(text) => (text, Type::TEXT),
            Self::Texts(texts) => (texts, Type::TEXT_ARRAY),
            Self::Bytes(bytes) => (bytes, Type::BYTEA),
        }
    }
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

impl Database for PostgresStore {
    const SCHEMA: &'static str = "ayni.";
    const CODE_IN_LIST: &'static str = "code = ANY($3)";
    const OPEN: [&'static str; 2] = ["open", "NOT open"];
    const HAS_WORDS: &'static str = "words @@ $6::text::tsquery";

    fn words(stems: &[String]) -> String {
        stems.iter().map(|stem| format!("'{stem}'")).collect::<Vec<_>>().join(" & ")
    }

    async fn rows(&self, statement: String, values: Vec<SqlParameter>) -> Result<Vec<SqlRow>> {
        let values: Vec<SqlValue<'_>> = values.iter().map(SqlParameter::typed).collect();
        self.pool.rows(&statement, &values).await?.iter().map(cells).collect()
    }

    async fn execute(&self, statement: String, values: Vec<SqlParameter>) -> Result<u64> {
        let values: Vec<SqlValue<'_>> = values.iter().map(SqlParameter::typed).collect();
        self.pool.execute(&statement, &values, Retry::Idempotent).await
    }

    fn is_missing_table(error: &Error) -> bool {
        pool::has_sqlstate(error, &SqlState::UNDEFINED_TABLE)
    }
}

sql_store! { PostgresStore { true } }
