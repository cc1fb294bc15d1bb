//! Many rows of activations, in tiles (AMX).
//!
//! A step is 64 positions, a row of a tile: the bytes of 16 rows are one tile. A panel of weights is expanded to signed
//! bytes, some steps at a time, and multiplied by all rows. Sums with a scale of their own are of 32 or 16 positions: each
//! such part of a step has a tile of weights whose other lines are zero, and a tile of sums. Parts lie a tile apart, so that
//! those zeros are shared.
//!
//! The sums are integers, and vectors scale and add them as they do their own, in the same order. So the bits are the same,
//! and the number of rows may decide who multiplies them.

use std::marker::PhantomData;
use std::ops::Range;

use super::super::Cpu;
use super::super::amx::{ROW_BYTES, ROWS, Tiles};
use super::super::buffer::Scratch;
use super::super::pool::SharedStart;
use super::super::simd::{Simd, Work};
use super::QuantisedWeights;
use super::activations::Quantised;
use super::block::{GROUPS, Shape, UNIT};
use super::format::Format;
use super::matmul::{BlockMatmul, PARTS_A_THREAD};
use super::quantised::{BlockFormat, Quantised as QuantisedWay, Unit, with_kind};
use super::tile;

/// Up to so many rows, vectors are not slower: they multiply them at once.
const MOST_ROWS_OF_VECTORS: usize = 12;

/// Positions of a step.
const STEP: usize = ROW_BYTES;

/// Words of a tile.
const TILE: usize = ROWS * ROW_BYTES / 4;

/// Words of a part's scales and minima.
const SCALES: usize = 2 * tile::ROWS;

/// Steps of a panel that are expanded at once: at most 32 KiB.
const CHUNK: usize = 8;

/// Tiles of rows that a panel is expanded for: their share of a chunk fits the L2 cache.
const BLOCK: usize = 32;

impl Shape {
    /// Parts of a step with a scale each: 2 or 4.
    const fn step_parts(&self) -> usize {
        STEP / UNIT * self.halves
    }

    /// Words of a step of 16 rows: the bytes; the scales of its units; what minima are multiplied by, for each part.
    const fn step_words(&self) -> usize {
        let minima = if self.has_minimum() { self.step_parts() } else { 0 };
        TILE + (STEP / UNIT + minima) * ROWS
    }
}

/// Whether so many rows of `k` numbers are for tiles.
pub(super) const fn is_for(rows: usize, k: usize) -> bool {
    rows > MOST_ROWS_OF_VECTORS && k > 0
}

/// Multiplies with these vectors and tiles; `k` is not zero.
pub(super) fn multiply<S: Simd, K: BlockFormat, T: Tiles>(s: S, product: &BlockMatmul<'_>, cpu: &Cpu) {
    const { assert!(S::LANES == tile::ROWS, "a register has the outputs of a panel") };
    let k = product.k;
    let words = k.div_ceil(STEP) * K::SHAPE.step_words();
    let row_tiles = product.rows.div_ceil(ROWS);
    let mut x = Scratch::<u32>::take(row_tiles * words);
    cpu.pool.parallel_chunks(&mut x, words, |number, to| {
        let rows = number * ROWS..product.rows.min((number + 1) * ROWS);
        s.call(Prepare::<K> { rows: &product.x[rows.start * k..rows.end * k], k, to, kind: PhantomData });
    });
    let (panels, blocks) = (product.outputs.div_ceil(tile::ROWS), row_tiles.div_ceil(BLOCK));
    let work = panels * blocks;
    let parts = work.min(cpu.pool.threads() * PARTS_A_THREAD);
    let x: &[u32] = &x;
    cpu.pool.parallel(parts, |part| {
        let work = work * part / parts..work * (part + 1) / parts;
        s.call(Part::<K, T> { product, x, panels, blocks, work, kind: PhantomData });
    });
}

