//! Phi-3 and Phi-4: queries, keys and values in one tensor, gates and what they gate in another, and a context stretched
//! by LongRoPE.

use serde::Deserialize;
use serde_json::Value;

use super::config;
use super::decoder::{CommonKeys, Decoder, LayerConfig};
use super::rope::ROPE;
use crate::error::Result;
use crate::local::ops::RopeLayout;
use crate::local::weights::Parameters;

/// What is read of `config.json` besides the common keys.
#[derive(Debug, Deserialize)]
struct Keys {
    /// How many tokens are seen, the own one included.
    sliding_window: Option<usize>,
}

/// Reads a Phi-3.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Parameters<'_>) -> Result<Decoder> {
    let (common, keys) = (CommonKeys::read(all)?, config::read::<Keys>(all)?);
    let mut config = common.plain()?;
    config.fused = true;
    config.set_rope(ROPE, all, weights, RopeLayout::Halves)?;
    config.layers = vec![LayerConfig::causal(keys.sliding_window, Some(0)); common.num_hidden_layers];
    Decoder::new(config, weights)
}
