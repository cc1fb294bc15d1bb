//! What the stores in SQLite and PostgreSQL have in common: the statements that read, and rows as records.

use bytes::Bytes;

#[cfg(feature = "postgres")]
use super::lines::superseded;
use super::{
    Form, LineQuery, RecordKind, RecordQuery, StoredAnswer, StoredDocument, StoredEvent, StoredLine,
    StoredRecord,
};
use crate::error::{Error, ErrorKind, Result};
use crate::procure::search_words::SearchWords;
use crate::procure::{Change, ChangeEvent, Currency, Decimal, Money, Month, Source, Timestamp};

/// The columns of a record, in the order of [`SqlRow::record`].
const RECORD: &str = "kind, form, code, state, open, day, closes, source, as_of, revision, body";

/// The columns of a line, in the order of [`SqlRow::line`].
pub(super) const LINE: &str = "position, code, line_id, day, state, buyer, supplier, supplier_name, product, name, \
     description, quantity, unit, unit_price, unit_currency, total, total_currency, chosen, body";

/// The states of an edition.
pub(super) const PENDING: i16 = 0;
pub(super) const PUBLISHED: i16 = 1;
pub(super) const SUPERSEDED: i16 = 2;

/// How often to start again because months were replaced while they were read.
const MAX_ATTEMPTS: u32 = 16;

/// A value of a statement, for `$1` and so on. They must first appear in this order.
#[derive(Clone, Debug)]
pub(super) enum SqlParameter {
    Integer(i64),
    Text(Option<String>),
    Texts(Vec<String>),
    Bytes(Vec<u8>),
}

/// A value of a row.
#[derive(Clone, Debug)]
pub(super) enum SqlCell {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Bytes),
}

/// A row of a result.
pub(super) struct SqlRow(pub(super) Vec<SqlCell>);

