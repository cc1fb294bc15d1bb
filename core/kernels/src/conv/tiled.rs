//! A part in tiles (AMX): 32 pixels times a panel of channels in four tiles of sums.
//!
//! A tile of activations is loaded from the packed region as it lies there: its rows are the pixels under one place of 16
//! windows. With stride 1, windows follow each other across the rows of the region, so that narrow images fill tiles too;
//! those that reach over the end of a row are computed and dropped. Weights and steps are those of the product in tiles
//! (`gemm/tiled.rs`).

use std::marker::PhantomData;

use super::super::Cpu;
use super::super::amx::{ROWS, Tiles};
use super::super::buffer::Scratch;
use super::super::dispatch::with_tiles;
use super::super::gemm::Precision;
use super::super::gemm::bf16::Bf16;
use super::super::gemm::element::{Element, RowScale};
use super::super::gemm::int8::Int8;
use super::super::gemm::packed::TILE_WORDS;
use super::super::gemm::tiled::{STEP_BYTES, SUMS, TileElement, exchange_sums, prefetch_share, step_of};
use super::super::simd::{Simd, Work};
use super::patch::Region;
use super::{ConvCall, ConvPart, Input};

/// Convolves with the tiles of the layer's instruction set.
pub(super) fn convolve(call: &ConvCall<'_>, cpu: &Cpu) {
    with_tiles!(call.layer.isa(), s, T => convolve_with::<_, T>(call, s, cpu));
}

/// Convolves with these vectors and tiles.
fn convolve_with<S: Simd, T: Tiles>(call: &ConvCall<'_>, s: S, cpu: &Cpu) {
    match call.layer.precision() {
        Precision::Int8 => call.run(cpu, |number| part::<S, Int8, T>(call, s, number)),
        _ => call.run(cpu, |number| part::<S, Bf16, T>(call, s, number)),
    }
}

fn part<S: Simd, E: Element<S> + TileElement, T: Tiles>(call: &ConvCall<'_>, s: S, number: usize) {
    let part = call.plan.part(number, call.height, call.width, call.layer.panels());
    let region = Region::new(call.layer, call.images, &part);
    let stride = call.layer.geometry().stride;
    // The last tile of a run may reach past the region, with windows that are dropped.
    let input = Input::pack::<S, E>(s, &region, ROWS * stride);
    let (height, width) = (part.rows.len(), part.columns.len());
    let (runs, run) = if stride == 1 { (1, (height - 1) * region.columns + width) } else { (height, width) };
    let tiles = runs * run.div_ceil(ROWS);
    let kind = PhantomData;
    s.call(PartInTiles::<E, T> {
        call,
        part: &part,
        region: &region,
        input: &input,
        stride,
        run,
        tiles,
        kind,
    });
}

/// Some output pixels and panels.
struct PartInTiles<'a, E, T> {
    call: &'a ConvCall<'a>,
    part: &'a ConvPart,
    region: &'a Region<'a>,
    input: &'a Input,
    stride: usize,
    /// Windows that follow each other at the same distance: all rows of the part, or one.
    run: usize,
    /// How many tiles of windows there are.
    tiles: usize,
    kind: PhantomData<(E, T)>,
}

/// The sums of two tiles that are complete, and how many of their windows have become results.
struct Unfinished {
    pair: usize,
    panel: usize,
    done: usize,
}

impl<S: Simd, E: Element<S> + TileElement, T: Tiles> Work<S> for PartInTiles<'_, E, T> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        // SAFETY: the weights are packed for an instruction set with these tiles; the part is this thread's only work.
        let mut tiles = unsafe { T::configure() };
        let (layer, pairs) = (self.call.layer, self.tiles.div_ceil(2));
        let mut memory = Scratch::<u32>::take((pairs + 1) * 2 * SUMS);
        let sums = memory.as_mut_ptr();
        // The sums of one place, before they get the scales of its pixels.
        let unscaled = sums.wrapping_add(pairs * 2 * SUMS);
        // Where the sums that are in the tiles go. At first there are none, and what is stored is not read.
        let (mut place, mut unfinished) = (unscaled, None::<Unfinished>);
        for panel in self.part.panels.clone() {
            for block in 0..layer.blocks() {
                for pair in 0..pairs {
                    let own = sums.wrapping_add(pair * 2 * SUMS);
                    if E::HAS_SCALES {
                        self.scaled_products(s, &mut tiles, [panel, block, pair], unscaled, own.cast());
                    } else {
                        let from = if block == 0 { std::ptr::null() } else { own.cast_const() };
                        let exchange = (place, from);
                        self.products(s, &mut tiles, [panel, block, pair], exchange, sums, &mut unfinished);
                        place = own;
                    }
                    if block + 1 == layer.blocks() {
                        let mut complete = Unfinished { pair, panel, done: 0 };
                        if E::HAS_SCALES {
                            self.finish(s, sums, &mut complete, (1, 1));
                        } else {
                            unfinished = Some(complete);
                        }
                    }
                }
            }
        }
        // SAFETY: there is room for the sums.
        unsafe { exchange_sums(&mut tiles, 2, place, std::ptr::null()) };
        if let Some(unfinished) = &mut unfinished {
            self.finish(s, sums, unfinished, (1, 1));
        }
    }
}

