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
    /// The URL of the engine; `CLOUD_ENGINE_URL`, then `VITE_CLOUD_ENGINE_URL` by default.
    pub url: String,
    /// The engine's own key, sent as `X-API-Key`.
    pub api_key: Option<Secret>,
    /// A Hugging Face token for a private Space. It is sent to the engine, so it is never read from the environment.
    pub hf_token: Option<Secret>,
    /// The name of the engine's model until an answer names it.
    pub model: String,
    /// The `resolution` of requests without one.
    pub resolution: Resolution,
    /// The `temperature` of requests without one.
    pub temperature: f32,
    /// `owner/name` of the Space behind the URL, to ask the Hub for its state. URLs on `hf.space` do not need it.
    pub space: Option<String>,
    /// The URL of the Hub; `HF_ENDPOINT`, then `https://huggingface.co` by default.
    pub hub_url: Option<String>,
    /// The most seconds until the engine's status line, which comes with the finished images, unless the context or policy
    /// has a shorter limit.
    pub timeout_seconds: f64,
    /// How many seconds to wait for an engine that is waking up, within the deadline.
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
    /// `config_invalid` naming the field or variable to fix.
    pub fn open(&self, env: &Environment) -> Result<ImageEngine> {
        ImageEngine::open(self, env)
    }
}
