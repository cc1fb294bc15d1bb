//! Configuration of the `huggingface` backend.

use serde::{Deserialize, Serialize};

use crate::config::Environment;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Hugging Face: hf-inference tasks and the providers behind the router.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HuggingFaceConfig {
    /// The model's id on the Hub.
    pub model: String,
    /// Who serves: `hf-inference`, another provider, or `auto` for the first of the mapping.
    pub provider: String,
    /// The router's address.
    pub base_url: Option<String>,
    /// The Hub's address.
    pub hub_url: Option<String>,
    /// The credential; `HF_API_TOKEN`, then `HF_TOKEN` by default.
    pub api_key: Option<Secret>,
}

impl HuggingFaceConfig {
    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to mend.
    pub fn open(&self, _env: &Environment) -> Result<crate::local::NotBuilt> {
        Err(Error::unsupported("in progress"))
    }
}
