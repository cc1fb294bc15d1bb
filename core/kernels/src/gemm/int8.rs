//! GEMM in int8: weights have a scale per channel; activations a scale per row, computed on the fly between the row's
//! minimum and maximum (after an activation function most are on one side); sums are exact in i32.
//!
//! With VNNI, a word holds four activations as unsigned bytes, offset by the row's minimum, and each step sums four
//! products (VPDPBUSD); the quantised zero times the sum of a channel's weights is subtracted at the end. With ARM's dot
//! product (SDOT) it is the same, but activations and their zero are 128 lower, so that they are signed bytes. Other sets
//! hold two activations in a word as i16, without offset, and sum two products (PMADDWD). All are exact, so all sets
//! agree.

use super::super::simd::Simd;
use super::element::{Element, RowScale};

/// Weights in int8.
pub(crate) struct Int8;

/// The largest quantised weight. -128 is not used, so that both signs have the same range.
pub(super) const MAX_QUANTISED: f32 = 127.0;

/// Steps between the minimum and maximum of a row: one fewer than a byte has, because both ends are rounded.
const STEPS: f32 = 254.0;

/// Rows and channels whose largest absolute value is below this count as zero: its inverse must be finite.
pub(super) const TINY: f32 = 1e-35;

/// A sum of so many products of extremes does not overflow.
pub(super) const MAX_K: usize = (1_usize << 31) / (255 * 127);

impl<S: Simd> Element<S> for Int8 {
    const GROUP: usize = if S::HAS_BYTE_DOT { 4 } else { 2 };
    const WEIGHT_BYTES: usize = 1;
    const IS_F32: bool = false;
    const IS_ROUGH: bool = true;
    const HAS_SCALES: bool = true;
    type Sum = S::I32;
    type Weights = S::I32;
    type Channels = (S::F32, S::I32);

    #[inline(always)]
    fn zero(s: S) -> S::I32 {
        s.splat_i32(0)
    }

