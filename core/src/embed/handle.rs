//! The handle that users hold.

use std::fmt;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use futures_util::{FutureExt, TryFutureExt};

use super::{EmbedInput, EmbedRequest, EmbedResponse, EmbedRole, Embedder, EmbeddingSpace, Parity, Vectors};
use crate::context::{BoxFuture, Context, Progress};
use crate::error::{Error, Operation, Result};
use crate::info::BackendInfo;
use crate::media::ImageData;

/// Any embedder: the handle that users hold. Cheap to clone; clones share the backend.
///
/// It splits requests above `info().limits.max_batch`, runs the parts a few at a time and keeps the order.
/// Whatever the backend does, a response holds one vector an input, of the space's width and of finite numbers, or
/// the call fails with `response_invalid`. Errors name backend and operation. There is no way to swap the model under a handle: that would change the space under whatever stores its
/// vectors.
#[derive(Clone, Debug)]
pub struct AnyEmbedder(Arc<dyn DynEmbedder>);

/// How many parts of one split request are in flight at a time.
const PARTS_IN_FLIGHT: usize = 4;

impl AnyEmbedder {
    /// A handle on `embedder`.
    pub fn new(embedder: impl Embedder) -> Self {
        Self(Arc::new(embedder))
    }

    /// Who the backend is.
    pub fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    /// Which vectors its own may be compared with.
    pub fn space(&self) -> &EmbeddingSpace {
        self.0.space()
    }

    /// Embeds any number of inputs.
    ///
    /// # Errors
    /// Those of the backend; the first part to fail ends the call.
    pub async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        match self.info().limits.max_batch {
            Some(most) if request.inputs.len() > most => self.embed_in_parts(cx, request, most.max(1)).await,
            _ => self.0.embed(cx, request).await,
        }
    }

    /// Embeds one text.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn embed_text(&self, cx: &Context, text: impl Into<String>) -> Result<Vec<f32>> {
        self.embed_one(cx, EmbedInput::Text(text.into())).await
    }

    /// Embeds one encoded image.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn embed_image(&self, cx: &Context, image: ImageData) -> Result<Vec<f32>> {
        self.embed_one(cx, EmbedInput::Image(image)).await
    }

    /// Waits until a local model is loaded; see [`Embedder::ready`].
    ///
    /// # Errors
    /// Those of loading.
    pub async fn ready(&self, cx: &Context) -> Result<()> {
        self.0.ready(cx).await
    }

    /// The most tokens of one text, if known; see [`Embedder::window`].
    pub fn window(&self) -> Option<usize> {
        self.0.window()
    }

    /// How many tokens a text has; see [`Embedder::count_tokens`].
    ///
    /// # Errors
    /// `unsupported` where nobody here knows the model's tokens; `conflict` before a local model is ready.
    pub fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        self.0.count_tokens(role, text)
    }

    /// A text's tokens; see [`Embedder::tokens`].
    ///
    /// # Errors
    /// Those of [`count_tokens`](Self::count_tokens).
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.0.tokens(text)
    }

    /// The text of tokens; see [`Embedder::text_of_tokens`].
    ///
    /// # Errors
    /// `invalid_request` for a number that is no token; those of [`count_tokens`](Self::count_tokens).
    pub fn text_of_tokens(&self, tokens: &[u32]) -> Result<String> {
        self.0.text_of_tokens(tokens)
    }

    /// How close a local model's vectors are to those of f32; see [`Embedder::verify`].
    ///
    /// # Errors
    /// `unsupported` where the model runs elsewhere; those of loading and embedding.
    pub async fn verify(&self, cx: &Context) -> Result<Parity> {
        self.0.verify(cx).await
    }

    async fn embed_one(&self, cx: &Context, input: EmbedInput) -> Result<Vec<f32>> {
        let response = self.embed(cx, EmbedRequest::new([input])).await?;
        Ok(response.vectors.as_flat().to_vec())
    }

    async fn embed_in_parts(
        &self,
        cx: &Context,
        request: EmbedRequest,
        most: usize,
    ) -> Result<EmbedResponse> {
        let of = request.inputs.len();
        let parts: Vec<(usize, EmbedRequest)> = (0..of)
            .step_by(most)
            .map(|start| {
                let inputs = request.inputs[start..of.min(start + most)].to_vec().into();
                (start, EmbedRequest { inputs, ..request.clone() })
            })
            .collect();
        let responses = stream::iter(parts)
            .map(|(start, part)| async move {
                let response = self.0.embed(cx, part).await;
                response
                    .map(|response| (start, response))
                    .map_err(|error| error.map_input(|index| start + index))
            })
            .buffered(PARTS_IN_FLIGHT);
        let mut responses = std::pin::pin!(responses);
        let mut joined: Option<JoinedParts> = None;
        while let Some((start, part)) = responses.try_next().await? {
            match &mut joined {
                None => joined = Some(JoinedParts::new(part)),
                Some(joined) => joined.append(start, part)?,
            }
            cx.report(|| Progress::Inputs { done: of.min(start + most), of });
        }
        joined.ok_or_else(|| Error::invalid_request("the list of inputs is empty"))?.finish()
    }
}

