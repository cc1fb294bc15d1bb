//! The inner loop: a block of rows times a panel of channels, all sums in registers.

use std::marker::PhantomData;

use super::super::simd::{Simd, Work};
use super::element::Element;
use super::epilogue::Direct;

/// `ROWS` rows times `PANELS` panels, over some words of the rows.
///
/// With few rows, several panels at once hide the latency of the sums, each of which depends on the one before. Their
/// number does not change the order of any sum.
pub(super) struct Tile<'a, E, const ROWS: usize, const PANELS: usize>(
    pub(super) TileWork<'a>,
    pub(super) PhantomData<E>,
);

/// What a tile of any size multiplies.
pub(super) struct TileWork<'a> {
    /// Words of each row.
    pub(super) words: usize,
    /// The words of all rows: word 0 of each of the `ROWS` rows, then word 1, and so on.
    pub(super) activations: *const u32,
    /// The first panel's weights for the first word.
    pub(super) weights: *const u8,
    /// Bytes from one panel to the next.
    pub(super) panel_bytes: usize,
    /// The sums: panel after panel, in each row after row.
    pub(super) sums: *mut u32,
    /// Words from one panel's sums to the next's.
    pub(super) panel_sums: usize,
    /// Whether the sums start at zero; else they continue from what is stored.
    pub(super) fresh: bool,
    /// What to prefetch meanwhile: weights or rows that are needed soon. Any address is allowed.
    pub(super) ahead: *const u8,
    /// Bytes to prefetch per word.
    pub(super) ahead_step: usize,
    /// How to turn sums into results at once; without it they are stored.
    pub(super) direct: Option<&'a Direct<'a>>,
}

impl<S: Simd, E: Element<S>, const ROWS: usize, const PANELS: usize> Work<S> for Tile<'_, E, ROWS, PANELS> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let register_bytes = S::LANES * E::GROUP * E::WEIGHT_BYTES;
        let work = self.0;
        let mut sums = [[[E::zero(s); 2]; ROWS]; PANELS];
        if !work.fresh {
            for (p, panel) in sums.iter_mut().enumerate() {
                for (i, row) in panel.iter_mut().enumerate() {
                    // SAFETY: there is room for the sums of all rows and panels.
                    unsafe {
                        let from = work.sums.add(p * work.panel_sums + i * 2 * S::LANES);
                        *row = [E::load(s, from), E::load(s, from.add(S::LANES))];
                    }
                }
            }
        }
        let (mut activations, mut weights, mut ahead) = (work.activations, work.weights, work.ahead);
        for _ in 0..work.words {
            s.prefetch(ahead);
            let mut p = 0;
            while p < PANELS {
                // SAFETY: the panels hold weights for all words.
                let (first, second) = unsafe {
                    let panel = weights.add(p * work.panel_bytes);
                    (E::weights(s, panel), E::weights(s, panel.add(register_bytes)))
                };
                let mut i = 0;
                while i < ROWS {
                    // SAFETY: there are `ROWS` activations for every word.
                    let word = unsafe { *activations.add(i) };
                    sums[p][i][0] = E::step(s, sums[p][i][0], word, first);
                    sums[p][i][1] = E::step(s, sums[p][i][1], word, second);
                    i += 1;
                }
                p += 1;
            }
            activations = activations.wrapping_add(ROWS);
            weights = weights.wrapping_add(2 * register_bytes);
            ahead = ahead.wrapping_add(work.ahead_step);
        }
        if let Some(direct) = work.direct {
            for (p, panel) in sums.iter().enumerate() {
                // SAFETY: the caller's promise with `direct`; it is only given where panels are whole.
                unsafe { direct.put::<S, E, ROWS>(s, p, panel) };
            }
            return;
        }
        for (p, panel) in sums.iter().enumerate() {
            for (i, row) in panel.iter().enumerate() {
                // SAFETY: there is room for the sums of all rows and panels.
                unsafe {
                    let to = work.sums.add(p * work.panel_sums + i * 2 * S::LANES);
                    E::store(s, to, row[0]);
                    E::store(s, to.add(S::LANES), row[1]);
                }
            }
        }
    }
}
