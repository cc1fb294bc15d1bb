//! Softmax over rows.

use super::Cpu;
use super::dispatch::dispatch;
use super::math::exp;
use super::rows::{Rows, Source, in_rows};
use super::simd::Simd;
use crate::error::Result;

/// `exp(scale · x - max) / sum` of every row of `width` numbers.
///
/// A row of nothing but -∞ (all masked) becomes zeros. NaN or +∞ makes its row NaN.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if `to` is not whole rows, or the source has another size.
pub fn softmax(cpu: &Cpu, to: &mut [f32], source: Source<'_>, width: usize, scale: f32) -> Result<()> {
    in_rows(cpu, to, source, width, |isa, rows| softmax_rows(isa, rows, scale))
}

dispatch! { fn softmax_rows(rows: Rows, scale: f32) = softmax_with; }

#[inline(always)]
fn softmax_with<S: Simd>(s: S, rows: Rows, scale: f32) {
    let factor = s.splat(scale);
    for number in 0..rows.count {
        let (from, to) = rows.row(number);
        // SAFETY: a row holds `width` numbers, at both places.
        unsafe {
            let maximum = maximum(s, from, rows.width, factor);
            let sum = exponentials(s, from, to, rows.width, factor, maximum);
            // Zero only if all numbers are -∞. NaN does not equal zero.
            scale_row(s, to, rows.width, if sum == 0.0 { 0.0 } else { 1.0 / sum });
        }
    }
}

/// The maximum of `x · factor`, NaN ignored; zero if it is -∞, so that differences from it are not NaN.
///
/// # Safety
/// `width` numbers are readable at `from`.
#[inline(always)]
unsafe fn maximum<S: Simd>(s: S, from: *const f32, width: usize, factor: S::F32) -> f32 {
    let lowest = s.splat(f32::NEG_INFINITY);
    let mut maxima = [lowest; 4];
    let mut at = 0;
    while at + 4 * S::LANES <= width {
        let mut i = 0;
        while i < 4 {
            // SAFETY: four registers from `at` lie within the row.
            let value = s.mul(unsafe { s.load_ptr(from.add(at + i * S::LANES)) }, factor);
            maxima[i] = s.max(value, maxima[i]);
            i += 1;
        }
        at += 4 * S::LANES;
    }
    while at < width {
        // SAFETY: no more lanes are read than the row has left.
        let value = s.mul(unsafe { s.load_first_ptr(from.add(at), width - at) }, factor);
        maxima[0] = s.max(s.select(s.first(width - at), value, lowest), maxima[0]);
        at += S::LANES;
    }
    let maximum = s.reduce_max(s.max(s.max(maxima[0], maxima[1]), s.max(maxima[2], maxima[3])));
    if maximum == f32::NEG_INFINITY { 0.0 } else { maximum }
}

/// Stores `exp(x · factor - max)` and returns the sum.
///
/// # Safety
/// `width` numbers are readable at `from` and writable at `to`.
#[inline(always)]
unsafe fn exponentials<S: Simd>(
    s: S,
    from: *const f32,
    to: *mut f32,
    width: usize,
    factor: S::F32,
    maximum: f32,
) -> f32 {
    let maximum = s.splat(maximum);
    let mut sums = [s.zero(); 4];
    let mut at = 0;
    while at + 4 * S::LANES <= width {
        let mut i = 0;
        while i < 4 {
            let place = at + i * S::LANES;
            // SAFETY: four registers from `at` lie within the row.
            unsafe {
                let value = exp(s, s.sub(s.mul(s.load_ptr(from.add(place)), factor), maximum));
                s.store_ptr(to.add(place), value);
                sums[i] = s.add(sums[i], value);
            }
            i += 1;
        }
        at += 4 * S::LANES;
    }
    while at < width {
        // SAFETY: no more lanes are touched than the row has left.
        unsafe {
            let value = s.mul(s.load_first_ptr(from.add(at), width - at), factor);
            let value = exp(s, s.sub(value, maximum));
            let value = s.select(s.first(width - at), value, s.zero());
            s.store_first_ptr(to.add(at), value, width - at);
            sums[0] = s.add(sums[0], value);
        }
        at += S::LANES;
    }
    s.reduce_add(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

/// Multiplies a row in place.
///
/// # Safety
/// `width` numbers are writable at `to`.
#[inline(always)]
unsafe fn scale_row<S: Simd>(s: S, to: *mut f32, width: usize, factor: f32) {
    let factor = s.splat(factor);
    let whole = width / S::LANES * S::LANES;
    let mut at = 0;
    // SAFETY: whole registers, then as many lanes as the row has left.
    unsafe {
        while at < whole {
            s.store_ptr(to.add(at), s.mul(s.load_ptr(to.add(at)), factor));
            at += S::LANES;
        }
        if at < width {
            let value = s.mul(s.load_first_ptr(to.add(at), width - at), factor);
            s.store_first_ptr(to.add(at), value, width - at);
        }
    }
}

#[cfg(test)]
#[path = "softmax_tests.rs"]
mod tests;
