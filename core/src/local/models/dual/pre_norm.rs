//! The transformer of CLIP and SigLIP, for texts and for images: norms stand before attention and before the two layers
//! that follow it.

use candle_core::Tensor;

use super::layers;
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{
    Activation, AttentionOptions, Epilogue, Linear, Mask, Norm, Place, Span, Starts, attention, of_candle,
    recycle,
};
use crate::local::weights::Parameters;

/// How large a transformer is, and what it computes with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    /// Numbers in a state.
    pub(super) width: usize,
    /// Numbers between the two layers after attention.
    pub(super) inner: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
}

impl Shape {
    /// Numbers in a head.
    ///
    /// # Errors
    /// `model_load` if the heads do not share the width in multiples of 8.
    pub(super) fn head_size(&self) -> Result<usize> {
        match self.width.checked_div(self.heads) {
            Some(size) if size * self.heads == self.width && size > 0 && size.is_multiple_of(8) => Ok(size),
            _ => {
                let Self { width, heads, .. } = self;
                Err(Error::new(
                    ErrorKind::ModelLoad,
                    format!("{heads} heads cannot share {width} numbers: each needs a multiple of 8"),
                ))
            }
        }
    }
}

/// Which states of each sequence are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    First,
    Last,
}

/// Layers one after another.
#[derive(Debug)]
pub(super) struct Transformer {
    blocks: Vec<Block>,
    attention: Heads,
    place: Place,
}

/// What attention needs to know.
#[derive(Clone, Copy, Debug)]
struct Heads {
    count: usize,
    size: usize,
    span: Span,
}

#[derive(Debug)]
struct Block {
    norms: [Norm; 2],
    queries_keys_values: Linear,
    out: Linear,
    widen: Linear,
    narrow: Linear,
    activation: Activation,
}

impl Transformer {
    /// The layers that lie here.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape, or the shape is none.
    pub(super) fn new(weights: &Parameters<'_>, shape: &Shape, span: Span) -> Result<Self> {
        let attention = Heads { count: shape.heads, size: shape.head_size()?, span };
        let layers = weights.at("encoder.layers");
        let blocks = (0..shape.layers).map(|number| Block::new(&layers.at(number), shape));
        Ok(Self { blocks: blocks.collect::<Result<_>>()?, attention, place: weights.place.clone() })
    }

    /// The states of the tokens after all layers, of which some of each sequence are kept. No sequence may be empty.
    pub(super) fn forward(&self, mut x: Tensor, starts: &[usize], keep: Keep) -> Result<Tensor> {
        let kept = kept_rows(starts, keep, &x)?;
        let last = self.blocks.len().saturating_sub(1);
        for (number, block) in self.blocks.iter().enumerate() {
            // What is not kept is needed up to the last layer's keys and values, but not after them.
            let kept = kept.as_ref().filter(|_| number == last);
            x = block.forward(&self.place, self.attention, x, starts, kept)?;
        }
        match kept {
            Some(rows) if self.blocks.is_empty() => x.index_select(&rows, 0).map_err(of_candle),
            _ => Ok(x),
        }
    }
}

/// The rows that are kept, if not all are.
fn kept_rows(starts: &[usize], keep: Keep, x: &Tensor) -> Result<Option<Tensor>> {
    let rows = starts.windows(2).map(|ends| match keep {
        Keep::Last => ends[1].saturating_sub(1),
        Keep::First | Keep::All => ends[0],
    });
    let rows = rows.map(u32::try_from).collect::<Result<Vec<u32>, _>>();
    let rows = rows.map_err(|_| Error::invalid_request("a batch has more than 2³² tokens"))?;
    if keep == Keep::All {
        return Ok(None);
    }
    let count = rows.len();
    Tensor::from_vec(rows, count, x.device()).map(Some).map_err(of_candle)
}

impl Block {
    fn new(weights: &Parameters<'_>, shape: &Shape) -> Result<Self> {
        let Shape { width, inner, activation, epsilon, .. } = *shape;
        Ok(Self {
            norms: [
                layers::norm(weights, "layer_norm1", width, epsilon)?,
                layers::norm(weights, "layer_norm2", width, epsilon)?,
            ],
            queries_keys_values: layers::joined(
                &weights.at("self_attn"),
                ["q_proj", "k_proj", "v_proj"],
                width,
            )?,
            out: layers::linear(weights, "self_attn.out_proj", width, width)?,
            widen: layers::linear(weights, "mlp.fc1", width, inner)?,
            narrow: layers::linear(weights, "mlp.fc2", inner, width)?,
            activation,
        })
    }

    fn forward(
        &self,
        place: &Place,
        heads: Heads,
        x: Tensor,
        starts: &[usize],
        kept: Option<&Tensor>,
    ) -> Result<Tensor> {
        let normal = self.norms[0].forward(place, &x)?;
        let joined = self.queries_keys_values.forward_owned(normal, Epilogue::default())?;
        let (attended, x) = match kept {
            None => (attend(place, heads, &joined, &joined, Starts { queries: starts, keys: starts })?, x),
            Some(rows) => {
                let select = |x: &Tensor| x.index_select(rows, 0).map_err(of_candle);
                let one_each: Vec<usize> = (0..starts.len()).collect();
                let starts = Starts { queries: &one_each, keys: starts };
                (attend(place, heads, &select(&joined)?, &joined, starts)?, select(&x)?)
            }
        };
        recycle(joined);
        let sum = self.out.forward_owned(attended, Epilogue::residual(&x))?;
        recycle(x);
        let normal = self.norms[1].forward(place, &sum)?;
        let wide = self.widen.forward_owned(normal, Epilogue::activation(self.activation))?;
        let x = self.narrow.forward_owned(wide, Epilogue::residual(&sum))?;
        recycle(sum);
        Ok(x)
    }
}

/// Attention of the queries of some tokens to the keys and values of all, each `[token, 3 · width]`.
fn attend(place: &Place, heads: Heads, of: &Tensor, over: &Tensor, starts: Starts<'_>) -> Result<Tensor> {
    let part = |joined: &Tensor, part: usize| {
        let tokens = joined.dims().first().copied().unwrap_or_default();
        let parts = joined.reshape((tokens, 3, heads.count, heads.size));
        parts.and_then(|parts| parts.narrow(1, part, 1)?.squeeze(1)).map_err(of_candle)
    };
    let options = AttentionOptions { scale: scale(heads.size), span: heads.span, mask: Mask::None };
    let y = attention(place, &part(of, 0)?, &part(over, 1)?, &part(over, 2)?, starts, options)?;
    y.flatten_from(1).map_err(of_candle)
}

/// What scores of heads of this size are multiplied by.
#[allow(clippy::cast_possible_truncation, reason = "computed in f64 so that it is rounded once")]
pub(super) fn scale(head_size: usize) -> f32 {
    (head_size as f64).sqrt().recip() as f32
}
