//! The inner loop: some pixels of a row times a panel of channels, all sums in registers.

use std::marker::PhantomData;

use super::super::gemm::element::{Element, RowScale};
use super::super::simd::{Simd, Work};
use super::layer::Conv;
use super::patch::Region;

/// The words of a window: rows of contiguous runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// The block's first word in a pixel.
    pub(super) first: usize,
    rows: usize,
    /// From one row to the next, and how many pixels that are.
    row: usize,
    columns: usize,
    runs: usize,
    /// From one run to the next.
    run: usize,
    /// Words of a run.
    words: usize,
}

impl Steps {
    /// With `is_by_pixel`, each run is of one pixel.
    pub(super) fn new(layer: &Conv, region: &Region<'_>, block: usize, is_by_pixel: bool) -> Self {
        let (window, words) = (layer.window(), layer.block(block));
        let row = region.columns * region.pitch;
        let steps = Self {
            first: words.start,
            rows: window.height,
            row,
            columns: region.columns,
            runs: window.width,
            run: region.pitch,
            words: words.len(),
        };
        if layer.blocks() == 1 && region.is_dense() && !is_by_pixel {
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
    /// The scale of the first window's first pixel, where the precision has scales, and how many to the next window's.
    pub(super) scales: *const RowScale,
    pub(super) stride: usize,
    pub(super) weights: *const u8,
    /// The sums, two registers a pixel; f32 where pixels have scales.
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
        if !self.fresh && !E::HAS_SCALES {
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
                if E::HAS_SCALES {
                    let place = row * steps.columns + run;
                    // SAFETY: the sums of the weights follow them.
                    unsafe { self.accumulate(s, place, weights.cast(), self.fresh && place == 0, &sums) };
                    weights = weights.wrapping_add(8 * S::LANES);
                    sums = [[E::zero(s); 2]; PIXELS];
                }
            }
        }
        if E::HAS_SCALES {
            return;
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

impl<E, const PIXELS: usize> Tile<E, PIXELS> {
    /// Adds the sums of one position of the window to those in memory, which start at zero if they are fresh.
    ///
    /// # Safety
    /// Two registers are readable at `of_weights`.
    #[inline(always)]
    unsafe fn accumulate<S: Simd>(
        &self,
        s: S,
        place: usize,
        of_weights: *const f32,
        fresh: bool,
        sums: &[[E::Sum; 2]; PIXELS],
    ) where
        E: Element<S>,
    {
        // SAFETY: the caller's promise.
        let of_weights = unsafe { [s.load_ptr(of_weights), s.load_ptr(of_weights.add(S::LANES))] };
        // Two loops: the compiler unrolls the short one, so that the sums were in registers until now.
        let mut widened = [[s.zero(); 2]; PIXELS];
        for (to, sums) in widened.iter_mut().zip(sums) {
            *to = [E::widen(s, sums[0]), E::widen(s, sums[1])];
        }
        for (i, pixel) in widened.iter().enumerate() {
            // SAFETY: every window lies within the region, and there is room for the sums of all pixels.
            unsafe {
                let scale = *self.scales.add(place + i * self.stride);
                let to = self.sums.add(i * 2 * S::LANES).cast::<f32>();
                let before = |at: usize| if fresh { s.zero() } else { s.load_ptr(to.add(at)) };
                let (low, high) = (before(0), before(S::LANES));
                s.store_ptr(to, E::accumulate(s, low, pixel[0], scale, of_weights[0]));
                s.store_ptr(to.add(S::LANES), E::accumulate(s, high, pixel[1], scale, of_weights[1]));
            }
        }
    }
}
