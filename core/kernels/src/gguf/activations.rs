//! Activations as signed bytes, with a scale for every 32.
//!
//! A number is off by at most half a step: `max / 254`, where `max` is the largest absolute value among the 32. Where
//! one is not finite, the scale is NaN, and so are all its sums.

use super::super::simd::Simd;
use super::block::{GROUP, GROUPS, Shape, UNIT};

/// The largest quantised number.
pub(super) const MAX_QUANTISED: f32 = 127.0;

/// Units whose largest absolute value is below this count as zero: its inverse must be finite.
pub(super) const TINY: f32 = 1e-35;

impl Shape {
    /// Words of a unit of activations: the bytes, the scale, and for each part the factor of the offset or the minimum.
    pub(super) const fn unit_words(&self) -> usize {
        GROUPS + 1 + self.halves
    }
}

/// A unit of a row, quantised.
pub(super) struct Quantised {
    pub(super) bytes: [i8; UNIT],
    pub(super) scale: f32,
    /// For each part, the sum of its bytes.
    sums: [i32; 2],
}

impl Quantised {
    /// Quantises 32 numbers.
    #[inline(always)]
    pub(super) fn new<S: Simd>(s: S, shape: &Shape, numbers: &[f32]) -> Self {
        // The bits of absolute values compare as integers; infinity and NaN are then the largest and are kept.
        let mut largest = s.splat_i32(0);
        for numbers in numbers.chunks_exact(S::LANES) {
            largest = s.max_i32(largest, s.and_i32(s.bits(s.load(numbers)), s.splat_i32(i32::MAX)));
        }
        let largest = f32::from_bits(s.reduce_max_i32(largest) as u32);
        let scale = match largest {
            largest if !largest.is_finite() => f32::NAN,
            largest if largest < TINY => 0.0,
            largest => largest / MAX_QUANTISED,
        };
        let inverse = s.splat(if scale > 0.0 { 1.0 / scale } else { 0.0 });
        let (mut bytes, mut sums, part) = ([0_i8; UNIT], [0_i32; 2], UNIT / shape.halves);
        let parts = numbers.chunks_exact(part).zip(bytes.chunks_exact_mut(part));
        for ((numbers, bytes), of_part) in parts.zip(&mut sums) {
            let mut sum = s.splat_i32(0);
            for (numbers, bytes) in numbers.chunks_exact(S::LANES).zip(bytes.chunks_exact_mut(S::LANES)) {
                let whole = s.to_i32(s.mul(s.load(numbers), inverse));
                sum = s.add_i32(sum, whole);
                // SAFETY: there is room for a register of bytes.
                unsafe { s.store_i8_ptr(bytes.as_mut_ptr(), whole) };
            }
            *of_part = s.reduce_add_i32(sum);
        }
        Self { bytes, scale, sums }
    }

    /// The groups of four bytes.
    #[inline(always)]
    pub(super) fn words(&self) -> [u32; GROUPS] {
        let mut words = [0; GROUPS];
        for (word, bytes) in words.iter_mut().zip(self.bytes.chunks_exact(GROUP)) {
            *word = u32::from_ne_bytes([bytes[0] as u8, bytes[1] as u8, bytes[2] as u8, bytes[3] as u8]);
        }
        words
    }

    /// What the minimum of a part is multiplied by.
    #[inline(always)]
    pub(super) fn sum(&self, part: usize) -> f32 {
        self.scale * self.sums[part] as f32
    }
}

/// Quantises `rows` of `k` numbers. For every unit come the words of all rows in the order of
/// [`unit_words`](Shape::unit_words): first group 0 of every row, then group 1, and so on.
#[inline(always)]
pub(super) fn prepare<S: Simd>(s: S, shape: &Shape, rows: &[f32], k: usize, padded: usize, to: &mut [u32]) {
    let words = padded * shape.unit_words();
    if k == 0 || padded == 0 {
        return;
    }
    for (unit, to) in to.chunks_exact_mut(words).take(k / UNIT).enumerate() {
        if rows.len() < padded * k {
            to.fill(0);
        }
        for (row, numbers) in rows.chunks_exact(k).take(padded).enumerate() {
            let quantised = Quantised::new(s, shape, &numbers[unit * UNIT..(unit + 1) * UNIT]);
            for (group, word) in quantised.words().iter().enumerate() {
                to[group * padded + row] = *word;
            }
            to[GROUPS * padded + row] = quantised.scale.to_bits();
            for part in 0..shape.halves {
                to[(GROUPS + 1 + part) * padded + row] = if shape.has_minimum() {
                    quantised.sum(part).to_bits()
                } else {
                    // The start of the sums of products, which cancels the offset of the codes.
                    quantised.sums[part].wrapping_mul(-shape.offset) as u32
                };
            }
        }
    }
}
