//! The store of procurement: quota, checkpoints, answers, records and changes.
//!
//! [`Store`] is a small trait; everything else is built on it. Implementations never block an async thread.
//! [`MemoryStore`] ends with its process, `SqliteStore` (feature `sqlite`) is a file, and `PostgresStore` (feature
//! `postgres`) is a database that several machines share.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::change::ChangeEvent;
use super::date::Date;
use super::record::Source;
use super::time::Timestamp;
use crate::context::BoxFuture;
use crate::error::{Error, ErrorKind, Result};

mod address;
mod lines;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql_steps;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;

pub use address::StoreAddress;
pub(crate) use address::StoreKind;
pub use lines::{LineQuery, LineStore, MonthLine, StoredLine, StoredMonth};
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(all(test, feature = "postgres"))]
pub(crate) use postgres::tests::{administrate, cut_off, database};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// A store with several owners.
pub type SharedStore = Arc<dyn Store>;

/// Stores documents, answers, records and events.
///
/// Contract:
/// - a document is replaced only if it still has the version that the writer read;
/// - a [`Batch`] is atomic, also if the process is killed while it is written;
/// - an event is not written again if there is one with the same kind, code and revision;
/// - callers never pass credentials, neither in keys nor in bodies.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The document with this name.
    fn document<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<StoredDocument>>>;

    /// The answer stored under this key.
    fn answer<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<StoredAnswer>>>;

    /// Stores an answer and replaces an older one.
    fn store_answer<'a>(&'a self, key: &'a str, answer: StoredAnswer) -> BoxFuture<'a, Result<()>>;

    /// Deletes the answers from before this time, and returns how many there were.
    fn delete_answers(&self, before: Timestamp) -> BoxFuture<'_, Result<u64>>;

    /// Deletes the oldest answers until all bodies together have at most `max_bytes`, and returns how many it deleted.
    fn limit_answers(&self, max_bytes: u64) -> BoxFuture<'_, Result<u64>>;

    /// The records with these codes, in any order.
    fn records_by_code<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        codes: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<StoredRecord>>>;

    /// One record.
    fn record<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        code: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>>> {
        Box::pin(async move {
            let found = self.records_by_code(kind, form, &[code.to_owned()]).await?;
            Ok(found.into_iter().next())
        })
    }

    /// Records, ordered by code.
    fn records(&self, query: RecordQuery) -> BoxFuture<'_, Result<Vec<StoredRecord>>>;

    /// Writes a batch. Returns `false` and writes nothing if a document no longer has the version that was read.
    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<bool>>;

    /// Whether several machines share it, so that they must lock accounts through it.
    fn spans_machines(&self) -> bool {
        false
    }

    /// Events after position `after`, in the order in which they were written. Once an event is returned, no event before
    /// it appears later.
    fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>>>;

    /// The store for lines of monthly files, if it has one.
    ///
    /// # Errors
    /// `unsupported`.
    fn line_store(&self) -> Result<&dyn LineStore> {
        Err(Error::unsupported("this store does not store lines of monthly files"))
    }
}

/// A small named document and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDocument {
    /// The version: 1 at first, one more with each write.
    pub version: u64,
    /// The content.
    pub body: Bytes,
}

/// The body of a successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The time of the answer.
    pub as_of: Timestamp,
    /// The body.
    pub body: Bytes,
}

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordKind {
    /// A tender.
    Tender,
    /// A purchase order.
    PurchaseOrder,
    /// A quick purchase.
    QuickPurchase,
}

names! { RecordKind { Tender = "tender", PurchaseOrder = "purchase_order", QuickPurchase = "quick_purchase" } }

/// The form of a record: the row of a list, the detail, or an embedding of one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Form {
    /// The row of a list.
    #[default]
    Row,
    /// The detail.
    Detail,
    /// The embedding; its code starts with the name of the embedding space.
    #[serde(skip)]
    Vector,
}

names! { Form { Row = "row", Detail = "detail", Vector = "vector" } }

/// A record in the store: the source's own text, and the fields by which records are queried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StoredRecord {
    /// The kind.
    pub kind: RecordKind,
    /// The form.
    pub form: Form,
    /// The code.
    pub code: String,
    /// The state, as its [`Display`](fmt::Display) writes it.
    pub state: String,
    /// Whether it is open for offers, or may still change for another reason.
    pub open: bool,
    /// The day on which the source lists it.
    pub day: Option<Date>,
    /// When offers close.
    pub closes: Option<Timestamp>,
    /// The source.
    pub source: Source,
    /// The time of the answer that it is from.
    pub as_of: Timestamp,
    /// The revision: 1 at first, one more with each change.
    pub revision: u64,
    /// The source's own text.
    #[serde(serialize_with = "lines::as_json")]
    #[cfg_attr(feature = "schema", schemars(with = "super::raw::Raw"))]
    pub body: Bytes,
}

impl StoredRecord {
    /// A record that is new to the store.
    pub fn new(
        kind: RecordKind,
        form: Form,
        code: impl Into<String>,
        source: Source,
        as_of: Timestamp,
        body: Bytes,
    ) -> Self {
        Self {
            kind,
            form,
            code: code.into(),
            state: String::new(),
            open: true,
            day: None,
            closes: None,
            source,
            as_of,
            revision: 1,
            body,
        }
    }
}

