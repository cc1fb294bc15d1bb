//! Configuration of the `openai` backend.

use serde::{Deserialize, Serialize};

use crate::config::Environment;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Any OpenAI-compatible API: one row a vendor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct OpenAiConfig {
    /// The vendor: a row of the table of vendors, or `custom` for any other server.
    pub vendor: String,
    /// The model, as the vendor spells it.
    pub model: String,
    /// Where the API is; the vendor's own address by default.
    pub base_url: Option<String>,
    /// The credential; the vendor's environment variable by default.
    pub api_key: Option<Secret>,
}

impl OpenAiConfig {
    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to mend.
    pub fn open(&self, _env: &Environment) -> Result<crate::local::NotBuilt> {
        Err(Error::unsupported("in progress"))
    }
}
