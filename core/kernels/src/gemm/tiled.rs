//! GEMM in tiles (AMX): 32 rows times 32 channels in four tiles of sums, or up to 16 rows times two panels of channels.
//!
//! Weights have the order of AVX-512's panels, with whole steps: a step is 16 words of a row, as many as a tile is wide.
//! Rows are packed step after step, each tile 1 KiB in one piece. Every shape adds the same products in the same order, so
//! a row's bits do not depend on the other rows.

use std::marker::PhantomData;
use std::ops::Range;

use super::super::Cpu;
use super::super::amx::{ROW_BYTES, ROWS, Tiles};
use super::super::buffer::Scratch;
use super::super::dispatch::with_tiles;
use super::super::simd::{Simd, Work};
use super::activations::{RowMemory, RowStart};
use super::bf16::Bf16;
use super::bf16x3::Bf16x3;
use super::element::{Element, RowScale};
use super::epilogue::Finish;
use super::int8::Int8;
use super::packed::TILE_WORDS;
use super::plan::share;
use super::{Epilogue, GemmCall, Precision, Rows};

/// Rows of a block.
pub(super) const BLOCK: usize = 2 * ROWS;

/// Bytes of a tile.
const TILE_BYTES: usize = ROWS * ROW_BYTES;

/// Bytes of a panel's weights, or of its sums, from one row to the next: two tiles lie side by side.
const PANEL_ROW_BYTES: usize = 2 * ROW_BYTES;

/// Bytes of a panel's weights in a step.
pub(in super::super) const STEP_BYTES: usize = ROWS * PANEL_ROW_BYTES;

/// Words of a panel's sums of 16 rows.
pub(in super::super) const SUMS: usize = STEP_BYTES / 4;

/// Steps of a row that are multiplied before the next rows: 128 KiB of a block, which stay in the L2 cache.
const MAX_STEPS: usize = 64;

/// What a precision's products are in tiles.
pub(in super::super) trait TileElement {
    /// How many products of tiles take the place of one of rows with so many steps.
    fn products(steps: usize) -> usize {
        steps
    }

    /// The steps of the rows and of the weights that a product multiplies.
    #[inline(always)]
    fn operands(product: usize) -> [usize; 2] {
        [product, product]
    }

    fn dot<T: Tiles, const C: usize, const A: usize, const B: usize>(tiles: &mut T);
}

impl TileElement for Bf16 {
    #[inline(always)]
    fn dot<T: Tiles, const C: usize, const A: usize, const B: usize>(tiles: &mut T) {
        tiles.dot_bf16::<C, A, B>();
    }
}

impl TileElement for Int8 {
    #[inline(always)]
    fn dot<T: Tiles, const C: usize, const A: usize, const B: usize>(tiles: &mut T) {
        tiles.dot_u8_i8::<C, A, B>();
    }
}

/// Multiplies with the tiles of the weights' instruction set, if it has tiles.
pub(super) fn multiply(call: &GemmCall<'_>, cpu: &Cpu) {
    with_tiles!(call.packed.isa(), s, T => multiply_with::<_, T>(call, s, cpu, MAX_STEPS));
}

/// Multiplies with these vectors and tiles, so many steps of a row at a time.
pub(super) fn multiply_with<S: Simd, T: Tiles>(call: &GemmCall<'_>, s: S, cpu: &Cpu, max_steps: usize) {
    match call.packed.precision() {
        Precision::Int8 => run::<S, Int8, T>(call, s, cpu, max_steps),
        Precision::Bf16x3 => run::<S, Bf16x3, T>(call, s, cpu, max_steps),
        _ => run::<S, Bf16, T>(call, s, cpu, max_steps),
    }
}

fn run<S: Simd, E: Element<S> + TileElement, T: Tiles>(
    call: &GemmCall<'_>,
    s: S,
    cpu: &Cpu,
    max_steps: usize,
) {
    let (plan, packed, blocks) = (call.plan, call.packed, call.rows.div_ceil(BLOCK));
    let words = packed.words();
    let pack = |block: usize, memory: &RowStart, first: usize| {
        s.call(PackRows::<E> { call, block, memory, first, element: PhantomData });
    };
    let part = |number: usize, shared: Option<&RowStart>| {
        let blocks = share(blocks, number / plan.panel_groups, plan.row_groups);
        let pairs = share(packed.panels().div_ceil(2), number % plan.panel_groups, plan.panel_groups);
        if blocks.is_empty() || pairs.is_empty() {
            return;
        }
        let first = blocks.start * BLOCK;
        let own = if shared.is_some() { 0 } else { blocks.len() * BLOCK };
        let mut own = RowMemory::take(own, words);
        let memory = shared.map_or_else(|| own.start(), |shared| shared.of_row(first, words));
        if shared.is_none() {
            blocks.clone().for_each(|block| pack(block, &memory, first));
        }
        let rows = first..call.rows.min(blocks.end * BLOCK);
        let panels = 2 * pairs.start..packed.panels().min(2 * pairs.end);
        s.call(Part::<E, T> { call, rows, panels, memory: &memory, max_steps, kind: PhantomData });
    };
    if plan.packs_first {
        let mut memory = RowMemory::take(blocks * BLOCK, words);
        let shared = memory.start();
        cpu.pool.parallel(blocks, |block| pack(block, &shared, 0));
        cpu.pool.parallel(plan.parts(), |number| part(number, Some(&shared)));
    } else {
        cpu.pool.parallel(plan.parts(), |number| part(number, None));
    }
}

