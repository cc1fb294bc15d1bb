//! The transformer of CLIP and SigLIP, for texts and for images: norms before attention and before the two layers that
//! follow it.

use crate::error::{Error, Result};
use crate::local::ops::{
    Activation, AttentionOptions, Epilogue, Heads, KeyValues, Linear, Norm, QkPreparation, Span, Tensor,
    attention, by_sequences, feed_forward, split_heads,
};
use crate::local::weights::Parameters;

/// How large a transformer is, and what it computes with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    /// The width of a state.
    pub(super) width: usize,
    /// The width between the two layers after attention.
    pub(super) inner: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) activation: Activation,
    pub(super) epsilon: f64,
}

impl Shape {
    /// The heads of attention.
    ///
    /// # Errors
    /// `model_load` if they do not divide the width evenly, `unsupported` for heads that attention does not compute.
    pub(super) fn heads(&self) -> Result<Heads> {
        super::super::config::heads(self.width, self.heads)
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
    heads: Heads,
    span: Span,
}

#[derive(Debug)]
struct Block {
    attention_norm: Norm,
    qkv_proj: Linear,
    o_proj: Linear,
    mlp_norm: Norm,
    up_proj: Linear,
    down_proj: Linear,
    activation: Activation,
}

impl Transformer {
    /// The layers of these weights.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape, or the shape is none.
    pub(super) fn new(weights: &Parameters<'_>, shape: &Shape, span: Span) -> Result<Self> {
        let heads = shape.heads()?;
        let layers = weights.at("encoder.layers");
        let blocks = (0..shape.layers).map(|number| Block::new(&layers.at(number), shape));
        Ok(Self { blocks: blocks.collect::<Result<_>>()?, heads, span })
    }

    /// The states of the tokens after all layers, of which some of each sequence are kept. No sequence may be empty.
    pub(super) fn forward(&self, x: Tensor, starts: &[usize], keep: Keep) -> Result<Tensor> {
        by_sequences(x, starts, |x, sequences| {
            let starts = &starts[sequences.start..=sequences.end];
            let first = starts.first().copied().unwrap_or_default();
            let starts: Vec<usize> = starts.iter().map(|start| start - first).collect();
            self.forward_while(x, &starts, keep, &|| Ok(()))
        })
    }

    /// The same, unless `check` fails before a layer.
    pub(super) fn forward_while(
        &self,
        mut x: Tensor,
        starts: &[usize],
        keep: Keep,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Tensor> {
        let kept = kept_rows(starts, keep)?;
        let last = self.blocks.len().saturating_sub(1);
        for (number, block) in self.blocks.iter().enumerate() {
            check()?;
            // The other states are needed up to the last layer's keys and values, but not after them.
            let kept = kept.as_deref().filter(|_| number == last);
            x = block.forward(self, x, starts, kept)?;
        }
        match kept {
            Some(rows) if self.blocks.is_empty() => x.select_rows(&rows),
            _ => Ok(x),
        }
    }

    /// The states of all tokens before the last `skipped` layers, and after all of them.
    pub(super) fn states(&self, mut x: Tensor, starts: &[usize], skipped: usize) -> Result<[Tensor; 2]> {
        let kept = self.blocks.len().saturating_sub(skipped);
        let mut early = x.clone();
        for (number, block) in self.blocks.iter().enumerate() {
            x = block.forward(self, x, starts, None)?;
            if number + 1 == kept {
                early = x.clone();
            }
        }
        Ok([early, x])
    }

    /// How many layers there are.
    pub(super) fn layers(&self) -> usize {
        self.blocks.len()
    }

    /// Attention of all tokens, or of one of each sequence, to those of their sequence.
    fn attention(&self, qkv: Tensor, starts: &[usize], kept: Option<&[u32]>) -> Result<Tensor> {
        let [q, k, v] = split_heads(qkv, self.heads, QkPreparation::default())?;
        let over = KeyValues::Ragged { keys: &k, values: &v, starts };
        let options =
            AttentionOptions { scale: self.heads.scale(), span: self.span, ..AttentionOptions::default() };
        match kept {
            None => attention(&q, starts, over, options),
            Some(rows) => {
                let one_each: Vec<usize> = (0..starts.len()).collect();
                attention(&q.select_rows(rows)?, &one_each, over, options)
            }
        }
    }
}

/// The rows that are kept, if not all are.
fn kept_rows(starts: &[usize], keep: Keep) -> Result<Option<Vec<u32>>> {
    let row = |ends: &[usize]| match keep {
        Keep::Last => ends[1].saturating_sub(1),
        Keep::First | Keep::All => ends[0],
    };
    if keep == Keep::All {
        return Ok(None);
    }
    let rows = starts.windows(2).map(row).map(u32::try_from).collect::<Result<Vec<u32>, _>>();
    rows.map(Some).map_err(|_| Error::invalid_request("a batch has more than 2³² tokens"))
}

impl Block {
    fn new(weights: &Parameters<'_>, shape: &Shape) -> Result<Self> {
        let Shape { width, inner, activation, epsilon, .. } = *shape;
        let (self_attn, mlp) = (weights.at("self_attn"), weights.at("mlp"));
        let qkv = ["q_proj", "k_proj", "v_proj"].map(|name| (name, width));
        Ok(Self {
            attention_norm: weights.layer_norm("layer_norm1", width, epsilon)?,
            qkv_proj: self_attn.fused(&qkv, width)?,
            o_proj: self_attn.linear("out_proj", width, width)?,
            mlp_norm: weights.layer_norm("layer_norm2", width, epsilon)?,
            up_proj: mlp.linear("fc1", width, inner)?,
            down_proj: mlp.linear("fc2", inner, width)?,
            activation,
        })
    }

    /// The layer's states of all tokens, or of the rows that are kept.
    fn forward(
        &self,
        model: &Transformer,
        x: Tensor,
        starts: &[usize],
        kept: Option<&[u32]>,
    ) -> Result<Tensor> {
        let qkv = self.qkv_proj.forward(self.attention_norm.forward(&x)?)?;
        let attn_out = model.attention(qkv, starts, kept)?;
        let x = match kept {
            Some(rows) => x.select_rows(rows)?,
            None => x,
        };
        let x = self.o_proj.forward_with(attn_out, Epilogue::residual(x))?;
        let normed = self.mlp_norm.forward(&x)?;
        feed_forward([&self.up_proj, &self.down_proj], normed, self.activation, x)
    }
}
