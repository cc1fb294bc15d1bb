//! The server: where it is, what its failures mean.

use super::config::OllamaConfig;
use super::wire::KeepAlive;
use crate::embed::EmbeddingSpace;
use crate::embed::prompt_set;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::http::client::{ApiClient, Auth};
use crate::http::status::{Failure, Verdict};
use crate::info::BackendInfo;

const LOCAL: &str = "http://localhost:11434";

/// An Ollama server with one of its models.
#[derive(Debug)]
pub struct Ollama {
    pub(super) api: ApiClient,
    pub(super) info: BackendInfo,
    pub(super) space: EmbeddingSpace,
    pub(super) config: OllamaConfig,
}

impl Ollama {
    pub(super) fn open(mut config: OllamaConfig, env: &Environment) -> Result<Self> {
        if config.model.trim().is_empty() {
            return Err(Error::config("`model` is not set: name a model that `ollama list` shows"));
        }
        if config.dimensions == Some(0) {
            return Err(Error::config("`dimensions` is 0; a vector needs at least one number"));
        }
        let key =
            config.api_key.take().filter(|key| !key.is_empty()).or_else(|| env.secret(&["OLLAMA_API_KEY"]));
        let api = ApiClient::new("ollama", config.base_url.as_deref().unwrap_or(LOCAL))?
            .with_auth(Auth::bearer(key.as_ref()))?
            .with_classify(classify);
        let info = BackendInfo::new("ollama", config.model.as_str())
            .with_host(api.host())
            .with_credential(api.credential())
            .with_cold_starts(true);
        let mut space = EmbeddingSpace::new(config.model.as_str()).with_dimensions(config.dimensions);
        space.prompt_set = prompt_set(config.query_prompt.as_deref(), config.document_prompt.as_deref());
        Ok(Self { api, info, space, config })
    }

    pub(super) fn keep_alive(&self) -> Option<KeepAlive<'_>> {
        self.config.keep_alive.as_deref().map(KeepAlive)
    }

    /// Says which model an error is about that does not find it.
    pub(super) fn with_model(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::NotFound => error.with_context("model", &*self.config.model),
            _ => error,
        }
    }
}

/// Failures whose status alone says too little: the server has no codes, only sentences.
fn classify(failure: &Failure<'_>) -> Option<Verdict> {
    let message = failure.body.message.as_deref().unwrap_or_default();
    let says = |text: &str| message.contains(text);
    match failure.status {
        404 if says("model") && says("not found") => Some(Verdict::new(
            ErrorKind::NotFound,
            "the server does not have this model: run `ollama pull` with its name there, or name another",
        )),
        400 if says("does not support") => Some(Verdict::new(
            ErrorKind::Unsupported,
            "this model cannot do what the request asks for (tools, thinking, images, embeddings …)",
        )),
        400 if says("exceeds the context length") || says("exceeds maximum context length") => {
            Some(Verdict::new(
                ErrorKind::ContextTooLong,
                "an input is longer than the model's window, and the request says not to cut it",
            ))
        }
        503 if says("server busy") => {
            Some(Verdict::new(ErrorKind::RateLimited, "the server's queue is full for the moment"))
        }
        _ => None,
    }
}
