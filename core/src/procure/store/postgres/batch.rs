//! Writing a batch: its records and events cross as JSON.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::pool::{SqlValue, TransactionEnd, TransactionWork};
use super::schema::EVENT_LOCK;
use crate::error::{Error, Result};
use crate::procure::store::{Batch, StoredRecord};
use crate::procure::{ChangeEvent, search_words};

/// Writes a document that must not exist.
const INSERT_DOCUMENT: &str =
    "INSERT INTO ayni.documents (name, version, body) VALUES ($1, 1, $2) ON CONFLICT (name) DO NOTHING";
/// Replaces a document that must have a certain version.
const REPLACE_DOCUMENT: &str =
    "UPDATE ayni.documents SET version = version + 1, body = $2 WHERE name = $1 AND version = $3";

const RECORDS: &str = "
    INSERT INTO ayni.records (kind, form, code, state, open, day, closes, source, as_of, revision, body, words)
    SELECT kind, form, code, state, open, day, closes, source, as_of, revision, decode(body, 'base64'),
        array_to_tsvector(string_to_array(words, ' '))
    FROM json_to_recordset($1::text::json) AS record (
        kind TEXT, form TEXT, code TEXT, state TEXT, open BOOLEAN, day TEXT, closes TEXT, source TEXT, as_of BIGINT,
        revision BIGINT, body TEXT, words TEXT)
    ON CONFLICT (kind, form, code) DO UPDATE SET
        state = excluded.state, open = excluded.open, day = excluded.day, closes = excluded.closes,
        source = excluded.source, as_of = excluded.as_of, revision = excluded.revision, body = excluded.body,
        words = excluded.words";

const EVENTS: &str = "
    INSERT INTO ayni.events (kind, code, revision, change, fingerprint, noticed)
    SELECT kind, code, revision, change, fingerprint, noticed
    FROM ROWS FROM (json_to_recordset($1::text::json) AS (
        kind TEXT, code TEXT, revision BIGINT, change TEXT, fingerprint TEXT, noticed BIGINT)) WITH ORDINALITY
        AS event (kind, code, revision, change, fingerprint, noticed, place)
    ORDER BY place
    ON CONFLICT (kind, code, revision) DO NOTHING";

/// A batch as JSON. All writers write documents and records in the same order, so that they do not deadlock.
pub(super) struct BatchRows {
    documents: BTreeMap<String, ReadDocument>,
    /// `None` if there are none.
    records: Option<String>,
    events: Option<String>,
}

struct ReadDocument {
    version: i64,
    body: Vec<u8>,
}

/// PostgreSQL has no unsigned numbers.
pub(super) fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| {
        Error::invalid_request("a version, revision or position is larger than a store can hold")
    })
}

/// Refuses a text that PostgreSQL cannot store.
pub(super) fn check(text: &str) -> Result<()> {
    match text.contains('\0') {
        true => Err(Error::invalid_request("a name, code or text with NUL cannot be stored")),
        false => Ok(()),
    }
}

fn array(rows: Vec<Value>) -> Option<String> {
    (!rows.is_empty()).then(|| Value::Array(rows).to_string())
}

fn record_row(record: StoredRecord) -> Result<Value> {
    [&record.code, &record.state, record.source.as_str()].into_iter().try_for_each(check)?;
    Ok(json!({
        "kind": record.kind.as_str(), "form": record.form.as_str(), "code": record.code, "state": record.state,
        "open": record.open, "day": record.day, "closes": record.closes, "source": record.source,
        "as_of": record.as_of.unix_millis(), "revision": signed(record.revision)?,
        "body": BASE64.encode(&record.body), "words": search_words::of_record(&record),
    }))
}

fn event_row((event, revision): (ChangeEvent, u64)) -> Result<Value> {
    [&event.code, &event.fingerprint].into_iter().try_for_each(|text| check(text))?;
    Ok(json!({
        "kind": event.kind.as_str(), "code": event.code, "revision": signed(revision)?,
        "change": event.change.as_str(), "fingerprint": event.fingerprint, "noticed": event.noticed.unix_millis(),
    }))
}

impl BatchRows {
    /// The rows of a batch.
    ///
    /// # Errors
    /// `invalid_request` for a text or number that PostgreSQL cannot store.
    pub(super) fn of(batch: Batch) -> Result<Self> {
        let mut documents = BTreeMap::new();
        for (name, version, body) in batch.documents {
            check(&name)?;
            documents.insert(name, ReadDocument { version: signed(version)?, body: body.into() });
        }
        // Of records with the same key, the last one counts.
        let key = |record: &StoredRecord| (record.kind, record.form, record.code.clone());
        let records: BTreeMap<_, _> =
            batch.records.into_iter().map(|record| (key(&record), record)).collect();
        let records = records.into_values().map(record_row).collect::<Result<_>>()?;
        let events = batch.events.into_iter().map(event_row).collect::<Result<_>>()?;
        Ok(Self { documents, records: array(records), events: array(events) })
    }

    /// Whether writing it twice has the same effect as once.
    pub(super) fn is_idempotent(&self) -> bool {
        self.documents.is_empty()
    }

    /// The statement and its values, if the batch is a single document.
    pub(super) fn single_document(&self) -> Option<(&'static str, Vec<SqlValue<'_>>)> {
        let alone = self.documents.len() == 1 && self.records.is_none() && self.events.is_none();
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
        if let Some(records) = &self.records {
            transaction.execute_typed(RECORDS, &[(records, Type::TEXT)]).await?;
        }
        if let Some(events) = &self.events {
            // PostgreSQL assigns positions at once but shows rows at the end of a transaction. Without the lock, a reader
            // could skip a position that becomes visible later.
            let lock = "SELECT pg_advisory_xact_lock($1)";
            transaction.query_typed(lock, &[(&EVENT_LOCK, Type::INT8)]).await?;
            transaction.execute_typed(EVENTS, &[(events, Type::TEXT)]).await?;
        }
        Ok(true)
    }
}

impl TransactionWork for BatchRows {
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
