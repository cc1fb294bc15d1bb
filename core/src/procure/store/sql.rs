//! The store in an SQL database: SQLite and PostgreSQL have the same tables and the same statements.

use bytes::Bytes;

use super::sql_steps::{Outcome, Step, batch_steps};
use super::{
    Batch, Form, LineQuery, LineStore, RecordKind, RecordQuery, Store, StoredAnswer, StoredDocument,
    StoredEvent, StoredLine, StoredRecord,
};
use crate::context::BoxFuture;
use crate::error::{Error, ErrorKind, Result};
use crate::procure::search_words::SearchWords;
use crate::procure::{Change, ChangeEvent, Currency, Decimal, Money, Month, Source, Timestamp};

/// The columns of a record, in the order of [`SqlRow::record`].
pub(super) const RECORD: &str = "kind, form, code, state, open, day, closes, source, as_of, revision, body";

/// The columns of a line, in the order of [`SqlRow::line`].
pub(super) const LINE: &str = "position, code, line_id, day, state, buyer, supplier, supplier_name, product, name, \
     description, quantity, unit, unit_price, unit_currency, total, total_currency, chosen, body";

/// The states of an edition.
pub(super) const PENDING: i64 = 0;
pub(super) const PUBLISHED: i64 = 1;
pub(super) const SUPERSEDED: i64 = 2;

/// How often to start again because months were replaced while they were read.
const MAX_ATTEMPTS: u32 = 16;

