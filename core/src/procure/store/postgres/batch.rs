//! Writing a batch, column by column.

use std::collections::BTreeMap;

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::pool::{SqlValue, TransactionEnd, TransactionWork};
use super::schema::EVENT_LOCK;
use crate::error::{Error, Result};
use crate::procure::ChangeEvent;
use crate::procure::store::{Batch, StoredRecord};

/// Writes a document that must not exist.
const INSERT_DOCUMENT: &str =
    "INSERT INTO ayni.documents (name, version, body) VALUES ($1, 1, $2) ON CONFLICT (name) DO NOTHING";
/// Replaces a document that must have a certain version.
const REPLACE_DOCUMENT: &str =
    "UPDATE ayni.documents SET version = version + 1, body = $2 WHERE name = $1 AND version = $3";

const RECORDS: &str = "
    INSERT INTO ayni.records (kind, form, code, state, open, day, closes, source, as_of, revision, body)
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (kind, form, code) DO UPDATE SET
        state = excluded.state, open = excluded.open, day = excluded.day, closes = excluded.closes,
        source = excluded.source, as_of = excluded.as_of, revision = excluded.revision, body = excluded.body";

const EVENTS: &str = "
    INSERT INTO ayni.events (kind, code, revision, change, fingerprint, noticed)
    SELECT kind, code, revision, change, fingerprint, noticed
    FROM unnest($1, $2, $3, $4, $5, $6) WITH ORDINALITY
        AS event (kind, code, revision, change, fingerprint, noticed, place)
    ORDER BY place
    ON CONFLICT (kind, code, revision) DO NOTHING";

/// A batch as columns. All writers write documents and records in the same order, so that they do not deadlock.
pub(super) struct BatchColumns {
    documents: BTreeMap<String, ReadDocument>,
    records: RecordColumns,
    events: Events,
}

struct ReadDocument {
    version: i64,
    body: Vec<u8>,
}

#[derive(Default)]
struct RecordColumns {
    kind: Vec<&'static str>,
    form: Vec<&'static str>,
    code: Vec<String>,
    state: Vec<String>,
    open: Vec<bool>,
    day: Vec<Option<String>>,
    closes: Vec<Option<String>>,
    source: Vec<String>,
    as_of: Vec<i64>,
    revision: Vec<i64>,
    body: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Events {
    kind: Vec<&'static str>,
    code: Vec<String>,
    revision: Vec<i64>,
    change: Vec<&'static str>,
    fingerprint: Vec<String>,
    noticed: Vec<i64>,
}

/// PostgreSQL has no unsigned numbers.
pub(super) fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| {
        Error::invalid_request("a version, revision or position is larger than a store can hold")
    })
}

/// PostgreSQL cannot store a text with NUL.
fn text(text: String) -> Result<String> {
    check(&text).map(|()| text)
}

/// Refuses a text that PostgreSQL cannot store.
pub(super) fn check(text: &str) -> Result<()> {
    match text.contains('\0') {
        true => Err(Error::invalid_request("a name, code or text with NUL cannot be stored")),
        false => Ok(()),
    }
}

impl BatchColumns {
    /// The columns of a batch.
    ///
    /// # Errors
    /// `invalid_request` for a text or number that PostgreSQL cannot store.
    pub(super) fn of(batch: Batch) -> Result<Self> {
        let mut columns =
            Self { documents: BTreeMap::new(), records: RecordColumns::default(), events: Events::default() };
        for (name, version, body) in batch.documents {
            columns
                .documents
                .insert(text(name)?, ReadDocument { version: signed(version)?, body: body.into() });
        }
        // Of records with the same key, the last one counts.
        let records: BTreeMap<_, _> = batch
            .records
            .into_iter()
            .map(|record| ((record.kind, record.form, record.code.clone()), record))
            .collect();
        for record in records.into_values() {
            columns.records.push(record)?;
        }
        for (event, revision) in batch.events {
            columns.events.push(event, revision)?;
        }
        Ok(columns)
    }

    /// Whether writing it twice has the same effect as once.
    pub(super) fn is_idempotent(&self) -> bool {
        self.documents.is_empty()
    }

