//! Lines of monthly files in an SQLite file.
//!
//! Each edition has its own table, which is written in order, has small indexes and is dropped as a whole. Deleting half a
//! million rows from one large table would take longer than inserting them.

use rusqlite::{OptionalExtension, Transaction, params};

use super::lines::{INDEXED_COLUMNS, superseded};
use super::sql::{self, PENDING, PUBLISHED, SUPERSEDED};
use super::sqlite::{SqliteStore, apply};
use super::{Batch, LineQuery, LineStore, RecordKind, StoredLine};
use crate::context::BoxFuture;
use crate::error::Result;
use crate::procure::Month;

pub(super) const TABLES: &str = "
    CREATE TABLE editions (
        edition INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL, month TEXT NOT NULL, state INTEGER NOT NULL, lines INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX editions_seen ON editions (kind, month) WHERE state = 1;
";

fn table(edition: i64) -> String {
    format!(
        "CREATE TABLE lines_{edition} (
            position INTEGER PRIMARY KEY,
            code TEXT NOT NULL, line_id INTEGER, day TEXT, state TEXT NOT NULL,
            buyer TEXT, supplier TEXT, supplier_name TEXT, product TEXT, name TEXT NOT NULL, description TEXT,
            quantity TEXT, unit TEXT, unit_price TEXT, unit_currency TEXT, total TEXT, total_currency TEXT,
            chosen INTEGER, body BLOB
        )"
    )
}

fn edition_id(edition: u64) -> i64 {
    i64::try_from(edition).unwrap_or(i64::MAX)
}

/// Whether an edition is still being written.
fn is_pending(transaction: &Transaction<'_>, edition: i64) -> rusqlite::Result<bool> {
    let state: Option<i16> = transaction
        .prepare_cached("SELECT state FROM editions WHERE edition = ?1")?
        .query_row([edition], |row| row.get(0))
        .optional()?;
    Ok(state == Some(PENDING))
}

fn insert_lines(transaction: &Transaction<'_>, edition: i64, lines: &[StoredLine]) -> rusqlite::Result<()> {
    let statement = format!(
        "INSERT INTO lines_{edition} VALUES
         (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)"
    );
    let mut insert = transaction.prepare_cached(&statement)?;
    let mut amount_texts = [String::new(), String::new(), String::new()];
    for line in lines {
        let amounts = [
            line.quantity,
            line.unit_price.as_ref().map(|money| money.amount),
            line.total.as_ref().map(|money| money.amount),
        ];
        for (text, amount) in amount_texts.iter_mut().zip(&amounts) {
            text.clear();
            if let Some(amount) = amount {
                use std::fmt::Write;
                // Writing to a `String` never fails.
                let _ = write!(text, "{amount}");
            }
        }
        let [quantity, unit_price, total] =
            [0, 1, 2].map(|which: usize| amounts[which].is_some().then_some(amount_texts[which].as_str()));
        insert.execute(params![
            line.position,
            line.code,
            line.line_id,
            line.day.map(|day| day.to_string()),
            line.state,
            line.buyer,
            line.supplier,
            line.supplier_name,
            line.product,
            line.name,
            line.description,
            quantity,
            line.unit,
            unit_price,
            line.unit_price.as_ref().map(|money| money.currency.as_str()),
            total,
            line.total.as_ref().map(|money| money.currency.as_str()),
            line.chosen,
            (!line.body.is_empty()).then_some(&*line.body),
        ])?;
    }
    transaction
        .prepare_cached("UPDATE editions SET lines = lines + ?2 WHERE edition = ?1")?
        .execute(params![edition, lines.len()])
        .map(drop)
}

/// Indexes a column of a complete edition. An index that is built at once takes a tenth of the time of one that grows in
/// random order.
fn create_index(transaction: &Transaction<'_>, edition: i64, column: &str) -> rusqlite::Result<()> {
    if !is_pending(transaction, edition)? {
        return Ok(());
    }
    let statement = format!(
        "CREATE INDEX IF NOT EXISTS lines_{edition}_by_{column} ON lines_{edition} ({column})
         WHERE {column} IS NOT NULL"
    );
    transaction.execute(&statement, []).map(drop)
}

