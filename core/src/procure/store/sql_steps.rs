//! What is written to an SQL database: transactions as lists of steps, which each database runs in its own way.

use std::borrow::Cow;

use super::lines::{INDEXED_COLUMNS, superseded};
use super::sql::{
    Database, PENDING, PUBLISHED, SUPERSEDED, SqlParameter, clamped, lines, number, optional, published, text,
};
use super::{Batch, LineQuery, LineStore, RecordKind, StoredLine, StoredRecord};
use crate::context::BoxFuture;
use crate::error::{Error, Result};
use crate::procure::{Money, Month, search_words};

/// A step of a transaction.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The statement; `{id}` stands for the number that an earlier step has found.
    statement: String,
    /// The values, once for each time that it is run.
    pub(super) values: Vec<Vec<SqlParameter>>,
    pub(super) kind: StepKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepKind {
    /// Changes any number of rows.
    Any,
    /// Changes one row; otherwise the transaction is rolled back.
    One,
    /// Finds a number, in the first column of the first row; without one the transaction is rolled back.
    Find,
    /// Several statements without values, which may take long.
    Script,
    /// Waits until no other transaction of any machine is in such a step.
    Lock(Lock),
}

/// What only one transaction does at a time where several machines share a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// Writing events. Positions are given at once and seen at the end: without the lock, a reader could skip one.
    Events,
    /// Beginning an edition. If two begin at once, the second must see the first.
    Editions,
}

/// What a transaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The step for which it was rolled back; `None` if it was committed.
    pub(super) refused: Option<usize>,
    /// The number that was found last.
    pub(super) id: Option<i64>,
    /// The number of rows that were changed.
    pub(super) changed: u64,
}

impl Step {
    fn new(kind: StepKind, statement: impl Into<String>, values: Vec<Vec<SqlParameter>>) -> Self {
        Self { statement: statement.into(), values, kind }
    }

    pub(super) fn any(statement: impl Into<String>, values: Vec<SqlParameter>) -> Self {
        Self::new(StepKind::Any, statement, vec![values])
    }

    pub(super) fn many(statement: impl Into<String>, values: Vec<Vec<SqlParameter>>) -> Self {
        Self::new(StepKind::Any, statement, values)
    }

    pub(super) fn find(statement: impl Into<String>, values: Vec<SqlParameter>) -> Self {
        Self::new(StepKind::Find, statement, vec![values])
    }

    fn script(statement: impl Into<String>) -> Self {
        Self::new(StepKind::Script, statement, vec![Vec::new()])
    }

    fn lock(lock: Lock) -> Self {
        Self::new(StepKind::Lock(lock), "", vec![Vec::new()])
    }

    /// The statement, with the number that an earlier step has found.
    pub(super) fn statement(&self, id: Option<i64>) -> Cow<'_, str> {
        match id {
            Some(id) => Cow::Owned(self.statement.replace("{id}", &id.to_string())),
            None => Cow::Borrowed(&self.statement),
        }
    }
}

/// Databases have no unsigned numbers.
pub(super) fn signed(value: u64) -> Result<SqlParameter> {
    i64::try_from(value).map(number).map_err(|_| {
        Error::invalid_request("a version, revision or position is larger than a store can hold")
    })
}

