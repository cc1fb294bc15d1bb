//! Embedding with a CLIP service: one input per request, several requests at a time.

use std::sync::atomic::Ordering;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;

use super::client::ClipService;
use super::wire::{EmbedBody, read_vector};
use crate::context::Context;
use crate::embed::{EmbedInput, EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace, Truncation, Vectors};
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Route};

/// The most inputs in flight: the service takes one input per request.
const MAX_IN_FLIGHT: usize = 4;

struct Embedded {
    vector: Vec<f32>,
    truncated: bool,
    request_id: Option<String>,
}

impl ClipService {
    fn check(&self, request: &EmbedRequest) -> Result<()> {
        request.check(None)?;
        if request.truncation == Truncation::Refuse {
            return Err(Error::unsupported(
                "a CLIP service decides itself about long texts; `truncation: refuse` is not offered",
            ));
        }
        match (request.dimensions, self.space.dimensions) {
            (Some(wanted), known) if known != Some(wanted) => Err(Error::unsupported(format!(
                "CLIP vectors cannot be shortened; `dimensions: {wanted}` is not offered"
            ))),
            _ => Ok(()),
        }
    }

    async fn embed_all(&self, cx: &Context, request: &EmbedRequest) -> Result<EmbedResponse> {
        self.check(request)?;
        // One request wakes a sleeping service; several would all wait.
        let alone = if self.awake.load(Ordering::Relaxed) { 0 } else { 1 };
        let mut results = Vec::with_capacity(request.inputs.len());
        for input in request.inputs.iter().take(alone) {
            results.push(self.embed_one(cx, input).await?);
        }
        let rest: Vec<_> = request.inputs.iter().skip(alone).map(|input| self.embed_one(cx, input)).collect();
        results.extend(stream::iter(rest).buffered(MAX_IN_FLIGHT).try_collect::<Vec<_>>().await?);

        let truncated =
            results.iter().enumerate().filter(|(_, one)| one.truncated).map(|(index, _)| index).collect();
        let request_id = results.first_mut().and_then(|one| one.request_id.take());
        let vectors = Vectors::from_rows(results.into_iter().map(|one| one.vector).collect())?;
        EmbedResponse::new(vectors, Route::new(&self.info).with_request_id(request_id))
            .with_truncated(truncated)
            .check(request.inputs.len(), self.space.dimensions)
    }

    async fn embed_one(&self, cx: &Context, input: &EmbedInput) -> Result<Embedded> {
        let (path, body) = match input {
            EmbedInput::Text(text) => ("/embed/text", EmbedBody::Text { text }),
            EmbedInput::Image(image) => {
                ("/embed/image", EmbedBody::Image { image: image.to_base64(), mime_type: image.media_type() })
            }
        };
        let outcome = self.service.post::<Value>(cx, path, &body).await;
        self.awake.store(outcome.is_ok(), Ordering::Relaxed);
        let reply = outcome?;
        let vector = read_vector(&reply.value).map_err(|error| match &reply.request_id {
            Some(id) => error.with_request_id(id.clone()),
            None => error,
        })?;
        let truncated = reply.value.get("truncated").and_then(Value::as_bool).unwrap_or_default();
        Ok(Embedded { vector, truncated, request_id: reply.request_id })
    }
}

impl Embedder for ClipService {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.embed_all(cx, &request).await
    }
}
