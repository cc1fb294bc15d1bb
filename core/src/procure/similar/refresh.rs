//! Updating the index: embedding what is new.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::entry::{Fingerprints, TenderText};
use super::loaded::LoadedVectors;
use super::{IndexReport, SimilarTenders};
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedRole, EmbeddingSpace};
use crate::error::{Error, ErrorKind, Result};
use crate::procure::store::{Batch, StoredRecord, document_body};

/// How often to write a batch again because another writer was faster.
const MAX_ATTEMPTS: usize = 64;

#[derive(Clone, Debug, Serialize)]
pub(super) struct VectorSpace {
    /// A fingerprint of everything that makes vectors comparable.
    #[serde(skip)]
    pub(super) name: String,
    space: EmbeddingSpace,
    pub(super) width: usize,
}

impl VectorSpace {
    /// The document whose version changes when vectors are written.
    pub(super) fn document(&self) -> String {
        format!("vectors/tender/{}", self.name)
    }
}

impl SimilarTenders {
    /// The space. Some embedders know theirs only after they have embedded something.
    pub(super) async fn space(&self, cx: &Context) -> Result<&VectorSpace> {
        self.space
            .get_or_try_init(|| async {
                let width = self.embedder.embed_text(cx, "licitación").await?.len();
                let space = self.embedder.space().clone();
                let written = document_body(&(&space, width))?;
                let hash = Sha256::digest(&written);
                let name = hash.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
                Ok(VectorSpace { name, space, width })
            })
            .await
    }

    /// Embeds and writes what is new among `seen`, in batches.
    pub(super) async fn update(
        &self,
        cx: &Context,
        loaded: &LoadedVectors,
        seen: impl Iterator<Item = TenderText>,
        report: &mut IndexReport,
    ) -> Result<()> {
        let space = self.space(cx).await?;
        let (mut fresh, mut restated) = (Vec::new(), Vec::new());
        for seen in seen {
            report.seen += 1;
            match action(loaded, &seen) {
                Action::Nothing => {}
                Action::NoText => report.without_text += 1,
                Action::Restate(fingerprints, revision) => {
                    if let Some((_, vector)) = loaded.entry(&seen.code) {
                        restated.push(seen.record(&space.name, vector, &fingerprints, revision));
                    }
                }
                Action::Embed(fingerprints, revision) => fresh.push((seen, fingerprints, revision)),
            }
            if fresh.len() >= self.batch {
                self.embed(cx, &mut fresh, report).await?;
            }
        }
        self.embed(cx, &mut fresh, report).await?;
        report.restated += restated.len();
        self.write(restated).await
    }

    async fn embed(
        &self,
        cx: &Context,
        fresh: &mut Vec<(TenderText, Fingerprints, u64)>,
        report: &mut IndexReport,
    ) -> Result<()> {
        let fresh = std::mem::take(fresh);
        if fresh.is_empty() {
            return Ok(());
        }
        let space = self.space(cx).await?;
        let texts = fresh.iter().map(|(seen, ..)| seen.text.as_str());
        let request = EmbedRequest::texts(texts).with_role(EmbedRole::Document);
        let response = self.embedder.embed(cx, request).await?.check(fresh.len(), Some(space.width))?;
        let records = fresh.iter().zip(&response.vectors).map(|((seen, fingerprints, revision), vector)| {
            seen.record(&space.name, vector, fingerprints, *revision)
        });
        self.write(records.collect()).await?;
        report.embedded += fresh.len();
        Ok(())
    }

    /// Writes vectors, and a new version of the document with them.
    async fn write(&self, records: Vec<StoredRecord>) -> Result<()> {
        let Some(space) = self.space.get().filter(|_| !records.is_empty()) else { return Ok(()) };
        let name = space.document();
        let body = document_body(space)?;
        for _ in 0..MAX_ATTEMPTS {
            let version = self.store.document(&name).await?.map_or(0, |document| document.version);
            let batch = Batch { records: records.clone(), ..Batch::new() };
            if self.store.apply(batch.with_document(name.as_str(), version, body.clone())).await? {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Conflict, "other writers keep changing the index"))
    }
}

enum Action {
    Nothing,
    NoText,
    Restate(Fingerprints, u64),
    Embed(Fingerprints, u64),
}

fn action(loaded: &LoadedVectors, seen: &TenderText) -> Action {
    let [name, text] = seen.fingerprints();
    let fingerprints = Fingerprints { name, text, in_full: seen.in_full };
    let Some((entry, _)) = loaded.entry(&seen.code) else {
        return if seen.text.is_empty() { Action::NoText } else { Action::Embed(fingerprints, 1) };
    };
    // A row has less text than the details: as long as the title is the same, keep the details' vector.
    let same = entry.fingerprints == fingerprints
        || (entry.fingerprints.in_full
            && !seen.in_full
            && (entry.fingerprints.name == name || seen.text.is_empty()));
    let revision = entry.revision + 1;
    match same {
        true if entry.state == seen.state && entry.closes == seen.closes => Action::Nothing,
        true => Action::Restate(entry.fingerprints, revision),
        false if seen.text.is_empty() => Action::NoText,
        false => Action::Embed(fingerprints, revision),
    }
}
