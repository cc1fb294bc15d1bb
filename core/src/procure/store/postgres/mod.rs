//! A store in a PostgreSQL database, which several machines can share.

use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use self::batch::BatchColumns;
use self::pool::{Pool, Retry, SqlValue, with_timeout};
use self::server::Server;
use super::{
    Batch, Form, LineStore, RecordKind, RecordQuery, Store, StoreAddress, StoredAnswer, StoredDocument,
    StoredEvent, StoredRecord,
};
use crate::context::BoxFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::procure::{Change, ChangeEvent, Date, Source, Timestamp};

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

    async fn write(&self, batch: Batch) -> Result<bool> {
        let batch = BatchColumns::of(batch)?;
        let repeat = if batch.is_idempotent() { Retry::Idempotent } else { Retry::IfRolledBack };
        // The most common batch: one round trip instead of three.
        if let Some((statement, values)) = batch.single_document() {
            return Ok(self.pool.execute(statement, &values, repeat).await? == 1);
        }
        self.pool.transact(&batch, repeat).await
    }

    /// The first row of a statement's result.
    async fn row(&self, statement: &str, values: &[SqlValue<'_>]) -> Result<Option<Row>> {
        Ok(self.pool.rows(statement, values).await?.into_iter().next())
    }
}

const RECORD: &str =
    "SELECT kind, form, code, state, open, day, closes, source, as_of, revision, body FROM ayni.records";

/// A column of a row, converted by `read`. Fails for a value that ayni never writes.
fn column<'a, C: FromSql<'a>, T>(row: &'a Row, name: &str, read: impl FnOnce(C) -> Option<T>) -> Result<T> {
    let invalid = || {
        Error::new(
            ErrorKind::Unexpected,
            format!("the column '{name}' of the store has a value that ayni did not write"),
        )
    };
    read(row.try_get(name).map_err(|_| invalid())?).ok_or_else(invalid)
}

fn text(row: &Row, name: &str) -> Result<String> {
    column(row, name, |text: &str| Some(text.to_owned()))
}

fn unsigned(row: &Row, name: &str) -> Result<u64> {
    column(row, name, |number: i64| number.try_into().ok())
}

fn moment(row: &Row, name: &str) -> Result<Timestamp> {
    column(row, name, |millis| Some(Timestamp::of_unix_millis(millis)))
}

fn bytes(row: &Row, name: &str) -> Result<Bytes> {
    column(row, name, |bytes: &[u8]| Some(Bytes::copy_from_slice(bytes)))
}

/// An optional text, parsed.
fn parsed<T: std::str::FromStr>(row: &Row, name: &str) -> Result<Option<T>> {
    column(row, name, |text: Option<&str>| {
        text.map(|text| text.parse().ok()).map_or(Some(None), |read| read.map(Some))
    })
}

fn stored_record(row: &Row) -> Result<StoredRecord> {
    Ok(StoredRecord {
        kind: column(row, "kind", RecordKind::parse)?,
        form: column(row, "form", Form::parse)?,
        code: text(row, "code")?,
        state: text(row, "state")?,
        open: column(row, "open", Some)?,
        day: parsed::<Date>(row, "day")?,
        closes: parsed::<Timestamp>(row, "closes")?,
        source: Source::new(text(row, "source")?),
        as_of: moment(row, "as_of")?,
        revision: unsigned(row, "revision")?,
        body: bytes(row, "body")?,
    })
}

fn stored_event(row: &Row) -> Result<StoredEvent> {
    let event = ChangeEvent::new(
        column(row, "kind", RecordKind::parse)?,
        text(row, "code")?,
        column(row, "change", Change::parse)?,
        text(row, "fingerprint")?,
        moment(row, "noticed")?,
    );
    Ok(StoredEvent { position: unsigned(row, "position")?, revision: unsigned(row, "revision")?, event })
}

fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Store for PostgresStore {
    fn document<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<StoredDocument>>> {
        Box::pin(async move {
            let statement = "SELECT version, body FROM ayni.documents WHERE name = $1";
            let row = self.row(statement, &[(&name, Type::TEXT)]).await?;
            row.map(|row| {
                Ok(StoredDocument { version: unsigned(&row, "version")?, body: bytes(&row, "body")? })
            })
            .transpose()
        })
    }

    fn answer<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<StoredAnswer>>> {
        Box::pin(async move {
            let statement = "SELECT as_of, body FROM ayni.answers WHERE key = $1";
            let row = self.row(statement, &[(&key, Type::TEXT)]).await?;
            row.map(|row| Ok(StoredAnswer { as_of: moment(&row, "as_of")?, body: bytes(&row, "body")? }))
                .transpose()
        })
    }

    fn store_answer<'a>(&'a self, key: &'a str, answer: StoredAnswer) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let statement = "INSERT INTO ayni.answers (key, as_of, body) VALUES ($1, $2, $3)
                 ON CONFLICT (key) DO UPDATE SET as_of = excluded.as_of, body = excluded.body";
            let (as_of, body) = (answer.as_of.unix_millis(), &*answer.body);
            let values: [SqlValue<'_>; 3] = [(&key, Type::TEXT), (&as_of, Type::INT8), (&body, Type::BYTEA)];
            self.pool.execute(statement, &values, Retry::Idempotent).await.map(drop)
        })
    }

    fn delete_answers(&self, before: Timestamp) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let before = before.unix_millis();
            let statement = "DELETE FROM ayni.answers WHERE as_of < $1";
            self.pool.execute(statement, &[(&before, Type::INT8)], Retry::IfRolledBack).await
        })
    }

    fn limit_answers(&self, max_bytes: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
            let statement = "DELETE FROM ayni.answers WHERE key IN (SELECT key FROM (SELECT key,
                 SUM(octet_length(body)) OVER (ORDER BY as_of DESC, key) AS total FROM ayni.answers) AS sizes
                 WHERE total > $1)";
            self.pool.execute(statement, &[(&max_bytes, Type::INT8)], Retry::IfRolledBack).await
        })
    }

    fn records_by_code<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        codes: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>>> {
        Box::pin(async move {
            let statement = format!("{RECORD} WHERE kind = $1 AND form = $2 AND code = ANY($3)");
            let (kind, form) = (kind.as_str(), form.as_str());
            let values: [SqlValue<'_>; 3] =
                [(&kind, Type::TEXT), (&form, Type::TEXT), (&codes, Type::TEXT_ARRAY)];
            self.pool.rows(&statement, &values).await?.iter().map(stored_record).collect()
        })
    }

    fn record<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        code: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>>> {
        Box::pin(async move {
            let statement = format!("{RECORD} WHERE kind = $1 AND form = $2 AND code = $3");
            let (kind, form) = (kind.as_str(), form.as_str());
            let values: [SqlValue<'_>; 3] = [(&kind, Type::TEXT), (&form, Type::TEXT), (&code, Type::TEXT)];
            self.row(&statement, &values).await?.as_ref().map(stored_record).transpose()
        })
    }

    fn records(&self, query: RecordQuery) -> BoxFuture<'_, Result<Vec<StoredRecord>>> {
        Box::pin(async move {
            let statement = format!(
                "{RECORD} WHERE kind = $1 AND form = $2 AND ($3 IS NULL OR code > $3) AND ($4 IS NULL OR day >= $4)
                 AND ($5 IS NULL OR day <= $5) AND ($6 IS NULL OR open = $6) ORDER BY code LIMIT $7"
            );
            let (kind, form, limit) = (query.kind.as_str(), query.form.as_str(), sql_limit(query.limit));
            let (from, to) = (query.from.map(|day| day.to_string()), query.to.map(|day| day.to_string()));
            let values: [SqlValue<'_>; 7] = [
                (&kind, Type::TEXT),
                (&form, Type::TEXT),
                (&query.after, Type::TEXT),
                (&from, Type::TEXT),
                (&to, Type::TEXT),
                (&query.open, Type::BOOL),
                (&limit, Type::INT8),
            ];
            self.pool.rows(&statement, &values).await?.iter().map(stored_record).collect()
        })
    }

    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        Box::pin(self.write(batch))
    }

    fn line_store(&self) -> Result<&dyn LineStore> {
        Ok(self)
    }

    fn spans_machines(&self) -> bool {
        true
    }

    fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>>> {
        Box::pin(async move {
            let statement =
                "SELECT position, kind, code, revision, change, fingerprint, noticed FROM ayni.events
                 WHERE position > $1 ORDER BY position LIMIT $2";
            let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), sql_limit(limit));
            let values: [SqlValue<'_>; 2] = [(&after, Type::INT8), (&limit, Type::INT8)];
            self.pool.rows(statement, &values).await?.iter().map(stored_event).collect()
        })
    }
}
