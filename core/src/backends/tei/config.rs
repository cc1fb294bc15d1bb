//! Configuration of the `tei` backend.

use serde::{Deserialize, Serialize};

use crate::config::Environment;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// text-embeddings-inference by its native routes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TeiConfig {
    /// Where the server is.
    pub base_url: String,
    /// The model, for the vectors' space; what `/info` says by default.
    pub model: String,
    /// The credential, where the server asks for one.
    pub api_key: Option<Secret>,
}

impl TeiConfig {
    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to mend.
    pub fn open(&self, _env: &Environment) -> Result<crate::local::NotBuilt> {
        Err(Error::unsupported("in progress"))
    }
}