impl<E: TileElement, T: Tiles> PartInTiles<'_, E, T> {
    /// The pixels of the region under the first window of each of two tiles. A second tile that does not exist is the first.
    #[inline(always)]
    fn pixels(&self, pair: usize) -> [usize; 2] {
        let a_run = self.run.div_ceil(ROWS);
        [2 * pair, (2 * pair + 1).min(self.tiles - 1)]
            .map(|tile| (tile / a_run * self.region.columns + tile % a_run * ROWS) * self.stride)
    }

    /// From a window's first pixel to the one at a place.
    #[inline(always)]
    fn pixel_of(&self, place: usize) -> usize {
        let width = self.call.layer.window().width;
        place / width * self.region.columns + place % width
    }

    /// Adds the products of a step at one place of the windows whose first pixels are given.
    ///
    /// # Safety
    /// As [`step_of`] for the exchange; the step is one of the layer's.
    #[inline(always)]
    unsafe fn step(
        &self,
        tiles: &mut T,
        pixels: [usize; 2],
        word: usize,
        weights: *const u8,
        exchange: Option<(*mut u32, *const u32)>,
    ) {
        let pitch = self.region.pitch;
        let a = pixels.map(|pixel| self.input.words.as_ptr().wrapping_add(pixel * pitch + word).cast());
        // SAFETY: the region has all pixels of the windows, and room past its end for those that are dropped; the rest is
        // the caller's promise.
        unsafe {
            step_of::<E, T, 2, 1>(tiles, a, 4 * self.stride * pitch, [weights, weights], exchange);
        }
    }

    /// Multiplies two tiles by a panel's block, after the sums of before went where they belong. Between the steps, what is
    /// unfinished becomes results.
    #[inline(always)]
    fn products<S: Simd>(
        &self,
        s: S,
        tiles: &mut T,
        [panel, block, pair]: [usize; 3],
        exchange: (*mut u32, *const u32),
        sums: *const u32,
        unfinished: &mut Option<Unfinished>,
    ) {
        let (layer, pixels, pairs) = (self.call.layer, self.pixels(pair), self.tiles.div_ceil(2));
        let (weights, words) = (layer.weights(panel, block), layer.block(block));
        let steps = weights.len() / STEP_BYTES;
        let mut number = 0;
        for place in 0..layer.places() {
            let pixels = pixels.map(|pixel| pixel + self.pixel_of(place));
            for word in words.clone().step_by(TILE_WORDS) {
                let step = weights.as_ptr().wrapping_add(number * STEP_BYTES);
                let exchange = (number == 0).then_some(exchange);
                // SAFETY: both places have room for the sums of two tiles.
                unsafe { self.step(tiles, pixels, word, step, exchange) };
                prefetch_share(s, step.wrapping_add(weights.len()), pair, pairs);
                number += 1;
                if let Some(unfinished) = unfinished {
                    self.finish(s, sums, unfinished, (number, steps));
                }
            }
        }
    }

    /// The same where every pixel has a scale: the sums of each place are scaled, and added to those in memory.
    #[inline(always)]
    fn scaled_products<S: Simd>(
        &self,
        s: S,
        tiles: &mut T,
        [panel, block, pair]: [usize; 3],
        unscaled: *mut u32,
        to: *mut f32,
    ) where
        E: Element<S>,
    {
        let (layer, pixels) = (self.call.layer, self.pixels(pair));
        let (mut weights, words) = (layer.weights(panel, block).as_ptr(), layer.block(block));
        for place in 0..layer.places() {
            let pixels = pixels.map(|pixel| pixel + self.pixel_of(place));
            for word in words.clone().step_by(TILE_WORDS) {
                // SAFETY: nothing is exchanged.
                unsafe { self.step(tiles, pixels, word, weights, None) };
                weights = weights.wrapping_add(STEP_BYTES);
            }
            // SAFETY: there is room for the sums of two tiles in both places; the sums of a place's weights follow them.
            unsafe {
                exchange_sums(tiles, 2, unscaled, std::ptr::null());
                let of_weights = weights.cast();
                self.accumulate(s, pixels, unscaled, of_weights, to, block == 0 && place == 0);
            }
            weights = weights.wrapping_add(layer.number_bytes());
        }
    }

    /// Adds the sums of one place to those in memory, which start at zero if they are fresh.
    ///
    /// # Safety
    /// The sums of two tiles are readable at `from`, and at `to` writable; those of a panel's weights are at `of_weights`.
    #[inline(always)]
    unsafe fn accumulate<S: Simd>(
        &self,
        s: S,
        pixels: [usize; 2],
        from: *const u32,
        of_weights: *const f32,
        to: *mut f32,
        fresh: bool,
    ) where
        E: Element<S>,
    {
        for row in 0..2 * ROWS {
            let pixel = pixels[row / ROWS] + row % ROWS * self.stride;
            let scale: RowScale = self.input.scales[pixel];
            for half in 0..2 {
                let at = (2 * row + half) * S::LANES;
                // SAFETY: the caller's promise.
                unsafe {
                    let (sum, to) = (E::widen(s, E::load(s, from.add(at))), to.add(at));
                    let before = if fresh { s.zero() } else { s.load_ptr(to) };
                    let of_weights = s.load_ptr(of_weights.add(half * S::LANES));
                    s.store_ptr(to, E::accumulate(s, before, sum, scale, of_weights));
                }
            }
        }
    }

    /// Turns sums into results until as large a share of them is done as `step` of `steps`.
    #[inline(always)]
    fn finish<S: Simd>(
        &self,
        s: S,
        sums: *const u32,
        unfinished: &mut Unfinished,
        (step, steps): (usize, usize),
    ) {
        let (a_run, columns) = (self.run.div_ceil(ROWS), self.region.columns);
        let end = 2 * ROWS * step / steps;
        while unfinished.done < end {
            let tile = 2 * unfinished.pair + unfinished.done / ROWS;
            let first = tile % a_run * ROWS + unfinished.done % ROWS;
            let (row, column) = (tile / a_run + first / columns, first % columns);
            let mut count = (end - unfinished.done).min(ROWS - unfinished.done % ROWS);
            if tile >= self.tiles || first >= self.run {
                unfinished.done += count;
                continue;
            }
            count = count.min(columns - column);
            // Those past the last column reach over the end of a row.
            let pixels = count.min(self.part.columns.len().saturating_sub(column));
            if pixels > 0 {
                let at = (2 * ROWS * unfinished.pair + unfinished.done) * 2 * S::LANES;
                // SAFETY: the tiles stored the sums of all these windows.
                let sums = unsafe { std::slice::from_raw_parts(sums.add(at), pixels * 2 * S::LANES) };
                self.call.finish(s, self.part, [row, column], unfinished.panel, sums);
            }
            unfinished.done += count;
        }
    }
}

