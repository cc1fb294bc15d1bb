//! Lines of monthly files in a PostgreSQL database.
//!
//! As in a file, each edition is a table of its own, which is written without indexes but that of the place and
//! dropped whole. A portion of lines is one statement: no machine that dies leaves a transaction open behind it,
//! for which others would have to wait.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::PostgresStore;
use super::batch::Columns;
use super::editions::{Begin, Publish, Purge, SEEN, WRITTEN};
use super::pool::{Repeat, Value, in_long_time, is};
use super::portion::{COLUMNS, Portion, portions, stored_line};
use super::{column, most, unsigned};
use crate::context::BoxFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::procure::Month;
use crate::procure::store::lines::{SEARCHED, superseded};
use crate::procure::store::{Batch, LineQuery, LineStore, RecordKind, StoredLine};

/// So often months may be replaced while they are read.
const MOST_ROUNDS: u32 = 16;

fn number(edition: u64) -> i64 {
    i64::try_from(edition).unwrap_or(i64::MAX)
}

/// Adds lines if the edition is the one that is being written, and counts them.
fn addition(edition: i64) -> String {
    let arrays: Vec<String> = (2..).zip(COLUMNS.split(',')).map(|(place, _)| format!("${place}")).collect();
    format!(
        "WITH written AS (
             UPDATE ayni.editions SET lines = lines + cardinality($2)
             WHERE edition = $1 AND state = {WRITTEN} RETURNING edition
         ), added AS (
             INSERT INTO ayni.lines_{edition} ({COLUMNS}) SELECT line.* FROM written, unnest({}) AS line
         )
         SELECT edition FROM written",
        arrays.join(", ")
    )
}

/// An edition whose table is gone is none that is being written.
fn superseded_if_gone(error: Error) -> Error {
    if is(&error, &SqlState::UNDEFINED_TABLE) { superseded() } else { error }
}

/// An edition that is seen.
struct Edition {
    number: u64,
    month: Month,
    lines: u64,
}

impl PostgresStore {
    /// Adds some lines; `false` if the edition is not the one that is being written.
    async fn add(&self, edition: i64, lines: &[StoredLine]) -> Result<bool> {
        let (statement, portion) = (addition(edition), Portion::of(lines)?);
        let values = portion.values(&edition);
        let (mut attempt, mut is_doubtful) = (1, false);
        loop {
            let lent = self.pool.lend().await?;
            let error = match in_long_time(lent.client.query_typed(&statement, &values)).await? {
                Ok(rows) => {
                    self.pool.give_back(lent);
                    return Ok(!rows.is_empty());
                }
                Err(error) => error,
            };
            // The places are taken: an attempt whose answer was lost has written them, all at once.
            if is_doubtful && error.code() == Some(&SqlState::UNIQUE_VIOLATION) {
                return Ok(true);
            }
            is_doubtful |= error.code().is_none();
            self.pool.again(Repeat::Harmless, &error, lent, &mut attempt).await?;
        }
    }

