//! Qwen 3, and Qwen3-Embedding: a Llama with a norm over each head of queries and keys. As a text encoder, the state of
//! the last token knows all others.

use serde::Deserialize;
use serde_json::{Value, json};

use super::config;
use super::decoder::{CommonKeys, Decoder, LayerConfig};
use super::rope::ROPE;
use crate::error::Result;
use crate::local::ops::RopeLayout;
use crate::local::weights::Parameters;

/// What is read of `config.json` besides the common keys.
#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(default)]
    attention_bias: bool,
}

/// Numbers of a head where the configuration does not say.
const HEAD_SIZE: usize = 128;

/// Reads a Qwen 3.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Parameters<'_>) -> Result<Decoder> {
    config::only(all, "use_sliding_window", &json!(false))?;
    let (common, keys) = (CommonKeys::read(all)?, config::read::<Keys>(all)?);
    let mut config = common.plain_of_heads(Some(HEAD_SIZE))?;
    config.qk_norm = true;
    (config.qkv_bias, config.o_bias) = (keys.attention_bias, keys.attention_bias);
    config.set_rope(ROPE, all, weights, RopeLayout::Halves)?;
    config.layers = vec![LayerConfig::causal(None, Some(0)); common.num_hidden_layers];
    Decoder::new(config, weights)
}