/// Writes a batch. All writers write documents and records in the same order, so that they do not wait for each other.
pub(super) fn batch_steps<D: Database>(mut batch: Batch) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    batch.documents.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    for (name, version, body) in batch.documents {
        let mut values = vec![text(name), SqlParameter::Bytes(Some(body.into()))];
        let statement = match version {
            0 => "documents (name, version, body) VALUES ($1, 1, $2) ON CONFLICT (name) DO NOTHING",
            _ => "documents SET version = version + 1, body = $2 WHERE name = $1 AND version = $3",
        };
        let verb = if version == 0 { "INSERT INTO" } else { "UPDATE" };
        values.extend((version > 0).then(|| signed(version)).transpose()?);
        let statement = format!("{verb} {}{statement}", D::SCHEMA);
        steps.push(Step::new(StepKind::One, statement, vec![values]));
    }
    batch.records.sort_by(|one, other| key(one).cmp(&key(other)));
    for record in batch.records {
        let words = search_words::of_record(&record);
        steps.extend(D::write_record(record_values(record)?, words));
    }
    if !batch.events.is_empty() {
        let events = batch.events.into_iter().map(|(event, revision)| {
            let noticed = number(event.noticed.unix_millis());
            let change = text(event.change);
            Ok(vec![
                text(event.kind.as_str()),
                text(event.code),
                signed(revision)?,
                change,
                text(event.fingerprint),
                noticed,
            ])
        });
        let statement = format!(
            "INSERT INTO {}events (kind, code, revision, change, fingerprint, noticed)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (kind, code, revision) DO NOTHING",
            D::SCHEMA
        );
        steps.push(Step::lock(Lock::Events));
        steps.push(Step::many(statement, events.collect::<Result<_>>()?));
    }
    Ok(steps)
}

fn key(record: &StoredRecord) -> (&str, &str, &str) {
    (record.kind.as_str(), record.form.as_str(), &record.code)
}

fn record_values(record: StoredRecord) -> Result<Vec<SqlParameter>> {
    Ok(vec![
        text(record.kind.as_str()),
        text(record.form.as_str()),
        text(record.code),
        text(record.state),
        SqlParameter::Flag(Some(record.open)),
        optional(record.day),
        optional(record.closes),
        text(record.source.as_str()),
        number(record.as_of.unix_millis()),
        signed(record.revision)?,
        SqlParameter::Bytes(Some(record.body.into())),
    ])
}

/// The values of a line, in the order of its columns.
pub(super) fn line_values(line: StoredLine) -> Result<Vec<SqlParameter>> {
    let money = |money: Option<Money>| match money {
        Some(money) => [text(money.amount), text(money.currency.as_str())],
        None => [const { SqlParameter::Text(None) }; 2],
    };
    let ([unit_price, unit_currency], [total, total_currency]) = (money(line.unit_price), money(line.total));
    Ok(vec![
        signed(line.position)?,
        SqlParameter::Text(Some(line.code)),
        SqlParameter::Integer(line.line_id),
        optional(line.day),
        SqlParameter::Text(Some(line.state)),
        SqlParameter::Text(line.buyer),
        SqlParameter::Text(line.supplier),
        SqlParameter::Text(line.supplier_name),
        SqlParameter::Text(line.product),
        SqlParameter::Text(Some(line.name)),
        SqlParameter::Text(line.description),
        optional(line.quantity),
        SqlParameter::Text(line.unit),
        unit_price,
        unit_currency,
        total,
        total_currency,
        SqlParameter::Flag(line.chosen),
        SqlParameter::Bytes(Some(line.body.into()).filter(|body: &Vec<u8>| !body.is_empty())),
    ])
}

/// Goes on only if an edition is still being written, and perhaps holds it.
pub(super) fn if_pending<D: Database>(edition: i64, hold: &str) -> Step {
    let statement =
        format!("SELECT edition FROM {}editions WHERE edition = $1 AND state = {PENDING}{hold}", D::SCHEMA);
    Step::find(statement, vec![number(edition)])
}

/// Drops the superseded editions, one per transaction, so that other writers can run in between. Those that are still
/// being read are left for the next time.
async fn drop_superseded<D: Database>(database: &D) -> Result<()> {
    let ([_, skip], schema) = (D::HOLD, D::SCHEMA);
    let find = format!("SELECT edition FROM {schema}editions WHERE state = {SUPERSEDED} LIMIT 1{skip}");
    let drop = format!(
        "{} DROP TABLE IF EXISTS {schema}lines_{{id}}; DELETE FROM {schema}editions WHERE edition = {{id}}",
        D::BEFORE_DROP
    );
    loop {
        let steps = vec![Step::find(find.as_str(), Vec::new()), Step::script(drop.as_str())];
        match database.transact(steps, true).await {
            Ok(Outcome { refused: None, .. }) => {}
            Err(error) if !D::is_held(&error) => return Err(error),
            _ => return Ok(()),
        }
    }
}

