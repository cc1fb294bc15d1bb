//! Llama 2 and 3, and what is built as they are: SmolLM2, TinyLlama, Mistral, and the text model of Mistral 3 and Ministral 3.

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
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    /// Mistral: how many tokens are seen, the own one included.
    sliding_window: Option<usize>,
    layer_types: Option<Vec<String>>,
    /// Mistral 3 has another model's keys within its own.
    model_type: String,
}

/// Which numbers of a head rotate together. Conversions of Llama and its kin to GGUF bring those together that the model
/// pairs across the halves.
pub(super) fn layout(weights: &Parameters<'_>) -> RopeLayout {
    if weights.is_gguf() { RopeLayout::Interleaved } else { RopeLayout::Halves }
}

/// Reads a Llama.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Parameters<'_>) -> Result<Decoder> {
    let ties = all.get("tie_word_embeddings").and_then(Value::as_bool);
    let all = config::of_text(all);
    config::only(all, "pretraining_tp", &1.into())?;
    let (common, keys) = (CommonKeys::read(all)?, config::read::<Keys>(all)?);
    if !["llama", "mistral", "ministral3"].contains(&keys.model_type.as_str()) {
        let found = format_args!("'{}' within a Mistral 3", keys.model_type);
        return Err(config::unsupported("model_type", found, "mistral, ministral3"));
    }
    let mut config = common.plain()?;
    config.tied |= ties == Some(true);
    (config.qkv_bias, config.o_bias) = (keys.attention_bias, keys.attention_bias);
    config.mlp_bias = keys.mlp_bias;
    config.set_rope(ROPE, all, weights, layout(weights))?;
    let is_sliding = match &keys.layer_types {
        Some(types) => config::sliding_layers(types, common.num_hidden_layers)?,
        None => vec![keys.sliding_window.is_some(); common.num_hidden_layers],
    };
    let layer = |is_sliding| LayerConfig::causal(keys.sliding_window.filter(|_| is_sliding), Some(0));
    config.layers = is_sliding.into_iter().map(layer).collect();
    Decoder::new(config, weights)
}
