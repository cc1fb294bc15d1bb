//! Configuration of the `image_engine` backend.

use serde::{Deserialize, Serialize};

use super::client::ImageEngine;
use crate::env::Environment;
use crate::error::Result;
use crate::image::Resolution;
use crate::secret::Secret;

/// An image engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ImageEngineConfig {
    /// Where the engine is; `CLOUD_ENGINE_URL`, then `VITE_CLOUD_ENGINE_URL` by default.
    pub url: String,
    /// The engine's own key, sent as `X-API-Key`.
    pub api_key: Option<Secret>,
    /// A Hugging Face token, for a private Space. Sent to the engine: never taken from the environment.
    pub hf_token: Option<Secret>,
    /// What to call the engine's model until it says so itself.
    pub model: String,
    /// The `resolution` of requests that name none.
    pub resolution: Resolution,
    /// The `temperature` of requests that name none.
    pub temperature: f32,
    /// `owner/name` of the Space behind the address, to learn its state from the Hub. Addresses on `hf.space`
    /// need none.
    pub space: Option<String>,
    /// The Hub's address; `HF_ENDPOINT`, then `https://huggingface.co` by default.
    pub hub_url: Option<String>,
    /// The most seconds until the engine's status line, which comes with the finished images; a shorter bound
    /// of the context or policy comes first.
    pub timeout_seconds: f64,
    /// How many seconds to wait for an engine that is waking up, inside the deadline.
    pub wake_seconds: f64,
}

impl Default for ImageEngineConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            api_key: None,
            hf_token: None,
            model: "image-engine".to_owned(),
            resolution: Resolution::High,
            temperature: 0.7,
            space: None,
            hub_url: None,
            timeout_seconds: 300.0,
            wake_seconds: 90.0,
        }
    }
}

impl ImageEngineConfig {
    /// The engine at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// Sets the engine's own key.
    pub fn with_api_key(mut self, key: impl Into<Secret>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Sets the Hugging Face token for a private Space.
    pub fn with_hf_token(mut self, token: impl Into<Option<Secret>>) -> Self {
        self.hf_token = token.into();
        self
    }

    /// Sets the `resolution` of requests that name none.
    pub fn with_resolution(mut self, resolution: Resolution) -> Self {
        self.resolution = resolution;
        self
    }

    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to mend.
    pub fn open(&self, env: &Environment) -> Result<ImageEngine> {
        ImageEngine::open(self, env)
    }
}
