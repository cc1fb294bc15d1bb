//! The transactions on editions: begin, publish, drop.

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::batch::BatchRows;
use super::line_columns::TABLE;
use super::pool::{TransactionEnd, TransactionWork};
use super::schema::EDITION_LOCK;
use crate::procure::Month;
use crate::procure::store::RecordKind;
use crate::procure::store::sql::{PENDING, PUBLISHED, SUPERSEDED};

/// The table of editions, which the second version of the schema adds.
pub(super) const EDITIONS: &str = r#"
    CREATE TABLE ayni.editions (
        edition BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind TEXT COLLATE "C" NOT NULL, month TEXT COLLATE "C" NOT NULL,
        state SMALLINT NOT NULL, lines BIGINT NOT NULL
    );
    CREATE UNIQUE INDEX editions_written ON ayni.editions (kind, month) WHERE state = 0;
    CREATE UNIQUE INDEX editions_seen ON ayni.editions (kind, month) WHERE state = 1;
"#;

pub(super) struct BeginEdition {
    pub(super) kind: RecordKind,
    pub(super) month: Month,
}

impl TransactionWork for BeginEdition {
    type Output = i64;

    async fn run(&self, transaction: &Transaction<'_>) -> Result<TransactionEnd<i64>, tokio_postgres::Error> {
        // If two begin at once, the second must see the first.
        let lock = "SELECT pg_advisory_xact_lock($1)";
        transaction.query_typed(lock, &[(&EDITION_LOCK, Type::INT8)]).await?;
        let (kind, month) = (self.kind.as_str(), self.month.to_string());
        let supersede = "UPDATE ayni.editions SET state = $3 WHERE kind = $1 AND month = $2 AND state = $4";
        transaction
            .execute_typed(
                supersede,
                &[
                    (&kind, Type::TEXT),
                    (&month, Type::TEXT),
                    (&SUPERSEDED, Type::INT2),
                    (&PENDING, Type::INT2),
                ],
            )
            .await?;
        let begin = "INSERT INTO ayni.editions (kind, month, state, lines) VALUES ($1, $2, $3, 0)
                     RETURNING edition";
        let values: [super::pool::SqlValue<'_>; 3] =
            [(&kind, Type::TEXT), (&month, Type::TEXT), (&PENDING, Type::INT2)];
        let edition: i64 = transaction.query_typed_one(begin, &values).await?.try_get(0)?;
        transaction.batch_execute(&format!("CREATE TABLE ayni.lines_{edition} ({TABLE})")).await?;
        Ok(TransactionEnd::Commit(edition))
    }
}

/// Publishes an edition; `None` if it is not the one that is being written.
pub(super) struct PublishEdition {
    pub(super) edition: i64,
    pub(super) batch: BatchRows,
}

impl TransactionWork for PublishEdition {
    type Output = Option<bool>;

    async fn run(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<TransactionEnd<Option<bool>>, tokio_postgres::Error> {
        // From here on, a process that begins the next edition waits, and then finds this one published.
        let hold = "SELECT 1 FROM ayni.editions WHERE edition = $1 AND state = $2 FOR UPDATE";
        let values: [super::pool::SqlValue<'_>; 2] = [(&self.edition, Type::INT8), (&PENDING, Type::INT2)];
        if transaction.query_typed(hold, &values).await?.is_empty() {
            return Ok(TransactionEnd::Rollback(None));
        }
        if !self.batch.write(transaction).await? {
            return Ok(TransactionEnd::Rollback(Some(false)));
        }
        let replace = "UPDATE ayni.editions SET state = $2 WHERE state = $3
             AND (kind, month) = (SELECT kind, month FROM ayni.editions WHERE edition = $1)";
        let values: [super::pool::SqlValue<'_>; 3] =
            [(&self.edition, Type::INT8), (&SUPERSEDED, Type::INT2), (&PUBLISHED, Type::INT2)];
        transaction.execute_typed(replace, &values).await?;
        let show = "UPDATE ayni.editions SET state = $2 WHERE edition = $1";
        let values: [super::pool::SqlValue<'_>; 2] = [(&self.edition, Type::INT8), (&PUBLISHED, Type::INT2)];
        transaction.execute_typed(show, &values).await?;
        Ok(TransactionEnd::Commit(Some(true)))
    }
}

/// Drops one superseded edition; `false` if there is none or another machine is dropping it.
pub(super) struct DropSuperseded;

impl TransactionWork for DropSuperseded {
    type Output = bool;

    async fn run(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<TransactionEnd<bool>, tokio_postgres::Error> {
        let find = "SELECT edition FROM ayni.editions WHERE state = $1 LIMIT 1 FOR UPDATE SKIP LOCKED";
        let Some(row) = transaction.query_typed_opt(find, &[(&SUPERSEDED, Type::INT2)]).await? else {
            return Ok(TransactionEnd::Rollback(false));
        };
        let edition: i64 = row.try_get(0)?;
        // A backup of the database may hold locks on its tables for hours.
        let statements = format!(
            "SET LOCAL lock_timeout = '2s'; DROP TABLE IF EXISTS ayni.lines_{edition};
             DELETE FROM ayni.editions WHERE edition = {edition}"
        );
        transaction.batch_execute(&statements).await?;
        Ok(TransactionEnd::Commit(true))
    }
}