/// The answers to the parts of one split request, growing in order.
struct JoinedParts {
    numbers: Vec<f32>,
    first: EmbedResponse,
}

impl JoinedParts {
    fn new(first: EmbedResponse) -> Self {
        Self { numbers: first.vectors.as_flat().to_vec(), first }
    }

    fn append(&mut self, start: usize, part: EmbedResponse) -> Result<()> {
        let width = self.first.vectors.width();
        if part.vectors.width() != width {
            return Err(Error::response_invalid(format!(
                "vectors of {} numbers came back after vectors of {width}",
                part.vectors.width()
            )));
        }
        self.numbers.extend_from_slice(part.vectors.as_flat());
        self.first.truncated.extend(part.truncated.into_iter().map(|index| start + index));
        self.first.usage = self.first.usage.plus(part.usage);
        Ok(())
    }

    fn finish(self) -> Result<EmbedResponse> {
        let width = self.first.vectors.width();
        Ok(EmbedResponse { vectors: Vectors::new(self.numbers, width)?, ..self.first })
    }
}

#[deny(clippy::missing_trait_methods)]
impl Embedder for AnyEmbedder {
    fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    fn space(&self) -> &EmbeddingSpace {
        self.0.space()
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        Self::embed(self, cx, request).await
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        self.0.ready(cx).await
    }

    fn window(&self) -> Option<usize> {
        self.0.window()
    }

    fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        self.0.count_tokens(role, text)
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.0.tokens(text)
    }

    fn text_of_tokens(&self, tokens: &[u32]) -> Result<String> {
        self.0.text_of_tokens(tokens)
    }

    async fn verify(&self, cx: &Context) -> Result<Parity> {
        self.0.verify(cx).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl<E: Embedder> Embedder for Arc<E> {
    fn info(&self) -> &BackendInfo {
        (**self).info()
    }

    fn space(&self) -> &EmbeddingSpace {
        (**self).space()
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        (**self).embed(cx, request).await
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        (**self).ready(cx).await
    }

    fn window(&self) -> Option<usize> {
        (**self).window()
    }

    fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        (**self).count_tokens(role, text)
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        (**self).tokens(text)
    }

    fn text_of_tokens(&self, tokens: &[u32]) -> Result<String> {
        (**self).text_of_tokens(tokens)
    }

    async fn verify(&self, cx: &Context) -> Result<Parity> {
        (**self).verify(cx).await
    }
}

/// [`Embedder`] in the form that can be a trait object.
trait DynEmbedder: Send + Sync + fmt::Debug {
    fn info(&self) -> &BackendInfo;
    fn space(&self) -> &EmbeddingSpace;
    fn embed<'a>(&'a self, cx: &'a Context, request: EmbedRequest) -> BoxFuture<'a, Result<EmbedResponse>>;
    fn ready<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<()>>;
    fn window(&self) -> Option<usize>;
    fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize>;
    fn tokens(&self, text: &str) -> Result<Vec<u32>>;
    fn text_of_tokens(&self, tokens: &[u32]) -> Result<String>;
    fn verify<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Parity>>;
}

/// Holds every embedder to the contract, and names backend and operation on every error, so that no backend has to.
impl<T: Embedder> DynEmbedder for T {
    fn info(&self) -> &BackendInfo {
        Embedder::info(self)
    }

    fn space(&self) -> &EmbeddingSpace {
        Embedder::space(self)
    }

    fn embed<'a>(&'a self, cx: &'a Context, request: EmbedRequest) -> BoxFuture<'a, Result<EmbedResponse>> {
        let (inputs, dimensions) = (request.inputs.len(), request.dimensions);
        let checked = move |outcome: Result<EmbedResponse>| {
            // The space is asked after the call: a model that was still loading did not know its width before.
            let outcome = outcome.and_then(|response| {
                response.check(inputs, dimensions.or_else(|| Embedder::space(self).dimensions))
            });
            outcome.map_err(Embedder::info(self).tag(Operation::Embed))
        };
        Box::pin(Embedder::embed(self, cx, request).map(checked))
    }

    fn ready<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(Embedder::ready(self, cx).map_err(Embedder::info(self).tag(Operation::Embed)))
    }

    fn window(&self) -> Option<usize> {
        Embedder::window(self)
    }

    fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        Embedder::count_tokens(self, role, text).map_err(Embedder::info(self).tag(Operation::Embed))
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        Embedder::tokens(self, text).map_err(Embedder::info(self).tag(Operation::Embed))
    }

    fn text_of_tokens(&self, tokens: &[u32]) -> Result<String> {
        Embedder::text_of_tokens(self, tokens).map_err(Embedder::info(self).tag(Operation::Embed))
    }

    fn verify<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<Parity>> {
        Box::pin(Embedder::verify(self, cx).map_err(Embedder::info(self).tag(Operation::Embed)))
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
