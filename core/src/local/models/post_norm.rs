//! The encoder of BERT and its kin: attention, then two layers, each with a residual and a norm after it.

use candle_core::Tensor;

use super::Tokens;
use super::self_attention::{Heads, Turn, self_attention};
use crate::error::Result;
use crate::local::ops::{
    Activation, AttentionOptions, Epilogue, Gate, Linear, Mask, Norm, Place, Rotary, Span, recycle,
};
use crate::local::weights::{Biases, Parameters};

/// What the parts of a layer are called in the weights, and which of them have a bias.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) joined: Joined,
    /// What brings the heads together.
    pub(super) attended: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) inner: Inner,
    pub(super) down: &'static str,
    pub(super) output_norm: &'static str,
    /// Biases of all layers but the inner one. Norms have one always.
    pub(super) biases: Biases,
    pub(super) inner_biases: Biases,
}

/// Queries, keys and values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Joined {
    Three([&'static str; 3]),
    One(&'static str),
}

/// The first of the two layers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Inner {
    Plain(&'static str),
    Gated {
        gate: &'static str,
        up: &'static str,
    },
    /// A gate and what it gates, one above the other.
    Halves(&'static str, Gate),
}

impl Names {
    /// As BERT and RoBERTa call them.
    pub(super) const BERT: Self = Self {
        joined: Joined::Three(["attention.self.query", "attention.self.key", "attention.self.value"]),
        attended: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        inner: Inner::Plain("intermediate.dense"),
        down: "output.dense",
        output_norm: "output.LayerNorm",
        biases: Biases::All,
        inner_biases: Biases::All,
    };
}

/// The sizes of all layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) layers: usize,
    pub(super) width: usize,
    pub(super) heads: Heads,
    /// Numbers between the two layers.
    pub(super) inner: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
}

/// The layers, one after another.
#[derive(Debug)]
pub(super) struct Encoder {
    place: Place,
    sizes: Sizes,
    layers: Vec<Layer>,
    /// How queries and keys turn, in models that know positions by that.
    rotary: Option<Rotary>,
}

#[derive(Debug)]
struct Layer {
    joined: Linear,
    attended: Linear,
    attention_norm: Norm,
    inner: Linear,
    down: Linear,
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
        sizes: Sizes,
        rotary: Option<Rotary>,
    ) -> Result<Self> {
        let layers = (0..sizes.layers).map(|number| Layer::new(&weights.at(number), names, sizes));
        Ok(Self { place: weights.place.clone(), sizes, layers: layers.collect::<Result<_>>()?, rotary })
    }

    /// Takes the states of all texts through the layers.
    ///
    /// # Errors
    /// `out_of_memory` on a GPU; the shapes belong together.
    pub(super) fn forward(&self, states: Tensor, tokens: &Tokens, mask: Mask<'_>) -> Result<Tensor> {
        let positions = self.rotary.as_ref().map(|_| tokens.positions(0)).unwrap_or_default();
        let turn = self.rotary.as_ref().map(|rotary| Turn { rotary, norms: None, positions: &positions });
        let mut states = states;
        for layer in &self.layers {
            states = layer.forward(&self.place, self.sizes, states, tokens, turn, mask)?;
        }
        Ok(states)
    }
}

impl Layer {
    fn new(weights: &Parameters<'_>, names: Names, sizes: Sizes) -> Result<Self> {
        let Sizes { width, inner, epsilon, heads, .. } = sizes;
        let (norms, outer) = (weights.biased(Biases::All), weights.biased(names.biases));
        let inside = weights.biased(names.inner_biases);
        Ok(Self {
            joined: match names.joined {
                Joined::Three(parts) => outer.joined(&parts.map(|name| (name, width)), width)?,
                Joined::One(name) => outer.linear(name, width, heads.joined())?,
            },
            attended: outer.linear(names.attended, width, width)?,
            attention_norm: norms.layer_norm(names.attention_norm, width, epsilon)?,
            inner: match names.inner {
                Inner::Plain(name) => inside.linear(name, width, inner)?,
                Inner::Gated { gate, up } => inside.gated(gate, up, width, inner)?,
                Inner::Halves(name, gate) => inside.gated_halves(name, gate, width, inner)?,
            },
            down: outer.linear(names.down, inner, width)?,
            output_norm: norms.layer_norm(names.output_norm, width, epsilon)?,
        })
    }

    fn forward(
        &self,
        place: &Place,
        sizes: Sizes,
        states: Tensor,
        tokens: &Tokens,
        turn: Option<Turn<'_>>,
        mask: Mask<'_>,
    ) -> Result<Tensor> {
        let joined = self.joined.forward(&states)?;
        let options = AttentionOptions { scale: sizes.heads.scale(), span: Span::ALL, mask };
        let attended = self_attention(place, joined, sizes.heads, tokens, turn, options)?;
        let sum = self.attended.forward_owned(attended, Epilogue::residual(&states))?;
        recycle(states);
        let states = self.attention_norm.forward_owned(place, sum)?;
        let inner = self.inner.forward_with(&states, Epilogue::activation(sizes.activation))?;
        let sum = self.down.forward_owned(inner, Epilogue::residual(&states))?;
        recycle(states);
        self.output_norm.forward_owned(place, sum)
    }
}
