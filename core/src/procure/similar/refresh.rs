//! Embedding what is new.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::entry::{Prints, Seen};
use super::loaded::Loaded;
use super::{IndexReport, SimilarTenders};
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedRole, EmbeddingSpace};
use crate::error::{Error, ErrorKind, Result};
use crate::procure::store::{Batch, StoredRecord};

/// How often a batch is written again because somebody else was faster.
const MOST_ROUNDS: usize = 64;

/// An embedding space as the store knows it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Space {
    /// The fingerprint of all that makes vectors comparable.
    #[serde(skip)]
    pub(super) name: String,
    space: EmbeddingSpace,
    pub(super) width: usize,
}

impl Space {
    /// The document whose version tells that vectors were written.
    pub(super) fn document(&self) -> String {
        format!("vectors/tender/{}", self.name)
    }
}

impl SimilarTenders {
    /// The space. Some embedders know their own only once they have embedded something.
    pub(super) async fn space(&self, cx: &Context) -> Result<&Space> {
        self.space
            .get_or_try_init(|| async {
                let width = self.embedder.embed_text(cx, "licitación").await?.len();
                let space = self.embedder.space().clone();
                let written = serde_json::to_vec(&(&space, width)).map_err(|error| {
                    Error::new(ErrorKind::Unexpected, "the embedding space cannot be written")
                        .with_source(error)
                })?;
                let hash = Sha256::digest(&written);
                let name = hash.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
                Ok(Space { name, space, width })
            })
            .await
    }

    /// Embeds and writes what is new among `seen`, a batch at a time.
    pub(super) async fn update(
        &self,
        cx: &Context,
        known: &Loaded,
        seen: impl Iterator<Item = Seen>,
        report: &mut IndexReport,
    ) -> Result<()> {
        let space = self.space(cx).await?;
        let (mut fresh, mut restated) = (Vec::new(), Vec::new());
        for seen in seen {
            report.seen += 1;
            match step(known, &seen) {
                Step::Nothing => {}
                Step::NoText => report.without_text += 1,
                Step::Restate(prints, revision) => {
                    if let Some((_, vector)) = known.entry(&seen.code) {
                        restated.push(seen.record(&space.name, vector, &prints, revision));
                    }
                }
                Step::Embed(prints, revision) => fresh.push((seen, prints, revision)),
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
        fresh: &mut Vec<(Seen, Prints, u64)>,
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
        let records = fresh
            .iter()
            .zip(&response.vectors)
            .map(|((seen, prints, revision), vector)| seen.record(&space.name, vector, prints, *revision));
        self.write(records.collect()).await?;
        report.embedded += fresh.len();
        Ok(())
    }

    /// Writes vectors and the sign that there are new ones, together.
    async fn write(&self, records: Vec<StoredRecord>) -> Result<()> {
        let Some(space) = self.space.get().filter(|_| !records.is_empty()) else { return Ok(()) };
        let name = space.document();
        let body = serde_json::to_vec(space).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the embedding space cannot be written").with_source(error)
        })?;
        for _ in 0..MOST_ROUNDS {
            let version = self.store.document(&name).await?.map_or(0, |document| document.version);
            let batch = Batch { records: records.clone(), ..Batch::new() };
            if self.store.apply(batch.with_document(name.as_str(), version, body.clone())).await? {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Conflict, "the index changes faster than it can be written"))
    }
}

/// What to do with a tender.
enum Step {
    Nothing,
    NoText,
    Restate(Prints, u64),
    Embed(Prints, u64),
}

fn step(known: &Loaded, seen: &Seen) -> Step {
    let [name, text] = seen.fingerprints();
    let prints = Prints { name, text, in_full: seen.in_full };
    let Some((entry, _)) = known.entry(&seen.code) else {
        return if seen.text.is_empty() { Step::NoText } else { Step::Embed(prints, 1) };
    };
    // A row says less than a detail: as long as the title is the same, it is no news.
    let same = entry.prints == prints
        || (entry.prints.in_full && !seen.in_full && (entry.prints.name == name || seen.text.is_empty()));
    let revision = entry.revision + 1;
    match same {
        true if entry.state == seen.state && entry.closes == seen.closes => Step::Nothing,
        true => Step::Restate(entry.prints, revision),
        false if seen.text.is_empty() => Step::NoText,
        false => Step::Embed(prints, revision),
    }
}
