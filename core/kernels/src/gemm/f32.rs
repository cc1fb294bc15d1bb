//! GEMM in f32: weights and activations as they are, one FMA a step.

use super::super::simd::Simd;
use super::element::{Element, RowScale, sums_in_f32};

/// Weights in f32.
pub(crate) struct F32;

impl<S: Simd> Element<S> for F32 {
    const GROUP: usize = 1;
    const WEIGHT_BYTES: usize = 4;
    const IS_F32: bool = true;
    const IS_ROUGH: bool = false;
    sums_in_f32!();

    #[inline(always)]
    unsafe fn weights(s: S, from: *const u8) -> S::F32 {
        // SAFETY: the caller's promise.
        unsafe { s.load_ptr(from.cast()) }
    }

    #[inline(always)]
    fn step(s: S, sum: S::F32, word: u32, weights: S::F32) -> S::F32 {
        s.mul_add(s.splat(f32::from_bits(word)), weights, sum)
    }

    #[inline(always)]
    fn convert(_: S, numbers: &[f32], _: RowScale, words: &mut [u32]) {
        for (word, value) in words.iter_mut().zip(numbers) {
            *word = value.to_bits();
        }
    }
}