/// Selects records.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RecordQuery {
    /// The kind.
    pub kind: RecordKind,
    /// The form.
    #[serde(default)]
    pub form: Form,
    /// Only open records, or only closed ones.
    pub open: Option<bool>,
    /// The first day.
    pub from: Option<Date>,
    /// The last day.
    pub to: Option<Date>,
    /// Only records whose title or description has all of these words: whole, whatever their case, accents and Spanish
    /// endings.
    #[serde(default)]
    pub text: Option<String>,
    /// Only codes after this one, which is the last of the previous page.
    pub after: Option<String>,
    /// The page size.
    #[serde(default = "lines::default_limit")]
    pub limit: usize,
}

impl RecordQuery {
    /// The first page of all records of a kind and form.
    pub fn new(kind: RecordKind, form: Form) -> Self {
        Self { kind, form, open: None, from: None, to: None, text: None, after: None, limit: 1000 }
    }

    setters! {
        /// Selects only open records, or only closed ones.
        with_open: open = some bool;
    }

    /// Selects records of these days, both included.
    pub fn with_days(mut self, from: Date, to: Date) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    setters! {
        /// Selects the page after this code.
        with_after: after = some into String;
        /// Selects records with these words in title or description.
        with_text: text = some into String;
        /// Sets the page size.
        with_limit: limit = usize;
    }
}

/// Records, events and documents that are written atomically.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Batch {
    /// Records. Each replaces the one with the same kind, form and code.
    pub records: Vec<StoredRecord>,
    /// Events, each with the revision of its record.
    pub events: Vec<(ChangeEvent, u64)>,
    /// Documents, each with the version that was read; 0 for one that must not exist yet.
    pub documents: Vec<(String, u64, Bytes)>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a document of which `version` was read; 0 if there was none.
    pub fn with_document(mut self, name: impl Into<String>, version: u64, body: impl Into<Bytes>) -> Self {
        self.documents.push((name.into(), version, body.into()));
        self
    }

    /// Writes a record.
    pub fn with_record(mut self, record: StoredRecord) -> Self {
        self.records.push(record);
        self
    }
}

/// An event and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// The position, after which the next events are read.
    pub position: u64,
    /// The revision of the record after the change.
    pub revision: u64,
    /// The event.
    pub event: ChangeEvent,
}

/// A number that is unique in this process.
pub(crate) fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// How often to try again because another writer was faster.
const MAX_ATTEMPTS: usize = 256;

/// Reads a document, lets `change` compute its next body, and writes that. If another writer was faster, it starts again.
/// `change` returns the new body, or `None` to write nothing, and the value to return.
///
/// # Errors
/// Those of the store and of `change`; `conflict` if other writers were faster every time.
pub async fn update_document<T>(
    store: &dyn Store,
    name: &str,
    mut change: impl FnMut(Option<&[u8]>) -> Result<(Option<Vec<u8>>, T)>,
) -> Result<T> {
    for _ in 0..MAX_ATTEMPTS {
        let old = store.document(name).await?;
        let (body, outcome) = change(old.as_ref().map(|document| &*document.body))?;
        let Some(body) = body else { return Ok(outcome) };
        let version = old.map_or(0, |document| document.version);
        if store.apply(Batch::new().with_document(name, version, body)).await? {
            return Ok(outcome);
        }
    }
    Err(Error::new(
        ErrorKind::Conflict,
        format!("other writers keep changing the document '{name}' of the store"),
    ))
}

/// A value as the body of a document.
///
/// # Errors
/// `unexpected` if it cannot be written as JSON.
pub(crate) fn document_body(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "a document of the store cannot be written").with_source(error)
    })
}

/// The value in the body of a document, or the default if there is none.
///
/// # Errors
/// `unexpected`, saying `what` cannot be read.
pub(crate) fn read_document<T: DeserializeOwned + Default>(what: &str, body: Option<&[u8]>) -> Result<T> {
    let Some(body) = body else { return Ok(T::default()) };
    serde_json::from_slice(body).map_err(|error| {
        Error::new(ErrorKind::Unexpected, format!("{what} in the store cannot be read")).with_source(error)
    })
}

/// Opens the store at an address: `memory`, `sqlite:<path>`, a path, or
/// `postgres://user:password@host/database`.
///
/// Addresses may also be in SQLAlchemy's form: `sqlite:///data.db` is relative to the working directory,
/// `sqlite:////var/lib/data.db` is absolute, `postgresql+asyncpg://…` is PostgreSQL.
///
/// # Errors
/// `config_invalid` for any other address; `unsupported` if the store is not compiled in; errors of opening the file or
/// database.
pub async fn open_store(address: &StoreAddress) -> Result<SharedStore> {
    match StoreKind::parse(address)? {
        StoreKind::Memory => Ok(Arc::new(MemoryStore::new())),
        #[cfg(feature = "sqlite")]
        StoreKind::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path).await?)),
        #[cfg(not(feature = "sqlite"))]
        StoreKind::Sqlite(_) => {
            Err(Error::unsupported("this build of ayni has no SQLite store: switch on the feature `sqlite`"))
        }
        #[cfg(feature = "postgres")]
        StoreKind::Postgres => Ok(Arc::new(PostgresStore::open(address.clone()).await?)),
        #[cfg(not(feature = "postgres"))]
        StoreKind::Postgres => Err(Error::unsupported(
            "this build of ayni has no PostgreSQL store: switch on the feature `postgres`",
        )),
    }
}
