//! Attention in UNets: pixels to each other, and to the conditioning.

use super::resnet::Groups;
use crate::error::Result;
use crate::local::ops::{
    Activation, AttentionOptions, Epilogue, Gate, Heads, KeyValues, Linear, Norm, Tensor, attention,
};
use crate::local::weights::Parameters;

/// What pixels attend to besides each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    /// The states of all rows one after another.
    pub(super) states: &'a Tensor,
    /// Where each row's start, and where the last's end.
    pub(super) starts: &'a [usize],
}

/// The sizes of a [`SpatialTransformer`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) channels: usize,
    pub(super) heads: Heads,
    pub(super) layers: usize,
    /// The width of the conditioning's states.
    pub(super) context: usize,
}

/// Transformer blocks over the pixels of an image, added to it.
#[derive(Debug)]
pub(super) struct SpatialTransformer {
    norm: Norm,
    proj_in: Linear,
    blocks: Vec<Block>,
    proj_out: Linear,
}

#[derive(Debug)]
struct Block {
    heads: Heads,
    self_norm: Norm,
    qkv: Linear,
    self_out: Linear,
    cross_norm: Norm,
    cross_q: Linear,
    cross_kv: Linear,
    cross_out: Linear,
    mlp_norm: Norm,
    up: Linear,
    down: Linear,
}

impl SpatialTransformer {
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn new(weights: &Parameters<'_>, sizes: Sizes, groups: usize) -> Result<Self> {
        let Sizes { channels, layers, .. } = sizes;
        let groups = Groups { count: groups, epsilon: 1e-6 };
        let blocks = weights.at("transformer_blocks");
        Ok(Self {
            norm: weights.group_norm("norm", channels, groups.count, groups.epsilon)?,
            proj_in: weights.pointwise("proj_in", channels, channels)?,
            blocks: (0..layers).map(|number| Block::new(&blocks.at(number), sizes)).collect::<Result<_>>()?,
            proj_out: weights.pointwise("proj_out", channels, channels)?,
        })
    }

    pub(super) fn forward(&self, x: Tensor, context: Context<'_>) -> Result<Tensor> {
        let dims = x.dims().to_vec();
        let [images, height, width, channels] = x.dims_of()?;
        let pixels = height * width;
        let starts: Vec<usize> = (0..=images).map(|image| image * pixels).collect();
        let flat = [images * pixels, channels];
        let mut hidden = self.proj_in.forward(self.norm.forward(&x)?.reshape(flat)?)?;
        for block in &self.blocks {
            hidden = block.forward(hidden, &starts, context)?;
        }
        self.proj_out.forward_with(hidden, Epilogue::residual(x.reshape(flat)?))?.reshape(dims)
    }
}

impl Block {
    fn new(weights: &Parameters<'_>, sizes: Sizes) -> Result<Self> {
        let Sizes { channels, heads, context, .. } = sizes;
        let inner = 4 * channels;
        let (of_self, cross) = (weights.at("attn1"), weights.at("attn2"));
        let norm = |name| weights.layer_norm(name, channels, 1e-5);
        Ok(Self {
            heads,
            self_norm: norm("norm1")?,
            qkv: of_self.fused(&["to_q", "to_k", "to_v"].map(|name| (name, channels)), channels)?,
            self_out: of_self.linear("to_out.0", channels, channels)?,
            cross_norm: norm("norm2")?,
            cross_q: cross.linear("to_q", channels, channels)?,
            cross_kv: cross.fused(&["to_k", "to_v"].map(|name| (name, channels)), context)?,
            cross_out: cross.linear("to_out.0", channels, channels)?,
            mlp_norm: norm("norm3")?,
            up: weights.gated_halves("ff.net.0.proj", Gate::Second, channels, inner)?,
            down: weights.linear("ff.net.2", inner, channels)?,
        })
    }

    fn forward(&self, x: Tensor, starts: &[usize], context: Context<'_>) -> Result<Tensor> {
        let [q, k, v] = split(self.qkv.forward(self.self_norm.forward(&x)?)?, self.heads)?;
        let attended = self.attend(&q, starts, [&k, &v], starts)?;
        let x = self.self_out.forward_with(attended, Epilogue::residual(x))?;
        let [q] = split(self.cross_q.forward(self.cross_norm.forward(&x)?)?, self.heads)?;
        let [k, v] = split(self.cross_kv.forward(context.states)?, self.heads)?;
        let attended = self.attend(&q, starts, [&k, &v], context.starts)?;
        let x = self.cross_out.forward_with(attended, Epilogue::residual(x))?;
        let hidden =
            self.up.forward_with(self.mlp_norm.forward(&x)?, Epilogue::activation(Activation::Gelu))?;
        self.down.forward_with(hidden, Epilogue::residual(x))
    }

    fn attend(
        &self,
        q: &Tensor,
        starts: &[usize],
        [keys, values]: [&Tensor; 2],
        of_keys: &[usize],
    ) -> Result<Tensor> {
        let over = KeyValues::Ragged { keys, values, starts: of_keys };
        attention(
            q,
            starts,
            over,
            AttentionOptions { scale: self.heads.scale(), ..AttentionOptions::default() },
        )
    }
}

/// A fused projection as views of its parts, `[token, head, size]` each.
pub(super) fn split<const PARTS: usize>(fused: Tensor, heads: Heads) -> Result<[Tensor; PARTS]> {
    let [tokens, _] = fused.dims_of()?;
    let all = fused.reshape([tokens, PARTS * heads.queries, heads.size])?;
    let mut parts = [(); PARTS].map(|()| all.clone());
    for (number, part) in parts.iter_mut().enumerate() {
        *part = all.narrow(1, number * heads.queries, heads.queries)?;
    }
    Ok(parts)
}