    #[inline(always)]
    unsafe fn load(s: S, from: *const u32) -> S::I32 {
        // SAFETY: the caller's promise.
        unsafe { s.load_words_ptr(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(s: S, to: *mut u32, sum: S::I32) {
        // SAFETY: the caller's promise.
        unsafe { s.store_words_ptr(to.cast(), sum) }
    }

    #[inline(always)]
    unsafe fn weights(s: S, from: *const u8) -> S::I32 {
        if S::HAS_BYTE_DOT {
            // SAFETY: the caller's promise; groups of four, so that they fill a register.
            unsafe { s.load_words_ptr(from) }
        } else {
            // SAFETY: the caller's promise.
            unsafe { s.load_i8_as_i16_ptr(from.cast()) }
        }
    }

    #[inline(always)]
    fn step(s: S, sum: S::I32, word: u32, weights: S::I32) -> S::I32 {
        let word = s.splat_i32(word as i32);
        if S::HAS_BYTE_DOT { s.dot_bytes(sum, word, weights) } else { s.dot_i16(sum, word, weights) }
    }

    /// The scale is NaN if the row has NaN or an infinity, and zero if the row is zero.
    #[inline(always)]
    fn row_scale(s: S, row: &[f32]) -> RowScale {
        // The bits of numbers of one sign compare as integers; infinity and NaN are then the largest and are kept.
        // A loop and no closure: that would be compiled without the set's instructions, and take five times as long.
        let (sign, mut at) = (s.splat_i32(i32::MIN), 0);
        let (mut above, mut below) = (s.splat_i32(0), s.splat_i32(0));
        while at < row.len() {
            let rest = &row[at..];
            let bits = s.bits(if rest.len() >= S::LANES { s.load(rest) } else { s.load_first(rest) });
            above = s.max_i32(above, bits);
            below = s.max_i32(below, s.xor_i32(bits, sign));
            at += S::LANES;
        }
        let above = f32::from_bits(s.reduce_max_i32(above) as u32);
        let below = f32::from_bits(s.reduce_max_i32(below) as u32);
        if !above.is_finite() || !below.is_finite() {
            return RowScale { scale: f32::NAN, zero: 0 };
        }
        let scale = above / STEPS + below / STEPS;
        if scale * STEPS < TINY {
            return RowScale { scale: 0.0, zero: 0 };
        }
        let lowest = if S::BYTE_DOT_IS_SIGNED { i32::from(i8::MIN) } else { 0 };
        RowScale { scale, zero: (below * (1.0 / scale)).round_ties_even() as i32 + lowest }
    }

    #[inline(always)]
    fn convert(s: S, numbers: &[f32], RowScale { scale, zero }: RowScale, words: &mut [u32]) {
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let mut chunks = numbers.chunks_exact(S::LANES);
        let mut bytes: *mut i8 = words.as_mut_ptr().cast();
        for chunk in chunks.by_ref() {
            // SAFETY: the words have room for as many numbers as the row.
            bytes = unsafe { quantise(s, s.load(chunk), inverse, zero, bytes) };
        }
        let mut last = [0_u32; super::super::simd::MAX_LANES];
        let start: *mut i8 = last.as_mut_ptr().cast();
        // SAFETY: the array has room for a register, and the words for what is left of the row.
        unsafe {
            quantise(s, s.load_first(chunks.remainder()), inverse, zero, start);
            let end: *mut i8 = words.as_mut_ptr().add(words.len()).cast();
            std::ptr::copy_nonoverlapping(start, bytes, end.offset_from(bytes) as usize);
        }
    }

    #[inline(always)]
    unsafe fn channels(s: S, scales: *const f32, corrections: *const i32) -> (S::F32, S::I32) {
        // SAFETY: the caller's promise.
        unsafe { (s.load_ptr(scales), s.load_words_ptr(corrections.cast())) }
    }

    #[inline(always)]
    fn from_zero(s: S, sums: S::I32, row: RowScale, (_, corrections): (S::F32, S::I32)) -> S::I32 {
        if S::HAS_BYTE_DOT { s.sub_i32(sums, s.mul_i32(corrections, s.splat_i32(row.zero))) } else { sums }
    }

    #[inline(always)]
    fn finish(s: S, sums: S::I32, row: RowScale, (scales, _): (S::F32, S::I32)) -> S::F32 {
        s.mul(s.to_f32(sums), s.mul(scales, s.splat(row.scale)))
    }

    #[inline(always)]
    fn widen(s: S, sums: S::I32) -> S::F32 {
        s.to_f32(sums)
    }

    #[inline(always)]
    fn accumulate(s: S, to: S::F32, sums: S::F32, row: RowScale, of_weights: S::F32) -> S::F32 {
        let zero = s.to_f32(s.splat_i32(row.zero));
        let sums = if S::HAS_BYTE_DOT { s.neg_mul_add(zero, of_weights, sums) } else { sums };
        s.mul_add(sums, s.splat(row.scale), to)
    }
}

/// Writes a register of quantised numbers, and returns where the next goes. In rows with NaN or infinity the scale is
/// NaN, so what is written does not matter.
///
/// # Safety
/// There is room for `LANES` bytes with a byte dot product, else twice as many.
#[inline(always)]
unsafe fn quantise<S: Simd>(s: S, values: S::F32, inverse: f32, zero: i32, to: *mut i8) -> *mut i8 {
    let whole = s.to_i32(s.mul(values, s.splat(inverse)));
    // SAFETY: the caller's promise.
    unsafe {
        if S::HAS_BYTE_DOT {
            // The low byte.
            s.store_i8_ptr(to, s.add_i32(whole, s.splat_i32(zero)));
            to.add(S::LANES)
        } else {
            s.store_i16_ptr(to.cast(), whole);
            to.add(2 * S::LANES)
        }
    }
}

/// What rounding a row to bytes leaves of it, so that a second product can add it.
pub(super) fn rounding_error(row: &[f32], to: &mut [f32]) {
    let (below, above) =
        row.iter().fold((0.0_f32, 0.0_f32), |(below, above), value| (below.max(-value), above.max(*value)));
    let scale = above / STEPS + below / STEPS;
    let is_row = row.iter().all(|value| value.is_finite()) && scale * STEPS >= TINY;
    let inverse = if is_row { 1.0 / scale } else { 0.0 };
    for (to, value) in to.iter_mut().zip(row) {
        *to = if is_row { value - (value * inverse).round_ties_even() * scale } else { 0.0 };
    }
}

/// The bit of an f32's sign.
const SIGN: u32 = 1 << 31;

/// Rounds of fitting a channel's scale: after three it hardly moves any more.
const FITS: usize = 3;

/// Quantises the weights of a channel in place and returns its scale: the one between zero and the largest weight's that
/// leaves the least squared error, found by rounding and fitting in turns. On texts of one character, which have few
/// tokens over which errors cancel, that is the difference between 0.9949 and 0.9955 of MiniLM's vectors. `None` if a weight is
/// not finite.
pub(in super::super) fn quantise_channel(values: &mut [f32]) -> Option<f32> {
    // Without their signs, bits compare as the numbers do, and what is not finite is above all that is.
    let largest = values.iter().map(|value| (value.to_bits() & !SIGN) as i32).fold(0, i32::max);
    let largest = Some(f32::from_bits(largest as u32)).filter(|largest| largest.is_finite())?;
    let mut scale = if largest < TINY { 0.0 } else { largest / MAX_QUANTISED };
    let inverse = |scale: f32| if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for _ in 0..FITS {
        scale *= fit(values, inverse(scale));
    }
    let inverse = inverse(scale);
    values.iter_mut().for_each(|value| *value = rounded(*value * inverse));
    Some(scale)
}

/// 1.5 · 2²³: f32 has no fractions near it, and whole numbers in its lowest bits.
const WHOLE: f32 = 12_582_912.0;

/// The nearest quantised weight, to even between two. Adding what has no place for fractions rounds, without the call that
/// the baseline of x86 needs for it.
fn rounded(value: f32) -> f32 {
    value.clamp(-MAX_QUANTISED, MAX_QUANTISED) + WHOLE - WHOLE
}

/// What a scale is to be multiplied with, for the least squared error with these roundings: `Σ x · r / Σ r²` for weights `x`
/// in units of the scale, `r` rounded. The order of the sums is that of every set.
fn fit(values: &[f32], inverse: f32) -> f32 {
    const LANES: usize = 16;
    let (mut product, mut square) = (0.0, 0.0);
    for part in values.chunks(64 * LANES) {
        let (mut products, mut squares) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        let chunks = part.chunks_exact(LANES);
        let mut last = [0.0; LANES];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        for chunk in chunks.chain(std::iter::once(&last[..])) {
            for i in 0..LANES {
                let value = chunk[i] * inverse;
                let whole = rounded(value);
                products[i] += value * whole;
                squares[i] += whole * whole;
            }
        }
        product += products.iter().copied().map(f64::from).sum::<f64>();
        square += squares.iter().copied().map(f64::from).sum::<f64>();
    }
    if square > 0.0 { (product / square) as f32 } else { 1.0 }
}

/// The sum of quantised weights: what each unit of the quantised zero adds to the sums of a channel.
pub(in super::super) fn sum_of_bytes(quantised: &[u8]) -> i32 {
    quantised.iter().map(|byte| i32::from(*byte as i8)).sum()
}

/// A quantised weight as its byte: what is added leaves its two's complement in the lowest bits.
pub(super) fn byte(quantised: f32) -> u8 {
    (quantised + WHOLE).to_bits() as u8
}
