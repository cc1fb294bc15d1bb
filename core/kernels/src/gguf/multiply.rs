//! The interface of a kernel for panels of 16 rows of weights; [`super::matmul`] does the rest.

use std::marker::PhantomData;

use super::super::simd::{Simd, Work};
use super::tile;

/// How weights of a format are multiplied.
pub(super) trait Multiply: Copy + Send + Sync + 'static {
    /// Words of a prepared row of `k` activations.
    fn words(k: usize) -> usize;

    /// Bytes of 16 rows of `k` weights.
    fn panel_bytes(k: usize) -> usize;

    /// Prepares `rows`, padded with zero rows to `padded`: for each position (or unit of positions), the words of all
    /// rows.
    fn prepare<S: Simd>(s: S, rows: &[f32], k: usize, padded: usize, to: &mut [u32]);

    /// The sums of `LANES` rows of weights, from `lane`, with each of `ROWS` prepared rows.
    ///
    /// # Safety
    /// The panel's pointers hold what [`Panel`] says, and `lane + LANES` is 16 at most.
    unsafe fn sums<S: Simd, const ROWS: usize>(s: S, panel: &Panel<Self>, lane: usize) -> [S::F32; ROWS];
}

/// The most rows that are multiplied at once: as many as the registers have sums for.
pub(super) const fn max_rows<S: Simd>() -> usize {
    match (S::LANES, S::REGISTERS) {
        (16, _) => 12,
        (_, 32) => 8,
        _ => 4,
    }
}

/// Prepares a block of rows.
pub(super) struct Prepare<'a, M> {
    /// At most `padded` rows.
    pub(super) rows: &'a [f32],
    /// Numbers of a row.
    pub(super) k: usize,
    /// How many rows the kernel takes.
    pub(super) padded: usize,
    /// `words(k)` words for each of the padded rows.
    pub(super) to: &'a mut [u32],
    /// The kind of weights.
    pub(super) way: PhantomData<M>,
}

impl<S: Simd, M: Multiply> Work<S> for Prepare<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        M::prepare(s, self.rows, self.k, self.padded, self.to);
    }
}

/// Sixteen rows of weights times a block of rows of activations.
#[derive(Clone, Copy)]
pub(super) struct Panel<M> {
    /// Positions of a row.
    pub(super) k: usize,
    /// `panel_bytes(k)` bytes of weights.
    pub(super) weights: *const u8,
    /// `words(k)` words for each of the padded rows.
    pub(super) activations: *const u32,
    /// The destination of the first row's sums.
    pub(super) to: *mut f32,
    /// From there to the next row's.
    pub(super) stride: usize,
    /// How many rows there are, without padding.
    pub(super) rows: usize,
    /// How many rows of weights there are, without padding.
    pub(super) outputs: usize,
    /// How they are multiplied.
    pub(super) way: PhantomData<M>,
}

impl<M: Multiply> Panel<M> {
    /// Multiplies, with the smallest compiled number of rows that is not below `padded`.
    pub(super) fn multiply<S: Simd>(self, s: S, padded: usize) {
        match padded {
            1 => s.call(PanelOfRows::<M, 1>(self)),
            2 => s.call(PanelOfRows::<M, 2>(self)),
            3 | 4 => s.call(PanelOfRows::<M, 4>(self)),
            5..=8 if const { max_rows::<S>() >= 8 } => s.call(PanelOfRows::<M, 8>(self)),
            9..=12 if const { max_rows::<S>() >= 12 } => s.call(PanelOfRows::<M, 12>(self)),
            _ => assert!(padded == 0, "there is no kernel for {padded} rows"),
        }
    }
}

/// The number of rows to pad so many to, for [`Panel::multiply`].
pub(super) const fn padded(rows: usize) -> usize {
    match rows {
        0..=2 => rows,
        3 | 4 => 4,
        5..=8 => 8,
        _ => 12,
    }
}

/// The same with the padded number of rows as a constant.
struct PanelOfRows<M, const ROWS: usize>(Panel<M>);

impl<S: Simd, M: Multiply, const ROWS: usize> Work<S> for PanelOfRows<M, ROWS> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let panel = self.0;
        let mut lane = 0;
        while lane < tile::ROWS && lane < panel.outputs {
            // SAFETY: whoever made the panel answers for its pointers; all sets' `LANES` divide 16.
            let sums = unsafe { M::sums::<S, ROWS>(s, &panel, lane) };
            let outputs = panel.outputs - lane;
            let mut row = 0;
            while row < ROWS {
                if row < panel.rows {
                    // SAFETY: the row has room for the panel's outputs.
                    unsafe {
                        s.store_first_ptr(panel.to.add(row * panel.stride + lane), sums[row], outputs);
                    }
                }
                row += 1;
            }
            lane += S::LANES;
        }
    }
}