/// Packs the rows of a block: the step's words of each row of the first tile, then of the second.
struct PackRows<'a, E> {
    call: &'a GemmCall<'a>,
    block: usize,
    memory: &'a RowStart,
    /// The row that the memory starts with.
    first: usize,
    element: PhantomData<E>,
}

impl<S: Simd, E: Element<S>> Work<S> for PackRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let (packed, start) = (self.call.packed, self.block * BLOCK);
        let (inputs, words) = (packed.inputs(), packed.words());
        let rows = start..self.call.rows.min(start + BLOCK);
        let height = rows.len().next_multiple_of(ROWS);
        let place = start - self.first;
        // SAFETY: one thread packs a block, before any reads it; the memory has room for whole blocks.
        let (to, scales) = unsafe { self.memory.block_mut(&(place..place + height), words) };
        let mut converted = Scratch::<u32>::take(words);
        let used = packed.layout.filled_words(inputs);
        converted[used..].fill(0);
        for (i, row) in rows.enumerate() {
            match self.call.a.of(row..row + 1, inputs) {
                Rows::F32(row) => {
                    scales[i] = E::row_scale(s, row);
                    E::convert(s, row, scales[i], &mut converted[..used]);
                }
                Rows::Bf16(row) => {
                    scales[i] = RowScale::ONE;
                    converted[..used].copy_from_slice(row);
                }
            }
            for (step, words) in converted.chunks_exact(TILE_WORDS).enumerate() {
                to[(step * height + i) * TILE_WORDS..][..TILE_WORDS].copy_from_slice(words);
            }
        }
    }
}

/// Some blocks of rows times some panels.
struct Part<'a, E, T> {
    call: &'a GemmCall<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    /// The packed rows.
    memory: &'a RowStart,
    max_steps: usize,
    kind: PhantomData<(E, T)>,
}

/// Sums that are still in the tiles or in memory, and how many of their rows have become results.
struct Unfinished {
    /// The first row in the part.
    row: usize,
    panel: usize,
    done: usize,
}

impl<S: Simd, E: Element<S> + TileElement, T: Tiles> Work<S> for Part<'_, E, T> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        // SAFETY: the weights are packed for an instruction set with these tiles; the part is this thread's only work.
        let mut tiles = unsafe { T::configure() };
        let (rows, panels) = (self.rows.len(), self.panels.clone());
        // All but the last up to 16 rows.
        let high = rows.min((rows + ROWS - 1) / BLOCK * BLOCK);
        let even = panels.start + panels.len() / 2 * 2;
        self.products::<S, 2, 1>(s, &mut tiles, 0..high, panels.clone());
        self.products::<S, 1, 2>(s, &mut tiles, high..rows, panels.start..even);
        self.products::<S, 1, 1>(s, &mut tiles, high..rows, even..panels.end);
    }
}