/// Quantises up to 16 rows of `k` numbers.
struct Prepare<'a, K> {
    rows: &'a [f32],
    k: usize,
    /// Steps, of [`step_words`](Shape::step_words) each.
    to: &'a mut [u32],
    kind: PhantomData<K>,
}

impl<S: Simd, K: BlockFormat> Work<S> for Prepare<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let (shape, units) = (&K::SHAPE, STEP / UNIT);
        self.to.fill(0);
        for (row, numbers) in self.rows.chunks_exact(self.k).enumerate() {
            for (unit, numbers) in numbers.chunks_exact(UNIT).enumerate() {
                let (step, unit) = (unit / units * shape.step_words(), unit % units);
                let (bytes, rest) = self.to[step..step + shape.step_words()].split_at_mut(TILE);
                let quantised = Quantised::new(s, shape, numbers);
                let place = row * ROW_BYTES / 4 + unit * GROUPS;
                bytes[place..place + GROUPS].copy_from_slice(&quantised.words());
                rest[unit * ROWS + row] = quantised.scale.to_bits();
                if shape.has_minimum() {
                    for part in 0..shape.halves {
                        let place = units + unit * shape.halves + part;
                        rest[place * ROWS + row] = quantised.sum(part).to_bits();
                    }
                }
            }
        }
    }
}

/// Some panels times some blocks of rows.
struct Part<'a, K, T> {
    product: &'a BlockMatmul<'a>,
    /// The prepared rows.
    x: &'a [u32],
    panels: usize,
    blocks: usize,
    /// Pairs of a block and a panel, the panels of the first block first.
    work: Range<usize>,
    kind: PhantomData<(K, T)>,
}

/// Memory of a part of the work.
struct Memory {
    /// The tiles of a chunk of the weights, shifted as [`Part::tile_of`] says.
    weights: *mut u32,
    /// [`SCALES`] words for each part of the chunk.
    scales: *mut u32,
    /// The sums of a step, a tile for each part.
    dots: *mut u32,
    /// 16 numbers for each row of the block.
    sums: *mut f32,
}

impl<S: Simd, K: BlockFormat, T: Tiles> Work<S> for Part<'_, K, T> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let (parts, steps) = (K::SHAPE.step_parts(), self.product.k.div_ceil(STEP));
        // What is not written below stays zero.
        let mut weights = Scratch::<u32>::take(CHUNK * parts * (TILE + SCALES));
        weights.fill(0);
        let mut dots = Scratch::<u32>::take(parts * TILE);
        let mut sums = Scratch::<f32>::take(BLOCK * TILE);
        let (weights, dots) = (weights.as_mut_ptr(), dots.as_mut_ptr());
        let scales = weights.wrapping_add(CHUNK * parts * TILE);
        // SAFETY: the instruction set has these tiles; the part is this thread's only work.
        let mut tiles = unsafe { T::configure() };
        for number in self.work.clone() {
            let row_tiles = self.row_tiles(number / self.panels);
            sums[..row_tiles.len() * TILE].fill(0.0);
            let memory = Memory { weights, scales, dots, sums: sums.as_mut_ptr() };
            for first in (0..steps).step_by(CHUNK) {
                let chunk = first..steps.min(first + CHUNK);
                // SAFETY: the memory has room for a chunk, and for a block of rows.
                unsafe {
                    self.expand(s, number % self.panels, &chunk, &memory);
                    self.chunk(s, &mut tiles, &row_tiles, &chunk, &memory);
                }
            }
            self.store(s, number % self.panels, &row_tiles, &sums);
        }
    }
}

