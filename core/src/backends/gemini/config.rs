//! Configuration of the `gemini` backend.

use serde::{Deserialize, Serialize};

use crate::config::Environment;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Google's native API.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GeminiConfig {
    /// The model: `gemini-2.5-flash`.
    pub model: String,
    /// Where the API is.
    pub base_url: Option<String>,
    /// The credential; `GOOGLE_API_KEY`, then `GEMINI_API_KEY` by default.
    pub api_key: Option<Secret>,
}

impl GeminiConfig {
    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to mend.
    pub fn open(&self, _env: &Environment) -> Result<crate::local::NotBuilt> {
        Err(Error::unsupported("in progress"))
    }
}
