//! From sums to results: biases, activation, scale, residual.

use super::super::math::{Activation, activate};
use super::super::simd::{Simd, Work};

/// Turns the sums of some pixels of a row and one panel into results.
pub(super) struct FinishRow<'a> {
    /// Two registers of f32 a pixel.
    pub(super) sums: &'a [u32],
    /// What the sums of each channel are multiplied with, f32 as bytes; none if empty.
    pub(super) scales: &'a [u8],
    /// How many channels of the panel there are.
    pub(super) channels: usize,
    /// From one pixel of the result to the next.
    pub(super) outputs: usize,
    /// From the panel's first channel on.
    pub(super) bias: Option<&'a [f32]>,
    pub(super) per_image: Option<&'a [f32]>,
    pub(super) activation: Activation,
    pub(super) scale: f32,
    /// The panel's first channel of the first pixel.
    pub(super) to: *mut f32,
    /// The residual of the first result; null for none.
    pub(super) residual: *const f32,
}

impl<S: Simd> Work<S> for FinishRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        for half in 0..2 {
            let column = half * S::LANES;
            if column >= self.channels {
                return;
            }
            let count = self.channels - column;
            let (bias, per_image) = (bias(s, self.bias, column), bias(s, self.per_image, column));
            let scale = s.splat(self.scale);
            let of_channels = match self.scales.get(4 * column..4 * (column + S::LANES)) {
                // SAFETY: a register of them.
                Some(scales) => unsafe { s.load_ptr(scales.as_ptr().cast()) },
                None => s.splat(1.0),
            };
            for (pixel, sums) in self.sums.chunks_exact(2 * S::LANES).enumerate() {
                let (sums, place) = (sums[column..].as_ptr(), pixel * self.outputs + column);
                // SAFETY: the sums of a pixel; no more lanes of the result are touched than there are channels.
                unsafe {
                    let sum = s.mul(s.load_ptr(sums.cast()), of_channels);
                    let sum = s.add(s.add(sum, bias), per_image);
                    let value = s.mul(activate(s, self.activation, sum), scale);
                    let (to, residual) = (self.to.wrapping_add(place), self.residual.wrapping_add(place));
                    if self.residual.is_null() {
                        s.store_first_ptr(to, value, count);
                    } else {
                        s.store_first_ptr(to, s.add(value, s.load_first_ptr(residual, count)), count);
                    }
                }
            }
        }
    }
}

/// The biases of a register of channels; zero where there are none.
#[inline(always)]
fn bias<S: Simd>(s: S, bias: Option<&[f32]>, column: usize) -> S::F32 {
    match bias {
        Some(bias) => s.load_first(&bias[column..]),
        None => s.zero(),
    }
}
