//! Configuration of the `gemini` backend.

use serde::{Deserialize, Serialize};

use super::client::Gemini;
use crate::env::Environment;
use crate::error::Result;
use crate::secret::Secret;

/// Google's native API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GeminiConfig {
    /// The model: `gemini-2.5-flash`, `gemini-embedding-001`. `models/…` and `tunedModels/…` are taken too.
    pub model: String,
    /// Where the API is; `https://generativelanguage.googleapis.com/v1beta` by default.
    pub base_url: Option<String>,
    /// The credential; `GOOGLE_API_KEY`, then `GEMINI_API_KEY` by default.
    pub api_key: Option<Secret>,
    /// A Google Cloud access token, sent as a bearer instead of a key: for Vertex AI, whose `base_url` ends with
    /// `/publishers/google`. `VERTEX_ACCESS_TOKEN` by default where the address is Google Cloud's.
    pub access_token: Option<Secret>,
    /// Numbers in a vector, for embedding models that can be shortened; the model's own width by default.
    pub dimensions: Option<usize>,
    /// Most requests in flight with this credential.
    pub max_concurrency: Option<usize>,
}

impl GeminiConfig {
    /// A model at Google's own address.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Sets the address of the API, version included.
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// Sets the credential.
    pub fn with_api_key(mut self, api_key: impl Into<Secret>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// Sets a Google Cloud access token, for Vertex AI.
    pub fn with_access_token(mut self, token: impl Into<Secret>) -> Self {
        self.access_token = Some(token.into());
        self
    }

    /// Sets the numbers in a vector.
    pub fn with_dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to fix.
    pub fn open(&self, env: &Environment) -> Result<Gemini> {
        Gemini::open(self, env)
    }
}