    /// The statement and its values, if the batch is a single document.
    pub(super) fn single_document(&self) -> Option<(&'static str, Vec<SqlValue<'_>>)> {
        let alone = self.documents.len() == 1 && self.records.code.is_empty() && self.events.code.is_empty();
        self.documents.first_key_value().filter(|_| alone).map(|(name, document)| document.statement(name))
    }

    /// Writes everything. Returns `false`, possibly with some of it written, if a document no longer has the version that
    /// was read.
    pub(super) async fn write(&self, transaction: &Transaction<'_>) -> Result<bool, tokio_postgres::Error> {
        for (name, document) in &self.documents {
            let (statement, values) = document.statement(name);
            if transaction.execute_typed(statement, &values).await? != 1 {
                return Ok(false);
            }
        }
        self.records.write(transaction).await?;
        self.events.write(transaction).await?;
        Ok(true)
    }
}

impl TransactionWork for BatchColumns {
    type Output = bool;

    async fn run(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<TransactionEnd<bool>, tokio_postgres::Error> {
        let is_written = self.write(transaction).await?;
        Ok(if is_written { TransactionEnd::Commit(true) } else { TransactionEnd::Rollback(false) })
    }
}

impl ReadDocument {
    fn statement<'a>(&'a self, name: &'a String) -> (&'static str, Vec<SqlValue<'a>>) {
        let mut values: Vec<SqlValue<'a>> = vec![(name, Type::TEXT), (&self.body, Type::BYTEA)];
        if self.version == 0 {
            return (INSERT_DOCUMENT, values);
        }
        values.push((&self.version, Type::INT8));
        (REPLACE_DOCUMENT, values)
    }
}

impl RecordColumns {
    fn push(&mut self, record: StoredRecord) -> Result<()> {
        self.kind.push(record.kind.as_str());
        self.form.push(record.form.as_str());
        self.code.push(text(record.code)?);
        self.state.push(text(record.state)?);
        self.open.push(record.open);
        self.day.push(record.day.map(|day| day.to_string()));
        self.closes.push(record.closes.map(|closes| closes.to_string()));
        self.source.push(text(record.source.as_str().to_owned())?);
        self.as_of.push(record.as_of.unix_millis());
        self.revision.push(signed(record.revision)?);
        self.body.push(record.body.to_vec());
        Ok(())
    }

    async fn write(&self, transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        if self.code.is_empty() {
            return Ok(());
        }
        let values: [SqlValue<'_>; 11] = [
            (&self.kind, Type::TEXT_ARRAY),
            (&self.form, Type::TEXT_ARRAY),
            (&self.code, Type::TEXT_ARRAY),
            (&self.state, Type::TEXT_ARRAY),
            (&self.open, Type::BOOL_ARRAY),
            (&self.day, Type::TEXT_ARRAY),
            (&self.closes, Type::TEXT_ARRAY),
            (&self.source, Type::TEXT_ARRAY),
            (&self.as_of, Type::INT8_ARRAY),
            (&self.revision, Type::INT8_ARRAY),
            (&self.body, Type::BYTEA_ARRAY),
        ];
        transaction.execute_typed(RECORDS, &values).await.map(drop)
    }
}

impl Events {
    fn push(&mut self, event: ChangeEvent, revision: u64) -> Result<()> {
        self.kind.push(event.kind.as_str());
        self.code.push(text(event.code)?);
        self.revision.push(signed(revision)?);
        self.change.push(event.change.as_str());
        self.fingerprint.push(text(event.fingerprint)?);
        self.noticed.push(event.noticed.unix_millis());
        Ok(())
    }

    async fn write(&self, transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        if self.code.is_empty() {
            return Ok(());
        }
        // PostgreSQL assigns positions at once but shows rows at the end of a transaction. Without the lock, a reader could
        // skip a position that becomes visible later.
        let lock = "SELECT pg_advisory_xact_lock($1)";
        transaction.query_typed(lock, &[(&EVENT_LOCK, Type::INT8)]).await?;
        let values: [SqlValue<'_>; 6] = [
            (&self.kind, Type::TEXT_ARRAY),
            (&self.code, Type::TEXT_ARRAY),
            (&self.revision, Type::INT8_ARRAY),
            (&self.change, Type::TEXT_ARRAY),
            (&self.fingerprint, Type::TEXT_ARRAY),
            (&self.noticed, Type::INT8_ARRAY),
        ];
        transaction.execute_typed(EVENTS, &values).await.map(drop)
    }
}
