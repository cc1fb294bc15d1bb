//! Lines of monthly files in a PostgreSQL database.
//!
//! As in SQLite, each edition has its own table, which is written with only the index of the position and dropped as a
//! whole. Lines are inserted by single statements: a machine that dies leaves no open transaction for others to wait for.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::batch::BatchRows;
use super::editions::{BeginEdition, DropSuperseded, PublishEdition};
use super::line_columns::{LineColumns, chunks};
use super::pool::{Retry, SqlValue, has_sqlstate, with_long_timeout};
use crate::context::BoxFuture;
use crate::error::Result;
use crate::procure::Month;
use crate::procure::store::lines::{INDEXED_COLUMNS, superseded};
use crate::procure::store::sql::{self, LINE, PENDING};
use crate::procure::store::{Batch, LineQuery, LineStore, RecordKind, StoredLine};

fn edition_id(edition: u64) -> i64 {
    i64::try_from(edition).unwrap_or(i64::MAX)
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

impl PostgresStore {
    /// Inserts lines; `false` if the edition is not the one that is being written.
    async fn insert_lines(&self, edition: i64, lines: &[StoredLine]) -> Result<bool> {
        let (statement, line_columns) = (insert_statement(edition), LineColumns::of(lines)?);
        let values = line_columns.values(&edition);
        let (mut attempt, mut may_be_written) = (1, false);
        loop {
            let connection = self.pool.acquire().await?;
            let error = match with_long_timeout(connection.client.query_typed(&statement, &values)).await? {
                Ok(rows) => {
                    self.pool.release(connection);
                    return Ok(!rows.is_empty());
                }
                Err(error) => error,
            };
            // The positions exist: an earlier attempt wrote all of these lines, and its answer was lost.
            if may_be_written && error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
                return Ok(true);
            }
            may_be_written |= error.code().is_none();
            self.pool.retry_or_fail(Retry::Idempotent, &error, connection, &mut attempt).await?;
        }
    }

    /// Indexes an edition that is being written. Each index includes the position, so that a page can be read in order.
    async fn create_indexes(&self, edition: i64) -> Result<()> {
        for column in INDEXED_COLUMNS {
            let state = "SELECT 1 FROM ayni.editions WHERE edition = $1 AND state = $2";
            let values: [SqlValue<'_>; 2] = [(&edition, Type::INT8), (&PENDING, Type::INT2)];
            if self.row(state, &values).await?.is_none() {
                return Err(superseded());
            }
            let create_index = format!(
                "CREATE INDEX IF NOT EXISTS lines_{edition}_by_{column} ON ayni.lines_{edition} ({column}, position)
                 WHERE {column} IS NOT NULL"
            );
            self.pool.execute_long(&create_index).await?;
        }
        // Without statistics the server would guess which of two indexes is more selective.
        self.pool
            .execute_long(&format!("ANALYZE ayni.lines_{edition} ({})", INDEXED_COLUMNS.join(", ")))
            .await
    }

    /// Drops the superseded editions. Those that are still being read are left for the next time.
    async fn drop_superseded(&self) -> Result<()> {
        loop {
            match self.pool.transact(&DropSuperseded, Retry::Idempotent).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) if has_sqlstate(&error, &SqlState::LOCK_NOT_AVAILABLE) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl LineStore for PostgresStore {
    fn begin_edition(&self, kind: RecordKind, month: Month) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            // If the answer of an attempt is lost, the next attempt supersedes the edition that it began.
            let edition = self.pool.transact(&BeginEdition { kind, month }, Retry::Idempotent).await?;
            self.drop_superseded().await?;
            Ok(edition.unsigned_abs())
        })
    }

    fn add_lines(&self, edition: u64, lines: Vec<StoredLine>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            for chunk in chunks(&lines) {
                if !self
                    .insert_lines(edition_id(edition), chunk)
                    .await
                    .map_err(sql::superseded_if_gone::<Self>)?
                {
                    return Err(superseded());
                }
            }
            Ok(())
        })
    }

    fn publish_edition(&self, edition: u64, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        let edition = edition_id(edition);
        Box::pin(async move {
            let batch = BatchRows::of(batch)?;
            self.create_indexes(edition).await.map_err(sql::superseded_if_gone::<Self>)?;
            let published =
                self.pool.transact(&PublishEdition { edition, batch }, Retry::IfRolledBack).await?;
            let published = published.ok_or_else(superseded)?;
            // The edition is published, whatever happens now. What is left is dropped when the next one begins.
            let _ = self.drop_superseded().await;
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
