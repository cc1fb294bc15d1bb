//! `POST /api/embed`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::client::Ollama;
use super::wire::{EmbedBody, EmbedReply};
use crate::backends::vectors::{prompt_for, side_by_side, with_extra};
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace, Truncation};
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Route, Usage};
use crate::wire::numbers;

impl Embedder for Ollama {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.embed_checked(cx, &request).await.map_err(|error| self.with_model(error))
    }
}

impl Ollama {
    async fn embed_checked(&self, cx: &Context, request: &EmbedRequest) -> Result<EmbedResponse> {
        request.check_inputs(None)?;
        let body = self.embed_body(request)?;
        let sent = with_extra(&body, &request.extra)?;
        let call = self.api.post("/api/embed").json(&sent);
        let reply = call.json_reply::<EmbedReply>(cx).await?;
        let Some(embeddings) = reply.value.embeddings else {
            return Err(Error::response_invalid("the answer holds no `embeddings`"));
        };
        let rows = embeddings.iter().enumerate().map(|(index, row)| numbers::vector(row, index));
        let vectors = side_by_side(rows.collect::<Result<_>>()?, request.inputs.len(), body.dimensions)?;
        let route =
            Route::new(&self.info).with_model(reply.value.model.as_deref()).with_request_id(reply.request_id);
        Ok(EmbedResponse::new(vectors, route).with_usage(Usage::new(reply.value.prompt_eval_count, None)))
    }

    fn embed_body<'a>(&'a self, request: &'a EmbedRequest) -> Result<EmbedBody<'a>> {
        let prompt = prompt_for(
            request.role,
            self.config.query_prompt.as_deref(),
            self.config.document_prompt.as_deref(),
            ["query_prompt", "document_prompt"],
        )?;
        let with_prompt = |text: &'a str| match prompt {
            Some(prompt) => Cow::Owned(format!("{prompt}{text}")),
            None => Cow::Borrowed(text),
        };
        let mut options = Map::new();
        if let Some(tokens) = self.config.num_ctx {
            options.insert("num_ctx".to_owned(), Value::from(tokens));
        }
        Ok(EmbedBody {
            model: &self.config.model,
            input: request.text_inputs()?.into_iter().map(with_prompt).collect(),
            truncate: matches!(request.truncation, Truncation::End),
            dimensions: request.dimensions.or(self.config.dimensions),
            options,
            keep_alive: self.keep_alive(),
        })
    }
}
