//! Gemma 2: norms before and after each part, bounds on scores and logits, and every other layer sees only near tokens.

use serde::Deserialize;
use serde_json::Value;

use super::config::{self, wrong};
use super::decoder::{CommonKeys, Config, Decoder, LayerConfig};
use super::rope::ROPE;
use crate::error::Result;
use crate::local::ops::RopeLayout;
use crate::local::weights::Parameters;

/// What is read of `config.json` besides the common keys.
#[derive(Debug, Deserialize)]
struct Keys {
    query_pre_attn_scalar: f64,
    sliding_window: usize,
    layer_types: Option<Vec<String>>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    #[serde(default)]
    attention_bias: bool,
}

/// What Gemma 2 and 3 share: four norms a layer, embeddings in proportion to their width, an output layer that is the
/// table of embeddings.
///
/// # Errors
/// `model_load` if the configuration is not as expected, `unsupported` for what is not computed here.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "f32 as the model computes")]
pub(super) fn plain(common: &CommonKeys, query_scalar: f64, weights: &Parameters<'_>) -> Result<Config> {
    if !(query_scalar.is_finite() && query_scalar > 0.0) {
        return Err(wrong("`query_pre_attn_scalar` is not a positive number"));
    }
    let mut config = common.plain()?;
    // Conversions to GGUF add the one.
    config.norm_offset = if weights.is_gguf() { 0.0 } else { 1.0 };
    config.post_norms = true;
    config.attention_scale = query_scalar.sqrt().recip() as f32;
    config.embedding_scale = (config.hidden_size as f64).sqrt() as f32;
    config.tied = !weights.has("lm_head.weight");
    Ok(config)
}

/// Checks a soft bound.
///
/// # Errors
/// `model_load` if it is not a positive number.
pub(super) fn softcap(key: &str, cap: Option<f32>) -> Result<Option<f32>> {
    match cap {
        Some(cap) if !(cap.is_finite() && cap > 0.0) => {
            Err(wrong(format_args!("`{key}` is not a positive number")))
        }
        _ => Ok(cap),
    }
}

/// Reads a Gemma 2.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Parameters<'_>) -> Result<Decoder> {
    let (common, keys) = (CommonKeys::read(all)?, config::read::<Keys>(all)?);
    let mut config = plain(&common, keys.query_pre_attn_scalar, weights)?;
    config.attention_softcap = softcap("attn_logit_softcapping", keys.attn_logit_softcapping)?;
    config.logit_softcap = softcap("final_logit_softcapping", keys.final_logit_softcapping)?;
    (config.qkv_bias, config.o_bias) = (keys.attention_bias, keys.attention_bias);
    config.set_rope(ROPE, all, weights, RopeLayout::Halves)?;
    let is_sliding = match &keys.layer_types {
        Some(types) => config::sliding_layers(types, common.num_hidden_layers)?,
        None => (0..common.num_hidden_layers).map(|layer| layer.is_multiple_of(2)).collect(),
    };
    let layer = |is_sliding: bool| LayerConfig::causal(is_sliding.then_some(keys.sliding_window), Some(0));
    config.layers = is_sliding.into_iter().map(layer).collect();
    Decoder::new(config, weights)
}
