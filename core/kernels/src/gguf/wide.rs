//! The inner loop over weights in f16 and bf16: widened to f32, times activations in f32.
//!
//! A panel holds position 0 of 16 rows, then position 1, and so on. Even and odd positions have sums of their own,
//! which hides the latency of the additions.

use super::super::simd::Simd;
use super::multiply::{Multiply, Panel};
use super::tile::{HALVES, LINE, ROWS as TILE_ROWS};

/// How far ahead weights are prefetched, in bytes.
const PREFETCH_BYTES: usize = 12 << 10;

/// Multiplies weights in bf16, or in f16.
#[derive(Clone, Copy)]
pub(super) struct Wide<const BF16: bool>;

impl<const BF16: bool> Multiply for Wide<BF16> {
    fn words(k: usize) -> usize {
        k
    }

    fn panel_bytes(k: usize) -> usize {
        k * HALVES
    }

    #[inline(always)]
    fn prepare<S: Simd>(_: S, rows: &[f32], k: usize, padded: usize, to: &mut [u32]) {
        if k == 0 || padded == 0 {
            return;
        }
        for (position, to) in to.chunks_exact_mut(padded).take(k).enumerate() {
            to.fill(0);
            to.iter_mut().zip(rows.chunks_exact(k)).for_each(|(to, row)| *to = row[position].to_bits());
        }
    }

    #[inline(always)]
    unsafe fn sums<S: Simd, const ROWS: usize>(s: S, panel: &Panel<Self>, lane: usize) -> [S::F32; ROWS] {
        let (mut even, mut odd) = ([s.zero(); ROWS], [s.zero(); ROWS]);
        let (mut weights, mut activations) = (panel.weights.wrapping_add(2 * lane), panel.activations);
        for _ in 0..panel.k / 2 {
            if lane == 0 && ROWS <= 8 {
                s.prefetch_near(weights.wrapping_add(PREFETCH_BYTES));
            }
            // SAFETY: the caller's promise: two positions of weights and activations are here.
            unsafe {
                add::<S, BF16, ROWS>(s, weights, activations, &mut even);
                add::<S, BF16, ROWS>(s, weights.add(HALVES), activations.add(ROWS), &mut odd);
            }
            weights = weights.wrapping_add(LINE);
            activations = activations.wrapping_add(2 * ROWS);
        }
        if panel.k % 2 == 1 {
            // SAFETY: the caller's promise: the last position is here.
            unsafe { add::<S, BF16, ROWS>(s, weights, activations, &mut even) };
        }
        let mut row = 0;
        while row < ROWS {
            even[row] = s.add(even[row], odd[row]);
            row += 1;
        }
        even
    }
}

/// Adds the products of one position.
///
/// # Safety
/// `LANES` weights are readable at `weights`, and `ROWS` words at `activations`.
#[inline(always)]
unsafe fn add<S: Simd, const BF16: bool, const ROWS: usize>(
    s: S,
    weights: *const u8,
    activations: *const u32,
    sums: &mut [S::F32; ROWS],
) {
    // SAFETY: the caller's promise; the panel is aligned to a line.
    let weights =
        unsafe { if BF16 { s.load_bf16_ptr(weights.cast()) } else { s.load_f16_ptr(weights.cast()) } };
    let mut row = 0;
    while row < ROWS {
        // SAFETY: the caller's promise.
        let activation = f32::from_bits(unsafe { *activations.add(row) });
        sums[row] = s.mul_add(weights, s.splat(activation), sums[row]);
        row += 1;
    }
}

/// Writes a row's numbers, two bytes each, to a panel.
pub(super) fn write(panel: &mut [u8], row: usize, numbers: &[u8]) {
    for (to, number) in panel.chunks_exact_mut(HALVES).zip(numbers.chunks_exact(2)) {
        to[2 * row..2 * row + 2].copy_from_slice(number);
    }
}

/// The bits of a row's numbers.
pub(super) fn read(panel: &[u8], row: usize) -> impl Iterator<Item = u16> + '_ {
    debug_assert!(row < TILE_ROWS, "a panel has {TILE_ROWS} rows");
    panel.chunks_exact(HALVES).map(move |at| u16::from_le_bytes([at[2 * row], at[2 * row + 1]]))
}
