//! The vectors of one embedding space in memory.

use std::collections::HashMap;

use super::entry::{Fingerprints, StoredVector, read_vector};
use super::refresh::VectorSpace;
use super::{Nearest, SimilarTender};
use crate::context::Context;
use crate::embed::Vectors;
use crate::error::Result;
use crate::procure::store::{Form, RecordKind, RecordQuery, Store, StoredRecord};
use crate::procure::{TenderState, Timestamp};

/// The vectors of one space, read at a version of its document.
#[derive(Debug)]
pub(super) struct LoadedVectors {
    version: u64,
    entries: Vec<Entry>,
    positions: HashMap<String, usize>,
    vectors: Option<Vectors>,
    width: usize,
}

/// A tender in the index, without its vector.
#[derive(Debug)]
pub(super) struct Entry {
    code: String,
    name: String,
    pub(super) state: String,
    pub(super) closes: Option<Timestamp>,
    pub(super) fingerprints: Fingerprints,
    pub(super) revision: u64,
}

impl LoadedVectors {
    /// Reads all vectors of a space. Those that cannot be read are ignored.
    pub(super) async fn read(
        cx: &Context,
        store: &dyn Store,
        space: &VectorSpace,
        version: u64,
    ) -> Result<Self> {
        let mut loaded = Self {
            version,
            entries: Vec::new(),
            positions: HashMap::new(),
            vectors: None,
            width: space.width,
        };
        let mut numbers = Vec::new();
        let prefix = format!("{}/", space.name);
        let mut query = RecordQuery::new(RecordKind::Tender, Form::Vector).with_after(prefix.as_str());
        'pages: loop {
            cx.check()?;
            let page = store.records(query.clone()).await?;
            let Some(last) = page.last().map(|record| record.code.clone()) else { break };
            for record in &page {
                let Some(code) = record.code.strip_prefix(&prefix) else { break 'pages };
                if let Some(stored) = read_vector(&record.body, space.width) {
                    numbers.extend_from_slice(&stored.vector);
                    loaded.push(code, record, stored);
                }
            }
            query = query.with_after(last);
        }
        loaded.vectors = if numbers.is_empty() { None } else { Some(Vectors::new(numbers, space.width)?) };
        Ok(loaded)
    }

    fn push(&mut self, code: &str, record: &StoredRecord, stored: StoredVector) {
        self.positions.insert(code.to_owned(), self.entries.len());
        self.entries.push(Entry {
            code: code.to_owned(),
            name: stored.name,
            state: record.state.clone(),
            closes: record.closes,
            fingerprints: stored.fingerprints,
            revision: record.revision,
        });
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn position(&self, code: &str) -> Option<usize> {
        self.positions.get(code).copied()
    }

    pub(super) fn entry(&self, code: &str) -> Option<(&Entry, &[f32])> {
        let at = self.position(code)?;
        Some((self.entries.get(at)?, self.vector(at)))
    }

    /// The vector at a position; empty if there is none.
    pub(super) fn vector(&self, at: usize) -> &[f32] {
        let numbers = self.vectors.as_ref().map(Vectors::as_flat).unwrap_or_default();
        numbers.get(at * self.width..(at + 1) * self.width).unwrap_or_default()
    }

    pub(super) fn nearest(
        &self,
        query: &[f32],
        nearest: &Nearest,
        without: Option<usize>,
    ) -> Result<Vec<SimilarTender>> {
        let Some(vectors) = &self.vectors else { return Ok(Vec::new()) };
        let wanted = |at: &usize| {
            Some(*at) != without && self.entries.get(*at).is_some_and(|entry| is_wanted(entry, nearest))
        };
        let positions: Vec<usize> = (0..self.entries.len()).filter(wanted).collect();
        if positions.is_empty() || nearest.k == 0 {
            return Ok(Vec::new());
        }
        let found = if positions.len() == self.entries.len() {
            vectors.top_k(query, nearest.k)?
        } else {
            let some: Vec<f32> = positions.iter().flat_map(|at| self.vector(*at)).copied().collect();
            Vectors::new(some, self.width)?.top_k(query, nearest.k)?
        };
        let similar = |found: crate::embed::Match| {
            let entry = self.entries.get(*positions.get(found.index)?)?;
            Some(SimilarTender {
                code: entry.code.clone(),
                name: entry.name.clone(),
                state: TenderState::from(entry.state.as_str()),
                closes: entry.closes,
                score: found.score,
            })
        };
        Ok(found.into_iter().filter_map(similar).collect())
    }
}

fn is_wanted(entry: &Entry, nearest: &Nearest) -> bool {
    let state = || TenderState::from(entry.state.as_str());
    (nearest.states.is_empty() || nearest.states.contains(&state()))
        && nearest.closing_after.is_none_or(|moment| entry.closes.is_some_and(|closes| closes > moment))
}