impl<E: TileElement, T: Tiles> Part<'_, E, T> {
    /// Multiplies blocks of `HEIGHT` tiles of rows by `WIDTH` panels at a time; at most one of them is 2. The results of
    /// one product are finished between the steps of the next, while the tiles are busy.
    #[inline(always)]
    fn products<S: Simd, const HEIGHT: usize, const WIDTH: usize>(
        &self,
        s: S,
        tiles: &mut T,
        rows: Range<usize>,
        panels: Range<usize>,
    ) where
        E: Element<S>,
    {
        if rows.is_empty() || panels.is_empty() {
            return;
        }
        let (packed, height) = (self.call.packed, HEIGHT * ROWS);
        let (all, size) = (E::products(packed.words() / TILE_WORDS), HEIGHT * WIDTH * SUMS);
        let (blocks, chunks) = (rows.len().div_ceil(height), all.div_ceil(self.max_steps));
        let kept = if chunks > 1 { blocks * panels.len() / WIDTH } else { 0 };
        let mut memory = Scratch::<u32>::take(size * (1 + kept));
        let sums = memory.as_mut_ptr();
        // Where the sums that are in the tiles go. At first there are none, and what is stored is not read.
        let (mut place, mut unfinished) = (sums, None::<Unfinished>);
        for chunk in 0..chunks {
            let steps = all * chunk / chunks..all * (chunk + 1) / chunks;
            let mut kept = sums.wrapping_add(size);
            for panel in panels.clone().step_by(WIDTH) {
                let weights = packed.data.as_ptr().wrapping_add(panel * packed.panel_bytes());
                for block in 0..blocks {
                    let row = rows.start + block * height;
                    let a = self.memory.words(row, packed.words()).cast::<u8>();
                    for step in steps.clone() {
                        let [of_rows, of_weights] = E::operands(step);
                        let a = a.wrapping_add(of_rows * HEIGHT * TILE_BYTES);
                        let b = weights.wrapping_add(of_weights * STEP_BYTES);
                        let both = [b, b.wrapping_add(packed.panel_bytes())];
                        let from = if chunk == 0 { std::ptr::null() } else { kept.cast_const() };
                        let exchange = (step == steps.start).then_some((place, from));
                        // SAFETY: rows and weights have so many whole steps; both places have room for the sums.
                        unsafe {
                            step_of::<E, T, HEIGHT, WIDTH>(
                                tiles,
                                [a, a.wrapping_add(TILE_BYTES)],
                                ROW_BYTES,
                                both,
                                exchange,
                            )
                        };
                        prefetch_share(s, b.wrapping_add(packed.panel_bytes() * WIDTH), block, blocks);
                        if let Some(unfinished) = &mut unfinished {
                            let time = (step + 1 - steps.start, steps.len());
                            self.finish::<S, HEIGHT, WIDTH>(s, sums, unfinished, time);
                        }
                    }
                    place = kept;
                    kept = kept.wrapping_add(size);
                    if chunk + 1 == chunks {
                        place = sums;
                        unfinished = Some(Unfinished { row, panel, done: 0 });
                    }
                }
            }
        }
        // SAFETY: there is room for the sums.
        unsafe { exchange_sums(tiles, HEIGHT * WIDTH, place, std::ptr::null()) };
        if let Some(unfinished) = &mut unfinished {
            self.finish::<S, HEIGHT, WIDTH>(s, sums, unfinished, (1, 1));
        }
    }

    /// Turns sums into results until as large a share of them is done as `step` of `steps`.
    #[inline(always)]
    fn finish<S: Simd, const HEIGHT: usize, const WIDTH: usize>(
        &self,
        s: S,
        sums: *const u32,
        unfinished: &mut Unfinished,
        (step, steps): (usize, usize),
    ) where
        E: Element<S>,
    {
        let (call, row_words) = (self.call, PANEL_ROW_BYTES / 4);
        let rows = (self.rows.len() - unfinished.row).min(HEIGHT * ROWS);
        let end = rows * WIDTH * step / steps;
        while unfinished.done < end {
            let (p, row) = (unfinished.done / rows, unfinished.done % rows);
            let count = (end - unfinished.done).min(rows - row);
            let (first, panel) = (unfinished.row + row, unfinished.panel + p);
            let (to, residual) = call.place(self.rows.start + first, panel);
            // SAFETY: the tiles stored the sums of all these rows; the rows are packed, and nobody writes their scales.
            let (sums, row_scales) = unsafe {
                let sums = sums.add(p * SUMS * HEIGHT + row * row_words);
                let sums = std::slice::from_raw_parts(sums, count * row_words);
                (sums, self.memory.scales(&(first..first + count)))
            };
            let Epilogue { activation, scale, .. } = call.epilogue;
            let (packed, element) = (call.packed, PhantomData::<E>);
            s.call(Finish { packed, panel, sums, row_scales, to, residual, activation, scale, element });
            unfinished.done += count;
        }
    }
}

/// Prefetches a block's share of a step of the weights, of which all blocks together need all.
#[inline(always)]
pub(in super::super) fn prefetch_share<S: Simd>(s: S, step: *const u8, block: usize, blocks: usize) {
    let mut line = STEP_BYTES / ROW_BYTES * block / blocks;
    while line < STEP_BYTES / ROW_BYTES * (block + 1) / blocks {
        s.prefetch(step.wrapping_add(line * ROW_BYTES));
        line += 1;
    }
}

