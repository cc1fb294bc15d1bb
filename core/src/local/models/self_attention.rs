//! Attention of texts to themselves, as all text encoders have it.

use candle_core::Tensor;

use super::Tokens;
use crate::error::Result;
use crate::local::ops::{AttentionOptions, Norm, Place, Rotary, Starts, attention, of_candle, recycle};

/// The heads of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub(super) queries: usize,
    /// Those of keys, and of values.
    pub(super) keys: usize,
    /// Numbers of a head.
    pub(super) size: usize,
}

impl Heads {
    /// As many heads of keys as of queries.
    pub(super) fn equal(count: usize, size: usize) -> Self {
        Self { queries: count, keys: count, size }
    }

    /// How wide queries, keys and values are side by side.
    pub(super) fn joined(self) -> usize {
        (self.queries + 2 * self.keys) * self.size
    }

    /// How wide what the heads yield is.
    pub(super) fn width(self) -> usize {
        self.queries * self.size
    }

    /// What scores are multiplied by: one over the root of a head's size.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "heads have few numbers")]
    pub(super) fn scale(self) -> f32 {
        (self.size as f64).sqrt().recip() as f32
    }
}

/// How queries and keys turn with their positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<'a> {
    pub(super) rotary: &'a Rotary,
    /// The norms of queries and keys before they turn.
    pub(super) norms: Option<[&'a Norm; 2]>,
    /// The position of every token.
    pub(super) positions: &'a [u32],
}

/// Attention of each text to itself, `[token, width]`, over queries, keys and values that a layer has put side by side:
/// they are read where they are, and gone afterwards.
///
/// # Errors
/// `invalid_request` if the shapes do not belong together, `out_of_memory` on a GPU.
pub(super) fn self_attention(
    place: &Place,
    joined: Tensor,
    heads: Heads,
    tokens: &Tokens,
    turn: Option<Turn<'_>>,
    options: AttentionOptions<'_>,
) -> Result<Tensor> {
    let count = tokens.ids().len();
    let Heads { queries, keys, size } = heads;
    let mut all = joined.reshape((count, queries + 2 * keys, size)).map_err(of_candle)?;
    if let Some(Turn { rotary, norms, positions }) = turn {
        all = rotary.turn_joined(place, all, [queries, keys], norms, positions)?;
    }
    let part = |first, heads| all.narrow(1, first, heads).map_err(of_candle);
    let starts = Starts { queries: tokens.starts(), keys: tokens.starts() };
    let values = part(queries + keys, keys)?;
    let attended = attention(place, &part(0, queries)?, &part(queries, keys)?, &values, starts, options)?;
    recycle(all);
    attended.reshape((count, heads.width())).map_err(of_candle)
}
