//! ModernBERT: norms before each part, turning positions, a gated layer, and layers of which most see only near tokens.

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::Value;

use super::rope::Rope;
use super::self_attention::{Heads, Turn, self_attention};
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{
    Activation, AttentionOptions, Embedding, Epilogue, Gate, Linear, Mask, Norm, Place, Rotary, Span, recycle,
};
use crate::local::weights::{Biases, Parameters, Weights};

const GLOBAL: Rope =
    Rope { layers: Some("full_attention"), base: "global_rope_theta", scaled: true, default: 160_000.0 };
const LOCAL: Rope =
    Rope { layers: Some("sliding_attention"), base: "local_rope_theta", scaled: true, default: 10_000.0 };

/// What is read of `config.json`.
#[derive(Debug, Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_activation: String,
    max_position_embeddings: usize,
    #[serde(default = "epsilon")]
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    layer_types: Option<Vec<String>>,
    #[serde(default = "three")]
    global_attn_every_n_layers: usize,
    #[serde(default = "window")]
    local_attention: usize,
}

fn epsilon() -> f64 {
    1e-5
}

fn three() -> usize {
    3
}

fn window() -> usize {
    128
}

impl Config {
    /// Which layers see only near tokens.
    fn local_layers(&self) -> Result<Vec<bool>> {
        let Some(types) = &self.layer_types else {
            let every = self.global_attn_every_n_layers.max(1);
            return Ok((0..self.num_hidden_layers).map(|layer| !layer.is_multiple_of(every)).collect());
        };
        config::sliding_layers(types, self.num_hidden_layers)
    }
}

/// A ModernBERT.
#[derive(Debug)]
pub(super) struct ModernBert {
    place: Place,
    config: Config,
    heads: Heads,
    activation: Activation,
    words: Embedding,
    norm: Norm,
    global: Rotary,
    local: Rotary,
    layers: Vec<Layer>,
    final_norm: Norm,
}

#[derive(Debug)]
struct Layer {
    is_local: bool,
    /// The first layer has none: the words have just had one.
    attention_norm: Option<Norm>,
    joined: Linear,
    attended: Linear,
    inner_norm: Norm,
    inner: Linear,
    down: Linear,
}

impl ModernBert {
    /// Reads a ModernBERT.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, place: &Place) -> Result<Self> {
        let all = config;
        let config: Config = config::read(config)?;
        let (width, heads) =
            (config.hidden_size, config::heads(config.hidden_size, config.num_attention_heads)?);
        let weights = Parameters::new(weights, place).at_any(&["model"]);
        let norms = weights.biased(biases(config.norm_bias));
        let layers = config.local_layers()?.into_iter().enumerate().map(|(number, is_local)| {
            Layer::new(&weights.at("layers").at(number), &config, heads, number == 0, is_local)
        });
        Ok(Self {
            place: place.clone(),
            heads,
            activation: config::activation("hidden_activation", &config.hidden_activation)?,
            words: weights.at("embeddings").embedding("tok_embeddings", config.vocab_size, width)?,
            norm: norms.layer_norm("embeddings.norm", width, config.norm_eps)?,
            global: GLOBAL.open(all, place, heads.size, config.max_position_embeddings)?,
            local: LOCAL.open(all, place, heads.size, config.max_position_embeddings)?,
            layers: layers.collect::<Result<_>>()?,
            final_norm: norms.layer_norm("final_norm", width, config.norm_eps)?,
            config,
        })
    }
}

fn biases(all: bool) -> Biases {
    if all { Biases::All } else { Biases::None }
}

impl Layer {
    fn new(
        weights: &Parameters<'_>,
        config: &Config,
        heads: Heads,
        is_first: bool,
        is_local: bool,
    ) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let norms = weights.biased(biases(config.norm_bias));
        let attention = weights.biased(biases(config.attention_bias));
        let layers = weights.biased(biases(config.mlp_bias));
        let norm = |name| norms.layer_norm(name, width, config.norm_eps);
        Ok(Self {
            is_local,
            attention_norm: (!is_first).then(|| norm("attn_norm")).transpose()?,
            joined: attention.linear("attn.Wqkv", width, heads.joined())?,
            attended: attention.linear("attn.Wo", width, width)?,
            inner_norm: norm("mlp_norm")?,
            inner: layers.gated_halves("mlp.Wi", Gate::First, width, inner)?,
            down: layers.linear("mlp.Wo", inner, width)?,
        })
    }

    fn forward(
        &self,
        model: &ModernBert,
        states: Tensor,
        tokens: &Tokens,
        positions: &[u32],
    ) -> Result<Tensor> {
        let (place, heads) = (&model.place, model.heads);
        let (rotary, span) = if self.is_local {
            let reach = Some(model.config.local_attention / 2);
            (&model.local, Span { before: reach, after: reach })
        } else {
            (&model.global, Span::ALL)
        };
        let joined = match &self.attention_norm {
            Some(norm) => self.joined.forward_owned(norm.forward(place, &states)?, Epilogue::default())?,
            None => self.joined.forward(&states)?,
        };
        let turn = Turn { rotary, norms: None, positions };
        let options = AttentionOptions { scale: heads.scale(), span, mask: Mask::None };
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

impl TextEncoder for ModernBert {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn window(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let positions = tokens.positions(0);
        let mut states = self.norm.forward_owned(&self.place, self.words.forward(tokens.ids())?)?;
        for layer in &self.layers {
            states = layer.forward(self, states, tokens, &positions)?;
        }
        self.final_norm.forward_owned(&self.place, states)
    }
}
