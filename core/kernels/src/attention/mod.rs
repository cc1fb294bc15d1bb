//! Attention with a streaming softmax over tiles of keys: no matrix of scores.
//!
//! `view.rs` describes how heads lie in memory; `block.rs` computes a block of queries over all tiles of keys (prompts,
//! texts, images), with the inner loop of `tile.rs`, or AMX's tiles (`tiled.rs`), over operands packed by `pack.rs`;
//! `decode.rs` computes one new token over a cache.
//!
//! Each row of a block has a lane of its own, in which its sums run over its keys in order: neither the batch nor the
//! number of threads changes its bits. Memory beyond the operands is a few tiles per thread.

mod block;
mod decode;
mod pack;
mod tile;
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) mod tiled;
mod view;

#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use super::Cpu;
#[cfg(any(test, target_arch = "x86_64"))]
use super::amx::Tiles;
use super::dispatch::with_simd;
#[cfg(any(test, target_arch = "x86_64"))]
use super::dispatch::with_tiles;
use super::pool::SharedStart;
use super::simd::Simd;
use crate::error::{KernelError, Result};
use block::QueryBlock;
use tile::{InRegisters, Products};
#[cfg(any(test, target_arch = "x86_64"))]
use tiled::InTiles;

pub use decode::{Cache, decode};
pub use view::{Heads, Numbers, Strided};

/// Which keys a query may see, by their distance. The last query is at the position of the last key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// How many keys before its own position; `None` for all.
    pub before: Option<usize>,
    /// How many keys after its own position; `None` for all.
    pub after: Option<usize>,
}

impl Span {
    /// Every key.
    pub const ALL: Self = Self { before: None, after: None };
    /// The key at its own position and those before it.
    pub const CAUSAL: Self = Self { before: None, after: Some(0) };

    /// The keys, of `keys`, that a query at `position` sees.
    fn visible(self, position: isize, keys: usize) -> std::ops::Range<usize> {
        let at = |place: isize| place.clamp(0, keys as isize) as usize;
        let first = self.before.map_or(0, |before| at(position.saturating_sub_unsigned(before)));
        let end =
            self.after.map_or(keys, |after| at(position.saturating_add_unsigned(after).saturating_add(1)));
        first..end.max(first)
    }
}

/// A mask or bias on scores: one value for each key of the batch, or by the distance of key and query.
#[derive(Clone, Copy, Debug, Default)]
pub enum Mask<'a> {
    /// Nothing.
    #[default]
    None,
    /// Whether a key may be seen. The content of a hidden key is never used.
    Keep(&'a [bool]),
    /// Added to the scores of a key; -∞ hides it as above.
    Add(&'a [f32]),
    /// Added by distance. Needs as many heads of keys as of queries.
    Distances(Distances<'a>),
}

/// A relative position bias: what is added to the scores of each head at each distance of key and query.
#[derive(Clone, Copy, Debug)]
pub struct Distances<'a> {
    /// For each head `2 · reach + 1` numbers, from the farthest key before the query to the farthest after it.
    pub values: &'a [f32],
    /// Farther keys count as this far.
    pub reach: usize,
}

impl<'a> Distances<'a> {
    /// The numbers of a head; distance zero is at index `reach`.
    pub fn of_head(self, head: usize) -> &'a [f32] {
        let count = 2 * self.reach + 1;
        self.values.get(head * count..(head + 1) * count).unwrap_or_default()
    }

    /// The index of a distance in a head's numbers.
    pub fn place(self, distance: isize) -> usize {
        let reach = self.reach as isize;
        (reach + distance.clamp(-reach, reach)) as usize
    }

    fn check(self, heads: Heads) -> Result<()> {
        if heads.queries != heads.keys {
            return Err(KernelError::shape("a bias by distance needs as many heads of keys as of queries"));
        }
        let count =
            self.reach.checked_mul(2).and_then(|both| both.checked_add(1)?.checked_mul(heads.queries));
        view::has("the mask", self.values.len(), count)
    }
}

/// How scores become weights.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Multiplied with scores; usually one over the square root of a head's size.
    pub scale: f32,
    /// Which keys a query sees by their distance.
    pub span: Span,
    /// A mask or bias on the keys.
    pub mask: Mask<'a>,
    /// Scaled scores become `softcap · tanh(score / softcap)` before the mask.
    pub softcap: Option<f32>,
    /// A score for each head of queries that takes part in the softmax with a value of zero: an attention sink.
    pub sinks: Option<&'a [f32]>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { scale: 1.0, span: Span::ALL, mask: Mask::None, softcap: None, sinks: None }
    }
}

