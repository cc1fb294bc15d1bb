//! From sums to results: biases, activation, scale, residual.

use std::marker::PhantomData;

use super::super::gemm::element::{Element, RowScale};
use super::super::math::{Activation, activate};
use super::super::simd::{Simd, Work};

/// Turns the sums of some pixels of a row and one panel into results.
pub(super) struct FinishRow<'a, E> {
    /// Two registers a pixel.
    pub(super) sums: &'a [u32],
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
    pub(super) element: PhantomData<E>,
}

impl<S: Simd, E: Element<S>> Work<S> for FinishRow<'_, E> {
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
            for (pixel, sums) in self.sums.chunks_exact(2 * S::LANES).enumerate() {
                let (sums, place) = (sums[column..].as_ptr(), pixel * self.outputs + column);
                // SAFETY: the sums of a pixel; no more lanes of the result are touched than there are channels.
                unsafe {
                    // The precisions of convolutions have no scales or corrections.
                    let channels = E::channels(s, std::ptr::null(), std::ptr::null());
                    let sum = E::finish(s, E::load(s, sums), RowScale::ONE, channels);
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
