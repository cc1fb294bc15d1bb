//! Where procurement keeps what it must not forget: quota, cursors, answers, records, changes.
//!
//! [`Store`] is small on purpose; what needs more is made of its parts. Implementations never block an async
//! thread. [`MemoryStore`] forgets when the process ends; `SqliteStore` (feature `sqlite`) is one file;
//! `PostgresStore` (feature `postgres`) is a database that several machines share.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::change::ChangeEvent;
use super::date::Date;
use super::record::Source;
use super::time::Timestamp;
use crate::context::BoxFuture;
use crate::error::{Error, Result};

mod address;
mod lines;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_lines;
#[cfg(test)]
pub(crate) mod tests;

pub use address::StoreAddress;
pub(crate) use address::StorePlace;
pub use lines::{LineQuery, LineStore, StoredLine};
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(all(test, feature = "postgres"))]
pub(crate) use postgres::tests::{administrate, cut_off, database};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// A store that several owners share.
pub type SharedStore = Arc<dyn Store>;

/// Keeps what procurement must not forget.
///
/// Contract:
/// - a document is replaced only if its version is the one that the writer read;
/// - a [`Batch`] is written as a whole or not at all, also if the process is killed meanwhile;
/// - an event with the kind, code and revision of one that is there already is not written again;
/// - answers and records never hold a credential: no key and no body that is put in does.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The small document of this name.
    fn document<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Document>>>;

    /// The answer kept under this key.
    fn answer<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<KeptAnswer>>>;

    /// Keeps an answer, in the place of an older one.
    fn keep_answer<'a>(&'a self, key: &'a str, answer: KeptAnswer) -> BoxFuture<'a, Result<()>>;

    /// Forgets the answers from before this moment, and says how many they were.
    fn forget_answers(&self, before: Timestamp) -> BoxFuture<'_, Result<u64>>;

    /// One record.
    fn record<'a>(
        &'a self,
        kind: RecordKind,
        form: Form,
        code: &'a str,
    ) -> BoxFuture<'a, Result<Option<StoredRecord>>>;

    /// Records by their code in ascending order.
    fn records(&self, query: RecordQuery) -> BoxFuture<'_, Result<Vec<StoredRecord>>>;

    /// Writes a batch. `false`, and nothing written, if a document is no longer of the version that was read.
    fn apply(&self, batch: Batch) -> BoxFuture<'_, Result<bool>>;

    /// Whether processes of several machines share it, so that they have to take turns through it.
    fn spans_machines(&self) -> bool {
        false
    }

    /// Events in the order in which they were written, from the one after `after`. An event that is given has no
    /// other before it that is given only later.
    fn events(&self, after: u64, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>>>;

    /// Where lines of monthly files are kept; `unsupported` where they are not.
    ///
    /// # Errors
    /// `unsupported`.
    fn line_store(&self) -> Result<&dyn LineStore> {
        Err(Error::unsupported("this store keeps no lines of monthly files"))
    }
}

/// A small named document and how often it was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// From 1.
    pub version: u64,
    /// What is in it.
    pub body: Bytes,
}

/// The body of a successful answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// When it was given.
    pub as_of: Timestamp,
    /// The body.
    pub body: Bytes,
}

/// What kind of record.
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

impl RecordKind {
    /// `tender`, `purchase_order` or `quick_purchase`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tender => "tender",
            Self::PurchaseOrder => "purchase_order",
            Self::QuickPurchase => "quick_purchase",
        }
    }

    /// The kind spelt `text`, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tender, Self::PurchaseOrder, Self::QuickPurchase]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// Whether a record is a row of a list, a detail, or a vector made of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Form {
    /// As lists give it.
    Row,
    /// In full.
    Detail,
    /// As an embedder sees it; the code begins with the name of the embedding space.
    Vector,
}

impl Form {
    /// `row`, `detail` or `vector`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::Detail => "detail",
            Self::Vector => "vector",
        }
    }

    /// The form spelt `text`, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Row, Self::Detail, Self::Vector].into_iter().find(|form| form.as_str() == text)
    }
}

/// A record as the store keeps it: the source's own text, and beside it what is searched by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRecord {
    /// What kind of record.
    pub kind: RecordKind,
    /// Row or detail.
    pub form: Form,
    /// Its code.
    pub code: String,
    /// Its state, as [`Display`](fmt::Display) of the state writes it.
    pub state: String,
    /// Whether it takes offers, or may still change for another reason.
    pub open: bool,
    /// The day on which the source lists it.
    pub day: Option<Date>,
    /// When offers close.
    pub closes: Option<Timestamp>,
    /// Where it is from.
    pub source: Source,
    /// As of when it holds.
    pub as_of: Timestamp,
    /// How often it has changed since it was first kept, from 1.
    pub revision: u64,
    /// The source's own text.
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

