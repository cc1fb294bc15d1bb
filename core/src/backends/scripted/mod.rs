//! Deterministic answers without a model, a network or a dependency.
use serde::{Deserialize, Serialize};
use crate::config::Environment;
use crate::error::{Error, Result};
/// stub
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ScriptedConfig {}
impl ScriptedConfig {
    /// stub
    pub fn open(&self, _env: &Environment) -> Result<crate::local::NotBuilt> {
        Err(Error::unsupported("in progress"))
    }
}
