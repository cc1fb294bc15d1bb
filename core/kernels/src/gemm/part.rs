//! One part of the work: a group of rows times a group of panels, and the tiles that multiply them.

use std::marker::PhantomData;
use std::ops::Range;

use super::super::buffer::Scratch;
use super::super::math::Activation;
use super::super::simd::Simd;
use super::activations::{PackRows, RowStart};
use super::element::{Element, RowScale};
use super::epilogue::{Direct, Finish};
use super::plan::share;
use super::tile::{Tile, TileWork};
use super::{GemmCall, Results, Rows, is_used, max_rows, panels_at_once};

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

/// Some rows times some panels.
pub(super) struct GemmPart<'a> {
    call: &'a GemmCall<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    /// The number of blocks of rows; a block is as high as a tile.
    blocks: usize,
    /// The memory for the packed rows.
    memory: &'a RowStart,
    /// Whether they are packed already.
    is_packed: bool,
    /// The sums, panel after panel: two registers for each row.
    sums: Scratch<u32>,
    /// Whether the sums of all panels are kept, because more words follow.
    keeps_all: bool,
}

impl<'a> GemmPart<'a> {
    /// `memory` starts at the first of `rows`.
    pub(super) fn new<S: Simd>(
        call: &'a GemmCall<'a>,
        rows: Range<usize>,
        panels: Range<usize>,
        memory: &'a RowStart,
    ) -> Self {
        let blocks = rows.len().div_ceil(max_rows(S::LANES));
        Self {
            call,
            rows,
            panels,
            blocks,
            memory,
            is_packed: false,
            sums: Scratch::take(0),
            keeps_all: false,
        }
    }

    pub(super) fn multiply<S: Simd, E: Element<S>>(mut self, s: S, is_packed: bool) {
        let at_once = if self.blocks == 1 { panels_at_once(S::LANES, self.rows.len()) } else { 1 };
        let length = self.call.packed.words();
        // Sums that more words follow are kept for all panels; others are finished at once.
        let at_a_time = self.call.plan.words_at_once;
        self.is_packed = is_packed;
        self.keeps_all = length > at_a_time;
        let kept = if self.keeps_all { self.panels.len() } else { at_once };
        self.sums = Scratch::take(kept * self.rows.len() * 2 * S::LANES);
        let mut start = 0;
        // At least once, so that rows without numbers become zeros.
        while start < length || start == 0 {
            let words = start..length.min(start + at_a_time);
            start = words.end.max(1);
            let mut panel = self.panels.start;
            while panel < self.panels.end {
                let count = if panel + at_once <= self.panels.end { at_once } else { 1 };
                self.panels::<S, E>(s, panel, count, &words);
                panel += count;
            }
        }
    }

    /// The rows of a block, relative to the part.
    fn block(&self, number: usize) -> Range<usize> {
        share(self.rows.len(), number, self.blocks)
    }

