//! Configuration of the `ollama` backend.

use serde::{Deserialize, Serialize};

use crate::config::Environment;
use crate::error::{Error, Result};
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
    /// The credential, where a proxy asks for one.
    pub api_key: Option<Secret>,
}

impl OllamaConfig {
    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to mend.
    pub fn open(&self, _env: &Environment) -> Result<crate::local::NotBuilt> {
        Err(Error::unsupported("in progress"))
    }
}
