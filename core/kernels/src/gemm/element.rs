//! What the precisions have in common: how numbers are stored in words, multiplied and summed.

use super::super::buffer::Plain;
use super::super::simd::Simd;

/// What the words of a row of activations stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub(crate) struct RowScale {
    /// The number that its products are to be multiplied by.
    pub(crate) scale: f32,
    /// What stands for zero.
    pub(crate) zero: i32,
}

impl RowScale {
    /// The numbers themselves.
    pub(crate) const ONE: Self = Self { scale: 1.0, zero: 0 };
}

// SAFETY: two numbers of four bytes, so no padding.
unsafe impl Plain for RowScale {}

/// A precision of weights on an instruction set.
///
/// Activations lie in 32-bit words of [`GROUP`](Self::GROUP) numbers of one row; one word at a time is
/// repeated over a register and multiplied with a register of weights, which holds the same `GROUP`
/// positions of `LANES` channels. Every sum runs over the words from the first to the last, whatever surrounds it.
pub(crate) trait Element<S: Simd>: 'static {
    /// How many numbers of a row a word of activations holds.
    const GROUP: usize;
    /// Bytes of one packed weight.
    const WEIGHT_BYTES: usize;
    /// Whether activations are the f32 themselves, so that nothing needs converting.
    const IS_F32: bool;
    /// Whether results have so few digits that [rough](super::super::rough) activations change none.
    const IS_ROUGH: bool;
    /// A register of sums.
    type Sum: Copy;
    /// A register of weights.
    type Weights: Copy;
    /// What the sums of a register of channels need to become f32.
    type Channels: Copy;

    /// No sum yet.
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

    /// What the words of a row of activations will stand for.
    #[inline(always)]
    fn row_scale(_: S, _: &[f32]) -> RowScale {
        RowScale::ONE
    }

    /// Turns numbers of such a row into words. What fills up the last word meets weights that are zero.
    fn convert(s: S, numbers: &[f32], scale: RowScale, words: &mut [u32]);

    /// Loads what the sums of some channels need.
    ///
    /// # Safety
    /// If the precision has scales and corrections, `LANES` of them are readable.
    unsafe fn channels(s: S, scales: *const f32, corrections: *const i32) -> Self::Channels;

    /// Sums without what the numbers that stand for zero brought.
    fn from_zero(s: S, sums: Self::Sum, row: RowScale, channels: Self::Channels) -> Self::Sum;

    /// Sums [from zero](Self::from_zero) as f32, before the bias.
    fn finish(s: S, sums: Self::Sum, row: RowScale, channels: Self::Channels) -> S::F32;
}
