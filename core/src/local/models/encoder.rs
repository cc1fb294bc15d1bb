//! The encoder of BERT and its kin: attention, then two linear layers, each with a residual and a norm after it.

use super::Tokens;
use crate::error::Result;
use crate::local::ops::{
    Activation, AttentionOptions, Epilogue, Gate, Heads, KeyValues, Linear, Mask, Norm, QkPreparation, Rope,
    Tensor, attention, feed_forward, split_heads,
};
use crate::local::weights::{Biases, Parameters};

/// What the parts of a layer are called in the weights, and which of them have a bias.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) qkv_proj: QkvNames,
    pub(super) o_proj: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up_proj: UpNames,
    pub(super) down_proj: &'static str,
    pub(super) output_norm: &'static str,
    /// Biases of all layers but `up_proj`. Norms always have one.
    pub(super) biases: Biases,
    pub(super) up_biases: Biases,
}

/// The layer or layers of queries, keys and values.
#[derive(Clone, Copy, Debug)]
pub(super) enum QkvNames {
    Three([&'static str; 3]),
    Fused(&'static str),
}

/// The first of the two linear layers.
#[derive(Clone, Copy, Debug)]
pub(super) enum UpNames {
    Plain(&'static str),
    Gated {
        gate: &'static str,
        up: &'static str,
    },
    /// A gate and what it gates, stacked in one weight.
    Stacked(&'static str, Gate),
}

impl Names {
    /// As BERT and RoBERTa call them.
    pub(super) const BERT: Self = Self {
        qkv_proj: QkvNames::Three(["attention.self.query", "attention.self.key", "attention.self.value"]),
        o_proj: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        up_proj: UpNames::Plain("intermediate.dense"),
        down_proj: "output.dense",
        output_norm: "output.LayerNorm",
        biases: Biases::All,
        up_biases: Biases::All,
    };
}

/// The sizes of all layers, and what they compute with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) layers: usize,
    pub(super) hidden_size: usize,
    pub(super) heads: Heads,
    pub(super) intermediate_size: usize,
    pub(super) activation: Activation,
    pub(super) norm_eps: f64,
}

/// The layers, one after another.
#[derive(Debug)]
pub(super) struct Encoder {
    config: Config,
    layers: Vec<Layer>,
    /// In models that know positions by rotation.
    rope: Option<Rope>,
}

#[derive(Debug)]
struct Layer {
    qkv_proj: Linear,
    o_proj: Linear,
    attention_norm: Norm,
    up_proj: Linear,
    down_proj: Linear,
    output_norm: Norm,
}

impl Encoder {
    /// The layers `0`, `1`, … of the weights.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn new(
        weights: &Parameters<'_>,
        names: Names,
        config: Config,
        rope: Option<Rope>,
    ) -> Result<Self> {
        let layers = (0..config.layers).map(|number| Layer::new(&weights.at(number), names, config));
        Ok(Self { config, layers: layers.collect::<Result<_>>()?, rope })
    }

    /// Takes the states of all texts through the layers: `[token, hidden]`.
    ///
    /// # Errors
    /// `out_of_memory` on a GPU; the shapes belong together.
    pub(super) fn forward(&self, x: Tensor, tokens: &Tokens, mask: Mask<'_>) -> Result<Tensor> {
        tokens.by_length(x, true, |x, tokens| self.layers(x, tokens, mask))
    }

    fn layers(&self, mut x: Tensor, tokens: &Tokens, mask: Mask<'_>) -> Result<Tensor> {
        let Config { heads, activation, .. } = self.config;
        let positions = self.rope.as_ref().map(|_| tokens.positions(0)).unwrap_or_default();
        let prepare =
            QkPreparation { norms: None, rope: self.rope.as_ref().map(|rope| (rope, &positions[..])) };
        let options = AttentionOptions { scale: heads.scale(), mask, ..AttentionOptions::default() };
        for layer in &self.layers {
            let attn_out =
                self_attention(layer.qkv_proj.forward(&x)?, heads, prepare, tokens.starts(), options)?;
            x = layer.attention_norm.forward(layer.o_proj.forward_with(attn_out, Epilogue::residual(x))?)?;
            let hidden = feed_forward([&layer.up_proj, &layer.down_proj], &x, activation, x.clone())?;
            x = layer.output_norm.forward(hidden)?;
        }
        Ok(x)
    }
}

/// Attention of each text to itself, `[token, hidden]`, over fused queries, keys and values.
///
/// # Errors
/// `invalid_request` if the shapes do not belong together, `out_of_memory` on a GPU.
pub(super) fn self_attention(
    qkv: Tensor,
    heads: Heads,
    prepare: QkPreparation<'_>,
    starts: &[usize],
    options: AttentionOptions<'_>,
) -> Result<Tensor> {
    let [q, k, v] = split_heads(qkv, heads, prepare)?;
    attention(&q, starts, KeyValues::Ragged { keys: &k, values: &v, starts }, options)
}

impl Layer {
    fn new(weights: &Parameters<'_>, names: Names, config: Config) -> Result<Self> {
        let Config { hidden_size, intermediate_size, heads, norm_eps, .. } = config;
        let (norms, linears) = (weights.biased(Biases::All), weights.biased(names.biases));
        let up = weights.biased(names.up_biases);
        Ok(Self {
            qkv_proj: match names.qkv_proj {
                QkvNames::Three(parts) => {
                    linears.fused(&parts.map(|name| (name, hidden_size)), hidden_size)?
                }
                QkvNames::Fused(name) => linears.linear(name, hidden_size, heads.qkv_width())?,
            },
            o_proj: linears.linear(names.o_proj, hidden_size, hidden_size)?,
            attention_norm: norms.layer_norm(names.attention_norm, hidden_size, norm_eps)?,
            up_proj: match names.up_proj {
                UpNames::Plain(name) => up.linear(name, hidden_size, intermediate_size)?,
                UpNames::Gated { gate, up: name } => up.gated(gate, name, hidden_size, intermediate_size)?,
                UpNames::Stacked(name, gate) => {
                    up.gated_halves(name, gate, hidden_size, intermediate_size)?
                }
            },
            down_proj: linears.linear(names.down_proj, intermediate_size, hidden_size)?,
            output_norm: norms.layer_norm(names.output_norm, hidden_size, norm_eps)?,
        })
    }
}
