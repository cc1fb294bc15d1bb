//! Qwen 2 and 2.5: a Llama whose queries, keys and values have biases.

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
pub(super) struct WindowKeys {
    #[serde(default)]
    use_sliding_window: bool,
    sliding_window: Option<usize>,
    /// So many layers at the front see everything.
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
}

impl WindowKeys {
    /// The window of each layer.
    ///
    /// # Errors
    /// `model_load` or `unsupported` for kinds of layers that are not as expected.
    pub(super) fn of_layers(&self, layers: usize) -> Result<Vec<Option<usize>>> {
        let window = self.sliding_window.filter(|_| self.use_sliding_window);
        let is_sliding = match &self.layer_types {
            Some(types) => config::sliding_layers(types, layers)?,
            None => (0..layers).map(|layer| layer >= self.max_window_layers.unwrap_or(layers)).collect(),
        };
        Ok(is_sliding.into_iter().map(|is_sliding| window.filter(|_| is_sliding)).collect())
    }
}

/// Reads a Qwen 2.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Parameters<'_>) -> Result<Decoder> {
    let common = CommonKeys::read(all)?;
    let windows = config::read::<WindowKeys>(all)?.of_layers(common.num_hidden_layers)?;
    let mut config = common.plain()?;
    config.qkv_bias = true;
    config.set_rope(ROPE, all, weights, RopeLayout::Halves)?;
    config.layers = windows.into_iter().map(|window| LayerConfig::causal(window, Some(0))).collect();
    Decoder::new(config, weights)
}
