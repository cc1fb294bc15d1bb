//! ModernBERT: norms before each part, rotary positions, a gated layer, and layers of which most see only near tokens.

use serde::Deserialize;
use serde_json::Value;

use super::encoder::self_attention;
use super::rope::RopeKeys;
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{
    Activation, AttentionOptions, Device, Embedding, Epilogue, Gate, Heads, Linear, Norm, QkPreparation,
    Rope, Span, Tensor, feed_forward,
};
use crate::local::weights::{Biases, Parameters, Weights};

const GLOBAL: RopeKeys =
    RopeKeys { layers: Some("full_attention"), base: "global_rope_theta", scaled: true, default: 160_000.0 };
const LOCAL: RopeKeys =
    RopeKeys { layers: Some("sliding_attention"), base: "local_rope_theta", scaled: true, default: 10_000.0 };

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
    #[serde(default = "norm_eps")]
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    layer_types: Option<Vec<String>>,
    #[serde(default = "global_attn_every_n_layers")]
    global_attn_every_n_layers: usize,
    #[serde(default = "local_attention")]
    local_attention: usize,
}

fn norm_eps() -> f64 {
    1e-5
}

fn global_attn_every_n_layers() -> usize {
    3
}

fn local_attention() -> usize {
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
    config: Config,
    heads: Heads,
    activation: Activation,
    token_embedding: Embedding,
    norm: Norm,
    global_rope: Rope,
    local_rope: Rope,
    layers: Vec<Layer>,
    final_norm: Norm,
}

#[derive(Debug)]
struct Layer {
    is_local: bool,
    /// The first layer has none: the embeddings have just had one.
    attention_norm: Option<Norm>,
    qkv_proj: Linear,
    o_proj: Linear,
    mlp_norm: Norm,
    gate_up_proj: Linear,
    down_proj: Linear,
}

impl ModernBert {
    /// Reads a ModernBERT.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        let all = config;
        let config: Config = config::read(config)?;
        let (width, heads) =
            (config.hidden_size, config::heads(config.hidden_size, config.num_attention_heads)?);
        let weights = Parameters::new(weights, device).at_any(&["model"]);
        let norms = weights.biased(biases(config.norm_bias));
        let layers = config.local_layers()?.into_iter().enumerate().map(|(number, is_local)| {
            Layer::new(&weights.at("layers").at(number), &config, heads, number == 0, is_local)
        });
        Ok(Self {
            heads,
            activation: config::activation("hidden_activation", &config.hidden_activation)?,
            token_embedding: weights.at("embeddings").embedding(
                "tok_embeddings",
                config.vocab_size,
                width,
            )?,
            norm: norms.layer_norm("embeddings.norm", width, config.norm_eps)?,
            global_rope: GLOBAL.open(all, device, heads.size, config.max_position_embeddings)?,
            local_rope: LOCAL.open(all, device, heads.size, config.max_position_embeddings)?,
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
            qkv_proj: attention.linear("attn.Wqkv", width, heads.qkv_width())?,
            o_proj: attention.linear("attn.Wo", width, width)?,
            mlp_norm: norm("mlp_norm")?,
            gate_up_proj: layers.gated_halves("mlp.Wi", Gate::First, width, inner)?,
            down_proj: layers.linear("mlp.Wo", inner, width)?,
        })
    }

    fn forward(&self, model: &ModernBert, x: Tensor, tokens: &Tokens, positions: &[u32]) -> Result<Tensor> {
        let (rope, span) = if self.is_local {
            let reach = Some(model.config.local_attention / 2);
            (&model.local_rope, Span { before: reach, after: reach })
        } else {
            (&model.global_rope, Span::ALL)
        };
        let prepare = QkPreparation { norms: None, rope: Some((rope, positions)) };
        let options = AttentionOptions { scale: model.heads.scale(), span, ..AttentionOptions::default() };
        let qkv = match &self.attention_norm {
            Some(norm) => self.qkv_proj.forward(norm.forward(&x)?)?,
            None => self.qkv_proj.forward(&x)?,
        };
        let attn_out = self_attention(qkv, model.heads, prepare, tokens.starts(), options)?;
        let x = self.o_proj.forward_with(attn_out, Epilogue::residual(x))?;
        let normed = self.mlp_norm.forward(&x)?;
        feed_forward([&self.gate_up_proj, &self.down_proj], normed, model.activation, x)
    }
}

impl TextEncoder for ModernBert {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn window(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let x = self.norm.forward(self.token_embedding.forward(tokens.ids())?)?;
        let x = tokens.by_length(x, true, |mut x, tokens| {
            let positions = tokens.positions(0);
            for layer in &self.layers {
                x = layer.forward(self, x, tokens, &positions)?;
            }
            Ok(x)
        })?;
        self.final_norm.forward(x)
    }
}