/// A database with our tables.
pub(super) trait Database: Sync {
    /// What stands before the names of tables.
    const SCHEMA: &'static str;
    /// Whether `code` is in the texts of `$3`.
    const CODE_IN_LIST: &'static str;
    /// The conditions for records that are open and for others, such that an index is used.
    const OPEN: [&'static str; 2];

    /// Whether a record has the words in `$6`.
    const HAS_WORDS: &'static str;

    /// How `$6` is written.
    fn words(stems: &[String]) -> String;

    /// The rows of a statement that only reads.
    fn rows(
        &self,
        statement: String,
        values: Vec<SqlParameter>,
    ) -> impl Future<Output = Result<Vec<SqlRow>>> + Send;

    /// Runs a statement that can be repeated, and returns the number of rows.
    fn execute(
        &self,
        statement: String,
        values: Vec<SqlParameter>,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Whether an error says that a table does not exist.
    fn is_missing_table(error: &Error) -> bool;
}

pub(super) fn integer(number: usize) -> SqlParameter {
    SqlParameter::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn text(text: impl ToString) -> SqlParameter {
    SqlParameter::Text(Some(text.to_string()))
}

fn optional(text: Option<impl ToString>) -> SqlParameter {
    SqlParameter::Text(text.map(|text| text.to_string()))
}

fn first<T>(rows: &[SqlRow], read: impl Fn(&SqlRow) -> Result<T>) -> Result<Option<T>> {
    rows.first().map(read).transpose()
}

pub(super) async fn document<D: Database>(database: &D, name: &str) -> Result<Option<StoredDocument>> {
    let statement = format!("SELECT version, body FROM {}documents WHERE name = $1", D::SCHEMA);
    let rows = database.rows(statement, vec![text(name)]).await?;
    first(&rows, |row| Ok(StoredDocument { version: row.unsigned(0)?, body: row.bytes(1)? }))
}

pub(super) async fn answer<D: Database>(database: &D, key: &str) -> Result<Option<StoredAnswer>> {
    let statement = format!("SELECT as_of, body FROM {}answers WHERE key = $1", D::SCHEMA);
    let rows = database.rows(statement, vec![text(key)]).await?;
    first(&rows, |row| Ok(StoredAnswer { as_of: row.moment(0)?, body: row.bytes(1)? }))
}

pub(super) async fn store_answer<D: Database>(database: &D, key: &str, answer: StoredAnswer) -> Result<()> {
    let statement = format!(
        "INSERT INTO {}answers (key, as_of, body) VALUES ($1, $2, $3)
         ON CONFLICT (key) DO UPDATE SET as_of = excluded.as_of, body = excluded.body",
        D::SCHEMA
    );
    let as_of = SqlParameter::Integer(answer.as_of.unix_millis());
    let values = vec![text(key), as_of, SqlParameter::Bytes(answer.body.into())];
    database.execute(statement, values).await.map(drop)
}

pub(super) async fn delete_answers<D: Database>(database: &D, before: Timestamp) -> Result<u64> {
    let statement = format!("DELETE FROM {}answers WHERE as_of < $1", D::SCHEMA);
    database.execute(statement, vec![SqlParameter::Integer(before.unix_millis())]).await
}

pub(super) async fn limit_answers<D: Database>(database: &D, max_bytes: u64) -> Result<u64> {
    let answers = format!("{}answers", D::SCHEMA);
    let statement = format!(
        "DELETE FROM {answers} WHERE key IN (SELECT key FROM (SELECT key, SUM(length(body)) OVER
         (ORDER BY as_of DESC, key) AS total FROM {answers}) AS sizes WHERE total > $1)"
    );
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    database.execute(statement, vec![SqlParameter::Integer(max_bytes)]).await
}

pub(super) async fn records_by_code<D: Database>(
    database: &D,
    kind: RecordKind,
    form: Form,
    codes: &[String],
) -> Result<Vec<StoredRecord>> {
    let statement = format!(
        "SELECT {RECORD} FROM {}records WHERE kind = $1 AND form = $2 AND {}",
        D::SCHEMA,
        D::CODE_IN_LIST
    );
    let values = vec![text(kind.as_str()), text(form.as_str()), SqlParameter::Texts(codes.to_vec())];
    database.rows(statement, values).await?.iter().map(SqlRow::record).collect()
}

pub(super) async fn records<D: Database>(database: &D, query: RecordQuery) -> Result<Vec<StoredRecord>> {
    let open = match query.open {
        None => String::new(),
        Some(open) => format!(" AND {}", D::OPEN[usize::from(!open)]),
    };
    let mut statement = format!(
        "SELECT {RECORD} FROM {}records WHERE kind = $1 AND form = $2 AND ($3 IS NULL OR code > $3)
         AND ($4 IS NULL OR day >= $4) AND ($5 IS NULL OR day <= $5){open}",
        D::SCHEMA
    );
    let mut values = vec![
        text(query.kind.as_str()),
        text(query.form.as_str()),
        optional(query.after),
        optional(query.from),
        optional(query.to),
    ];
    let words = SearchWords::new(query.text.as_deref().unwrap_or_default());
    if !words.stems().is_empty() {
        statement.push_str(&format!(" AND {}", D::HAS_WORDS));
        values.push(text(D::words(words.stems())));
    }
    values.push(integer(query.limit));
    statement.push_str(&format!(" ORDER BY code LIMIT ${}", values.len()));
    database.rows(statement, values).await?.iter().map(SqlRow::record).collect()
}

pub(super) async fn events<D: Database>(database: &D, after: u64, limit: usize) -> Result<Vec<StoredEvent>> {
    let statement = format!(
        "SELECT position, kind, code, revision, change, fingerprint, noticed FROM {}events
         WHERE position > $1 ORDER BY position LIMIT $2",
        D::SCHEMA
    );
    let after = SqlParameter::Integer(i64::try_from(after).unwrap_or(i64::MAX));
    database.rows(statement, vec![after, integer(limit)]).await?.iter().map(SqlRow::event).collect()
}

/// The published editions of a kind by month, each with its number of lines.
pub(super) async fn published<D: Database>(database: &D, kind: RecordKind) -> Result<Vec<(i64, Month, u64)>> {
    let statement = format!(
        "SELECT edition, month, lines FROM {}editions WHERE kind = $1 AND state = {PUBLISHED} ORDER BY month",
        D::SCHEMA
    );
    let rows = database.rows(statement, vec![text(kind.as_str())]).await?;
    rows.iter().map(|row| Ok((row.integer(0)?, row.parsed(1)?, row.unsigned(2)?))).collect()
}

/// The lines that match a query.
///
/// # Errors
/// `conflict` if months are replaced faster than they can be read.
pub(super) async fn lines<D: Database>(database: &D, query: LineQuery) -> Result<Vec<(Month, StoredLine)>> {
    for _ in 0..MAX_ATTEMPTS {
        match lines_once(database, &query).await {
            // A month was replaced after its edition was listed.
            Err(error) if D::is_missing_table(&error) => {}
            result => return result,
        }
    }
    Err(Error::new(
        ErrorKind::Conflict,
        "other writers keep replacing the months of the store while they are read",
    ))
}

/// Published editions do not change, so all are read as they were when they were listed.
async fn lines_once<D: Database>(database: &D, query: &LineQuery) -> Result<Vec<(Month, StoredLine)>> {
    let mut found = Vec::new();
    for (edition, month, _) in published(database, query.kind).await? {
        let left = query.limit.saturating_sub(found.len());
        if left == 0 || !query.includes(month) {
            continue;
        }
        let after = i64::try_from(query.position_after(month)).unwrap_or(i64::MAX);
        let mut values = vec![SqlParameter::Integer(after)];
        let mut statement = format!("SELECT {LINE} FROM {}lines_{edition} WHERE position > $1", D::SCHEMA);
        for (column, wanted) in query.conditions() {
            values.push(text(wanted));
            statement.push_str(&format!(" AND {column} = ${}", values.len()));
        }
        values.push(integer(left));
        statement.push_str(&format!(" ORDER BY position LIMIT ${}", values.len()));
        for row in database.rows(statement, values).await? {
            found.push((month, row.line()?));
        }
    }
    Ok(found)
}

/// The error of a write to an edition whose table is gone: a newer edition has replaced it.
#[cfg(feature = "postgres")]
pub(super) fn superseded_if_gone<D: Database>(error: Error) -> Error {
    if D::is_missing_table(&error) { superseded() } else { error }
}

impl SqlRow {
    fn invalid(at: usize) -> Error {
        Error::new(
            ErrorKind::Unexpected,
            format!("column {at} of the store has a value that ayni did not write"),
        )
    }

