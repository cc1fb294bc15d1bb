//! The inner loop: some pixels of a row times a panel of channels, all sums in registers.

use std::marker::PhantomData;

use super::super::gemm::element::Element;
use super::super::simd::{Simd, Work};
use super::layer::Conv;
use super::patch::Region;

/// The words of a window: rows of contiguous runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// The block's first word in a pixel.
    pub(super) first: usize,
    rows: usize,
    /// From one row to the next.
    row: usize,
    runs: usize,
    /// From one run to the next.
    run: usize,
    /// Words of a run.
    words: usize,
}

impl Steps {
    pub(super) fn new(layer: &Conv, region: &Region<'_>, block: usize) -> Self {
        let (window, words) = (layer.window(), layer.block(block));
        let row = region.columns * region.pitch;
        let steps = Self {
            first: words.start,
            rows: window.height,
            row,
            runs: window.width,
            run: region.pitch,
            words: words.len(),
        };
        if layer.blocks() == 1 && region.is_dense() {
            // A row of the window is one run.
            return Self { runs: 1, words: window.width * words.len(), ..steps };
        }
        steps
    }

    /// How many there are.
    pub(super) fn total(self) -> usize {
        self.rows * self.runs * self.words
    }
}

/// `PIXELS` windows side by side times a panel of channels, over a block of words.
pub(super) struct Tile<E, const PIXELS: usize> {
    pub(super) steps: Steps,
    /// The first window's first word.
    pub(super) input: *const u32,
    /// Words from one window to the next.
    pub(super) pixel: usize,
    pub(super) weights: *const u8,
    /// The sums, two registers a pixel.
    pub(super) sums: *mut u32,
    /// Whether the sums start at zero; else they continue from what is stored.
    pub(super) fresh: bool,
    /// What to prefetch meanwhile, 64 bytes per step.
    pub(super) ahead: *const u8,
    pub(super) element: PhantomData<E>,
}

impl<S: Simd, E: Element<S>, const PIXELS: usize> Work<S> for Tile<E, PIXELS> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let register_bytes = S::LANES * E::GROUP * E::WEIGHT_BYTES;
        let mut sums = [[E::zero(s); 2]; PIXELS];
        if !self.fresh {
            for (i, pixel) in sums.iter_mut().enumerate() {
                // SAFETY: there is room for the sums of all pixels.
                unsafe {
                    let from = self.sums.add(i * 2 * S::LANES);
                    *pixel = [E::load(s, from), E::load(s, from.add(S::LANES))];
                }
            }
        }
        let (mut weights, mut ahead, steps) = (self.weights, self.ahead, self.steps);
        for row in 0..steps.rows {
            for run in 0..steps.runs {
                let mut input = self.input.wrapping_add(row * steps.row + run * steps.run);
                for _ in 0..steps.words {
                    s.prefetch(ahead);
                    // SAFETY: the block holds weights for all steps.
                    let (first, second) =
                        unsafe { (E::weights(s, weights), E::weights(s, weights.add(register_bytes))) };
                    let mut i = 0;
                    while i < PIXELS {
                        // SAFETY: every window lies within the region.
                        let word = unsafe { *input.add(i * self.pixel) };
                        sums[i][0] = E::step(s, sums[i][0], word, first);
                        sums[i][1] = E::step(s, sums[i][1], word, second);
                        i += 1;
                    }
                    input = input.wrapping_add(1);
                    weights = weights.wrapping_add(2 * register_bytes);
                    ahead = ahead.wrapping_add(64);
                }
            }
        }
        for (i, pixel) in sums.iter().enumerate() {
            // SAFETY: there is room for the sums of all pixels.
            unsafe {
                let to = self.sums.add(i * 2 * S::LANES);
                E::store(s, to, pixel[0]);
                E::store(s, to.add(S::LANES), pixel[1]);
            }
        }
    }
}
