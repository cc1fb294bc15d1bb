//! The encoder of BERT and its kin: attention, then two layers, each with a residual and a norm after it.

use candle_core::Tensor;

use super::Tokens;
use crate::error::Result;
use crate::local::ops::{
    Activation, AttentionOptions, Epilogue, Linear, Mask, Norm, Place, Span, Starts, attention, of_candle,
};
use crate::local::weights::Parameters;

/// What the parts of a layer are called in the weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// Queries, keys and values.
    pub(super) joined: [&'static str; 3],
    /// What brings the heads together.
    pub(super) attended: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) output_norm: &'static str,
}

impl Names {
    /// As BERT and RoBERTa call them.
    pub(super) const BERT: Self = Self {
        joined: ["attention.self.query", "attention.self.key", "attention.self.value"],
        attended: "attention.output.dense",
        attention_norm: "attention.output.LayerNorm",
        up: "intermediate.dense",
        down: "output.dense",
        output_norm: "output.LayerNorm",
    };
}

/// The sizes of all layers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) layers: usize,
    pub(super) width: usize,
    pub(super) heads: usize,
    /// Numbers of a head.
    pub(super) head: usize,
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
}

#[derive(Debug)]
struct Layer {
    joined: Linear,
    attended: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

impl Encoder {
    /// The layers `0`, `1`, … of the weights.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn new(weights: &Parameters<'_>, names: Names, sizes: Sizes) -> Result<Self> {
        let layers = (0..sizes.layers).map(|number| Layer::new(&weights.at(number), names, sizes));
        Ok(Self { place: weights.place.clone(), sizes, layers: layers.collect::<Result<_>>()? })
    }

    /// Takes the states of all texts through the layers.
    ///
    /// # Errors
    /// `out_of_memory` on a GPU; the shapes belong together.
    pub(super) fn forward(&self, states: Tensor, tokens: &Tokens, mask: Mask<'_>) -> Result<Tensor> {
        let mut states = states;
        for layer in &self.layers {
            states = layer.forward(&self.place, self.sizes, &states, tokens, mask)?;
        }
        Ok(states)
    }
}

impl Layer {
    fn new(weights: &Parameters<'_>, names: Names, sizes: Sizes) -> Result<Self> {
        let Sizes { width, inner, epsilon, .. } = sizes;
        Ok(Self {
            joined: weights.joined(&names.joined.map(|name| (name, width)), width)?,
            attended: weights.linear(names.attended, width, width)?,
            attention_norm: weights.layer_norm(names.attention_norm, width, epsilon)?,
            up: weights.linear(names.up, width, inner)?,
            down: weights.linear(names.down, inner, width)?,
            output_norm: weights.layer_norm(names.output_norm, width, epsilon)?,
        })
    }

    fn forward(
        &self,
        place: &Place,
        sizes: Sizes,
        states: &Tensor,
        tokens: &Tokens,
        mask: Mask<'_>,
    ) -> Result<Tensor> {
        let joined = self.joined.forward(states)?;
        let options = AttentionOptions { scale: scale(sizes.head), span: Span::ALL, mask };
        let attended = self_attention(place, &joined, sizes.heads, sizes.heads, sizes.head, tokens, options)?;
        let sum = self.attended.forward_with(&attended, Epilogue::residual(states))?;
        let states = self.attention_norm.forward(place, &sum)?;
        let inner = self.up.forward_with(&states, Epilogue::activation(sizes.activation))?;
        let sum = self.down.forward_with(&inner, Epilogue::residual(&states))?;
        self.output_norm.forward(place, &sum)
    }
}

/// Attention of each text to itself, `[token, width]`, over queries, keys and values that lie side by side: they are
/// read where they are.
pub(super) fn self_attention(
    place: &Place,
    joined: &Tensor,
    heads: usize,
    key_heads: usize,
    size: usize,
    tokens: &Tokens,
    options: AttentionOptions<'_>,
) -> Result<Tensor> {
    let count = tokens.ids().len();
    let all = joined.reshape((count, heads + 2 * key_heads, size)).map_err(of_candle)?;
    let part = |first, heads| all.narrow(1, first, heads).map_err(of_candle);
    let starts = Starts { queries: tokens.starts(), keys: tokens.starts() };
    let (queries, keys) = (part(0, heads)?, part(heads, key_heads)?);
    let values = part(heads + key_heads, key_heads)?;
    let attended = attention(place, &queries, &keys, &values, starts, options)?;
    attended.reshape((count, heads * size)).map_err(of_candle)
}

/// What scores are multiplied by: one over the root of a head's size.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "heads have few numbers")]
pub(super) fn scale(head: usize) -> f32 {
    (head as f64).sqrt().recip() as f32
}
