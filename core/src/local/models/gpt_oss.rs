//! gpt-oss: attention sinks, layers of which every other sees only near tokens, a context stretched by YaRN, and experts
//! with biases behind clamped gates.

use serde::Deserialize;
use serde_json::{Value, json};

use super::config;
use super::decoder::{CommonKeys, Decoder, LayerConfig};
use super::experts::ExpertsConfig;
use super::rope::{ROPE, RopeKeys};
use crate::error::Result;
use crate::local::ops::RopeLayout;
use crate::local::weights::Parameters;

/// What is read of `config.json` besides the common keys.
#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(default = "yes")]
    attention_bias: bool,
    /// How many tokens are seen by every other layer, the own one included.
    sliding_window: usize,
    layer_types: Option<Vec<String>>,
    #[serde(alias = "num_experts")]
    num_local_experts: usize,
    num_experts_per_tok: usize,
    intermediate_size: usize,
    #[serde(default = "swiglu_limit")]
    swiglu_limit: f32,
}

fn yes() -> bool {
    true
}

fn swiglu_limit() -> f32 {
    7.0
}

/// Reads a gpt-oss.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Parameters<'_>) -> Result<Decoder> {
    config::only(all, "swiglu_alpha", &json!(1.702))?;
    let (common, keys) = (CommonKeys::read(all)?, config::read::<Keys>(all)?);
    let mut config = common.plain()?;
    (config.qkv_bias, config.o_bias) = (keys.attention_bias, keys.attention_bias);
    config.sinks = true;
    let experts = ExpertsConfig {
        count: keys.num_local_experts,
        used: keys.num_experts_per_tok,
        intermediate_size: keys.intermediate_size,
        normalises: true,
        clamped_at: Some(keys.swiglu_limit),
    };
    config.experts = Some(experts.checked()?);
    let rope = RopeKeys { default: 150_000.0, ..ROPE };
    config.set_rope(rope, all, weights, RopeLayout::Halves)?;
    let is_sliding = match &keys.layer_types {
        Some(types) => config::sliding_layers(types, common.num_hidden_layers)?,
        None => (0..common.num_hidden_layers).map(|layer| layer.is_multiple_of(2)).collect(),
    };
    let window = |is_sliding: bool| is_sliding.then_some(keys.sliding_window);
    config.layers =
        is_sliding.into_iter().map(|is_sliding| LayerConfig::causal(window(is_sliding), Some(0))).collect();
    Decoder::new(config, weights)
}
