//! GEMM with every number as the sum of two bf16, in tiles only.
//!
//! A number is its nearest bf16, and the nearest bf16 of what that leaves: 16 bits. Rows and weights have both, step by
//! step: 32 numbers' first halves, then their second ones. Of the four products of two numbers the smallest is left out.

use super::super::amx::Tiles;
use super::super::simd::Simd;
use super::bf16::Bf16;
use super::element::{Element, RowScale, sums_in_f32};
use super::pack::STEP_NUMBERS;
use super::packed::TILE_WORDS;
use super::tiled::TileElement;

/// Weights as sums of two bf16.
pub(crate) struct Bf16x3;

impl<S: Simd> Element<S> for Bf16x3 {
    const GROUP: usize = 2;
    const WEIGHT_BYTES: usize = 2;
    const IS_F32: bool = false;
    const IS_ROUGH: bool = false;
    sums_in_f32!();

    #[inline(always)]
    unsafe fn weights(s: S, from: *const u8) -> S::F32 {
        // SAFETY: the caller's promise.
        unsafe { <Bf16 as Element<S>>::weights(s, from) }
    }

    #[inline(always)]
    fn step(s: S, sum: S::F32, word: u32, weights: S::F32) -> S::F32 {
        <Bf16 as Element<S>>::step(s, sum, word, weights)
    }

    #[inline(always)]
    fn convert(s: S, numbers: &[f32], _: RowScale, words: &mut [u32]) {
        const { assert!(S::LANES == TILE_WORDS) }
        for (i, both) in words.chunks_exact_mut(2 * TILE_WORDS).enumerate() {
            let rest = &numbers[numbers.len().min(i * STEP_NUMBERS)..];
            let (low, high) = rest.split_at(rest.len().min(TILE_WORDS));
            let (low, high) = (s.load_first(low), s.load_first(high));
            let (first, second) = both.split_at_mut(TILE_WORDS);
            // SAFETY: `first` and `second` hold a register each, which is a pair of bf16 for each of its lanes.
            unsafe {
                s.store_words_ptr(first.as_mut_ptr().cast(), s.pack_bf16(low, high));
                let halves = first.as_ptr().cast::<half::bf16>();
                let low = s.sub(low, s.load_bf16_ptr(halves));
                let high = s.sub(high, s.load_bf16_ptr(halves.add(TILE_WORDS)));
                s.store_words_ptr(second.as_mut_ptr().cast(), s.pack_bf16(low, high));
            }
        }
    }
}

impl TileElement for Bf16x3 {
    #[inline(always)]
    fn dot<T: Tiles, const C: usize, const A: usize, const B: usize>(tiles: &mut T) {
        tiles.dot_bf16::<C, A, B>();
    }

    fn products(steps: usize) -> usize {
        steps / 2 * 3
    }

    /// The small products before the large one.
    #[inline(always)]
    fn operands(product: usize) -> [usize; 2] {
        let first = product / 3 * 2;
        match product % 3 {
            0 => [first, first + 1],
            1 => [first + 1, first],
            _ => [first, first],
        }
    }
}