/// Each edition has its own table, which is written in order, gets its indexes when it is complete, and is dropped as a
/// whole: an index that is built at once takes a tenth of the time of one that grows in random order, and deleting half a
/// million rows would take longer than inserting them.
impl<D: Database> LineStore for D {
    fn begin_edition(&self, kind: RecordKind, month: Month) -> BoxFuture<'_, Result<u64>> {
        let (key, schema) = (vec![text(kind.as_str()), text(month)], D::SCHEMA);
        let supersede = format!(
            "UPDATE {schema}editions SET state = {SUPERSEDED} WHERE kind = $1 AND month = $2 AND state = {PENDING}"
        );
        let begin = format!(
            "INSERT INTO {schema}editions (kind, month, state, lines) VALUES ($1, $2, {PENDING}, 0)
             RETURNING edition"
        );
        let steps = vec![
            Step::lock(Lock::Editions),
            Step::any(supersede, key.clone()),
            Step::find(begin, key),
            Step::script(format!("CREATE TABLE {schema}lines_{{id}} ({})", D::LINE_TABLE)),
        ];
        Box::pin(async move {
            // If the answer of an attempt is lost, the next attempt supersedes the edition that it began.
            let edition = self.transact(steps, true).await?.id.unwrap_or_default();
            drop_superseded(self).await?;
            Ok(edition.unsigned_abs())
        })
    }

    fn add_lines(&self, edition: u64, lines: Vec<StoredLine>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            match self.insert_lines(clamped(edition), lines).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(superseded()),
                // Its table is gone: a newer edition has replaced it.
                Err(error) if D::is_missing_table(&error) => Err(superseded()),
                Err(error) => Err(error),
            }
        })
    }

    fn publish_edition(&self, edition: u64, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            let (edition, schema) = (clamped(edition), D::SCHEMA);
            let index = |column: &str| {
                format!(
                    "CREATE INDEX IF NOT EXISTS lines_{edition}_by_{column} ON {schema}lines_{edition}
                     ({column}{}) WHERE {column} IS NOT NULL",
                    D::LINE_INDEX
                )
            };
            let analyse = D::AFTER_INDEXES.replace("{edition}", &edition.to_string());
            for script in INDEXED_COLUMNS.into_iter().map(index).chain([analyse]) {
                let steps = vec![if_pending::<D>(edition, ""), Step::script(script)];
                if self.transact(steps, true).await?.refused.is_some() {
                    return Err(superseded());
                }
            }
            let replace = format!(
                "UPDATE {schema}editions SET state = {SUPERSEDED} WHERE state = {PUBLISHED}
                 AND (kind, month) = (SELECT kind, month FROM {schema}editions WHERE edition = $1)"
            );
            let show = format!("UPDATE {schema}editions SET state = {PUBLISHED} WHERE edition = $1");
            let mut steps = vec![if_pending::<D>(edition, D::HOLD[0])];
            steps.extend(batch_steps::<D>(batch)?);
            steps.extend([replace, show].map(|statement| Step::any(statement, vec![number(edition)])));
            match self.transact(steps, false).await?.refused {
                Some(0) => return Err(superseded()),
                Some(_) => return Ok(false),
                None => {}
            }
            // The edition is published, whatever happens now. What is left is dropped when the next one begins.
            let _ = drop_superseded(self).await;
            Ok(true)
        })
    }

    fn lines(&self, query: LineQuery) -> BoxFuture<'_, Result<Vec<(Month, StoredLine)>>> {
        Box::pin(lines(self, query))
    }

    fn months(&self, kind: RecordKind) -> BoxFuture<'_, Result<Vec<(Month, u64)>>> {
        Box::pin(async move {
            let published = published(self, kind).await?.into_iter();
            Ok(published.map(|(_, month, lines)| (month, lines)).collect())
        })
    }
}
