//! `POST /embed`.

use serde_json::Value;

use super::client::Tei;
use super::wire::EmbedBody;
use crate::backends::vectors::{prompt_for, side_by_side, with_extra};
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace, Truncation};
use crate::error::{Error, Result};
use crate::http::{HeaderMap, HeaderText};
use crate::info::{BackendInfo, Route, Usage};
use crate::wire::numbers;

impl Embedder for Tei {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.embed_checked(cx, &request).await
    }
}

impl Tei {
    async fn embed_checked(&self, cx: &Context, request: &EmbedRequest) -> Result<EmbedResponse> {
        request.check_inputs(Some(self.config.max_batch))?;
        let body = self.body(request)?;
        let server = self.server(cx).await?;
        if let Some(most) = server.max_client_batch_size.filter(|most| request.inputs.len() > *most) {
            return Err(Error::config(format!(
                "`max_batch` is {}, but the server takes {most} inputs a request",
                self.config.max_batch
            ))
            .with_context("field", "max_batch"));
        }
        let sent = with_extra(&body, &request.extra)?;
        let reply = self.api.post("/embed").json(&sent).json_reply::<Vec<Value>>(cx).await?;
        let rows = reply.value.iter().enumerate().map(|(index, row)| numbers::vector(row, index));
        let vectors = side_by_side(rows.collect::<Result<_>>()?, request.inputs.len(), body.dimensions)?;
        let route =
            Route::new(&self.info).with_model(server.model_id.as_deref()).with_request_id(reply.request_id);
        Ok(EmbedResponse::new(vectors, route).with_usage(usage(&reply.headers)))
    }

    fn body<'a>(&'a self, request: &'a EmbedRequest) -> Result<EmbedBody<'a>> {
        Ok(EmbedBody {
            inputs: request.text_inputs()?,
            truncate: matches!(request.truncation, Truncation::End),
            prompt_name: prompt_for(
                request.role,
                self.config.query_prompt_name.as_deref(),
                self.config.document_prompt_name.as_deref(),
                ["query_prompt_name", "document_prompt_name"],
            )?,
            normalize: self.config.normalised,
            dimensions: request.dimensions.or(self.config.dimensions),
        })
    }
}

/// The server counts tokens in a header field.
fn usage(headers: &HeaderMap) -> Usage {
    let tokens = headers.text("x-compute-tokens").and_then(|tokens| tokens.trim().parse::<u64>().ok());
    Usage::new(tokens, None)
}