    /// The numbers of a block's rows.
    fn source(&self, block: &Range<usize>) -> Rows<'_> {
        let rows = self.rows.start + block.start..self.rows.start + block.end;
        self.call.a.of(rows, self.call.packed.inputs())
    }

    /// The range of a panel's kept sums.
    fn place_of_sums(&self, panel: usize) -> usize {
        if self.keeps_all { panel - self.panels.start } else { 0 }
    }

    /// Multiplies some words of all rows by `count` panels. Packing rows and storing results happens block by block
    /// between tiles, so that memory latency overlaps with arithmetic.
    fn panels<S: Simd, E: Element<S>>(&mut self, s: S, panel: usize, count: usize, words: &Range<usize>) {
        let packed = self.call.packed;
        let (length, panel_bytes, register) = (packed.words(), packed.panel_bytes(), 2 * S::LANES);
        let weights = packed.data[panel * panel_bytes..(panel + count) * panel_bytes].as_ptr();
        let panel_sums = self.rows.len() * register;
        for number in 0..self.blocks {
            let block = self.block(number);
            if !self.is_packed && panel == self.panels.start && words.start == 0 {
                self.pack::<S, E>(s, number);
            }
            let (ahead, ahead_step) = self.ahead(panel, number, words);
            let place = self.place_of_sums(panel) * panel_sums + block.start * register;
            let sums = self.sums[place..].as_mut_ptr();
            let direct = if words.end == length && self.is_plain(panel + count) {
                self.direct(&block, panel)
            } else {
                None
            };
            let inner = TileWork {
                direct: direct.as_ref(),
                words: words.len(),
                activations: self.memory.words(block.start, length).wrapping_add(words.start * block.len()),
                weights: weights.wrapping_add(words.start * packed.layout.step_bytes()),
                panel_bytes,
                ahead,
                ahead_step,
                sums,
                panel_sums,
                fresh: words.start == 0,
            };
            inner.run::<S, E>(s, block.len(), count);
            if words.end == length && direct.is_none() {
                (0..count).for_each(|p| self.finish::<S, E>(s, block.clone(), panel, p));
            }
        }
    }

    /// Packs the rows of a block, if there is such a block.
    pub(super) fn pack<S: Simd, E: Element<S>>(&self, s: S, number: usize) {
        if number >= self.blocks {
            return;
        }
        let (packed, block) = (self.call.packed, self.block(number));
        // SAFETY: one thread packs a block, before any reads it; the memory is that of all rows of the part.
        let (to, scales) = unsafe { self.memory.block_mut(&block, packed.words()) };
        s.call(PackRows::<E> {
            rows: self.source(&block),
            inputs: packed.inputs(),
            words: packed.words(),
            to,
            scales,
            element: PhantomData,
        });
    }

    /// What a tile prefetches for the next ones, and how many bytes per word: the next block's rows if they are not
    /// packed yet, else its share of the next panel.
    fn ahead(&self, panel: usize, block: usize, words: &Range<usize>) -> (*const u8, usize) {
        if !self.is_packed && panel == self.panels.start && words.start == 0 && block + 1 < self.blocks {
            return (self.source(&self.block(block + 1)).start(), CACHE_LINE);
        }
        let packed = self.call.packed;
        let step = packed.layout.step_bytes();
        let next = if panel + 1 < self.panels.end {
            (panel + 1) * packed.panel_bytes() + words.start * step
        } else {
            self.panels.start * packed.panel_bytes() + words.end * step
        };
        // At most one cache line per word; the hardware prefetcher streams the rest of a single block's panel.
        let share = step.div_ceil(self.blocks).min(CACHE_LINE);
        (packed.data.as_ptr().wrapping_add(next + block * words.len() * share), share)
    }

    fn row_scales(&self, block: &Range<usize>) -> &[RowScale] {
        // SAFETY: the block is packed, and nobody writes its scales any more.
        unsafe { self.memory.scales(block) }
    }

    /// Whether only a bias and a residual follow the sums of the panels before `end`, the panels are whole, and storing
    /// takes no longer than multiplying.
    fn is_plain(&self, end: usize) -> bool {
        let (packed, epilogue) = (self.call.packed, &self.call.epilogue);
        let whole = end * packed.panel_outputs() <= packed.outputs() && !self.call.plan.finishes_later;
        whole && !packed.is_gated() && epilogue.activation == Activation::None && epilogue.scale == 1.0
    }

    /// The destination of a block and some panels, if it is f32.
    fn direct(&self, block: &Range<usize>, panel: usize) -> Option<Direct<'_>> {
        let packed = self.call.packed;
        let (to, residual) = self.call.place(self.rows.start + block.start, panel);
        let Results::F32(to) = to else { return None };
        Some(Direct { packed, panel, row_scales: self.row_scales(block), to, residual })
    }

    /// Turns the sums of a block and one of the panels into results.
    fn finish<S: Simd, E: Element<S>>(&self, s: S, block: Range<usize>, panel: usize, p: usize) {
        let (packed, register) = (self.call.packed, 2 * S::LANES);
        let panel = panel + p;
        let (to, residual) = self.call.place(self.rows.start + block.start, panel);
        let first = ((self.place_of_sums(panel - p) + p) * self.rows.len() + block.start) * register;
        s.call(Finish::<E> {
            packed,
            panel,
            sums: &self.sums[first..first + block.len() * register],
            row_scales: self.row_scales(&block),
            to,
            residual,
            activation: self.call.epilogue.activation,
            scale: self.call.epilogue.scale,
            element: PhantomData,
        });
    }
}

impl TileWork<'_> {
    /// With a size that is known at run time.
    fn run<S: Simd, E: Element<S>>(self, s: S, rows: usize, panels: usize) {
        macro_rules! choose {
            ($($rows:literal x $panels:literal)*) => {
                match (rows, panels) {
                    // Not compiled for instruction sets with too few registers.
                    $(($rows, $panels) if const { is_used(S::LANES, $rows, $panels) } => {
                        s.call(Tile::<E, $rows, $panels>(self, PhantomData));
                    })*
                    _ => assert!(rows == 0, "there is no tile of {rows} rows and {panels} panels"),
                }
            };
        }
        choose! {
            1 x 1 2 x 1 3 x 1 4 x 1 5 x 1 6 x 1 7 x 1 8 x 1 9 x 1 10 x 1 11 x 1 12 x 1 13 x 1 14 x 1
            1 x 4 2 x 4 3 x 4 2 x 2 3 x 2 4 x 2 5 x 2 6 x 2
        }
    }
}
