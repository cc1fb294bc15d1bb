//! Configuration of the `clip_service` and `image_engine` backends.

use serde::{Deserialize, Serialize};

use crate::config::Environment;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// A CLIP embedding service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ClipServiceConfig {
    /// Where the service is.
    pub url: String,
    /// The service's own key, sent as `X-API-Key`.
    pub api_key: Option<Secret>,
    /// A Hugging Face token, for a private Space.
    pub hf_token: Option<Secret>,
}

impl ClipServiceConfig {
    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to mend.
    pub fn open(&self, _env: &Environment) -> Result<crate::local::NotBuilt> {
        Err(Error::unsupported("in progress"))
    }
}

/// An image engine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ImageEngineConfig {
    /// Where the service is.
    pub url: String,
    /// The service's own key, sent as `X-API-Key`.
    pub api_key: Option<Secret>,
    /// A Hugging Face token, for a private Space.
    pub hf_token: Option<Secret>,
}

impl ImageEngineConfig {
    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to mend.
    pub fn open(&self, _env: &Environment) -> Result<crate::local::NotBuilt> {
        Err(Error::unsupported("in progress"))
    }
}