    pub(super) fn integer(&self, at: usize) -> Result<i64> {
        match self.0.get(at) {
            Some(SqlCell::Integer(number)) => Ok(*number),
            _ => Err(Self::invalid(at)),
        }
    }

    fn unsigned(&self, at: usize) -> Result<u64> {
        self.integer(at)?.try_into().map_err(|_| Self::invalid(at))
    }

    fn moment(&self, at: usize) -> Result<Timestamp> {
        self.integer(at).map(Timestamp::of_unix_millis)
    }

    fn bytes(&self, at: usize) -> Result<Bytes> {
        match self.0.get(at) {
            Some(SqlCell::Bytes(bytes)) => Ok(bytes.clone()),
            _ => Err(Self::invalid(at)),
        }
    }

    fn text(&self, at: usize) -> Result<String> {
        self.optional(at)?.ok_or_else(|| Self::invalid(at))
    }

    fn optional(&self, at: usize) -> Result<Option<String>> {
        match self.0.get(at) {
            Some(SqlCell::Text(text)) => Ok(Some(text.clone())),
            Some(SqlCell::Null) => Ok(None),
            _ => Err(Self::invalid(at)),
        }
    }

    /// A text that must be there, read.
    fn known<T>(&self, at: usize, read: impl Fn(&str) -> Option<T>) -> Result<T> {
        read(&self.text(at)?).ok_or_else(|| Self::invalid(at))
    }

    fn parsed<T: std::str::FromStr>(&self, at: usize) -> Result<T> {
        self.known(at, |text| text.parse().ok())
    }

    fn parsed_or_none<T: std::str::FromStr>(&self, at: usize) -> Result<Option<T>> {
        self.when_there(at, Self::parsed)
    }

