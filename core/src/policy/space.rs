//! Embedders that stand in for each other have one space.

use crate::context::Context;
use crate::embed::{AnyEmbedder, EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace};
use crate::error::{Error, Result};
use crate::info::BackendInfo;

/// An embedder and those that may stand in for it, all in the space of the first one, completed by what is known of
/// its model. Those that know less of it are held to it.
///
/// # Errors
/// `config_invalid` naming the fields in which the space of one of them differs.
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
        same_space((primary.info(), &space), (fallback.info(), &given))?;
    }
    let fallbacks = fallbacks.into_iter().map(|fallback| Held::to(&space, fallback)).collect();
    Ok((Held::to(&space, primary), fallbacks))
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
        "the fallback {}/{} cannot stand in for {}/{}: their embedding spaces differ in `{fields}`. If the vectors \
         can be compared all the same, declare the same `{fields}` for both; else remove the fallback",
        fallback.backend, fallback.model, primary.backend, primary.model
    )))
}

/// An embedder whose vectors are checked against a space of which it knows less itself.
#[derive(Debug)]
struct Held {
    inner: AnyEmbedder,
    space: EmbeddingSpace,
}

impl Held {
    fn to(space: &EmbeddingSpace, inner: AnyEmbedder) -> AnyEmbedder {
        match inner.space() == space {
            true => inner,
            false => AnyEmbedder::new(Self { inner, space: space.clone() }),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Embedder for Held {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        let (inputs, width) = (request.inputs.len(), request.dimensions.or(self.space.dimensions));
        self.inner.embed(cx, request).await?.check(inputs, width)
    }
}
