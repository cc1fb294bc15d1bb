//! Qwen3-Embedding: a causal decoder whose states are those of a text encoder, for the last token knows all others.

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::{Value, json};

use super::rope::Rope;
use super::self_attention::{Heads, Turn, self_attention};
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{
    Activation, AttentionOptions, Embedding, Epilogue, Linear, Mask, Norm, Place, Rotary, Span, recycle,
};
use crate::local::weights::{Biases, Parameters, Weights};

const ROPE: Rope = Rope { layers: None, base: "rope_theta", scaled: true, default: 10_000.0 };

/// What is read of `config.json`.
#[derive(Debug, Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    #[serde(default = "head_size")]
    head_dim: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default = "epsilon")]
    rms_norm_eps: f64,
    #[serde(default)]
    attention_bias: bool,
}

fn head_size() -> usize {
    128
}

fn epsilon() -> f64 {
    1e-6
}

/// A Qwen3 without its head.
#[derive(Debug)]
pub(super) struct Qwen3 {
    place: Place,
    config: Config,
    heads: Heads,
    activation: Activation,
    words: Embedding,
    rotary: Rotary,
    layers: Vec<Layer>,
    norm: Norm,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Norm,
    joined: Linear,
    query_norm: Norm,
    key_norm: Norm,
    attended: Linear,
    inner_norm: Norm,
    inner: Linear,
    down: Linear,
}

impl Qwen3 {
    /// Reads a Qwen3.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, place: &Place) -> Result<Self> {
        config::only(config, "use_sliding_window", &json!(false))?;
        let all = config;
        let config: Config = config::read(config)?;
        let heads = config::grouped_heads(Heads {
            queries: config.num_attention_heads,
            keys: config.num_key_value_heads.unwrap_or(config.num_attention_heads),
            size: config.head_dim,
        })?;
        let weights = Parameters::new(weights, place).at_any(&["model"]);
        let width = config.hidden_size;
        let layers = (0..config.num_hidden_layers)
            .map(|number| Layer::new(&weights.at("layers").at(number), &config, heads));
        Ok(Self {
            place: place.clone(),
            heads,
            activation: config::activation("hidden_act", &config.hidden_act)?,
            words: weights.embedding("embed_tokens", config.vocab_size, width)?,
            rotary: ROPE.open(all, place, heads.size, config.max_position_embeddings)?,
            layers: layers.collect::<Result<_>>()?,
            norm: weights.rms_norm("norm", width, config.rms_norm_eps)?,
            config,
        })
    }
}

impl Layer {
    fn new(weights: &Parameters<'_>, config: &Config, heads: Heads) -> Result<Self> {
        let (width, inner, epsilon) = (config.hidden_size, config.intermediate_size, config.rms_norm_eps);
        let attention = weights.at("self_attn");
        let biased = attention.biased(if config.attention_bias { Biases::All } else { Biases::None });
        let layers = weights.at("mlp").biased(Biases::None);
        let of_keys = heads.keys * heads.size;
        let joined = [("q_proj", heads.width()), ("k_proj", of_keys), ("v_proj", of_keys)];
        Ok(Self {
            attention_norm: weights.rms_norm("input_layernorm", width, epsilon)?,
            joined: biased.joined(&joined, width)?,
            query_norm: attention.rms_norm("q_norm", heads.size, epsilon)?,
            key_norm: attention.rms_norm("k_norm", heads.size, epsilon)?,
            attended: biased.linear("o_proj", heads.width(), width)?,
            inner_norm: weights.rms_norm("post_attention_layernorm", width, epsilon)?,
            inner: layers.gated("gate_proj", "up_proj", width, inner)?,
            down: layers.linear("down_proj", inner, width)?,
        })
    }

    fn forward(&self, model: &Qwen3, states: Tensor, tokens: &Tokens, positions: &[u32]) -> Result<Tensor> {
        let (place, heads) = (&model.place, model.heads);
        let joined =
            self.joined.forward_owned(self.attention_norm.forward(place, &states)?, Epilogue::default())?;
        let norms = Some([&self.query_norm, &self.key_norm]);
        let turn = Turn { rotary: &model.rotary, norms, positions };
        let options = AttentionOptions { scale: heads.scale(), span: Span::CAUSAL, mask: Mask::None };
        let attended = self_attention(place, joined, heads, tokens, Some(turn), options)?;
        let sum = self.attended.forward_owned(attended, Epilogue::residual(&states))?;
        recycle(states);
        let normal = self.inner_norm.forward(place, &sum)?;
        let inner = self.inner.forward_owned(normal, Epilogue::activation(model.activation))?;
        let states = self.down.forward_owned(inner, Epilogue::residual(&sum))?;
        recycle(sum);
        Ok(states)
    }
}

impl TextEncoder for Qwen3 {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn window(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let positions = tokens.positions(0);
        let mut states = self.words.forward(tokens.ids())?;
        for layer in &self.layers {
            states = layer.forward(self, states, tokens, &positions)?;
        }
        self.norm.forward_owned(&self.place, states)
    }
}
