//! Procurement in a build without the feature `procurement`: its configuration is read as in any other build, and
//! opening it answers `unsupported`.

use serde::{Deserialize, Serialize};

use super::{ProcurementConfig, Setup};
use crate::env::Environment;
use crate::error::{Error, Result};

/// The settings of Mercado Público. This build does not know them: it accepts every field and keeps none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("additionalProperties" = true)))]
#[non_exhaustive]
pub struct MercadoPublicoConfig {}

/// The handle that builds with the feature `procurement` open. This build cannot make one.
#[derive(Clone, Debug)]
pub enum AnyProcurement {}

fn not_built<T>() -> Result<T> {
    Err(Error::unsupported("this build of ayni has no procurement: switch on the feature `procurement`"))
}

impl ProcurementConfig {
    /// Says that this build has no procurement.
    ///
    /// # Errors
    /// Always `unsupported`.
    pub fn open(&self, _env: &Environment) -> Result<AnyProcurement> {
        not_built()
    }
}

/// Says that this build has no procurement.
///
/// # Errors
/// Always `unsupported`.
pub fn open_procurement(_setup: impl Into<Setup<ProcurementConfig>>) -> Result<AnyProcurement> {
    not_built()
}

/// Says that this build has no procurement.
///
/// # Errors
/// Always `unsupported`.
pub fn open_procurement_with(
    _setup: impl Into<Setup<ProcurementConfig>>,
    _env: &Environment,
) -> Result<AnyProcurement> {
    not_built()
}

impl Setup<ProcurementConfig> {
    /// Says that this build has no procurement.
    ///
    /// # Errors
    /// Always `unsupported`.
    pub fn from_env() -> Result<Self> {
        not_built()
    }

    /// Says that this build has no procurement.
    ///
    /// # Errors
    /// Always `unsupported`.
    pub fn from_env_with(_env: &Environment) -> Result<Self> {
        not_built()
    }
}
