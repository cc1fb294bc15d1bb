//! From sums to results: scales, bias, activation, gate, residual.

use std::marker::PhantomData;

use super::super::math::{Activation, activate};
use super::super::rough::activate_roughly;
use super::super::rows::Source;
use super::super::simd::{MAX_LANES, Simd, Work};
use super::Results;
use super::element::{Element, RowScale};
use super::packed::Packed;

/// What follows the sums: `c = residual + scale · activation(a · wᵀ + bias)`, and in a gated layer
/// `c = residual + scale · activation(gate) · up`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// The activation function.
    pub activation: Activation,
    /// Multiplied with the result.
    pub scale: f32,
    /// Added to it.
    pub residual: Residual<'a>,
}

/// What is added to a layer's result.
#[derive(Clone, Copy, Debug, Default)]
pub enum Residual<'a> {
    /// Nothing.
    #[default]
    None,
    /// The former content of the destination.
    InPlace,
    /// These numbers, as many as there are results.
    From(&'a [f32]),
}

impl<'a> From<Source<'a>> for Residual<'a> {
    fn from(source: Source<'a>) -> Self {
        match source {
            Source::InPlace => Self::InPlace,
            Source::From(values) => Self::From(values),
        }
    }
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

/// Turns sums into results without storing them in between, where only a bias and a residual follow and the panels are
/// whole. The results have the same bits as those of [`Finish`].
#[derive(Clone, Copy)]
pub(super) struct Direct<'a> {
    pub(super) packed: &'a Packed,
    /// The first panel.
    pub(super) panel: usize,
    /// The scale of each row.
    pub(super) row_scales: &'a [RowScale],
    /// The first result of the first row.
    pub(super) to: *mut f32,
    /// The residual of the first result; null for none.
    pub(super) residual: *const f32,
}

impl Direct<'_> {
    /// Finishes the sums of a block's rows and panel `p`, counted from the first.
    ///
    /// # Safety
    /// The panel is whole, and the results of these rows and channels are writable, those of the residual readable.
    #[inline(always)]
    pub(super) unsafe fn put<S: Simd, E: Element<S>, const ROWS: usize>(
        &self,
        s: S,
        p: usize,
        sums: &[[E::Sum; 2]; ROWS],
    ) {
        let scales: &[RowScale; ROWS] = match self.row_scales.try_into() {
            Ok(scales) => scales,
            Err(_) => return,
        };
        let (low, low_bias) = half::<S, E>(s, self.packed, self.panel + p, 0);
        let (high, high_bias) = half::<S, E>(s, self.packed, self.panel + p, 1);
        let outputs = self.packed.outputs();
        let first = p * self.packed.panel_outputs();
        // Several short loops: the compiler unrolls each and keeps the sums in registers, but would not unroll a long
        // one.
        let mut sums = *sums;
        for (sums, scale) in sums.iter_mut().zip(scales) {
            sums[0] = E::from_zero(s, sums[0], *scale, low);
            sums[1] = E::from_zero(s, sums[1], *scale, high);
        }
        let mut values = [[s.zero(); 2]; ROWS];
        for ((value, sums), scale) in values.iter_mut().zip(sums).zip(scales) {
            value[0] = s.add(E::finish(s, sums[0], *scale, low), low_bias);
            value[1] = s.add(E::finish(s, sums[1], *scale, high), high_bias);
        }
        if !self.residual.is_null() {
            for (i, value) in values.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                unsafe {
                    let from = self.residual.add(i * outputs + first);
                    *value =
                        [s.add(value[0], s.load_ptr(from)), s.add(value[1], s.load_ptr(from.add(S::LANES)))];
                }
            }
        }
        for (i, value) in values.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                let to = self.to.add(i * outputs + first);
                s.store_ptr(to, value[0]);
                s.store_ptr(to.add(S::LANES), value[1]);
            }
        }
    }
}

/// Turns the sums of a block of rows and one panel into results.
pub(super) struct Finish<'a, E> {
    pub(super) packed: &'a Packed,
    pub(super) panel: usize,
    /// The sums, two registers for each row.
    pub(super) sums: &'a [u32],
    /// The scale of each row.
    pub(super) row_scales: &'a [RowScale],
    /// The panel's first result of the first row. Rows have as many results as the layer has outputs.
    pub(super) to: Results<*mut f32, *mut half::bf16>,
    /// The residual of the first result; null for none.
    pub(super) residual: *const f32,
    pub(super) activation: Activation,
    pub(super) scale: f32,
    pub(super) element: PhantomData<E>,
}