impl Options<'_> {
    fn check(&self, heads: Heads) -> Result<()> {
        if self.softcap.is_some_and(|cap| !(cap.is_finite() && cap > 0.0)) {
            return Err(KernelError::shape("a soft cap must be a positive number"));
        }
        self.sinks.map_or(Ok(()), |sinks| view::has("the sinks", sinks.len(), Some(heads.queries)))
    }
}

/// Where each sequence of a batch without padding starts, and where the last ends: one number more than sequences.
#[derive(Clone, Copy, Debug)]
pub struct Starts<'a> {
    /// In the queries.
    pub queries: &'a [usize],
    /// In the keys and values.
    pub keys: &'a [usize],
}

/// The operands: sequences without padding.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The queries of all sequences.
    pub queries: Strided<&'a [f32]>,
    /// The keys of all sequences.
    pub keys: Strided<Numbers<'a>>,
    /// The values of all sequences.
    pub values: Strided<Numbers<'a>>,
    /// Where each sequence starts.
    pub starts: Starts<'a>,
}

/// `softmax(scale · q · kᵀ + mask) · v` within each sequence, for every head, into `[query, head, size]`, with what else
/// the options say.
///
/// A query that sees no key gets zeros. Keys and values of other dtypes are widened; sums are f32. NaN or an infinity
/// in a value may reach queries of its sequence up to one tile before its key.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if a head is empty or too large, the heads of queries are not a multiple of those
/// of keys, a slice too short or the starts not in order.
pub fn attention(
    cpu: &Cpu,
    heads: Heads,
    batch: Batch<'_>,
    options: Options<'_>,
    to: &mut [f32],
) -> Result<()> {
    attend(cpu, heads, batch, options, to, |call, part| {
        with_simd!(cpu.isa, s => attend_block::<_, InRegisters<false>>(s, call, part));
    })
}

/// The same with queries, keys, values and weights rounded to bf16 before they are multiplied, where the CPU has
/// instructions for that; sums and the softmax stay f32. Where it has none, this is [`attention`].
///
/// # Errors
/// As [`attention`].
pub fn attention_bf16(
    cpu: &Cpu,
    heads: Heads,
    batch: Batch<'_>,
    options: Options<'_>,
    to: &mut [f32],
) -> Result<()> {
    fn either<S: Simd>(s: S, call: &AttentionCall<'_>, part: [usize; 3]) {
        if S::HAS_BF16_DOT {
            attend_block::<_, InRegisters<true>>(s, call, part);
        } else {
            attend_block::<_, InRegisters<false>>(s, call, part);
        }
    }
    #[cfg(any(test, target_arch = "x86_64"))]
    if cpu.isa.has_tiles() {
        return attend(cpu, heads, batch, options, to, |call, part| {
            with_tiles!(cpu.isa, s, T => attend_block::<_, InTiles<T>>(s, call, part));
        });
    }
    attend(cpu, heads, batch, options, to, |call, part| {
        with_simd!(bf16 cpu.isa, s => either(s, call, part));
    })
}

/// Whether tiles give the model's bits: a head of two steps, keys and queries that fill one tile and a part of another.
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) fn has_bits_of_model<S: Simd, T: Tiles>(s: S, cpu: &Cpu) -> bool {
    use super::amx::{model::Model, numbers};

    const TOKENS: usize = 20;
    let heads = Heads { queries: 2, keys: 1, size: 40 };
    let mut numbers = numbers();
    let [q, k, v] = [heads.width(), heads.kv_width(), heads.kv_width()].map(|width| numbers(TOKENS * width));
    let of = |data| Strided { data: Numbers::F32(data), token: heads.kv_width(), head: heads.size };
    let batch = Batch {
        queries: Strided { data: &q[..], token: heads.width(), head: heads.size },
        keys: of(&k),
        values: of(&v),
        starts: Starts { queries: &[0, TOKENS], keys: &[0, TOKENS] },
    };
    let options = Options { span: Span::CAUSAL, ..Options::default() };
    let mut results = [vec![0.0; q.len()], vec![1.0; q.len()]];
    let [found, model] = &mut results;
    let here = |call: &AttentionCall<'_>, part: [usize; 3]| attend_block::<_, InTiles<T>>(s, call, part);
    let there = |call: &AttentionCall<'_>, part: [usize; 3]| attend_block::<_, InTiles<Model>>(s, call, part);
    attend(cpu, heads, batch, options, found, here).is_ok()
        && attend(cpu, heads, batch, options, model, there).is_ok()
        && found.iter().zip(model).all(|(found, model)| found.to_bits() == model.to_bits())
}

