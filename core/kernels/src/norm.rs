//! LayerNorm and RMSNorm over rows; GroupNorm over images is in `group_norm.rs`.
//!
//! Sums are kept in four registers that are added at the end: the order depends on the row's width only.

use super::Cpu;
use super::dispatch::dispatch;
use super::pool::SharedStart;
use super::rotary::TokenHeads;
use super::rows::{Rows, Source, in_rows, of_width};
use super::simd::Simd;
use crate::error::Result;

/// The weights of a norm, one number per column.
#[derive(Clone, Copy, Debug)]
pub struct Scaling<'a> {
    /// Multiplied with the normalised row.
    pub weight: &'a [f32],
    /// Added after that.
    pub bias: Option<&'a [f32]>,
    /// Added to the variance, so that it is never zero.
    pub epsilon: f32,
}

impl Scaling<'_> {
    pub(super) fn check(&self) -> Result<()> {
        of_width("the bias", self.bias.map_or(self.weight.len(), <[f32]>::len), self.weight.len())
    }

    fn bias_start(&self) -> *const f32 {
        self.bias.map_or(std::ptr::null(), <[f32]>::as_ptr)
    }
}

/// `(x - mean) / √(variance + ε) · weight + bias` of every row; rows are as wide as the weights.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if `to` is not whole rows, or another slice has another size.
pub fn layer_norm(cpu: &Cpu, to: &mut [f32], source: Source<'_>, scaling: Scaling<'_>) -> Result<()> {
    scaling.check()?;
    in_rows(cpu, to, source, scaling.weight.len(), |isa, rows| layer_norm_rows(isa, rows, scaling))
}

/// `x / √(mean of x² + ε) · weight + bias` of every row; rows are as wide as the weights.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if `to` is not whole rows, or another slice has another size.
pub fn rms_norm(cpu: &Cpu, to: &mut [f32], source: Source<'_>, scaling: Scaling<'_>) -> Result<()> {
    scaling.check()?;
    in_rows(cpu, to, source, scaling.weight.len(), |isa, rows| rms_norm_rows(isa, rows, scaling))
}

/// [`rms_norm`] in place of some heads of each token, which may lie in longer rows; each is as wide as the weights.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if the heads are not as wide as the weights, or the slice is too short for
/// them.
pub fn rms_norm_heads(
    cpu: &Cpu,
    x: &mut [f32],
    heads: TokenHeads,
    tokens: usize,
    scaling: Scaling<'_>,
) -> Result<()> {
    scaling.check()?;
    of_width("the weight", scaling.weight.len(), heads.size)?;
    heads.check(tokens, x.len())?;
    let start = SharedStart(x.as_mut_ptr());
    heads.for_each(cpu, tokens, |token| {
        let to = start.get().wrapping_add(token * heads.stride);
        rms_norm_rows(cpu.isa, Rows { from: to, to, count: heads.count, width: heads.size }, scaling);
    });
    Ok(())
}

dispatch! { fn layer_norm_rows(rows: Rows, scaling: Scaling<'_>) = layer_norm_with; }
dispatch! { fn rms_norm_rows(rows: Rows, scaling: Scaling<'_>) = rms_norm_with; }

#[inline(always)]
fn layer_norm_with<S: Simd>(s: S, rows: Rows, scaling: Scaling<'_>) {
    let count = rows.width as f32;
    for number in 0..rows.count {
        let (from, to) = rows.row(number);
        // SAFETY: rows hold `width` numbers, as do the weights and, if there is one, the bias.
        unsafe {
            let mean = sum::<S, false>(s, from, rows.width, 0.0) / count;
            let variance = sum::<S, true>(s, from, rows.width, mean) / count;
            let factor = 1.0 / (variance + scaling.epsilon).sqrt();
            apply(s, from, to, rows.width, [mean, factor], scaling);
        }
    }
}

#[inline(always)]
fn rms_norm_with<S: Simd>(s: S, rows: Rows, scaling: Scaling<'_>) {
    for number in 0..rows.count {
        let (from, to) = rows.row(number);
        // SAFETY: rows hold `width` numbers, as do the weights and, if there is one, the bias.
        unsafe {
            let mean_square = sum::<S, true>(s, from, rows.width, 0.0) / rows.width as f32;
            let factor = 1.0 / (mean_square + scaling.epsilon).sqrt();
            apply(s, from, to, rows.width, [0.0, factor], scaling);
        }
    }
}

/// The sum of `x - less`, or of the squares of that.
///
/// # Safety
/// `width` numbers are readable at `from`.
#[inline(always)]
unsafe fn sum<S: Simd, const SQUARES: bool>(s: S, from: *const f32, width: usize, less: f32) -> f32 {
    let less = s.splat(less);
    let mut sums = [s.zero(); 4];
    let mut at = 0;
    while at + 4 * S::LANES <= width {
        let mut i = 0;
        while i < 4 {
            // SAFETY: four registers from `at` lie within the row.
            let value = s.sub(unsafe { s.load_ptr(from.add(at + i * S::LANES)) }, less);
            sums[i] = if SQUARES { s.mul_add(value, value, sums[i]) } else { s.add(value, sums[i]) };
            i += 1;
        }
        at += 4 * S::LANES;
    }
    while at < width {
        // SAFETY: no more lanes are read than the row has left.
        let value = s.sub(unsafe { s.load_first_ptr(from.add(at), width - at) }, less);
        let value = s.select(s.first(width - at), value, s.zero());
        sums[0] = if SQUARES { s.mul_add(value, value, sums[0]) } else { s.add(value, sums[0]) };
        at += S::LANES;
    }
    s.reduce_add(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

/// `(x - mean) · factor · weight + bias`.
///
/// # Safety
/// `width` numbers are readable at `from`, in the weights and in the bias, and writable at `to`.
#[inline(always)]
unsafe fn apply<S: Simd>(
    s: S,
    from: *const f32,
    to: *mut f32,
    width: usize,
    [mean, factor]: [f32; 2],
    scaling: Scaling<'_>,
) {
    let (mean, factor) = (s.splat(mean), s.splat(factor));
    let (weight, bias) = (scaling.weight.as_ptr(), scaling.bias_start());
    let whole = width / S::LANES * S::LANES;
    let mut at = 0;
    while at < whole {
        // SAFETY: a register from `at` lies within the row.
        unsafe {
            let value = s.mul(s.sub(s.load_ptr(from.add(at)), mean), factor);
            let weight = s.load_ptr(weight.add(at));
            let value = if bias.is_null() {
                s.mul(value, weight)
            } else {
                s.mul_add(value, weight, s.load_ptr(bias.add(at)))
            };
            s.store_ptr(to.add(at), value);
        }
        at += S::LANES;
    }
    if at < width {
        let rest = width - at;
        // SAFETY: no more lanes are touched than the row has left.
        unsafe {
            let value = s.mul(s.sub(s.load_first_ptr(from.add(at), rest), mean), factor);
            let weight = s.load_first_ptr(weight.add(at), rest);
            let value = if bias.is_null() {
                s.mul(value, weight)
            } else {
                s.mul_add(value, weight, s.load_first_ptr(bias.add(at), rest))
            };
            s.store_first_ptr(to.add(at), value, rest);
        }
    }
}

#[cfg(test)]
#[path = "norm_tests.rs"]
mod tests;
