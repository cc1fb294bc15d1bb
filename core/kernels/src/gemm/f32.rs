//! GEMM in f32: weights and activations as they are, one FMA a step.

use super::super::simd::Simd;
use super::element::{Element, RowScale};

/// Weights in f32.
pub(crate) struct F32;

impl<S: Simd> Element<S> for F32 {
    const GROUP: usize = 1;
    const WEIGHT_BYTES: usize = 4;
    const IS_F32: bool = true;
    const IS_ROUGH: bool = false;
    type Sum = S::F32;
    type Weights = S::F32;
    type Channels = ();

    #[inline(always)]
    fn zero(s: S) -> S::F32 {
        s.zero()
    }

    #[inline(always)]
    unsafe fn load(s: S, from: *const u32) -> S::F32 {
        // SAFETY: the caller's promise.
        unsafe { s.load_ptr(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(s: S, to: *mut u32, sum: S::F32) {
        // SAFETY: the caller's promise.
        unsafe { s.store_ptr(to.cast(), sum) }
    }

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

    #[inline(always)]
    unsafe fn channels(_: S, _: *const f32, _: *const i32) {}

    #[inline(always)]
    fn from_zero(_: S, sums: S::F32, _: RowScale, (): ()) -> S::F32 {
        sums
    }

    #[inline(always)]
    fn finish(_: S, sums: S::F32, _: RowScale, (): ()) -> S::F32 {
        sums
    }
}
