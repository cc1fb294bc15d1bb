//! Qwen 3 with a mixture of experts: a Qwen 3 in whose layers a router chooses a few of many gated layers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::config;
use super::decoder::{CommonKeys, Decoder, LayerConfig};
use super::experts::ExpertsConfig;
use super::rope::ROPE;
use crate::error::Result;
use crate::local::ops::RopeLayout;
use crate::local::weights::Parameters;

/// What is read of `config.json` besides the common keys.
#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(default)]
    attention_bias: bool,
    #[serde(alias = "num_local_experts")]
    num_experts: usize,
    num_experts_per_tok: usize,
    moe_intermediate_size: usize,
    #[serde(default)]
    norm_topk_prob: bool,
}

/// Reads a Qwen 3 with experts.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Parameters<'_>) -> Result<Decoder> {
    config::only(all, "use_sliding_window", &json!(false))?;
    config::only(all, "decoder_sparse_step", &json!(1))?;
    config::only(all, "mlp_only_layers", &json!([]))?;
    let (common, keys) = (CommonKeys::read(all)?, config::read::<Keys>(all)?);
    let mut config = common.plain()?;
    config.qk_norm = true;
    (config.qkv_bias, config.o_bias) = (keys.attention_bias, keys.attention_bias);
    let experts = ExpertsConfig {
        count: keys.num_experts,
        used: keys.num_experts_per_tok,
        intermediate_size: keys.moe_intermediate_size,
        normalises: keys.norm_topk_prob,
        clamped_at: None,
    };
    config.experts = Some(experts.checked()?);
    config.set_rope(ROPE, all, weights, RopeLayout::Halves)?;
    config.layers = vec![LayerConfig::causal(None, Some(0)); common.num_hidden_layers];
    Decoder::new(config, weights)
}
