//! Writing a batch.

use std::collections::BTreeMap;

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::pool::{Outcome, Value, Work};
use super::schema::EVENT_LOCK;
use crate::error::{Error, Result};
use crate::procure::ChangeEvent;
use crate::procure::store::{Batch, StoredRecord};

/// Writes a document that must not be there.
const INSERT_DOCUMENT: &str =
    "INSERT INTO ayni.documents (name, version, body) VALUES ($1, 1, $2) ON CONFLICT (name) DO NOTHING";
/// Replaces a document that must be of a version.
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

/// A batch as columns, its documents and records in an order that is the same for all writers, so that no two of
/// them wait for each other.
pub(super) struct Columns {
    documents: BTreeMap<String, ReadDocument>,
    records: Records,
    events: Events,
}

struct ReadDocument {
    version: i64,
    body: Vec<u8>,
}

#[derive(Default)]
struct Records {
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
    i64::try_from(number)
        .map_err(|_| Error::invalid_request("a version, revision or place is beyond what a store holds"))
}

/// PostgreSQL keeps any text but one with a NUL in it.
fn text(text: String) -> Result<String> {
    check(&text).map(|()| text)
}

/// Refuses a text that PostgreSQL does not keep.
pub(super) fn check(text: &str) -> Result<()> {
    match text.contains('\0') {
        true => Err(Error::invalid_request("a name, code or text with a NUL in it cannot be kept")),
        false => Ok(()),
    }
}

impl Columns {
    /// # Errors
    /// `invalid_request` for a text or number that PostgreSQL does not keep.
    pub(super) fn of(batch: Batch) -> Result<Self> {
        let mut columns =
            Self { documents: BTreeMap::new(), records: Records::default(), events: Events::default() };
        for (name, version, body) in batch.documents {
            columns
                .documents
                .insert(text(name)?, ReadDocument { version: signed(version)?, body: body.into() });
        }
        // Of several with the same key the last one counts.
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

    /// Whether writing it twice is writing it once.
    pub(super) fn may_be_repeated(&self) -> bool {
        self.documents.is_empty()
    }

    /// The statement and values, if all there is to write is one document.
    pub(super) fn only_document(&self) -> Option<(&'static str, Vec<Value<'_>>)> {
        let alone = self.documents.len() == 1 && self.records.code.is_empty() && self.events.code.is_empty();
        self.documents.first_key_value().filter(|_| alone).map(|(name, document)| document.statement(name))
    }

    /// Writes everything; `false`, and something may be written, as soon as a document is no longer of the version that was read.
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

impl Work for Columns {
    type Done = bool;

    async fn run(&self, transaction: &Transaction<'_>) -> Result<Outcome<bool>, tokio_postgres::Error> {
        let is_written = self.write(transaction).await?;
        Ok(if is_written { Outcome::Commit(true) } else { Outcome::RollBack(false) })
    }
}

impl ReadDocument {
    fn statement<'a>(&'a self, name: &'a String) -> (&'static str, Vec<Value<'a>>) {
        let mut values: Vec<Value<'a>> = vec![(name, Type::TEXT), (&self.body, Type::BYTEA)];
        if self.version == 0 {
            return (INSERT_DOCUMENT, values);
        }
        values.push((&self.version, Type::INT8));
        (REPLACE_DOCUMENT, values)
    }
}

impl Records {
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
        let values: [Value<'_>; 11] = [
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
        // Positions are given out at once and seen at the end of a transaction: without taking turns, a reader
        // could pass by a position that is seen only later.
        let lock = "SELECT pg_advisory_xact_lock($1)";
        transaction.query_typed(lock, &[(&EVENT_LOCK, Type::INT8)]).await?;
        let values: [Value<'_>; 6] = [
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
