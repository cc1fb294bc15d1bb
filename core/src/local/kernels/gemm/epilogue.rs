//! What happens to the sums on their way to the result: scales, bias, activation, gate, residual.

use std::marker::PhantomData;

use super::super::math::{Activation, activate};
use super::super::simd::{Simd, Work};
use super::element::Element;
use super::packed::Packed;

/// What to do with the sums: `c = residual + scale · activation(a · wᵀ + bias)`, and in a gated layer
/// `c = residual + scale · activation(gate) · up`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// What the sums go through.
    pub activation: Activation,
    /// What the result is multiplied by.
    pub scale: f32,
    /// What is added to it.
    pub residual: Residual<'a>,
}

/// What is added to a layer's result.
#[derive(Clone, Copy, Debug, Default)]
pub enum Residual<'a> {
    /// Nothing.
    #[default]
    None,
    /// What the result's place held before.
    InPlace,
    /// These numbers, as many as the result's.
    From(&'a [f32]),
}

impl Default for Epilogue<'_> {
    fn default() -> Self {
        Self { activation: Activation::None, scale: 1.0, residual: Residual::None }
    }
}

impl<'a> Epilogue<'a> {
    /// Only this activation.
    pub fn activation(activation: Activation) -> Self {
        Self { activation, ..Self::default() }
    }

    /// Only this residual.
    pub fn residual(residual: Residual<'a>) -> Self {
        Self { residual, ..Self::default() }
    }
}

/// Turns the sums of a block of rows and one panel into results.
pub(super) struct Finish<'a, E> {
    pub(super) packed: &'a Packed,
    pub(super) panel: usize,
    /// The sums, a row of two registers after the other.
    pub(super) sums: &'a [u32],
    /// A number a row.
    pub(super) row_scales: &'a [f32],
    /// The panel's first result of the first row; rows are as long as the layer has outputs.
    pub(super) to: *mut f32,
    /// What is added, in the same place; null for nothing.
    pub(super) residual: *const f32,
    pub(super) activation: Activation,
    pub(super) scale: f32,
    pub(super) element: PhantomData<E>,
}

impl<S: Simd, E: Element<S>> Work<S> for Finish<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let first = self.panel * self.packed.panel_outputs();
        let outputs = self.packed.outputs() - first;
        if self.packed.is_gated() {
            for i in 0..self.row_scales.len() {
                let gate = activate(s, self.activation, self.sum(s, i, 0));
                let value = s.mul(gate, self.sum(s, i, 1));
                self.put(s, i, 0, value, outputs);
            }
            return;
        }
        for half in 0..2 {
            if outputs <= half * S::LANES {
                return;
            }
            for i in 0..self.row_scales.len() {
                let value = activate(s, self.activation, self.sum(s, i, half));
                self.put(s, i, half * S::LANES, value, outputs);
            }
        }
    }
}

impl<E> Finish<'_, E> {
    /// The sum of a row and a half of the panel, with its bias.
    #[inline(always)]
    fn sum<S: Simd>(&self, s: S, row: usize, half: usize) -> S::F32
    where
        E: Element<S>,
    {
        let channel = (2 * self.panel + half) * S::LANES;
        let sums = &self.sums[(2 * row + half) * S::LANES..][..S::LANES];
        let scale = self.packed.scales.as_ptr().wrapping_add(channel);
        let correction = self.packed.corrections.as_ptr().wrapping_add(channel);
        // SAFETY: there are sums, scales and corrections (where used) for every channel of every panel.
        let sum = unsafe { E::finish(s, sums.as_ptr(), self.row_scales[row], scale, correction) };
        match &self.packed.bias {
            Some(bias) => s.add(sum, s.load(&bias[channel..])),
            None => sum,
        }
    }

    /// Scales, adds the residual and stores as many of the lanes as there are outputs.
    #[inline(always)]
    fn put<S: Simd>(&self, s: S, row: usize, column: usize, value: S::F32, outputs: usize) {
        let value = if self.scale == 1.0 { value } else { s.mul(value, s.splat(self.scale)) };
        let place = row * self.packed.outputs() + column;
        let count = outputs - column;
        // SAFETY: row and columns up to `count` lie within the result, and in the residual if there is one.
        unsafe {
            let to = self.to.add(place);
            if count >= S::LANES {
                let value = if self.residual.is_null() {
                    value
                } else {
                    s.add(value, s.load_ptr(self.residual.add(place)))
                };
                s.store_ptr(to, value);
            } else {
                let value = if self.residual.is_null() {
                    value
                } else {
                    s.add(value, s.load_first_ptr(self.residual.add(place), count))
                };
                s.store_first_ptr(to, value, count);
            }
        }
    }
}