impl<K: BlockFormat, T: Tiles> Part<'_, K, T> {
    /// The tiles of rows in a block.
    fn row_tiles(&self, block: usize) -> Range<usize> {
        let all = self.product.rows.div_ceil(ROWS);
        all * block / self.blocks..all * (block + 1) / self.blocks
    }

    /// Where the tile of a step's part starts, in words from the step's first. The part's own lines start a tile after
    /// those of the part before, and are further down in the tile by as many lines as the parts before have.
    const fn tile_of(part: usize) -> usize {
        part * (TILE - TILE / K::SHAPE.step_parts())
    }

    /// Expands a chunk of a panel's weights to signed bytes, and its scales to f32.
    ///
    /// # Safety
    /// The memory has room for the chunk.
    #[inline(always)]
    unsafe fn expand<S: Simd>(&self, s: S, panel: usize, chunk: &Range<usize>, memory: &Memory) {
        let bytes = self.product.k / K::SHAPE.length() * K::SHAPE.tile_bytes();
        let panel = self.product.weights[panel * bytes..(panel + 1) * bytes].as_ptr();
        let (first, halves) = (chunk.start * STEP / UNIT, K::SHAPE.halves);
        for number in first..(self.product.k / UNIT).min(chunk.end * STEP / UNIT) {
            let unit = Unit::<K>::of_panel(panel, number);
            let part = (number - first) * halves;
            let lines = memory.weights.wrapping_add(part * TILE);
            macro_rules! expand {
                ($($group:literal)*) => {
                    $(
                        let (half, line) = ($group * halves / GROUPS, $group % (GROUPS / halves));
                        let to = lines.add(half * TILE + line * tile::ROWS).cast();
                        let codes = unit.codes_of::<S, $group>(s);
                        let zero = s.splat_i32(i32::from_ne_bytes([(-K::SHAPE.offset) as u8; 4]));
                        s.store_words_ptr(to, if K::SHAPE.offset == 0 { codes } else { s.add_i8(codes, zero) });
                    )*
                };
            }
            // SAFETY: the unit lies in the panel; the rest is the caller's promise.
            unsafe {
                expand! { 0 1 2 3 4 5 6 7 }
                for half in 0..halves {
                    let (scale, minimum) = unit.scale_and_minimum(s, half);
                    let to = memory.scales.add((part + half) * SCALES).cast::<f32>();
                    s.store_ptr(to, scale);
                    s.store_ptr(to.add(tile::ROWS), minimum);
                }
            }
        }
    }

    /// Adds the products of a chunk to the sums of some tiles of rows. While the tiles multiply a step, vectors scale the
    /// products of the one before.
    ///
    /// # Safety
    /// The memory has the chunk, and the sums of so many rows.
    #[inline(always)]
    unsafe fn chunk<S: Simd>(
        &self,
        s: S,
        tiles: &mut T,
        row_tiles: &Range<usize>,
        chunk: &Range<usize>,
        memory: &Memory,
    ) {
        let (words, units) = (K::SHAPE.step_words(), self.product.k / UNIT);
        let (steps, all) = (chunk.len(), self.product.k.div_ceil(STEP));
        let x = |number: usize| {
            let row_tile = row_tiles.start + number / steps;
            self.x[(row_tile * all + chunk.start + number % steps) * words..][..words].as_ptr()
        };
        // SAFETY: the rows are prepared; the rest is the caller's promise.
        unsafe {
            let mut sums = load_sums(s, memory.sums);
            let count = row_tiles.len() * steps;
            products::<K, T>(tiles, x(0), memory.weights, None);
            for number in 0..count {
                let step = number % steps;
                if number + 1 < count {
                    let b = (number + 1) % steps * K::SHAPE.step_parts() * TILE;
                    products::<K, T>(tiles, x(number + 1), memory.weights.add(b), Some(memory.dots));
                } else {
                    store_dots::<K, T>(tiles, memory.dots);
                }
                let scales = memory.scales.add(step * K::SHAPE.step_parts() * SCALES);
                let here = (units - (chunk.start + step) * STEP / UNIT).min(STEP / UNIT);
                add_scaled::<S, K>(s, x(number).add(TILE), memory.dots, scales, here, &mut sums);
                if step + 1 == steps {
                    let to = memory.sums.add(number / steps * TILE);
                    store_sums(s, to, &sums);
                    if number + 1 < count {
                        sums = load_sums(s, to.add(TILE));
                    }
                }
            }
        }
    }

    /// Writes the sums of a panel and some tiles of rows to the result.
    #[inline(always)]
    fn store<S: Simd>(&self, s: S, panel: usize, row_tiles: &Range<usize>, sums: &[f32]) {
        let (outputs, first) = (self.product.outputs, panel * tile::ROWS);
        let rows = row_tiles.start * ROWS..self.product.rows.min(row_tiles.end * ROWS);
        for (row, sums) in rows.zip(sums.chunks_exact(tile::ROWS)) {
            let to = self.product.y.get().wrapping_add(row * outputs + first);
            // SAFETY: the row has room for the panel's outputs, and only this part writes them.
            unsafe { s.store_first_ptr(to, s.load(sums), outputs - first) };
        }
    }
}

