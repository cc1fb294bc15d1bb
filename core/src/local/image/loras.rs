//! Which of the configured LoRAs apply to a request.

use serde::Deserialize;

use super::pipeline::LoraFacts;
use crate::error::{Error, Result};

/// LoRAs that apply together: their places in the configuration, in order, and how strongly each applies.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LoraGroup(Vec<(usize, f32)>);

/// A LoRA in a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoraChoice {
    /// As the configuration names it, its file's name, or the hash of the file.
    model: String,
    /// As the configuration says, or 1 where that is 0.
    weight: Option<f32>,
}

impl LoraGroup {
    /// None of them.
    pub(crate) const NONE: &'static Self = &Self(Vec::new());

    /// Those that apply where a request does not say.
    pub(crate) fn usual(loras: &[LoraFacts]) -> Self {
        Self::new(loras.iter().map(|lora| lora.scale))
    }

    /// Those of a request.
    ///
    /// # Errors
    /// `invalid_request` for a name that the configuration does not have, the same twice, and a weight that is no number.
    pub(super) fn chosen(loras: &[LoraFacts], choices: &[LoraChoice]) -> Result<Self> {
        let mut weights = vec![None; loras.len()];
        for LoraChoice { model, weight } in choices {
            let found =
                loras.iter().position(|lora| [&lora.reference, &lora.name, &lora.sha256].contains(&model));
            let Some(place) = found else {
                let names: Vec<&str> = loras.iter().map(|lora| lora.name.as_str()).collect();
                let valid = if names.is_empty() { "none is configured".to_owned() } else { names.join(", ") };
                return Err(Error::invalid_request(format!("LoRA '{model}' is unknown; valid: {valid}")));
            };
            let usual = if loras[place].scale == 0.0 { 1.0 } else { loras[place].scale };
            let weight = weight.unwrap_or(usual);
            if !weight.is_finite() {
                return Err(Error::invalid_request(format!("the weight of LoRA '{model}' is {weight}")));
            }
            if weights[place].replace(weight).is_some() {
                return Err(Error::invalid_request(format!("LoRA '{model}' is named twice")));
            }
        }
        Ok(Self::new(weights.into_iter().map(Option::unwrap_or_default)))
    }

    fn new(weights: impl Iterator<Item = f32>) -> Self {
        Self(weights.enumerate().filter(|(_, weight)| *weight != 0.0).collect())
    }

    /// Place and weight of each.
    pub(crate) fn members(&self) -> impl Iterator<Item = (usize, f32)> {
        self.0.iter().copied()
    }
}