/// Adds the products of a step: tiles 0 to 3 have the sums, the others what is multiplied. With `exchange`, the sums of
/// before go there first, and others come from the second place, or start at zero if it is null. Operands are loaded before
/// that: a load waits for stores with the same low address bits, and four tiles cover them all.
///
/// # Safety
/// There are `HEIGHT` tiles at `a`, whose rows are `stride` bytes apart, and two at each of `WIDTH` panels; room for and
/// numbers of as many sums where they go and come from.
#[inline(always)]
pub(in super::super) unsafe fn step_of<E: TileElement, T: Tiles, const HEIGHT: usize, const WIDTH: usize>(
    tiles: &mut T,
    a: [*const u8; 2],
    stride: usize,
    [b, c]: [*const u8; 2],
    exchange: Option<(*mut u32, *const u32)>,
) {
    let second = |panel: *const u8| panel.wrapping_add(ROW_BYTES);
    // SAFETY: the caller's promise.
    unsafe {
        tiles.load::<6>(b, PANEL_ROW_BYTES);
        tiles.load::<4>(a[0], stride);
        if HEIGHT == 2 {
            tiles.load::<5>(a[1], stride);
        }
        tiles.load::<7>(second(b), PANEL_ROW_BYTES);
        if WIDTH == 2 {
            tiles.load::<5>(c, PANEL_ROW_BYTES);
        }
        if let Some((to, from)) = exchange {
            exchange_sums(tiles, HEIGHT * WIDTH, to, from);
        }
        E::dot::<T, 0, 4, 6>(tiles);
        if HEIGHT == 2 {
            E::dot::<T, 2, 5, 6>(tiles);
        }
        if WIDTH == 2 {
            tiles.load::<6>(second(c), PANEL_ROW_BYTES);
        }
        E::dot::<T, 1, 4, 7>(tiles);
        if HEIGHT == 2 {
            E::dot::<T, 3, 5, 7>(tiles);
        }
        if WIDTH == 2 {
            E::dot::<T, 2, 4, 5>(tiles);
            E::dot::<T, 3, 4, 6>(tiles);
        }
    }
}

/// Stores the sums of one or two pairs of tiles at `to`, and loads them from `from`, or sets them to zero if it is null.
///
/// # Safety
/// There is room for [`SUMS`] words for each pair at `to`, and as many are at `from`.
#[inline(always)]
pub(in super::super) unsafe fn exchange_sums<T: Tiles>(
    tiles: &mut T,
    pairs: usize,
    to: *mut u32,
    from: *const u32,
) {
    macro_rules! exchange {
        ($($tile:literal)*) => {
            $(
                let at = $tile / 2 * STEP_BYTES + $tile % 2 * ROW_BYTES;
                tiles.store::<$tile>(to.cast::<u8>().wrapping_add(at), PANEL_ROW_BYTES);
                if from.is_null() {
                    tiles.zero::<$tile>();
                } else {
                    tiles.load::<$tile>(from.cast::<u8>().wrapping_add(at), PANEL_ROW_BYTES);
                }
            )*
        };
    }
    // SAFETY: the caller's promise.
    unsafe {
        exchange! { 0 1 }
        if pairs == 2 {
            exchange! { 2 3 }
        }
    }
}

/// Whether tiles give the model's bits, in a product with every shape of block, and sums that are put aside.
pub(in super::super) fn has_bits_of_model<S: Simd, T: Tiles>(s: S, cpu: &Cpu) -> bool {
    use super::super::amx::{model::Model, numbers};
    use super::{Packed, Weights};

    const ROWS: usize = 40;
    const OUTPUTS: usize = 80;
    const INPUTS: usize = 150;
    let mut numbers = numbers();
    let (a, weights) = (numbers(ROWS * INPUTS), numbers(OUTPUTS * INPUTS));
    [Precision::Bf16, Precision::Int8, Precision::Bf16x3].into_iter().all(|precision| {
        let Ok(packed) = Packed::new(cpu, Weights::F32(&weights), OUTPUTS, INPUTS, precision) else {
            return false;
        };
        let mut results = [vec![0.0; ROWS * OUTPUTS], vec![1.0; ROWS * OUTPUTS]];
        let [found, model] = &mut results;
        let epilogue = Epilogue::default();
        multiply_with::<_, T>(&GemmCall::new(cpu, &packed, &a, ROWS, found, epilogue), s, cpu, 2);
        multiply_with::<_, Model>(&GemmCall::new(cpu, &packed, &a, ROWS, model, epilogue), s, cpu, 2);
        found.iter().zip(model).all(|(found, model)| found.to_bits() == model.to_bits())
    })
}