/// Multiplies a step of 16 rows by one of a panel: the sums of part `i` are in tile `i`. If there is a place for them, the
/// sums of the step before go there first; the loads before that need not wait for it.
///
/// # Safety
/// There is a tile at `x`, the tiles of a step at `weights`, and room for those of its sums.
#[inline(always)]
unsafe fn products<K: BlockFormat, T: Tiles>(
    tiles: &mut T,
    x: *const u32,
    weights: *const u32,
    before: Option<*mut u32>,
) {
    let place = |part: usize| weights.wrapping_add(Part::<K, T>::tile_of(part)).cast();
    // SAFETY: the caller's promise.
    unsafe {
        tiles.load::<4>(x.cast(), ROW_BYTES);
        tiles.load::<5>(place(0), ROW_BYTES);
        tiles.load::<6>(place(1), ROW_BYTES);
        if K::SHAPE.step_parts() == 4 {
            tiles.load::<7>(place(2), ROW_BYTES);
        }
        if let Some(to) = before {
            store_dots::<K, T>(tiles, to);
        }
        tiles.zero::<0>();
        tiles.dot_i8_i8::<0, 4, 5>();
        tiles.zero::<1>();
        tiles.dot_i8_i8::<1, 4, 6>();
        if K::SHAPE.step_parts() == 4 {
            tiles.load::<5>(place(3), ROW_BYTES);
            tiles.zero::<2>();
            tiles.dot_i8_i8::<2, 4, 7>();
            tiles.zero::<3>();
            tiles.dot_i8_i8::<3, 4, 5>();
        }
    }
}

/// Stores the sums of a step's parts.
///
/// # Safety
/// There is room for a tile each.
#[inline(always)]
unsafe fn store_dots<K: BlockFormat, T: Tiles>(tiles: &mut T, to: *mut u32) {
    // SAFETY: the caller's promise.
    unsafe {
        tiles.store::<0>(to.cast(), ROW_BYTES);
        tiles.store::<1>(to.add(TILE).cast(), ROW_BYTES);
        if K::SHAPE.step_parts() == 4 {
            tiles.store::<2>(to.add(2 * TILE).cast(), ROW_BYTES);
            tiles.store::<3>(to.add(3 * TILE).cast(), ROW_BYTES);
        }
    }
}