/// A value of a statement, for `$1` and so on.
#[derive(Clone, Debug)]
pub(super) enum SqlParameter {
    Integer(Option<i64>),
    Flag(Option<bool>),
    Text(Option<String>),
    Texts(Vec<String>),
    Bytes(Option<Vec<u8>>),
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

/// A database with our tables, and how its SQL differs from that of others. What implements it is a [`Store`].
pub(super) trait Database: Send + Sync + std::fmt::Debug + 'static {
    /// Whether several machines share it.
    const SPANS_MACHINES: bool;
    /// What stands before the names of tables.
    const SCHEMA: &'static str;
    /// Whether `code` is in the texts of `$3`.
    const CODE_IN_LIST: &'static str;
    /// The conditions for records that are open and for others, such that an index is used.
    const OPEN: [&'static str; 2];
    /// Whether a record has the words in `$6`.
    const HAS_WORDS: &'static str;
    /// The columns of the table of an edition.
    const LINE_TABLE: &'static str;
    /// What an index of lines has after its column, so that a page can be read in order.
    const LINE_INDEX: &'static str;
    /// What is run after the indexes of an edition are made; `{edition}` stands for its number.
    const AFTER_INDEXES: &'static str;
    /// Holds the rows of a `SELECT` for the transaction, or skips those that another one holds.
    const HOLD: [&'static str; 2];
    /// What is run before a table is dropped.
    const BEFORE_DROP: &'static str;

    /// How `$6` is written.
    fn words(stems: &[String]) -> String;

    /// Writes a record, of which these are the values of [`RECORD`], and files its words.
    fn write_record(values: Vec<SqlParameter>, words: Option<String>) -> Vec<Step>;

    /// The rows of a statement that only reads.
    fn rows(
        &self,
        statement: String,
        values: Vec<SqlParameter>,
    ) -> impl Future<Output = Result<Vec<SqlRow>>> + Send;

    /// Runs steps in a transaction. It is repeated after its connection broke if `is_idempotent`.
    fn transact(&self, steps: Vec<Step>, is_idempotent: bool)
    -> impl Future<Output = Result<Outcome>> + Send;

    /// Adds lines to an edition. Returns `false` if it is not the one that is being written.
    fn insert_lines(&self, edition: i64, lines: Vec<StoredLine>)
    -> impl Future<Output = Result<bool>> + Send;

    /// Whether an error says that a table does not exist.
    fn is_missing_table(error: &Error) -> bool;

    /// Whether an error says that others hold what is to be written.
    fn is_held(error: &Error) -> bool;

    /// Runs a statement that can be repeated, and returns the number of rows.
    fn execute(
        &self,
        statement: String,
        values: Vec<SqlParameter>,
    ) -> impl Future<Output = Result<u64>> + Send {
        async { Ok(self.transact(vec![Step::any(statement, values)], true).await?.changed) }
    }
}

pub(super) fn integer(number: usize) -> SqlParameter {
    SqlParameter::Integer(Some(i64::try_from(number).unwrap_or(i64::MAX)))
}

pub(super) fn number(number: i64) -> SqlParameter {
    SqlParameter::Integer(Some(number))
}

pub(super) fn text(text: impl ToString) -> SqlParameter {
    SqlParameter::Text(Some(text.to_string()))
}

pub(super) fn optional(text: Option<impl ToString>) -> SqlParameter {
    SqlParameter::Text(text.map(|text| text.to_string()))
}

fn first<T>(rows: &[SqlRow], read: impl Fn(&SqlRow) -> Result<T>) -> Result<Option<T>> {
    rows.first().map(read).transpose()
}

/// The number of a position or an edition; the largest stands for those that no store can hold.
pub(super) fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl<D: Database> Store for D {
    fn document<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<StoredDocument>>> {
        let statement = format!("SELECT version, body FROM {}documents WHERE name = $1", D::SCHEMA);
        Box::pin(async move {
            let rows = self.rows(statement, vec![text(name)]).await?;
            first(&rows, |row| Ok(StoredDocument { version: row.unsigned(0)?, body: row.bytes(1)? }))
        })
    }

    fn answer<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<StoredAnswer>>> {
        let statement = format!("SELECT as_of, body FROM {}answers WHERE key = $1", D::SCHEMA);
        Box::pin(async move {
            let rows = self.rows(statement, vec![text(key)]).await?;
            first(&rows, |row| Ok(StoredAnswer { as_of: row.moment(0)?, body: row.bytes(1)? }))
        })
    }

    fn store_answer<'a>(&'a self, key: &'a str, answer: StoredAnswer) -> BoxFuture<'a, Result<()>> {
        let statement = format!(
            "INSERT INTO {}answers (key, as_of, body) VALUES ($1, $2, $3)
             ON CONFLICT (key) DO UPDATE SET as_of = excluded.as_of, body = excluded.body",
            D::SCHEMA
        );
        let body = SqlParameter::Bytes(Some(answer.body.into()));
        let values = vec![text(key), number(answer.as_of.unix_millis()), body];
        Box::pin(async move { self.execute(statement, values).await.map(drop) })
    }

    fn delete_answers(&self, before: Timestamp) -> BoxFuture<'_, Result<u64>> {
        let statement = format!("DELETE FROM {}answers WHERE as_of < $1", D::SCHEMA);
        Box::pin(self.execute(statement, vec![number(before.unix_millis())]))
    }

    fn limit_answers(&self, max_bytes: u64) -> BoxFuture<'_, Result<u64>> {
        let answers = format!("{}answers", D::SCHEMA);
        let statement = format!(
            "DELETE FROM {answers} WHERE key IN (SELECT key FROM (SELECT key, SUM(length(body)) OVER
             (ORDER BY as_of DESC, key) AS total FROM {answers}) AS sizes WHERE total > $1)"
        );
        Box::pin(self.execute(statement, vec![number(clamped(max_bytes))]))
    }

    fn records_by_code<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        codes: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>>> {
        let statement = format!(
            "SELECT {RECORD} FROM {}records WHERE kind = $1 AND form = $2 AND {}",
            D::SCHEMA,
            D::CODE_IN_LIST
        );
        let values = vec![text(kind.as_str()), text(form.as_str()), SqlParameter::Texts(codes.to_vec())];
        Box::pin(async move { self.rows(statement, values).await?.iter().map(SqlRow::record).collect() })
    }

    fn records(&self, query: RecordQuery) -> BoxFuture<'_, Result<Vec<StoredRecord>>> {
        let open = query.open.map(|open| format!(" AND {}", D::OPEN[usize::from(!open)]));
        let mut statement = format!(
            "SELECT {RECORD} FROM {}records WHERE kind = $1 AND form = $2 AND ($3 IS NULL OR code > $3)
             AND ($4 IS NULL OR day >= $4) AND ($5 IS NULL OR day <= $5){}",
            D::SCHEMA,
            open.unwrap_or_default()
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
        Box::pin(async move { self.rows(statement, values).await?.iter().map(SqlRow::record).collect() })
    }

    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            let is_idempotent = batch.documents.is_empty();
            let outcome = self.transact(batch_steps::<D>(batch)?, is_idempotent).await?;
            Ok(outcome.refused.is_none())
        })
    }

    fn spans_machines(&self) -> bool {
        D::SPANS_MACHINES
    }

    fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>>> {
        let statement = format!(
            "SELECT position, kind, code, revision, change, fingerprint, noticed FROM {}events
             WHERE position > $1 ORDER BY position LIMIT $2",
            D::SCHEMA
        );
        let values = vec![number(clamped(after)), integer(limit)];
        Box::pin(async move { self.rows(statement, values).await?.iter().map(SqlRow::event).collect() })
    }

    fn line_store(&self) -> Result<&dyn LineStore> {
        Ok(self)
    }
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
        let mut values = vec![number(clamped(query.position_after(month)))];
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
