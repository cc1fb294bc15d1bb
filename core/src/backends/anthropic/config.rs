//! Configuration of the `anthropic` backend.

use serde::{Deserialize, Serialize};

use super::client::Anthropic;
use crate::env::Environment;
use crate::error::Result;
use crate::secret::Secret;

/// Anthropic's Messages API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AnthropicConfig {
    /// The model: `claude-sonnet-4-6`.
    pub model: String,
    /// Where the API is, without `/v1`; `ANTHROPIC_BASE_URL`, then `https://api.anthropic.com` by default.
    pub base_url: Option<String>,
    /// The API key; `ANTHROPIC_API_KEY` by default.
    pub api_key: Option<Secret>,
    /// A token that is sent as a bearer instead of a key; `ANTHROPIC_AUTH_TOKEN` by default.
    pub auth_token: Option<Secret>,
    /// The most tokens of an answer whose request names none: the API wants a number. 4096 by default.
    pub max_tokens: Option<u32>,
    /// Asks for the places of the conversation's documents that an answer rests on.
    pub citations: bool,
    /// Features that are being tried out (`anthropic-beta`).
    pub betas: Vec<String>,
    /// Most requests in flight with this credential.
    pub max_concurrency: Option<usize>,
}

impl AnthropicConfig {
    /// A model at Anthropic's own address.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Sets the address of the API.
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// Sets the API key.
    pub fn with_api_key(mut self, api_key: impl Into<Secret>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// Asks for the places of the documents that an answer rests on.
    pub fn with_citations(mut self, citations: bool) -> Self {
        self.citations = citations;
        self
    }

    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to fix.
    pub fn open(&self, env: &Environment) -> Result<Anthropic> {
        Anthropic::open(self, env)
    }
}
