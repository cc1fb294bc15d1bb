//! Granite (dense): a Llama whose embeddings, scores, residuals and logits are scaled by numbers of the configuration.

use serde::Deserialize;
use serde_json::Value;

use super::config::{self, wrong};
use super::decoder::{CommonKeys, Decoder, LayerConfig};
use super::llama::layout;
use super::rope::ROPE;
use crate::error::Result;
use crate::local::weights::Parameters;

/// What is read of `config.json` besides the common keys.
#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "one")]
    embedding_multiplier: f32,
    #[serde(default = "one")]
    residual_multiplier: f32,
    #[serde(default = "one")]
    attention_multiplier: f32,
    /// What logits are divided by.
    #[serde(default = "one")]
    logits_scaling: f32,
}

fn one() -> f32 {
    1.0
}

/// Reads a Granite.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Parameters<'_>) -> Result<Decoder> {
    let (common, keys) = (CommonKeys::read(all)?, config::read::<Keys>(all)?);
    if keys.logits_scaling == 0.0 {
        return Err(wrong("`logits_scaling` is 0"));
    }
    let mut config = common.plain()?;
    (config.qkv_bias, config.o_bias) = (keys.attention_bias, keys.attention_bias);
    config.mlp_bias = keys.mlp_bias;
    config.embedding_scale = keys.embedding_multiplier;
    config.residual_scale = keys.residual_multiplier;
    config.attention_scale = keys.attention_multiplier;
    config.logit_scale = keys.logits_scaling.recip();
    config.set_rope(ROPE, all, weights, layout(weights))?;
    config.layers = vec![LayerConfig::causal(None, Some(0)); common.num_hidden_layers];
    Decoder::new(config, weights)
}
