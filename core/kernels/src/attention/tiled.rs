//! Products in tiles (AMX): 32 keys, or 32 numbers of values, times a panel of 32 queries in four tiles of sums.
//!
//! Keys are the rows of the first product, values turned round those of the second, so that scores, weights and sums have
//! the order that the softmax in `block.rs` has in every set: those of a panel's queries side by side.

use super::super::amx::{ROWS, Tiles};
use super::super::gemm::bf16::Bf16;
use super::super::gemm::tiled::{STEP_BYTES, exchange_sums, step_of};
use super::super::simd::Simd;
use super::block::TILE;
use super::pack::{four_columns, join_rows, widen};
use super::tile::Products;
use super::view::{Numbers, Strided};

/// Numbers of a step: a row of a tile in bf16.
const STEP: usize = 32;

/// Words of a panel's sums of one key or number.
const PANEL: usize = 2 * ROWS;

/// Words of a row of turned values: two keys in each.
const PAIRS: usize = TILE / 2;

/// The tiles of this thread.
pub(super) struct InTiles<T>(T);

impl<T: Tiles> InTiles<T> {
    /// Stores, or adds to, the products of two tiles of rows with a panel, for each of `rows` rows in turn.
    ///
    /// # Safety
    /// `steps` steps of `rows` rows, rounded up to 32, are readable `stride` words apart, those of the panel in one piece.
    /// The sums are readable and writable at `to`, two tiles writable at `spare`.
    #[inline(always)]
    unsafe fn multiply<const ADDS: bool>(
        &mut self,
        [rows, steps, stride]: [usize; 3],
        a: *const f32,
        b: *const f32,
        to: *mut f32,
        spare: *mut f32,
    ) {
        let mut place = spare;
        let mut row = 0;
        while row < rows {
            let own = to.wrapping_add(row * PANEL);
            let from = if ADDS { own.cast_const().cast() } else { std::ptr::null() };
            for step in 0..steps {
                let first: *const u8 = a.wrapping_add(row * stride + step * ROWS).cast();
                let both = [first, first.wrapping_add(4 * ROWS * stride)];
                let b = b.cast::<u8>().wrapping_add(step * STEP_BYTES);
                let exchange = (step == 0).then_some((place.cast(), from));
                // SAFETY: the caller's promise.
                unsafe { step_of::<Bf16, T, 2, 1>(&mut self.0, both, 4 * stride, [b, b], exchange) };
            }
            place = own;
            row += 2 * ROWS;
        }
        // SAFETY: the caller's promise.
        unsafe { exchange_sums(&mut self.0, 2, place.cast(), std::ptr::null()) };
    }
}

impl<S: Simd, T: Tiles> Products<S> for InTiles<T> {
    const PAIRS: bool = true;
    const MULTIPLE: usize = STEP;

    #[inline(always)]
    unsafe fn start() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { T::configure() })
    }

    /// A row of words for each key.
    #[inline(always)]
    unsafe fn pack_keys(
        s: S,
        data: &Strided<Numbers<'_>>,
        first: usize,
        head: usize,
        [count, width, size]: [usize; 3],
        staging: &mut [f32],
        to: &mut [f32],
    ) {
        let (row, padding) = staging[..size].split_at_mut(width);
        padding.fill(0.0);
        for (key, to) in to.chunks_exact_mut(size / 2).take(count).enumerate() {
            // SAFETY: the caller's promise; the staged row has `size` numbers, a multiple of two registers, and the words
            // half as many.
            unsafe {
                widen(s, data, first + key, head, row);
                for at in (0..size).step_by(2 * S::LANES) {
                    let from = row.as_ptr().add(at);
                    let words = s.pack_bf16(s.load_ptr(from), s.load_ptr(from.add(S::LANES)));
                    s.store_words_ptr(to.as_mut_ptr().add(at / 2).cast(), words);
                }
            }
        }
    }

    /// Turned round: a row of pairs of keys for each number. Keys that fill the last step are zero.
    #[inline(always)]
    unsafe fn arrange_values<'a>(
        s: S,
        values: &mut &'a mut [f32],
        staging: &mut &'a mut [f32],
        count: usize,
        size: usize,
    ) {
        let padded = count.next_multiple_of(STEP);
        values[count * size..padded * size].fill(0.0);
        // SAFETY: `padded` rows, which are even; pairs come in whole fours, each with a column of the staging memory.
        unsafe {
            join_rows(s, values.as_mut_ptr(), padded, size);
            for four in (0..padded / 2).step_by(4) {
                let row = |i: usize| values.as_ptr().add((four + i) * size);
                let to = staging.as_mut_ptr().add(four);
                four_columns(s, [row(0), row(1), row(2), row(3)], size, to, PAIRS);
            }
        }
        std::mem::swap(values, staging);
    }

    #[inline(always)]
    unsafe fn scores<const REGISTERS: usize>(
        &mut self,
        _: S,
        size: usize,
        count: usize,
        keys: *const f32,
        queries: *const f32,
        to: *mut f32,
    ) {
        // SAFETY: the caller's promise. What is stored first is overwritten.
        unsafe { self.multiply::<false>([count, size / STEP, size / 2], keys, queries, to, to) };
    }

    #[inline(always)]
    unsafe fn add_values<const REGISTERS: usize>(
        &mut self,
        s: S,
        size: usize,
        count: usize,
        values: *const f32,
        weights: *mut f32,
        keep: [S::F32; REGISTERS],
        sums: *mut f32,
        spare: *mut f32,
    ) {
        let steps = count.div_ceil(STEP);
        // SAFETY: the caller's promise; weights have room for whole steps.
        unsafe {
            for number in 0..size {
                for (r, keep) in keep.iter().enumerate() {
                    let sum = sums.add(number * PANEL + r * S::LANES);
                    s.store_ptr(sum, s.mul(s.load_ptr(sum), *keep));
                }
            }
            let used = count.div_ceil(2);
            weights.add(used * PANEL).write_bytes(0, (steps * ROWS - used) * PANEL);
            self.multiply::<true>([size, steps, PAIRS], values, weights, sums, spare);
        }
    }
}
