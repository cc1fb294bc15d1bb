//! Configuration of the `clip_service` backend.

use serde::{Deserialize, Serialize};

use super::client::{ClipService, DEFAULT_MODEL};
use crate::env::Environment;
use crate::error::Result;
use crate::secret::Secret;

/// A CLIP embedding service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ClipServiceConfig {
    /// The URL of the service, `https://owner-name.hf.space` or any other; `CLIP_SERVICE_URL` by default.
    pub url: String,
    /// The service's own key, sent as `X-API-Key`; `CLIP_API_KEY` by default, and no key if that is not set.
    pub api_key: Option<Secret>,
    /// A Hugging Face token for a private Space. It is sent to the service, so it is never read from the environment.
    pub hf_token: Option<Secret>,
    /// The model that the service runs; it names the embedding space.
    pub model: String,
    /// The width of the vectors; by default 512 for the default model, and that of the first answer for any other.
    pub dimensions: Option<usize>,
    /// `owner/name` of the Space behind the URL, to ask the Hub for its state. URLs on `hf.space` do not need it.
    pub space: Option<String>,
    /// The URL of the Hub; `HF_ENDPOINT`, then `https://huggingface.co` by default.
    pub hub_url: Option<String>,
    /// The most seconds until the service's status line, unless the context or policy has a shorter limit.
    pub timeout_seconds: f64,
    /// How many seconds to wait for a service that is waking up, within the deadline.
    pub wake_seconds: f64,
}

impl Default for ClipServiceConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            api_key: None,
            hf_token: None,
            model: DEFAULT_MODEL.to_owned(),
            dimensions: None,
            space: None,
            hub_url: None,
            timeout_seconds: 90.0,
            wake_seconds: 90.0,
        }
    }
}

impl ClipServiceConfig {
    /// The service at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Sets the service's own key.
    pub fn with_api_key(mut self, key: impl Into<Secret>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Sets the Hugging Face token for a private Space.
    pub fn with_hf_token(mut self, token: impl Into<Option<Secret>>) -> Self {
        self.hf_token = token.into();
        self
    }

    /// Names the model that the service runs.
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets how many seconds to wait for a service that is waking up.
    pub fn with_wake_seconds(mut self, seconds: f64) -> Self {
        self.wake_seconds = seconds;
        self
    }

    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to fix.
    pub fn open(&self, env: &Environment) -> Result<ClipService> {
        ClipService::open(self, env)
    }
}
