//! Similar tenders, and search by meaning, over the tenders in a store.
//!
//! Vectors are stored by embedding space, so that the vectors of several models can be in one store and never mix. Only
//! tenders that are new or whose text changed are embedded.
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
//! index.refresh(&cx).await?; // the rows that a sync has stored
//! index.add(&cx, &[tender]).await?; // and tenders with their details
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

use entry::TenderText;
use loaded::LoadedVectors;
use refresh::VectorSpace;

/// An index of the tenders in a store by meaning. Share one instance: it keeps the vectors in memory.
#[derive(Debug)]
pub struct SimilarTenders {
    store: SharedStore,
    embedder: AnyEmbedder,
    batch: usize,
    space: OnceCell<VectorSpace>,
    loaded: Mutex<Option<Arc<LoadedVectors>>>,
}

/// The number of tenders to find, with conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Nearest {
    /// The most tenders.
    pub k: usize,
    /// Only tenders in one of these states; empty for all.
    pub states: Vec<TenderState>,
    /// Only tenders that close after this time.
    pub closing_after: Option<Timestamp>,
}

impl Nearest {
    /// Finds the `k` nearest tenders.
    pub fn new(k: usize) -> Self {
        Self { k, ..Self::default() }
    }

    /// Finds only tenders in one of these states.
    pub fn with_states(mut self, states: impl IntoIterator<Item = TenderState>) -> Self {
        self.states = states.into_iter().collect();
        self
    }

    setters! {
        /// Finds only tenders that close after this time.
        with_closing_after: closing_after = some Timestamp;
    }
}

impl From<usize> for Nearest {
    fn from(k: usize) -> Self {
        Self::new(k)
    }
}

/// A tender that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SimilarTender {
    /// Its code.
    pub code: String,
    /// Its title.
    pub name: String,
    /// Its state when it was last indexed.
    pub state: TenderState,
    /// When offers close.
    pub closes: Option<Timestamp>,
    /// The cosine similarity; 1 for the same text.
    pub score: f32,
}

/// The result of updating an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct IndexReport {
    /// Tenders that were compared.
    pub seen: usize,
    /// Of these, tenders that were embedded because they are new or their text changed.
    pub embedded: usize,
    /// Of these, tenders whose state or closing time changed, but not their text.
    pub restated: usize,
    /// Of these, tenders without text.
    pub without_text: usize,
}

impl SimilarTenders {
    /// An index of a store, with an embedder.
    pub fn new(store: SharedStore, embedder: AnyEmbedder) -> Self {
        Self { store, embedder, batch: 256, space: OnceCell::new(), loaded: Mutex::default() }
    }

    /// Sets how many tenders are embedded and written at a time.
    pub fn with_batch(mut self, tenders: usize) -> Self {
        self.batch = tenders.max(1);
        self
    }

    /// Updates the index with the rows in the store. It can be interrupted: the next call goes on from there.
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
            self.update(cx, &known, page.iter().map(TenderText::of_record), &mut report).await?;
            query = query.with_after(last);
        }
    }

    /// Adds tenders with their details to the index. They replace the text of their rows until a row's title changes.
    ///
    /// # Errors
    /// Those of the store and the embedder.
    pub async fn add(&self, cx: &Context, tenders: &[Tender]) -> Result<IndexReport> {
        let mut report = IndexReport::default();
        let known = self.load(cx).await?;
        self.update(cx, &known, tenders.iter().map(TenderText::of_tender), &mut report).await?;
        Ok(report)
    }

    /// The tenders most similar to the one with this code, nearest first and without that one.
    ///
    /// # Errors
    /// `not_found` if that tender is not in the index; those of the store and the embedder.
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

    /// The tenders nearest to a text in meaning, nearest first.
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
            return Err(Error::invalid_request("the text to search for is empty"));
        }
        let request = EmbedRequest::texts([text]).with_role(EmbedRole::Query);
        let loaded = self.load(cx).await?;
        let response = self.embedder.embed(cx, request).await?.check(1, Some(self.space(cx).await?.width))?;
        searched(loaded, response.vectors.as_flat().to_vec(), nearest.into(), None).await
    }

    /// The vectors of the space, read again if there are new ones.
    async fn load(&self, cx: &Context) -> Result<Arc<LoadedVectors>> {
        let space = self.space(cx).await?;
        let document = self.store.document(&space.document()).await?;
        let version = document.map_or(0, |document| document.version);
        let kept = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(loaded) = kept.filter(|loaded| loaded.version() == version) {
            return Ok(loaded);
        }
        let loaded = Arc::new(LoadedVectors::read(cx, &*self.store, space, version).await?);
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&loaded));
        Ok(loaded)
    }
}

/// Compares a vector with all others, on a thread for blocking work.
async fn searched(
    loaded: Arc<LoadedVectors>,
    query: Vec<f32>,
    nearest: Nearest,
    without: Option<usize>,
) -> Result<Vec<SimilarTender>> {
    runtime::run_blocking(move || loaded.nearest(&query, &nearest, without)).await
}