    fn when_there<T>(&self, at: usize, read: impl Fn(&Self, usize) -> Result<T>) -> Result<Option<T>> {
        match self.0.get(at) {
            Some(SqlCell::Null) => Ok(None),
            _ => read(self, at).map(Some),
        }
    }

    fn money(&self, at: usize) -> Result<Option<Money>> {
        let (amount, currency) = (self.parsed_or_none::<Decimal>(at)?, self.optional(at + 1)?);
        Ok(amount.zip(currency).map(|(amount, code)| Money::new(amount, Currency::from(code.as_str()))))
    }

    fn record(&self) -> Result<StoredRecord> {
        Ok(StoredRecord {
            kind: self.known(0, RecordKind::parse)?,
            form: self.known(1, Form::parse)?,
            code: self.text(2)?,
            state: self.text(3)?,
            open: self.integer(4)? != 0,
            day: self.parsed_or_none(5)?,
            closes: self.parsed_or_none(6)?,
            source: Source::new(self.text(7)?),
            as_of: self.moment(8)?,
            revision: self.unsigned(9)?,
            body: self.bytes(10)?,
        })
    }

    fn event(&self) -> Result<StoredEvent> {
        let (kind, change) = (self.known(1, RecordKind::parse)?, self.known(4, Change::parse)?);
        let event = ChangeEvent::new(kind, self.text(2)?, change, self.text(5)?, self.moment(6)?);
        Ok(StoredEvent { position: self.unsigned(0)?, revision: self.unsigned(3)?, event })
    }

    fn line(&self) -> Result<StoredLine> {
        Ok(StoredLine {
            position: self.unsigned(0)?,
            code: self.text(1)?,
            line_id: self.when_there(2, Self::integer)?,
            day: self.parsed_or_none(3)?,
            state: self.text(4)?,
            buyer: self.optional(5)?,
            supplier: self.optional(6)?,
            supplier_name: self.optional(7)?,
            product: self.optional(8)?,
            name: self.text(9)?,
            description: self.optional(10)?,
            quantity: self.parsed_or_none(11)?,
            unit: self.optional(12)?,
            unit_price: self.money(13)?,
            total: self.money(15)?,
            chosen: self.when_there(17, Self::integer)?.map(|chosen| chosen != 0),
            body: self.when_there(18, Self::bytes)?.unwrap_or_default(),
        })
    }
}

/// Implements the store of a [`Database`]: what reads is the same for all.
macro_rules! sql_store {
    ($store:ident { $spans_machines:literal }) => {
        impl Store for $store {
            fn document<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<StoredDocument>>> {
                Box::pin(sql::document(self, name))
            }

            fn answer<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<StoredAnswer>>> {
                Box::pin(sql::answer(self, key))
            }

            fn store_answer<'a>(&'a self, key: &'a str, answer: StoredAnswer) -> BoxFuture<'a, Result<()>> {
                Box::pin(sql::store_answer(self, key, answer))
            }

            fn delete_answers(&self, before: Timestamp) -> BoxFuture<'_, Result<u64>> {
                Box::pin(sql::delete_answers(self, before))
            }

            fn limit_answers(&self, max_bytes: u64) -> BoxFuture<'_, Result<u64>> {
                Box::pin(sql::limit_answers(self, max_bytes))
            }

            fn records_by_code<'a>(
                &'a self,
                kind: RecordKind,
                form: Form,
                codes: &'a [String],
            ) -> BoxFuture<'a, Result<Vec<StoredRecord>>> {
                Box::pin(sql::records_by_code(self, kind, form, codes))
            }

            fn records(&self, query: RecordQuery) -> BoxFuture<'_, Result<Vec<StoredRecord>>> {
                Box::pin(sql::records(self, query))
            }

            fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<bool>> {
                Box::pin(self.write_batch(batch))
            }

            fn spans_machines(&self) -> bool {
                $spans_machines
            }

            fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>>> {
                Box::pin(sql::events(self, after, limit))
            }

            fn line_store(&self) -> Result<&dyn LineStore> {
                Ok(self)
            }
        }
    };
}
pub(super) use sql_store;
