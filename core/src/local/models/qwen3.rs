//! Qwen3-Embedding: a causal decoder whose states are those of a text encoder, for the last token knows all others.

use serde::Deserialize;
use serde_json::{Value, json};

use super::config;
use super::decoder::{self, Decoder, LayerConfig};
use super::rope::RopeKeys;
use crate::error::Result;
use crate::local::ops::{Device, Heads, Span};
use crate::local::weights::{Parameters, Weights};

const ROPE: RopeKeys = RopeKeys { layers: None, base: "rope_theta", scaled: true, default: 10_000.0 };

/// What is read of `config.json`.
#[derive(Debug, Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    #[serde(default = "head_dim")]
    head_dim: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default = "rms_norm_eps")]
    rms_norm_eps: f64,
    #[serde(default)]
    attention_bias: bool,
}

fn head_dim() -> usize {
    128
}

fn rms_norm_eps() -> f64 {
    1e-6
}

/// Reads a Qwen3.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Weights, device: &Device) -> Result<Decoder> {
    config::only(all, "use_sliding_window", &json!(false))?;
    let config: Config = config::read(all)?;
    let heads = config::grouped_heads(Heads {
        queries: config.num_attention_heads,
        keys: config.num_key_value_heads.unwrap_or(config.num_attention_heads),
        size: config.head_dim,
    })?;
    let decoder = decoder::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        max_positions: config.max_position_embeddings,
        heads,
        activation: config::activation("hidden_act", &config.hidden_act)?,
        norm_eps: config.rms_norm_eps,
        norm_offset: 0.0,
        qk_norm: true,
        post_norms: false,
        attention_bias: config.attention_bias,
        attention_scale: heads.scale(),
        embedding_scale: 1.0,
        ropes: vec![ROPE.open(all, device, heads.size, config.max_position_embeddings)?],
        layers: vec![LayerConfig { span: Span::CAUSAL, rope: Some(0) }; config.num_hidden_layers],
    };
    Decoder::new(decoder, &Parameters::new(weights, device))
}
