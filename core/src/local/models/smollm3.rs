//! SmolLM3: a Llama of whose layers some rotate nothing.

use serde::Deserialize;
use serde_json::{Value, json};

use super::config::{self, wrong};
use super::decoder::{CommonKeys, Decoder, LayerConfig};
use super::llama::layout;
use super::rope::RopeKeys;
use crate::error::Result;
use crate::local::weights::Parameters;

const ROPE: RopeKeys = RopeKeys { layers: None, base: "rope_theta", scaled: true, default: 2_000_000.0 };

/// What is read of `config.json` besides the common keys.
#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    /// 1 for each layer that rotates.
    no_rope_layers: Option<Vec<u8>>,
    #[serde(default = "no_rope_layer_interval")]
    no_rope_layer_interval: usize,
}

fn no_rope_layer_interval() -> usize {
    4
}

/// Reads a SmolLM3.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Parameters<'_>) -> Result<Decoder> {
    config::only(all, "use_sliding_window", &json!(false))?;
    let (common, keys) = (CommonKeys::read(all)?, config::read::<Keys>(all)?);
    let mut config = common.plain()?;
    (config.qkv_bias, config.o_bias) = (keys.attention_bias, keys.attention_bias);
    config.mlp_bias = keys.mlp_bias;
    config.set_rope(ROPE, all, weights, layout(weights))?;
    let every = keys.no_rope_layer_interval.max(1);
    let rotates: Vec<bool> = match keys.no_rope_layers {
        None => (1..=common.num_hidden_layers).map(|layer| !layer.is_multiple_of(every)).collect(),
        Some(layers) if layers.len() == common.num_hidden_layers => {
            layers.into_iter().map(|rotates| rotates != 0).collect()
        }
        Some(_) => return Err(wrong("`no_rope_layers` has not one entry for each layer")),
    };
    config.layers =
        rotates.into_iter().map(|rotates| LayerConfig::causal(None, rotates.then_some(0))).collect();
    Decoder::new(config, weights)
}
