//! One mode around its backend.

use std::time::Instant;

use super::Answers;
use crate::chat::{AnyChat, ChatBackend, ChatRequest, ChatResponse, ChatStream};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::info::BackendInfo;

/// What requests leave open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub(super) max_tokens: u32,
    pub(super) temperature: f32,
}

/// A backend as a mode: fills in the defaults, names the mode in errors, tells the log how a call went.
#[derive(Debug)]
pub(super) struct InMode {
    pub(super) mode: &'static str,
    pub(super) answers: Answers,
    pub(super) endpoint: Option<String>,
    pub(super) defaults: Option<Defaults>,
    pub(super) backend: AnyChat,
}

impl InMode {
    fn complete(&self, mut request: ChatRequest) -> ChatRequest {
        if let Some(defaults) = self.defaults {
            request.max_tokens.get_or_insert(defaults.max_tokens);
            request.temperature.get_or_insert(defaults.temperature);
        }
        request
    }

    /// Logs mode, model, endpoint, status and latency; nothing of the conversation.
    fn finish<T>(&self, cx: &Context, began: Instant, outcome: Result<T>) -> Result<T> {
        let latency_ms = u64::try_from(cx.clock().now().saturating_duration_since(began).as_millis());
        let latency_ms = latency_ms.unwrap_or(u64::MAX);
        let status = outcome.as_ref().err().map_or("ok", |error| error.kind().as_str());
        let endpoint = self.endpoint.as_deref().unwrap_or_default();
        let model = &*self.backend.info().model;
        tracing::info!(mode = self.mode, model, endpoint, status, latency_ms, "chat mode answered");
        outcome.map_err(|error| self.explained(error).with_context("llm_mode", self.mode))
    }

    /// The free tier drops models without notice: its 404 is about the model, not about the address.
    fn explained(&self, error: Error) -> Error {
        if self.answers != Answers::HfInference || error.kind() != ErrorKind::NotFound {
            return error;
        }
        let model = &*self.backend.info().model;
        let mut explained = Error::new(
            ErrorKind::NotFound,
            format!("model not available from this provider: hf-inference does not serve {model}; set HF_SMOLLM2_MODEL_ID"),
        )
        .with_sent(error.sent());
        if let Some(operation) = error.operation() {
            explained = explained.with_operation(operation);
        }
        if let Some(backend) = error.backend() {
            explained = explained.with_backend(backend);
        }
        if let Some(status) = error.http_status() {
            explained = explained.with_http_status(status);
        }
        if let Some(id) = error.request_id() {
            explained = explained.with_request_id(id);
        }
        explained.with_source(error)
    }
}

#[deny(clippy::missing_trait_methods)]
impl ChatBackend for InMode {
    fn info(&self) -> &BackendInfo {
        self.backend.info()
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        let began = cx.clock().now();
        let outcome = self.backend.chat(cx, self.complete(request)).await;
        self.finish(cx, began, outcome)
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        let began = cx.clock().now();
        let outcome = self.backend.stream(cx, self.complete(request)).await;
        self.finish(cx, began, outcome)
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        self.backend.ready(cx).await
    }

    fn window(&self) -> Option<usize> {
        self.backend.window()
    }

    fn count_tokens(&self, request: &ChatRequest) -> Result<usize> {
        self.backend.count_tokens(request)
    }
}