/// One part of the work.
fn attend_block<S: Simd, P: Products<S>>(
    s: S,
    call: &AttentionCall<'_>,
    [sequence, head, first]: [usize; 3],
) {
    s.call(QueryBlock::<P> { call, sequence, head, first, products: PhantomData });
}

fn attend(
    cpu: &Cpu,
    heads: Heads,
    batch: Batch<'_>,
    options: Options<'_>,
    to: &mut [f32],
    block: impl Fn(&AttentionCall<'_>, [usize; 3]) + Sync,
) -> Result<()> {
    let call = AttentionCall::new(cpu, heads, batch, options, to)?;
    let parts = call.parts();
    let work = |part: usize| block(&call, parts[part]);
    if call.is_small() {
        (0..parts.len()).for_each(work);
    } else {
        cpu.pool.parallel(parts.len(), work);
    }
    Ok(())
}

/// Fewer multiplications than this are done by one thread, because waking another costs as much.
const MIN_PARALLEL_WORK: usize = 1 << 19;

/// Positions are compared as f32, which are exact up to here.
const MAX_KEYS: usize = 1 << 24;

/// One call, shared by all threads.
struct AttentionCall<'a> {
    heads: Heads,
    queries: Strided<&'a [f32]>,
    keys: Strided<Numbers<'a>>,
    values: Strided<Numbers<'a>>,
    starts: Starts<'a>,
    options: Options<'a>,
    /// The most rows of a block.
    rows_of_block: usize,
    to: SharedStart<f32>,
}

impl<'a> AttentionCall<'a> {
    fn new(cpu: &Cpu, heads: Heads, batch: Batch<'a>, options: Options<'a>, to: &mut [f32]) -> Result<Self> {
        let Batch { queries, keys, values, starts } = batch;
        heads.check()?;
        options.check(heads)?;
        let in_order = |starts: &[usize]| starts.first() == Some(&0) && starts.is_sorted();
        if starts.queries.len() != starts.keys.len() || !in_order(starts.queries) || !in_order(starts.keys) {
            return Err(KernelError::shape(
                "starts must begin with zero, not decrease, and be as many for queries as for keys",
            ));
        }
        let (tokens, known) = (last(starts.queries), last(starts.keys));
        queries.check("the queries", tokens, heads.queries, heads.size)?;
        keys.check_all("the keys", known, heads.keys, heads.size)?;
        values.check_all("the values", known, heads.keys, heads.size)?;
        view::has("the result", to.len(), tokens.checked_mul(heads.queries * heads.size))?;
        match options.mask {
            Mask::None => {}
            Mask::Keep(keep) => view::has("the mask", keep.len(), Some(known))?,
            Mask::Add(add) => view::has("the mask", add.len(), Some(known))?,
            Mask::Distances(distances) => distances.check(heads)?,
        }
        if starts.keys.windows(2).any(|pair| pair[1] - pair[0] > MAX_KEYS) {
            return Err(KernelError::shape(format!("a sequence has more than {MAX_KEYS} keys")));
        }
        let rows_of_block = block::rows(heads.padded_size(), cpu.pool.l2_bytes());
        let to = SharedStart(to.as_mut_ptr());
        Ok(Self { heads, queries, keys, values, starts, options, rows_of_block, to })
    }

    /// The queries and the keys of a sequence.
    fn sequence(&self, number: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let of = |starts: &[usize]| starts[number]..starts[number + 1];
        (of(self.starts.queries), of(self.starts.keys))
    }

    fn sequences(&self) -> usize {
        self.starts.queries.len() - 1
    }

    /// Sequence, head of keys and first row of each block. The cuts do not depend on the batch.
    fn parts(&self) -> Vec<[usize; 3]> {
        let mut parts = Vec::new();
        for sequence in 0..self.sequences() {
            let rows = self.sequence(sequence).0.len() * self.heads.group();
            for head in 0..self.heads.keys {
                parts.extend((0..rows).step_by(self.rows_of_block).map(|first| [sequence, head, first]));
            }
        }
        parts
    }

    fn is_small(&self) -> bool {
        let width = self.heads.queries * self.heads.size;
        let of = |number| {
            let (queries, keys) = self.sequence(number);
            queries.len().saturating_mul(keys.len()).saturating_mul(width)
        };
        (0..self.sequences()).map(of).fold(0, usize::saturating_add) < MIN_PARALLEL_WORK
    }
}

fn last(starts: &[usize]) -> usize {
    starts.last().copied().unwrap_or(0)
}