/// Scales the sums of a step's products and adds them, with those of `units` units. `x` has the scales of the rows.
///
/// # Safety
/// All are there for a step.
#[inline(always)]
unsafe fn add_scaled<S: Simd, K: BlockFormat>(
    s: S,
    x: *const u32,
    dots: *const u32,
    scales: *const u32,
    units: usize,
    sums: &mut [S::F32; ROWS],
) {
    let x = x.cast::<f32>();
    for part in 0..units * K::SHAPE.halves {
        // SAFETY: the caller's promise.
        unsafe {
            let of_part = scales.add(part * SCALES).cast::<f32>();
            let (scale, minimum) = (s.load_ptr(of_part), s.load_ptr(of_part.add(tile::ROWS)));
            let x_scales = x.add(part / K::SHAPE.halves * ROWS);
            let x_sums = x.add((STEP / UNIT + part) * ROWS);
            let dots = dots.add(part * TILE).cast::<u8>();
            let mut row = 0;
            while row < ROWS {
                let scaled = s.mul(s.to_f32(s.load_words_ptr(dots.add(row * ROW_BYTES))), scale);
                sums[row] = s.mul_add(scaled, s.splat(*x_scales.add(row)), sums[row]);
                if K::SHAPE.has_minimum() {
                    sums[row] = s.mul_add(minimum, s.splat(*x_sums.add(row)), sums[row]);
                }
                row += 1;
            }
        }
    }
}

/// The sums of 16 rows.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn load_sums<S: Simd>(s: S, from: *const f32) -> [S::F32; ROWS] {
    let mut sums = [s.zero(); ROWS];
    let mut row = 0;
    while row < ROWS {
        // SAFETY: the caller's promise.
        sums[row] = unsafe { s.load_ptr(from.add(row * tile::ROWS)) };
        row += 1;
    }
    sums
}

/// Keeps them.
///
/// # Safety
/// They are writable.
#[inline(always)]
unsafe fn store_sums<S: Simd>(s: S, to: *mut f32, sums: &[S::F32; ROWS]) {
    let mut row = 0;
    while row < ROWS {
        // SAFETY: the caller's promise.
        unsafe { s.store_ptr(to.add(row * tile::ROWS), sums[row]) };
        row += 1;
    }
}

/// Whether tiles give the bits of vectors, in products of both numbers of parts, with and without minima.
pub(crate) fn passes_self_test<S: Simd, T: Tiles>(s: S, cpu: &Cpu) -> bool {
    // More rows than a tile, more outputs than a panel, and a step and a half more than a chunk.
    [(Format::Q5_1, [17, 20, 608]), (Format::Q6K, [17, 20, 256])]
        .into_iter()
        .all(|(format, sizes)| has_bits_of_vectors::<S, T>(s, cpu, format, sizes))
}

/// Whether the product of so many rows, outputs and inputs has the same bits in tiles as in vectors. Weights and rows are any;
/// the inputs are whole blocks.
pub(super) fn has_bits_of_vectors<S: Simd, T: Tiles>(
    s: S,
    cpu: &Cpu,
    format: Format,
    [rows, outputs, k]: [usize; 3],
) -> bool {
    // A generator of full period, of which the upper bits are used.
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    let x: Vec<f32> = (0..rows * k).map(|_| next() as f32 - 32768.0).collect();
    let mut bytes: Vec<u8> =
        (0..outputs * k / format.block_length() * format.block_bytes()).map(|_| next() as u8).collect();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        for at in format.scale_places() {
            // From 2⁻⁷ to 2.
            block[at + 1] = block[at + 1] & 0x9f | 0x20;
        }
        if format == Format::Mxfp4 {
            // Powers of two near one.
            block[0] = block[0] & 15 | 112;
        }
    }
    let Ok(weights) = QuantisedWeights::from_ggml(cpu, format, &[&bytes], outputs, k) else { return false };
    let mut results = [vec![0.0; rows * outputs], vec![1.0; rows * outputs]];
    let [in_vectors, in_tiles] = &mut results;
    let product = |y: &mut [f32]| {
        let y = SharedStart(y.as_mut_ptr());
        BlockMatmul { weights: &weights.data, x: &x, rows, outputs, k, y }
    };
    with_kind!(
        format, K => {
            product(in_vectors).with_set::<S, QuantisedWay<K>>(cpu, s);
            multiply::<S, K, T>(s, &product(in_tiles), cpu);
        },
        Format::F16 | Format::Bf16 => return false
    );
    in_vectors.iter().zip(in_tiles).all(|(one, other)| one.to_bits() == other.to_bits())
}