/// Whether tiles give the model's bits, in both precisions: more pixels than two tiles, more channels than a panel.
pub(in super::super) fn has_bits_of_model<S: Simd, T: Tiles>(s: S, cpu: &Cpu) -> bool {
    use super::super::amx::{model::Model, numbers};
    use super::super::gemm::Weights;
    use super::{Conv, Epilogue, Geometry, Images, Window};

    const INPUTS: usize = 40;
    const OUTPUTS: usize = 33;
    const SIZE: (usize, usize) = (3, 13);
    let mut numbers = numbers();
    let window = Window { outputs: OUTPUTS, inputs: INPUTS, height: 1, width: 2 };
    let (weights, data) = (numbers(OUTPUTS * INPUTS * 2), numbers(SIZE.0 * (SIZE.1 + 1) * INPUTS));
    let images = Images { data: &data, count: 1, height: SIZE.0, width: SIZE.1 + 1 };
    [Precision::Bf16, Precision::Int8].into_iter().all(|precision| {
        let layer = Conv::new(cpu, Weights::F32(&weights), window, Geometry::default(), precision);
        let Ok(layer) = layer else { return false };
        let mut results = [vec![0.0; SIZE.0 * SIZE.1 * OUTPUTS], vec![1.0; SIZE.0 * SIZE.1 * OUTPUTS]];
        let [found, model] = &mut results;
        let epilogue = Epilogue::default();
        convolve_with::<_, T>(&ConvCall::new(cpu, &layer, images, SIZE, found, epilogue), s, cpu);
        convolve_with::<_, Model>(&ConvCall::new(cpu, &layer, images, SIZE, model, epilogue), s, cpu);
        layer.in_tiles() && found.iter().zip(model).all(|(found, model)| found.to_bits() == model.to_bits())
    })
}
