//! Configuration of the `ollama` backend.

use serde::{Deserialize, Serialize};

use super::Ollama;
use crate::env::Environment;
use crate::error::Result;
use crate::secret::Secret;

/// Ollama by its native routes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct OllamaConfig {
    /// The model: `llama3.2`.
    pub model: String,
    /// Where the server is; `http://localhost:11434` by default.
    pub base_url: Option<String>,
    /// The credential, where a proxy or Ollama's cloud asks for one; `OLLAMA_API_KEY` by default.
    pub api_key: Option<Secret>,
    /// How long the model stays loaded after a request: `10m`, `-1` for ever, `0` not at all. By
    /// default the server decides.
    pub keep_alive: Option<String>,
    /// Tokens of the context window. The server's default is small, and it cuts longer conversations
    /// without saying so.
    pub num_ctx: Option<u32>,
    /// The width of embeddings: requested from the server, and part of the space.
    pub dimensions: Option<usize>,
    /// The text that the model wants before queries; "" if it wants none.
    pub query_prompt: Option<String>,
    /// The text that the model wants before documents; "" if it wants none.
    pub document_prompt: Option<String>,
}

impl OllamaConfig {
    /// A model of the server on this machine.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Says where the server is.
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// Sets the credential.
    pub fn with_api_key(mut self, api_key: impl Into<Secret>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// Sets how long the model stays loaded.
    pub fn with_keep_alive(mut self, keep_alive: impl Into<String>) -> Self {
        self.keep_alive = Some(keep_alive.into());
        self
    }

    /// Sets the context window.
    pub fn with_num_ctx(mut self, tokens: u32) -> Self {
        self.num_ctx = Some(tokens);
        self
    }

    /// Sets the width of embeddings.
    pub fn with_dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Sets the texts before queries and documents; "" for none.
    pub fn with_prompts(mut self, query: impl Into<String>, document: impl Into<String>) -> Self {
        self.query_prompt = Some(query.into());
        self.document_prompt = Some(document.into());
        self
    }

    /// Opens the backend. Nothing is sent yet.
    ///
    /// # Errors
    /// `config_invalid` naming the field to fix.
    pub fn open(&self, env: &Environment) -> Result<Ollama> {
        Ollama::open(self.clone(), env)
    }
}