    /// Makes an edition searchable, as long as it is the one that is being written. The place is in each index, so that
    /// a page ends where it is full.
    async fn index(&self, edition: i64) -> Result<()> {
        for column in SEARCHED {
            let state = "SELECT 1 FROM ayni.editions WHERE edition = $1 AND state = $2";
            let values: [Value<'_>; 2] = [(&edition, Type::INT8), (&WRITTEN, Type::INT2)];
            if self.row(state, &values).await?.is_none() {
                return Err(superseded());
            }
            let index = format!(
                "CREATE INDEX IF NOT EXISTS lines_{edition}_by_{column} ON ayni.lines_{edition} ({column}, position)
                 WHERE {column} IS NOT NULL"
            );
            self.pool.toil(&index).await?;
        }
        // Without it the server would guess which of two searched columns says more.
        self.pool.toil(&format!("ANALYZE ayni.lines_{edition} ({})", SEARCHED.join(", "))).await
    }

    /// Takes away what nobody sees any more. What is still being read waits for the next time.
    async fn purge(&self) -> Result<()> {
        loop {
            match self.pool.transact(&Purge, Repeat::Harmless).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) if is(&error, &SqlState::LOCK_NOT_AVAILABLE) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The editions of a kind that are seen, by month.
    async fn seen(&self, kind: RecordKind) -> Result<Vec<Edition>> {
        let statement =
            "SELECT edition, month, lines FROM ayni.editions WHERE kind = $1 AND state = $2 ORDER BY month";
        let values: [Value<'_>; 2] = [(&kind.as_str(), Type::TEXT), (&SEEN, Type::INT2)];
        let read = |row: &tokio_postgres::Row| {
            let month = column(row, "month", |text: &str| text.parse().ok())?;
            Ok(Edition { number: unsigned(row, "edition")?, month, lines: unsigned(row, "lines")? })
        };
        self.pool.rows(statement, &values).await?.iter().map(read).collect()
    }

    /// The lines of one edition that are asked for, at most `limit`.
    async fn find(&self, edition: &Edition, query: &LineQuery, limit: usize) -> Result<Vec<StoredLine>> {
        let mut statement =
            format!("SELECT {COLUMNS} FROM ayni.lines_{} WHERE position > $1", edition.number);
        let (given, limit) = (number(query.given(edition.month)), most(limit));
        let mut values: Vec<Value<'_>> = vec![(&given, Type::INT8)];
        for (column, wanted) in query.wanted() {
            values.push((wanted, Type::TEXT));
            statement.push_str(&format!(" AND {column} = ${}", values.len()));
        }
        values.push((&limit, Type::INT8));
        statement.push_str(&format!(" ORDER BY position LIMIT ${}", values.len()));
        self.pool.rows(&statement, &values).await?.iter().map(stored_line).collect()
    }

    async fn found(&self, query: &LineQuery) -> Result<Vec<(Month, StoredLine)>> {
        let mut found = Vec::new();
        // Nothing of an edition changes once it is seen: they are all read as they were when they were listed.
        for edition in self.seen(query.kind).await? {
            let left = query.limit.saturating_sub(found.len());
            if left > 0 && query.wants(edition.month) {
                let lines = self.find(&edition, query, left).await?;
                found.extend(lines.into_iter().map(|line| (edition.month, line)));
            }
        }
        Ok(found)
    }
}

impl LineStore for PostgresStore {
    fn begin_edition(&self, kind: RecordKind, month: Month) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            // One that was begun unnoticed is given up by the next attempt.
            let edition = self.pool.transact(&Begin { kind, month }, Repeat::Harmless).await?;
            self.purge().await?;
            Ok(edition.unsigned_abs())
        })
    }

    fn add_lines(&self, edition: u64, lines: Vec<StoredLine>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            for some in portions(&lines) {
                if !self.add(number(edition), some).await.map_err(superseded_if_gone)? {
                    return Err(superseded());
                }
            }
            Ok(())
        })
    }

    fn publish_edition(&self, edition: u64, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        let edition = number(edition);
        Box::pin(async move {
            let batch = Columns::of(batch)?;
            self.index(edition).await.map_err(superseded_if_gone)?;
            let published = self.pool.transact(&Publish { edition, batch }, Repeat::OnlyIfUndone).await?;
            let published = published.ok_or_else(superseded)?;
            // The edition is seen by now, whatever happens: what is left is taken away when the next one begins.
            let _ = self.purge().await;
            Ok(published)
        })
    }

    fn lines(&self, query: LineQuery) -> BoxFuture<'_, Result<Vec<(Month, StoredLine)>>> {
        Box::pin(async move {
            for _ in 0..MOST_ROUNDS {
                match self.found(&query).await {
                    // A month was replaced between the listing and the reading.
                    Err(error) if is(&error, &SqlState::UNDEFINED_TABLE) => {}
                    found => return found,
                }
            }
            Err(Error::new(
                ErrorKind::Conflict,
                "the months of the store are replaced faster than they can be read",
            ))
        })
    }

    fn months(&self, kind: RecordKind) -> BoxFuture<'_, Result<Vec<(Month, u64)>>> {
        Box::pin(async move {
            let seen = self.seen(kind).await?;
            Ok(seen.into_iter().map(|edition| (edition.month, edition.lines)).collect())
        })
    }
}