/// Which records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordQuery {
    /// What kind of record.
    pub kind: RecordKind,
    /// Row or detail.
    pub form: Form,
    /// Only open ones, or only those that are not.
    pub open: Option<bool>,
    /// Only from this day on.
    pub from: Option<Date>,
    /// Only up to this day.
    pub to: Option<Date>,
    /// Only codes that sort after this one: the last of the page before.
    pub after: Option<String>,
    /// The most records.
    pub limit: usize,
}

impl RecordQuery {
    /// The first page of all of a kind.
    pub fn new(kind: RecordKind, form: Form) -> Self {
        Self { kind, form, open: None, from: None, to: None, after: None, limit: 1000 }
    }

    /// Only open ones, or only those that are not.
    pub fn with_open(mut self, open: bool) -> Self {
        self.open = Some(open);
        self
    }

    /// Only of these days, both included.
    pub fn with_days(mut self, from: Date, to: Date) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    /// The page behind this code.
    pub fn with_after(mut self, code: impl Into<String>) -> Self {
        self.after = Some(code.into());
        self
    }

    /// The most records.
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// What is written as a whole or not at all.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Batch {
    /// Records, each in the place of the one with its kind, form and code.
    pub records: Vec<StoredRecord>,
    /// Changes, each with the revision of its record.
    pub events: Vec<(ChangeEvent, u64)>,
    /// Documents, each with the version that was read; 0 for one that must not be there.
    pub documents: Vec<(String, u64, Bytes)>,
}

impl Batch {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces a document of which `version` was read; 0 if there was none.
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

/// An event and its place among all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// Its place: ask for what comes after it.
    pub position: u64,
    /// The revision of the record that it tells of.
    pub revision: u64,
    /// What happened.
    pub event: ChangeEvent,
}

/// A number that no other call in this process gives.
pub(crate) fn unique() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// How often a document is read again because somebody else was faster.
const MOST_ROUNDS: usize = 256;

/// Reads a document, has `change` make the next one of it, and writes that unless somebody else was faster, in
/// which case all of it happens again. `change` gives the new body and what to return.
///
/// # Errors
/// Those of the store and of `change`; `conflict` if others were faster every time.
pub async fn update_document<T>(
    store: &dyn Store,
    name: &str,
    mut change: impl FnMut(Option<&[u8]>) -> Result<(Option<Vec<u8>>, T)>,
) -> Result<T> {
    for _ in 0..MOST_ROUNDS {
        let old = store.document(name).await?;
        let (body, outcome) = change(old.as_ref().map(|document| &*document.body))?;
        let Some(body) = body else { return Ok(outcome) };
        let version = old.map_or(0, |document| document.version);
        if store.apply(Batch::new().with_document(name, version, body)).await? {
            return Ok(outcome);
        }
    }
    Err(Error::new(
        crate::error::ErrorKind::Conflict,
        format!("the document '{name}' of the store changes faster than it can be written"),
    ))
}

/// Opens the store that an address names: `memory`, `sqlite:<path>`, a path, or
/// `postgres://user:password@host/database`.
///
/// `DATABASE_URL` is understood as SQLAlchemy writes it: `sqlite:///data.db` is relative to the working
/// directory, `sqlite:////var/lib/data.db` is absolute, `postgresql+asyncpg://…` is PostgreSQL.
///
/// # Errors
/// `config_invalid` for an address of another kind; `unsupported` where the store is not compiled in; whatever
/// opening the file or database says.
pub async fn open_store(address: &StoreAddress) -> Result<SharedStore> {
    match StorePlace::parse(address)? {
        StorePlace::Memory => Ok(Arc::new(MemoryStore::new())),
        #[cfg(feature = "sqlite")]
        StorePlace::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path).await?)),
        #[cfg(not(feature = "sqlite"))]
        StorePlace::Sqlite(_) => Err(Error::unsupported("built without the `sqlite` feature")),
        #[cfg(feature = "postgres")]
        StorePlace::Postgres => Ok(Arc::new(PostgresStore::open(address.clone()).await?)),
        #[cfg(not(feature = "postgres"))]
        StorePlace::Postgres => Err(Error::unsupported("built without the `postgres` feature")),
    }
}
