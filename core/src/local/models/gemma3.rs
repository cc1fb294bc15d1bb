//! Gemma 3, and EmbeddingGemma, whose tokens see both sides: norms before and after each part and over heads, two speeds
//! of rotation, and layers of which most see only near tokens.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, json};

use super::config;
use super::decoder::{CommonKeys, Decoder, LayerConfig};
use super::gemma2::{plain, softcap};
use super::rope::RopeKeys;
use crate::error::Result;
use crate::local::ops::{RopeLayout, Span};
use crate::local::weights::Parameters;

const GLOBAL: RopeKeys =
    RopeKeys { layers: Some("full_attention"), base: "rope_theta", scaled: true, default: 1_000_000.0 };
const LOCAL: RopeKeys = RopeKeys {
    layers: Some("sliding_attention"),
    base: "rope_local_base_freq",
    scaled: false,
    default: 10_000.0,
};

/// What is read of `config.json` besides the common keys.
#[derive(Debug, Deserialize)]
struct Keys {
    query_pre_attn_scalar: f64,
    #[serde(default)]
    attention_bias: bool,
    sliding_window: usize,
    layer_types: Option<Vec<String>>,
    #[serde(alias = "_sliding_window_pattern", default = "sliding_window_pattern")]
    sliding_window_pattern: usize,
    #[serde(default)]
    use_bidirectional_attention: bool,
    final_logit_softcapping: Option<f32>,
}

fn sliding_window_pattern() -> usize {
    6
}

impl Keys {
    /// Which layers see only near tokens.
    fn local_layers(&self, layers: usize) -> Result<Vec<bool>> {
        let Some(types) = &self.layer_types else {
            let every = self.sliding_window_pattern.max(1);
            return Ok((1..=layers).map(|layer| !layer.is_multiple_of(every)).collect());
        };
        config::sliding_layers(types, layers)
    }

    /// A layer, near or not.
    fn layer(&self, is_local: bool) -> LayerConfig {
        let rope = Some(usize::from(is_local));
        match (is_local, self.use_bidirectional_attention) {
            // Half on either side.
            (true, true) => {
                let reach = Some(self.sliding_window / 2);
                LayerConfig { span: Span { before: reach, after: reach }, rope }
            }
            (false, true) => LayerConfig { span: Span::ALL, rope },
            (_, false) => LayerConfig::causal(is_local.then_some(self.sliding_window), rope),
        }
    }
}

/// The configuration of the text part, which is within that of a model with images. Published ones leave out what
/// transformers takes by default.
pub(super) fn text_config(all: &Value) -> Cow<'_, Value> {
    let Some(Value::Object(own)) = all.get("text_config") else { return Cow::Borrowed(all) };
    let mut whole = json!({
        "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131_072, "query_pre_attn_scalar": 256, "sliding_window": 4096,
    });
    if let Value::Object(whole) = &mut whole {
        let given = own.iter().filter(|(_, value)| !value.is_null());
        whole.extend(given.map(|(key, value)| (key.clone(), value.clone())));
    }
    Cow::Owned(whole)
}

/// The width of the decoder of a model with images.
///
/// # Errors
/// `model_load` if the configuration is not as expected.
pub(super) fn hidden_size(all: &Value) -> Result<usize> {
    Ok(CommonKeys::read(&text_config(all))?.plain()?.hidden_size)
}

/// Reads a Gemma 3.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(all: &Value, weights: &Parameters<'_>) -> Result<Decoder> {
    let all = &text_config(all);
    config::only(all, "attn_logit_softcapping", &json!(null))?;
    let (common, keys) = (CommonKeys::read(all)?, config::read::<Keys>(all)?);
    let mut config = plain(&common, keys.query_pre_attn_scalar, weights)?;
    config.logit_softcap = softcap("final_logit_softcapping", keys.final_logit_softcapping)?;
    config.qk_norm = true;
    (config.qkv_bias, config.o_bias) = (keys.attention_bias, keys.attention_bias);
    config.set_rope(GLOBAL, all, weights, RopeLayout::Halves)?;
    config.add_rope(LOCAL, all, weights, RopeLayout::Halves)?;
    let is_local = keys.local_layers(common.num_hidden_layers)?;
    config.layers = is_local.into_iter().map(|is_local| keys.layer(is_local)).collect();
    Decoder::new(config, weights)
}