/// Publishes an edition; `None` if it is not the one that is being written.
fn publish(transaction: &Transaction<'_>, edition: i64, batch: &Batch) -> rusqlite::Result<Option<bool>> {
    if !is_pending(transaction, edition)? {
        return Ok(None);
    }
    if !apply(transaction, batch)? {
        return Ok(Some(false));
    }
    transaction.execute(
        "UPDATE editions SET state = ?2 WHERE state = ?3
         AND (kind, month) = (SELECT kind, month FROM editions WHERE edition = ?1)",
        params![edition, SUPERSEDED, PUBLISHED],
    )?;
    transaction.execute("UPDATE editions SET state = ?2 WHERE edition = ?1", params![edition, PUBLISHED])?;
    Ok(Some(true))
}

/// Drops one superseded edition; `false` if there is none.
fn drop_superseded(transaction: &Transaction<'_>) -> rusqlite::Result<bool> {
    let edition: Option<i64> = transaction
        .prepare_cached("SELECT edition FROM editions WHERE state = ?1 LIMIT 1")?
        .query_row([SUPERSEDED], |row| row.get(0))
        .optional()?;
    let Some(edition) = edition else { return Ok(false) };
    transaction.execute(&format!("DROP TABLE IF EXISTS lines_{edition}"), [])?;
    transaction.execute("DELETE FROM editions WHERE edition = ?1", [edition])?;
    Ok(true)
}

impl SqliteStore {
    /// Drops the superseded editions, one per transaction, so that other writers can run in between.
    async fn drop_all_superseded(&self) -> Result<()> {
        while self.write(drop_superseded).await? {}
        Ok(())
    }
}

impl LineStore for SqliteStore {
    fn begin_edition(&self, kind: RecordKind, month: Month) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let edition = self.write(move |transaction| {
                let (kind, month) = (kind.as_str(), month.to_string());
                transaction.execute(
                    "UPDATE editions SET state = ?3 WHERE kind = ?1 AND month = ?2 AND state = ?4",
                    params![kind, month, SUPERSEDED, PENDING],
                )?;
                transaction.execute(
                    "INSERT INTO editions (kind, month, state, lines) VALUES (?1, ?2, ?3, 0)",
                    params![kind, month, PENDING],
                )?;
                let edition = transaction.last_insert_rowid();
                transaction.execute(&table(edition), [])?;
                Ok(edition)
            });
            let edition = edition.await?;
            self.drop_all_superseded().await?;
            Ok(edition.unsigned_abs())
        })
    }

    fn add_lines(&self, edition: u64, lines: Vec<StoredLine>) -> BoxFuture<'_, Result<()>> {
        let edition = edition_id(edition);
        Box::pin(async move {
            let added = self.write(move |transaction| {
                if !is_pending(transaction, edition)? {
                    return Ok(false);
                }
                insert_lines(transaction, edition, &lines).map(|()| true)
            });
            if added.await? { Ok(()) } else { Err(superseded()) }
        })
    }

    fn publish_edition(&self, edition: u64, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        let edition = edition_id(edition);
        Box::pin(async move {
            for column in INDEXED_COLUMNS {
                self.write(move |transaction| create_index(transaction, edition, column)).await?;
            }
            let published = self.write(move |transaction| publish(transaction, edition, &batch)).await?;
            let published = published.ok_or_else(superseded)?;
            // The edition is published, whatever happens now. What is left is dropped when the next one begins.
            let _ = self.drop_all_superseded().await;
            Ok(published)
        })
    }

    fn lines(&self, query: LineQuery) -> BoxFuture<'_, Result<Vec<(Month, StoredLine)>>> {
        Box::pin(sql::lines(self, query))
    }

    fn months(&self, kind: RecordKind) -> BoxFuture<'_, Result<Vec<(Month, u64)>>> {
        Box::pin(async move {
            Ok(sql::published(self, kind)
                .await?
                .into_iter()
                .map(|(_, month, lines)| (month, lines))
                .collect())
        })
    }
}
