//! The interface of a precision: how numbers are stored in words, multiplied and summed.

use super::super::buffer::Plain;
use super::super::simd::Simd;

/// The scale of a row of quantised activations.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub(crate) struct RowScale {
    /// The factor of its products.
    pub(crate) scale: f32,
    /// The quantised zero.
    pub(crate) zero: i32,
}

impl RowScale {
    /// That of numbers which are not quantised.
    pub(crate) const ONE: Self = Self { scale: 1.0, zero: 0 };
}

// SAFETY: two numbers of four bytes, so no padding.
unsafe impl Plain for RowScale {}

/// A precision of weights on an instruction set.
///
/// Activations are packed into 32-bit words of [`GROUP`](Self::GROUP) numbers of one row. One word at a time is
/// broadcast to a register and multiplied by a register of weights, which holds the same `GROUP` positions of `LANES`
/// channels. Every sum runs over the words in order.
pub(crate) trait Element<S: Simd>: 'static {
    /// Numbers in a word of activations.
    const GROUP: usize;
    /// Bytes of a packed weight.
    const WEIGHT_BYTES: usize;
    /// Whether activations stay f32, so that nothing is converted.
    const IS_F32: bool;
    /// Whether results are rounded so much that [rough](super::super::rough) activation functions are exact enough.
    const IS_ROUGH: bool;
    /// Whether each row of activations has a scale, so that sums over several rows are made in f32.
    const HAS_SCALES: bool = false;
    /// A register of sums.
    type Sum: Copy;
    /// A register of weights.
    type Weights: Copy;
    /// What turns the sums of a register of channels into f32.
    type Channels: Copy;

    /// Sums of nothing.
    fn zero(s: S) -> Self::Sum;

    /// Loads sums stored by [`store`](Self::store).
    ///
    /// # Safety
    /// `LANES` words are readable at `from`.
    unsafe fn load(s: S, from: *const u32) -> Self::Sum;

    /// Stores sums.
    ///
    /// # Safety
    /// `LANES` words are writable at `to`.
    unsafe fn store(s: S, to: *mut u32, sum: Self::Sum);

    /// Loads the weights of `GROUP` positions of `LANES` channels.
    ///
    /// # Safety
    /// `LANES · GROUP · WEIGHT_BYTES` bytes are readable at `from`.
    unsafe fn weights(s: S, from: *const u8) -> Self::Weights;

    /// `sum + word · weights`.
    fn step(s: S, sum: Self::Sum, word: u32, weights: Self::Weights) -> Self::Sum;

    /// The scale for a row of activations.
    #[inline(always)]
    fn row_scale(_: S, _: &[f32]) -> RowScale {
        RowScale::ONE
    }

    /// Turns numbers of the row into words. The padding of the last word meets weights that are zero.
    fn convert(s: S, numbers: &[f32], scale: RowScale, words: &mut [u32]);

    /// Loads the scales and corrections of some channels.
    ///
    /// # Safety
    /// If the precision has scales and corrections, `LANES` of them are readable.
    unsafe fn channels(s: S, scales: *const f32, corrections: *const i32) -> Self::Channels;

    /// Removes from sums what the quantised zeros contributed.
    fn from_zero(s: S, sums: Self::Sum, row: RowScale, channels: Self::Channels) -> Self::Sum;

    /// Such sums as f32, before the bias.
    fn finish(s: S, sums: Self::Sum, row: RowScale, channels: Self::Channels) -> S::F32;

    /// Sums in f32, as they are.
    fn widen(s: S, sums: Self::Sum) -> S::F32;

    /// Adds the widened sums of a row to those of others. `of_weights` is the sum of the weights that were multiplied.
    #[inline(always)]
    fn accumulate(s: S, to: S::F32, sums: S::F32, _: RowScale, _of_weights: S::F32) -> S::F32 {
        s.add(to, sums)
    }
}

/// What precisions have in common whose sums and weights are f32 in the registers.
macro_rules! sums_in_f32 {
    () => {
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
        unsafe fn channels(_: S, _: *const f32, _: *const i32) {}

        #[inline(always)]
        fn from_zero(_: S, sums: S::F32, _: RowScale, (): ()) -> S::F32 {
            sums
        }

        #[inline(always)]
        fn finish(_: S, sums: S::F32, _: RowScale, (): ()) -> S::F32 {
            sums
        }

        #[inline(always)]
        fn widen(_: S, sums: S::F32) -> S::F32 {
            sums
        }
    };
}
pub(super) use sums_in_f32;
