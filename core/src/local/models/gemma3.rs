//! EmbeddingGemma: Gemma 3 whose tokens see both sides. Norms before and after each part, two speeds of rotation, and
//! layers of which most see only near tokens.

use serde::Deserialize;
use serde_json::{Value, json};

use super::config;
use super::decoder::{self, Decoder, LayerConfig};
use super::rope::RopeKeys;
use crate::error::Result;
use crate::local::ops::{Device, Heads, Span};
use crate::local::weights::{Parameters, Weights};

const GLOBAL: RopeKeys =
    RopeKeys { layers: Some("full_attention"), base: "rope_theta", scaled: true, default: 1_000_000.0 };
const LOCAL: RopeKeys = RopeKeys {
    layers: Some("sliding_attention"),
    base: "rope_local_base_freq",
    scaled: false,
    default: 10_000.0,
};

/// What is read of `config.json`.
#[derive(Debug, Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    intermediate_size: usize,
    hidden_activation: String,
    max_position_embeddings: usize,
    query_pre_attn_scalar: f64,
    #[serde(default = "rms_norm_eps")]
    rms_norm_eps: f64,
    #[serde(default)]
    attention_bias: bool,
    sliding_window: usize,
    layer_types: Option<Vec<String>>,
    #[serde(alias = "_sliding_window_pattern", default = "sliding_window_pattern")]
    sliding_window_pattern: usize,
    #[serde(default)]
    use_bidirectional_attention: bool,
}

fn rms_norm_eps() -> f64 {
    1e-6
}

fn sliding_window_pattern() -> usize {
    6
}

impl Config {
    /// Which layers see only near tokens.
    fn local_layers(&self) -> Result<Vec<bool>> {
        let Some(types) = &self.layer_types else {
            let every = self.sliding_window_pattern.max(1);
            return Ok((1..=self.num_hidden_layers).map(|layer| !layer.is_multiple_of(every)).collect());
        };
        config::sliding_layers(types, self.num_hidden_layers)
    }

    /// Which tokens a layer's tokens see.
    fn span(&self, is_local: bool) -> Span {
        match (is_local, self.use_bidirectional_attention) {
            // Half on either side.
            (true, true) => {
                let reach = Some(self.sliding_window / 2);
                Span { before: reach, after: reach }
            }
            // The window counts the token itself.
            (true, false) => Span { before: Some(self.sliding_window.saturating_sub(1)), after: Some(0) },
            (false, true) => Span::ALL,
            (false, false) => Span::CAUSAL,
        }
    }
}

/// Reads a Gemma 3.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "f32 as the model computes")]
pub(super) fn open(all: &Value, weights: &Weights, device: &Device) -> Result<Decoder> {
    config::only(all, "attn_logit_softcapping", &Value::Null)?;
    config::only(all, "final_logit_softcapping", &json!(null))?;
    let config: Config = config::read(all)?;
    if !(config.query_pre_attn_scalar.is_finite() && config.query_pre_attn_scalar > 0.0) {
        return Err(config::wrong("`query_pre_attn_scalar` is not a positive number"));
    }
    let heads = config::grouped_heads(Heads {
        queries: config.num_attention_heads,
        keys: config.num_key_value_heads,
        size: config.head_dim,
    })?;
    let rope = |keys: RopeKeys| keys.open(all, device, heads.size, config.max_position_embeddings);
    let layer = |is_local| LayerConfig { span: config.span(is_local), rope: Some(usize::from(is_local)) };
    let decoder = decoder::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        max_positions: config.max_position_embeddings,
        heads,
        activation: config::activation("hidden_activation", &config.hidden_activation)?,
        norm_eps: config.rms_norm_eps,
        norm_offset: 1.0,
        qk_norm: true,
        post_norms: true,
        attention_bias: config.attention_bias,
        attention_scale: config.query_pre_attn_scalar.sqrt().recip() as f32,
        embedding_scale: (config.hidden_size as f64).sqrt() as f32,
        ropes: vec![rope(GLOBAL)?, rope(LOCAL)?],
        layers: config.local_layers()?.into_iter().map(layer).collect(),
    };
    Decoder::new(decoder, &Parameters::new(weights, device))
}
