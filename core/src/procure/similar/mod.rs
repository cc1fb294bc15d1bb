//! Tenders like another, and tenders by meaning, over what a store holds.
//!
//! Vectors are kept in the store, by embedding space: whoever opens it with another model sees none of them, and both may
//! live side by side. Only what is new or reads differently is embedded.
//!
//! ```
//! use std::sync::Arc;
//!
//! use ayni::backends::scripted::Scripted;
//! use ayni::procure::similar::SimilarTenders;
//! use ayni::procure::store::MemoryStore;
//! use ayni::procure::{AnyProcurement, GetRequest};
//! use ayni::{AnyEmbedder, Context};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let (cx, client) = (Context::new(), AnyProcurement::new(Scripted::default()));
//! let tender = client.tender(&cx, GetRequest::new("9002-7-LR26")).await?.record;
//! let index = SimilarTenders::new(Arc::new(MemoryStore::new()), AnyEmbedder::new(Scripted::default()));
//! index.refresh(&cx).await?; // what a sync has put into the store
//! index.add(&cx, &[tender]).await?; // and what was read in full
//! let found = index.search_meaning(&cx, "vehículos para trasladar enfermos", 3).await?;
//! assert_eq!(found[0].code, "9002-7-LR26");
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::store::{Form, RecordKind, RecordQuery, SharedStore};
use super::{Tender, TenderState, Timestamp};
use crate::context::Context;
use crate::embed::{AnyEmbedder, EmbedRequest, EmbedRole};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime;

mod entry;
mod loaded;
mod refresh;
#[cfg(test)]
mod tests;

use entry::Seen;
use loaded::Loaded;
use refresh::Space;

/// An index of the tenders in a store by meaning. Share it: it keeps the vectors in memory.
#[derive(Debug)]
pub struct SimilarTenders {
    store: SharedStore,
    embedder: AnyEmbedder,
    batch: usize,
    space: OnceCell<Space>,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

/// How many tenders to find, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Nearest {
    /// The most tenders.
    pub k: usize,
    /// Only tenders in one of these states; empty for all.
    pub states: Vec<TenderState>,
    /// Only tenders that close after this moment.
    pub closing_after: Option<Timestamp>,
}

impl Nearest {
    /// The `k` nearest.
    pub fn new(k: usize) -> Self {
        Self { k, ..Self::default() }
    }

    /// Only tenders in one of these states.
    pub fn with_states(mut self, states: impl IntoIterator<Item = TenderState>) -> Self {
        self.states = states.into_iter().collect();
        self
    }

    /// Only tenders that close after this moment.
    pub fn with_closing_after(mut self, moment: Timestamp) -> Self {
        self.closing_after = Some(moment);
        self
    }
}

impl From<usize> for Nearest {
    fn from(k: usize) -> Self {
        Self::new(k)
    }
}

/// A tender that is like what was looked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SimilarTender {
    /// Its code.
    pub code: String,
    /// Its title.
    pub name: String,
    /// Its state when it was last looked at.
    pub state: TenderState,
    /// When offers close.
    pub closes: Option<Timestamp>,
    /// How alike they are: the cosine, 1 for the same.
    pub score: f32,
}

/// What bringing an index up to date has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IndexReport {
    /// Tenders that were looked at.
    pub seen: usize,
    /// Of these, those that were embedded, because they are new or read differently.
    pub embedded: usize,
    /// Of these, those whose state or closing time changed, but not a word.
    pub restated: usize,
    /// Of these, those that say nothing that could be embedded.
    pub without_text: usize,
}

impl SimilarTenders {
    /// An index over a store, in the space of an embedder.
    pub fn new(store: SharedStore, embedder: AnyEmbedder) -> Self {
        Self { store, embedder, batch: 256, space: OnceCell::new(), loaded: Mutex::default() }
    }

    /// Sets how many tenders are embedded and written at a time.
    pub fn with_batch(mut self, tenders: usize) -> Self {
        self.batch = tenders.max(1);
        self
    }

    /// Brings the index up to date with the rows of the store. What is written stays, also if this is broken off: the next
    /// call goes on.
    ///
    /// # Errors
    /// Those of the store and the embedder.
    pub async fn refresh(&self, cx: &Context) -> Result<IndexReport> {
        let mut query = RecordQuery::new(RecordKind::Tender, Form::Row);
        let mut report = IndexReport::default();
        let known = self.load(cx).await?;
        loop {
            cx.check()?;
            let page = self.store.records(query.clone()).await?;
            let Some(last) = page.last().map(|record| record.code.clone()) else { return Ok(report) };
            self.update(cx, &known, page.iter().map(Seen::of_record), &mut report).await?;
            query = query.with_after(last);
        }
    }

    /// Puts tenders into the index that were read in full. Their texts say more than rows, and stay until a row's title
    /// changes.
    ///
    /// # Errors
    /// Those of the store and the embedder.
    pub async fn add(&self, cx: &Context, tenders: &[Tender]) -> Result<IndexReport> {
        let mut report = IndexReport::default();
        let known = self.load(cx).await?;
        self.update(cx, &known, tenders.iter().map(Seen::of_tender), &mut report).await?;
        Ok(report)
    }

    /// The tenders most like the one with this code, the nearest first, without itself.
    ///
    /// # Errors
    /// `not_found` if it is not in the index; those of the store and the embedder.
    pub async fn similar(
        &self,
        cx: &Context,
        code: &str,
        nearest: impl Into<Nearest>,
    ) -> Result<Vec<SimilarTender>> {
        let loaded = self.load(cx).await?;
        let code = code.trim();
        let at = loaded.position(code).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "the tender is not in the index of this embedding space: `refresh` it, or `add` the tender",
            )
        })?;
        let query = loaded.vector(at).to_vec();
        searched(loaded, query, nearest.into(), Some(at)).await
    }

    /// The tenders nearest to a text in meaning, the nearest first.
    ///
    /// # Errors
    /// `invalid_request` for an empty text; those of the store and the embedder.
    pub async fn search_meaning(
        &self,
        cx: &Context,
        text: impl Into<String>,
        nearest: impl Into<Nearest>,
    ) -> Result<Vec<SimilarTender>> {
        let text = text.into();
        if text.trim().is_empty() {
            return Err(Error::invalid_request("the text to look for is empty"));
        }
        let request = EmbedRequest::texts([text]).with_role(EmbedRole::Query);
        let loaded = self.load(cx).await?;
        let response = self.embedder.embed(cx, request).await?.check(1, Some(self.space(cx).await?.width))?;
        searched(loaded, response.vectors.as_flat().to_vec(), nearest.into(), None).await
    }

    /// The vectors of the space, read again if somebody has written some since.
    async fn load(&self, cx: &Context) -> Result<Arc<Loaded>> {
        let space = self.space(cx).await?;
        let document = self.store.document(&space.document()).await?;
        let version = document.map_or(0, |document| document.version);
        let kept = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(loaded) = kept.filter(|loaded| loaded.version() == version) {
            return Ok(loaded);
        }
        let loaded = Arc::new(Loaded::read(cx, &*self.store, space, version).await?);
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&loaded));
        Ok(loaded)
    }
}

/// Compares with all vectors on a thread for blocking work.
async fn searched(
    loaded: Arc<Loaded>,
    query: Vec<f32>,
    nearest: Nearest,
    without: Option<usize>,
) -> Result<Vec<SimilarTender>> {
    runtime::run_blocking(move || loaded.nearest(&query, &nearest, without)).await
}
