//! Editions of months: how they begin, are shown and go.

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::batch::Columns;
use super::pool::{Outcome, Work};
use super::portion::TABLE;
use super::schema::EDITION_LOCK;
use crate::procure::Month;
use crate::procure::store::RecordKind;

/// The states of an edition.
pub(super) const WRITTEN: i16 = 0;
pub(super) const SEEN: i16 = 1;
const SUPERSEDED: i16 = 2;

/// The table of editions, as the second version of the schema adds it.
pub(super) const EDITIONS: &str = r#"
    CREATE TABLE ayni.editions (
        edition BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind TEXT COLLATE "C" NOT NULL, month TEXT COLLATE "C" NOT NULL,
        state SMALLINT NOT NULL, lines BIGINT NOT NULL
    );
    CREATE UNIQUE INDEX editions_written ON ayni.editions (kind, month) WHERE state = 0;
    CREATE UNIQUE INDEX editions_seen ON ayni.editions (kind, month) WHERE state = 1;
"#;

/// Begins an edition and gives its number.
pub(super) struct Begin {
    pub(super) kind: RecordKind,
    pub(super) month: Month,
}

impl Work for Begin {
    type Done = i64;

    async fn run(&self, transaction: &Transaction<'_>) -> Result<Outcome<i64>, tokio_postgres::Error> {
        // Of two that begin at once, each must see the other's.
        let lock = "SELECT pg_advisory_xact_lock($1)";
        transaction.query_typed(lock, &[(&EDITION_LOCK, Type::INT8)]).await?;
        let (kind, month) = (self.kind.as_str(), self.month.to_string());
        let give_up = "UPDATE ayni.editions SET state = $3 WHERE kind = $1 AND month = $2 AND state = $4";
        transaction
            .execute_typed(
                give_up,
                &[
                    (&kind, Type::TEXT),
                    (&month, Type::TEXT),
                    (&SUPERSEDED, Type::INT2),
                    (&WRITTEN, Type::INT2),
                ],
            )
            .await?;
        let begin = "INSERT INTO ayni.editions (kind, month, state, lines) VALUES ($1, $2, $3, 0)
                     RETURNING edition";
        let values: [super::pool::Value<'_>; 3] =
            [(&kind, Type::TEXT), (&month, Type::TEXT), (&WRITTEN, Type::INT2)];
        let edition: i64 = transaction.query_typed_one(begin, &values).await?.try_get(0)?;
        transaction.batch_execute(&format!("CREATE TABLE ayni.lines_{edition} ({TABLE})")).await?;
        Ok(Outcome::Commit(edition))
    }
}

/// Shows an edition; `None` if it is not the one that is being written.
pub(super) struct Publish {
    pub(super) edition: i64,
    pub(super) batch: Columns,
}

impl Work for Publish {
    type Done = Option<bool>;

    async fn run(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<Outcome<Option<bool>>, tokio_postgres::Error> {
        // Whoever begins the next one waits from here on, and finds this one seen.
        let hold = "SELECT 1 FROM ayni.editions WHERE edition = $1 AND state = $2 FOR UPDATE";
        let values: [super::pool::Value<'_>; 2] = [(&self.edition, Type::INT8), (&WRITTEN, Type::INT2)];
        if transaction.query_typed(hold, &values).await?.is_empty() {
            return Ok(Outcome::RollBack(None));
        }
        if !self.batch.write(transaction).await? {
            return Ok(Outcome::RollBack(Some(false)));
        }
        let replace = "UPDATE ayni.editions SET state = $2 WHERE state = $3
             AND (kind, month) = (SELECT kind, month FROM ayni.editions WHERE edition = $1)";
        let values: [super::pool::Value<'_>; 3] =
            [(&self.edition, Type::INT8), (&SUPERSEDED, Type::INT2), (&SEEN, Type::INT2)];
        transaction.execute_typed(replace, &values).await?;
        let show = "UPDATE ayni.editions SET state = $2 WHERE edition = $1";
        let values: [super::pool::Value<'_>; 2] = [(&self.edition, Type::INT8), (&SEEN, Type::INT2)];
        transaction.execute_typed(show, &values).await?;
        Ok(Outcome::Commit(Some(true)))
    }
}

/// Takes an edition away that nobody sees; `false` if there is none, or another machine is taking it away.
pub(super) struct Purge;

impl Work for Purge {
    type Done = bool;

    async fn run(&self, transaction: &Transaction<'_>) -> Result<Outcome<bool>, tokio_postgres::Error> {
        let find = "SELECT edition FROM ayni.editions WHERE state = $1 LIMIT 1 FOR UPDATE SKIP LOCKED";
        let Some(row) = transaction.query_typed_opt(find, &[(&SUPERSEDED, Type::INT2)]).await? else {
            return Ok(Outcome::RollBack(false));
        };
        let edition: i64 = row.try_get(0)?;
        // Who makes a copy of the database reads all of its tables for hours.
        let statements = format!(
            "SET LOCAL lock_timeout = '2s'; DROP TABLE IF EXISTS ayni.lines_{edition};
             DELETE FROM ayni.editions WHERE edition = {edition}"
        );
        transaction.batch_execute(&statements).await?;
        Ok(Outcome::Commit(true))
    }
}
