//! EmbeddingGemma: Gemma 3 whose tokens see both sides. Four norms a layer, two speeds of turning positions, and layers
//! of which most see only near tokens.

use candle_core::{DType, Tensor};
use serde::Deserialize;
use serde_json::{Value, json};

use super::rope::Rope;
use super::self_attention::{Heads, Turn, self_attention};
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{
    Activation, AttentionOptions, Embedding, Epilogue, Linear, Mask, Norm, Place, Rotary, Span, add_owned,
    of_candle, recycle, scale_owned,
};
use crate::local::weights::{Biases, Parameters, Weights};

const GLOBAL: Rope =
    Rope { layers: Some("full_attention"), base: "rope_theta", scaled: true, default: 1_000_000.0 };
const LOCAL: Rope = Rope {
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
    #[serde(default = "epsilon")]
    rms_norm_eps: f64,
    #[serde(default)]
    attention_bias: bool,
    sliding_window: usize,
    layer_types: Option<Vec<String>>,
    #[serde(alias = "_sliding_window_pattern", default = "six")]
    sliding_window_pattern: usize,
    #[serde(default)]
    use_bidirectional_attention: bool,
}

fn epsilon() -> f64 {
    1e-6
}

fn six() -> usize {
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

    /// What a layer's tokens see.
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

    #[allow(clippy::cast_possible_truncation, reason = "f32 as the model computes")]
    fn scale(&self) -> f32 {
        self.query_pre_attn_scalar.sqrt().recip() as f32
    }

    /// What words are multiplied by.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "f32 as the model computes"
    )]
    fn word_scale(&self) -> f32 {
        (self.hidden_size as f64).sqrt() as f32
    }
}

/// A Gemma 3 without its head.
#[derive(Debug)]
pub(super) struct Gemma3 {
    place: Place,
    config: Config,
    heads: Heads,
    activation: Activation,
    words: Embedding,
    global: Rotary,
    local: Rotary,
    layers: Vec<Layer>,
    norm: Norm,
}

#[derive(Debug)]
struct Layer {
    is_local: bool,
    attention_norm: Norm,
    joined: Linear,
    query_norm: Norm,
    key_norm: Norm,
    attended: Linear,
    attended_norm: Norm,
    inner_norm: Norm,
    inner: Linear,
    down: Linear,
    output_norm: Norm,
}

/// A norm whose weights are stored less one.
fn norm(weights: &Parameters<'_>, name: &str, width: usize, epsilon: f64) -> Result<Norm> {
    let weight = weights.at(name).tensor("weight", &[width])?;
    let weight = weight.to_dtype(DType::F32).and_then(|weight| weight + 1.0).map_err(of_candle)?;
    #[allow(clippy::cast_possible_truncation, reason = "f32 as the model computes")]
    Norm::rms(weights.place, weight, epsilon as f32)
}

impl Gemma3 {
    /// Reads a Gemma 3.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, place: &Place) -> Result<Self> {
        config::only(config, "attn_logit_softcapping", &Value::Null)?;
        config::only(config, "final_logit_softcapping", &json!(null))?;
        let all = config;
        let config: Config = config::read(config)?;
        if !(config.query_pre_attn_scalar.is_finite() && config.query_pre_attn_scalar > 0.0) {
            return Err(config::wrong("`query_pre_attn_scalar` is not a positive number"));
        }
        let heads = config::grouped_heads(Heads {
            queries: config.num_attention_heads,
            keys: config.num_key_value_heads,
            size: config.head_dim,
        })?;
        let weights = Parameters::new(weights, place).at_any(&["model"]);
        let layers =
            config.local_layers()?.into_iter().enumerate().map(|(number, is_local)| {
                Layer::new(&weights.at("layers").at(number), &config, heads, is_local)
            });
        Ok(Self {
            place: place.clone(),
            heads,
            activation: config::activation("hidden_activation", &config.hidden_activation)?,
            words: weights.embedding("embed_tokens", config.vocab_size, config.hidden_size)?,
            global: GLOBAL.open(all, place, heads.size, config.max_position_embeddings)?,
            local: LOCAL.open(all, place, heads.size, config.max_position_embeddings)?,
            layers: layers.collect::<Result<_>>()?,
            norm: norm(&weights, "norm", config.hidden_size, config.rms_norm_eps)?,
            config,
        })
    }
}

impl Layer {
    fn new(weights: &Parameters<'_>, config: &Config, heads: Heads, is_local: bool) -> Result<Self> {
        let (width, inner, epsilon) = (config.hidden_size, config.intermediate_size, config.rms_norm_eps);
        let attention = weights.at("self_attn");
        let biased = attention.biased(if config.attention_bias { Biases::All } else { Biases::None });
        let layers = weights.at("mlp").biased(Biases::None);
        let of_keys = heads.keys * heads.size;
        let joined = [("q_proj", heads.width()), ("k_proj", of_keys), ("v_proj", of_keys)];
        Ok(Self {
            is_local,
            attention_norm: norm(weights, "input_layernorm", width, epsilon)?,
            joined: biased.joined(&joined, width)?,
            query_norm: norm(&attention, "q_norm", heads.size, epsilon)?,
            key_norm: norm(&attention, "k_norm", heads.size, epsilon)?,
            attended: biased.linear("o_proj", heads.width(), width)?,
            attended_norm: norm(weights, "post_attention_layernorm", width, epsilon)?,
            inner_norm: norm(weights, "pre_feedforward_layernorm", width, epsilon)?,
            inner: layers.gated("gate_proj", "up_proj", width, inner)?,
            down: layers.linear("down_proj", inner, width)?,
            output_norm: norm(weights, "post_feedforward_layernorm", width, epsilon)?,
        })
    }

    fn forward(&self, model: &Gemma3, states: Tensor, tokens: &Tokens, positions: &[u32]) -> Result<Tensor> {
        let (place, config, heads) = (&model.place, &model.config, model.heads);
        let joined =
            self.joined.forward_owned(self.attention_norm.forward(place, &states)?, Epilogue::default())?;
        let rotary = if self.is_local { &model.local } else { &model.global };
        let turn = Turn { rotary, norms: Some([&self.query_norm, &self.key_norm]), positions };
        let options =
            AttentionOptions { scale: config.scale(), span: config.span(self.is_local), mask: Mask::None };
        let attended = self_attention(place, joined, heads, tokens, Some(turn), options)?;
        let attended = self.attended.forward_owned(attended, Epilogue::default())?;
        let sum = add_owned(place, self.attended_norm.forward_owned(place, attended)?, &states)?;
        recycle(states);
        let normal = self.inner_norm.forward(place, &sum)?;
        let inner = self.inner.forward_owned(normal, Epilogue::activation(model.activation))?;
        let output = self.down.forward_owned(inner, Epilogue::default())?;
        let states = add_owned(place, self.output_norm.forward_owned(place, output)?, &sum)?;
        recycle(sum);
        Ok(states)
    }
}

impl TextEncoder for Gemma3 {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn window(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let positions = tokens.positions(0);
        let words = self.words.forward(tokens.ids())?;
        let mut states = scale_owned(&self.place, words, self.config.word_scale())?;
        for layer in &self.layers {
            states = layer.forward(self, states, tokens, &positions)?;
        }
        self.norm.forward_owned(&self.place, states)
    }
}
