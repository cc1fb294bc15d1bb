//! GEMM with weights in bf16 and sums in f32.
//!
//! With AVX-512 BF16, activations are rounded to bf16 too and each step sums two products (VDPBF16PS). Other sets widen
//! the weights as they load them and keep activations in f32: half the memory of f32, at the speed of f32.

use super::super::simd::Simd;
use super::element::{Element, RowScale, sums_in_f32};

/// Weights in bf16.
pub(crate) struct Bf16;

impl<S: Simd> Element<S> for Bf16 {
    const GROUP: usize = if S::HAS_BF16_DOT { 2 } else { 1 };
    const WEIGHT_BYTES: usize = 2;
    const IS_F32: bool = !S::HAS_BF16_DOT;
    const IS_ROUGH: bool = true;
    sums_in_f32!();

    #[inline(always)]
    unsafe fn weights(s: S, from: *const u8) -> S::F32 {
        if S::HAS_BF16_DOT {
            // SAFETY: the caller's promise; pairs, so that they fill a register.
            s.from_bits(unsafe { s.load_words_ptr(from) })
        } else {
            // SAFETY: the caller's promise.
            unsafe { s.load_bf16_ptr(from.cast()) }
        }
    }

    #[inline(always)]
    fn step(s: S, sum: S::F32, word: u32, weights: S::F32) -> S::F32 {
        if S::HAS_BF16_DOT {
            s.dot_bf16(sum, s.splat_i32(word as i32), s.bits(weights))
        } else {
            s.mul_add(s.splat(f32::from_bits(word)), weights, sum)
        }
    }

    #[inline(always)]
    fn convert(s: S, numbers: &[f32], _: RowScale, words: &mut [u32]) {
        let pairs = numbers.chunks_exact(2 * S::LANES);
        let rest = pairs.remainder();
        let mut done = 0;
        for (pair, words) in pairs.zip(words.chunks_exact_mut(S::LANES)) {
            let packed = s.pack_bf16(s.load(pair), s.load(&pair[S::LANES..]));
            // SAFETY: the chunk holds a register of words.
            unsafe { s.store_words_ptr(words.as_mut_ptr().cast(), packed) };
            done += S::LANES;
        }
        // The same rounding as above; on some sets it differs from `bf16::from_f32` for tiny numbers.
        let (low, high) = rest.split_at(rest.len().min(S::LANES));
        let packed = s.pack_bf16(s.load_first(low), s.load_first(high));
        let mut last = [0_u32; super::super::simd::MAX_LANES];
        // SAFETY: the array holds a register of words.
        unsafe { s.store_words_ptr(last.as_mut_ptr().cast(), packed) };
        for (word, last) in words[done..].iter_mut().zip(last) {
            *word = last;
        }
    }
}
