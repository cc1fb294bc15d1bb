//! Embedders that replace each other must share one embedding space.

use crate::context::Context;
use crate::embed::{AnyEmbedder, EmbedRequest, EmbedResponse, EmbedRole, Embedder, EmbeddingSpace, Parity};
use crate::error::{Error, Result};
use crate::info::BackendInfo;

/// The primary and its fallbacks, all in the primary's space, completed by what is known about its model. Vectors of
/// embedders that know less about their space are checked against it.
///
/// # Errors
/// `config_invalid` naming the fields in which the space of a fallback differs.
pub(super) fn comparable(
    primary: AnyEmbedder,
    fallbacks: Vec<AnyEmbedder>,
) -> Result<(AnyEmbedder, Vec<AnyEmbedder>)> {
    if fallbacks.is_empty() {
        return Ok((primary, fallbacks));
    }
    let space = primary.space().clone().completed();
    for fallback in &fallbacks {
        let given = fallback.space().clone().completed();
        let (wanted, given) = (as_told_to(&space, &given), as_told_to(&given, &space));
        same_space((primary.info(), &wanted), (fallback.info(), &given))?;
    }
    let fallbacks = fallbacks.into_iter().map(|fallback| CheckedEmbedder::wrap(&space, fallback)).collect();
    Ok((CheckedEmbedder::wrap(&space, primary), fallbacks))
}

/// A space as it compares with one that has no fingerprint: by model and revision, where these name published files.
fn as_told_to(space: &EmbeddingSpace, other: &EmbeddingSpace) -> EmbeddingSpace {
    let is_published = space.revision.is_some() && other.fingerprint.is_none();
    let fingerprint = space.fingerprint.clone().filter(|_| !is_published);
    space.clone().with_fingerprint(fingerprint)
}

fn same_space(
    (primary, wanted): (&BackendInfo, &EmbeddingSpace),
    (fallback, given): (&BackendInfo, &EmbeddingSpace),
) -> Result<()> {
    let differences = wanted.differences(given);
    if differences.is_empty() {
        return Ok(());
    }
    let fields = differences.join("`, `");
    Err(Error::config(format!(
        "the fallback {}/{} cannot replace {}/{}: their embedding spaces differ in `{fields}`. If the vectors \
         can be compared all the same, declare the same `{fields}` for both; else remove the fallback",
        fallback.backend, fallback.model, primary.backend, primary.model
    )))
}

/// An embedder whose vectors are checked against a space that it does not know completely itself.
#[derive(Debug)]
struct CheckedEmbedder {
    inner: AnyEmbedder,
    space: EmbeddingSpace,
}

impl CheckedEmbedder {
    fn wrap(space: &EmbeddingSpace, inner: AnyEmbedder) -> AnyEmbedder {
        match inner.space() == space {
            true => inner,
            false => AnyEmbedder::new(Self { inner, space: space.clone() }),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Embedder for CheckedEmbedder {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        // The handle around it checks the width against `space`.
        self.inner.embed(cx, request).await
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        self.inner.ready(cx).await
    }

    fn window(&self) -> Option<usize> {
        self.inner.window()
    }

    fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        self.inner.count_tokens(role, text)
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.inner.tokens(text)
    }

    fn text_of_tokens(&self, tokens: &[u32]) -> Result<String> {
        self.inner.text_of_tokens(tokens)
    }

    async fn verify(&self, cx: &Context) -> Result<Parity> {
        self.inner.verify(cx).await
    }
}