impl<S: Simd, E: Element<S>> Work<S> for Finish<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let outputs = self.packed.outputs() - self.panel * self.packed.panel_outputs();
        let rows = self.row_scales.len();
        if self.packed.is_gated() {
            let (gate, up) =
                (half::<S, E>(s, self.packed, self.panel, 0), half::<S, E>(s, self.packed, self.panel, 1));
            for i in 0..rows {
                let gate = active::<S, E>(s, self.activation, self.sum(s, i, 0, gate));
                self.put(s, i, 0, s.mul(gate, self.sum(s, i, 1, up)), outputs);
            }
            return;
        }
        for number in 0..2 {
            if outputs <= number * S::LANES {
                return;
            }
            let half = half::<S, E>(s, self.packed, self.panel, number);
            for i in 0..rows {
                let value = active::<S, E>(s, self.activation, self.sum(s, i, number, half));
                self.put(s, i, number * S::LANES, value, outputs);
            }
        }
    }
}

/// Applies an activation as accurately as the precision calls for.
#[inline(always)]
fn active<S: Simd, E: Element<S>>(s: S, activation: Activation, x: S::F32) -> S::F32 {
    if E::IS_ROUGH { activate_roughly(s, activation, x) } else { activate(s, activation, x) }
}

/// Scales, corrections and bias of half a panel's channels.
#[inline(always)]
fn half<S: Simd, E: Element<S>>(s: S, packed: &Packed, panel: usize, half: usize) -> (E::Channels, S::F32) {
    let channel = (2 * panel + half) * S::LANES;
    let scales = packed.scales.as_ptr().wrapping_add(channel);
    let corrections = packed.corrections.as_ptr().wrapping_add(channel);
    // SAFETY: there are scales and corrections (where used) for every channel of every panel.
    let channels = unsafe { E::channels(s, scales, corrections) };
    let bias = match &packed.bias {
        Some(bias) => s.load(&bias[channel..]),
        None => s.zero(),
    };
    (channels, bias)
}

impl<E> Finish<'_, E> {
    /// The sum of a row and a half of the panel, with its bias.
    #[inline(always)]
    fn sum<S: Simd>(&self, s: S, row: usize, half: usize, (channels, bias): (E::Channels, S::F32)) -> S::F32
    where
        E: Element<S>,
    {
        let sums = &self.sums[(2 * row + half) * S::LANES..][..S::LANES];
        // SAFETY: a register of sums, stored by a tile of this precision.
        let sums = unsafe { E::load(s, sums.as_ptr()) };
        let row = self.row_scales[row];
        s.add(E::finish(s, E::from_zero(s, sums, row, channels), row, channels), bias)
    }

    /// Scales, adds the residual, and stores as many lanes as there are outputs left.
    #[inline(always)]
    fn put<S: Simd>(&self, s: S, row: usize, column: usize, value: S::F32, outputs: usize) {
        let value = if self.scale == 1.0 { value } else { s.mul(value, s.splat(self.scale)) };
        let place = row * self.packed.outputs() + column;
        let count = outputs - column;
        let lanes = count.min(S::LANES);
        // SAFETY: row and columns up to `count` lie within the result, and in the residual if there is one.
        unsafe {
            let value = if self.residual.is_null() {
                value
            } else if count >= S::LANES {
                s.add(value, s.load_ptr(self.residual.add(place)))
            } else {
                s.add(value, s.load_first_ptr(self.residual.add(place), count))
            };
            match self.to {
                Results::F32(to) if lanes == S::LANES => s.store_ptr(to.add(place), value),
                Results::F32(to) => s.store_first_ptr(to.add(place), value, count),
                Results::Bf16(to) if lanes == S::LANES => s.store_bf16_ptr(to.add(place), value),
                Results::Bf16(to) => {
                    let mut last = [half::bf16::ZERO; MAX_LANES];
                    s.store_bf16_ptr(last.as_mut_ptr(), value);
                    std::ptr::copy_nonoverlapping(last.as_ptr(), to.add(place), lanes);
                }
            }
        }
    }
}
