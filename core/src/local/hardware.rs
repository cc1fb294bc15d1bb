//! What this machine computes with.

use serde::Serialize;

use super::ops::{Device, DeviceChoice, PrecisionChoice};
use crate::env::Environment;
use crate::error::Result;

/// What models in this process compute with where nothing else is configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Hardware {
    /// `cpu` or `cuda:0`.
    pub device: String,
    /// The CPU's instruction set that the kernels use: `avx512-full`, `neon`, `portable`.
    pub instruction_set: String,
    /// How many threads compute.
    pub threads: usize,
    /// The precision that `auto` means: `f32` or `bf16`.
    pub precision: String,
    /// Why it is this one: a sentence for people.
    pub precision_reason: String,
}

impl Hardware {
    /// Looks at this machine. `AYNI_ISA` and `AYNI_THREADS` are read from `env`.
    ///
    /// # Errors
    /// `config_invalid` if one of these variables is wrong, or this process already computes with another number of
    /// threads.
    pub fn detect(env: &Environment) -> Result<Self> {
        let device = Device::open(DeviceChoice::Auto, PrecisionChoice::Auto, env)?;
        Ok(Self {
            device: device.name(),
            instruction_set: device.cpu.isa.name().to_owned(),
            threads: device.cpu.pool.threads(),
            precision: device.precision.name().to_owned(),
            precision_reason: device.precision_reason.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described_with_the_reason_of_its_precision() {
        let found = Hardware::detect(&Environment::empty()).unwrap();
        assert!(["f32", "bf16"].contains(&&*found.precision) && found.threads > 0, "{found:?}");
        assert!(!found.precision_reason.is_empty(), "{found:?}");
        let old = Environment::from_pairs([("AYNI_ISA", "portable")]);
        let found = Hardware::detect(&old).unwrap();
        assert_eq!((&*found.instruction_set, &*found.precision), ("portable", "f32"));
        assert_eq!(found.precision_reason, "the instruction set has no bf16 products");
    }
}
