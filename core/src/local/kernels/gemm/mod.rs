//! `C = epilogue(A · Wᵀ)` with weights packed once: the linear layer.
//!
//! Where to find what: the precisions are `f32.rs`, `bf16.rs` and `int8.rs`, each over the vectors of any
//! instruction set (`../simd/avx512.rs` and its neighbours); `packed.rs` orders weights and `activations.rs`
//! rows; `tile.rs` is the inner loop; `epilogue.rs` what follows it; `plan.rs` how work is cut.
//!
//! A result's sum runs over its row in one order, whatever the other rows, the threads and the blocks are: the
//! same row gives the same bits alone and in any batch.

mod activations;
pub(super) mod bf16;
pub(super) mod element;
mod epilogue;
pub(super) mod f32;
mod int8;
mod packed;
pub(super) mod plan;
mod tile;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::ops::Range;

use super::Cpu;
use super::buffer::Scratch;
use super::dispatch::with_simd;
use super::pool::SharedStart;
use super::simd::Simd;
use crate::error::{Error, Result};
use activations::PackRows;
use element::Element;
use epilogue::Finish;
use plan::{Plan, share};
use tile::Tile;

pub use epilogue::{Epilogue, Residual};
pub use packed::{Packed, Precision, Weights};

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

/// Multiplies `rows` rows of `a` with the packed weights into `c`, a row of `packed.outputs()` numbers each.
///
/// # Errors
/// `invalid_request` if `a`, `c` or the residual have another size than the layer says, or if the weights were packed
/// for another instruction set than that of `cpu`.
pub fn gemm(
    cpu: &Cpu,
    packed: &Packed,
    a: &[f32],
    rows: usize,
    c: &mut [f32],
    epilogue: Epilogue<'_>,
) -> Result<()> {
    check(cpu, packed, a, rows, c, &epilogue)?;
    if c.is_empty() {
        return Ok(());
    }
    let c = c.as_mut_ptr();
    let residual = match epilogue.residual {
        Residual::None => std::ptr::null_mut(),
        Residual::InPlace => c,
        Residual::From(residual) => residual.as_ptr().cast_mut(),
    };
    let call = Call {
        packed,
        a,
        rows,
        c: SharedStart(c),
        residual: SharedStart(residual),
        epilogue,
        plan: Plan::new(cpu, packed, rows),
    };
    let parts = call.plan.parts();
    match packed.precision() {
        Precision::F32 => with_simd!(packed.isa(), s => {
            cpu.pool.parallel(parts, |part| call.part::<_, f32::F32>(s, part));
        }),
        Precision::Bf16 => with_simd!(full packed.isa(), s => {
            cpu.pool.parallel(parts, |part| call.part::<_, bf16::Bf16>(s, part));
        }),
        Precision::Int8 => with_simd!(full packed.isa(), s => {
            cpu.pool.parallel(parts, |part| call.part::<_, int8::Int8>(s, part));
        }),
    }
    Ok(())
}

fn check(
    cpu: &Cpu,
    packed: &Packed,
    a: &[f32],
    rows: usize,
    c: &[f32],
    epilogue: &Epilogue<'_>,
) -> Result<()> {
    if cpu.isa != packed.isa() {
        let (theirs, ours) = (packed.isa(), cpu.isa);
        return Err(Error::invalid_request(format!("the weights are packed for {theirs}, not for {ours}")));
    }
    let of = |name: &str, found: usize, width: usize| {
        if rows.checked_mul(width) == Some(found) {
            return Ok(());
        }
        Err(Error::invalid_request(format!("{name} holds {found} numbers, not {rows} rows of {width}")))
    };
    of("`a`", a.len(), packed.inputs())?;
    of("`c`", c.len(), packed.outputs())?;
    match epilogue.residual {
        Residual::From(residual) => of("the residual", residual.len(), packed.outputs()),
        Residual::None | Residual::InPlace => Ok(()),
    }
}

/// The most rows whose sums fit the registers beside two registers of weights and one of activations.
pub(super) const fn most_rows(lanes: usize) -> usize {
    match lanes {
        16 => 14,
        4 => 12,
        _ => 6,
    }
}

/// How many panels are multiplied at once with so few rows, so that there are enough independent sums.
const fn panels_at_once(lanes: usize, rows: usize) -> usize {
    match (lanes, rows) {
        (4 | 16, 1..=3) | (_, 1) => 4,
        (4 | 16, 4..=6) | (_, 2..=3) => 2,
        _ => 1,
    }
}

/// Whether [`most_rows`] and [`panels_at_once`] ever ask for such a tile.
const fn is_used(lanes: usize, rows: usize, panels: usize) -> bool {
    rows <= most_rows(lanes) && (panels == 1 || panels == panels_at_once(lanes, rows))
}

/// One multiplication, shared by all threads.
struct Call<'a> {
    packed: &'a Packed,
    a: &'a [f32],
    rows: usize,
    c: SharedStart<f32>,
    /// Null for none. Read only where the same part writes.
    residual: SharedStart<f32>,
    epilogue: Epilogue<'a>,
    plan: Plan,
}

impl Call<'_> {
    /// A group of rows times a group of panels.
    fn part<S: Simd, E: Element<S>>(&self, s: S, number: usize) {
        let rows = share(self.rows, number / self.plan.panel_groups, self.plan.row_groups);
        let panels = share(self.packed.panels(), number % self.plan.panel_groups, self.plan.panel_groups);
        if rows.is_empty() || panels.is_empty() {
            return;
        }
        let blocks = rows.len().div_ceil(most_rows(S::LANES));
        let at_once = if blocks == 1 { panels_at_once(S::LANES, rows.len()) } else { 1 };
        let length = self.packed.words();
        // Sums that are taken up again wait for all panels; others are done with at once.
        let at_a_time = plan::words_at_once(length);
        let kept = if length > at_a_time { panels.len() } else { at_once };
        let mut part = Part {
            call: self,
            blocks,
            words: Scratch::take(rows.len() * length + activations::SLACK),
            scales: Scratch::take(rows.len()),
            sums: Scratch::take(kept * rows.len() * 2 * S::LANES),
            keeps_all: length > at_a_time,
            panels: panels.clone(),
            rows,
        };
        let mut start = 0;
        // Once at least, so that rows without numbers get their zeros.
        while start < length || start == 0 {
            let words = start..length.min(start + at_a_time);
            start = words.end.max(1);
            let mut panel = panels.start;
            while panel < panels.end {
                let count = if panel + at_once <= panels.end { at_once } else { 1 };
                part.panels::<S, E>(s, panel, count, &words);
                panel += count;
            }
        }
    }
}

/// A group of rows on its way through a group of panels.
struct Part<'a> {
    call: &'a Call<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    /// The rows are multiplied in so many blocks, each a tile high.
    blocks: usize,
    /// The packed rows, block after block.
    words: Scratch<u32>,
    /// A number a row by which its products are multiplied in the end.
    scales: Scratch<f32>,
    /// The sums, panel after panel: a row of two registers after the other.
    sums: Scratch<u32>,
    /// Whether the sums of all panels are kept, because they are taken up again.
    keeps_all: bool,
}

impl Part<'_> {
    /// The rows of a block, counted from the part's first.
    fn block(&self, number: usize) -> Range<usize> {
        share(self.rows.len(), number, self.blocks)
    }

    /// The numbers of a block's rows.
    fn source(&self, block: &Range<usize>) -> &[f32] {
        let inputs = self.call.packed.inputs();
        &self.call.a[(self.rows.start + block.start) * inputs..(self.rows.start + block.end) * inputs]
    }

    /// Which of the kept sums are a panel's.
    fn place_of_sums(&self, panel: usize) -> usize {
        if self.keeps_all { panel - self.panels.start } else { 0 }
    }

    /// Some words of all rows times `count` panels. What comes from or goes to memory, the rows and the results,
    /// does so a block at a time between tiles, so that the waits overlap with arithmetic.
    fn panels<S: Simd, E: Element<S>>(&mut self, s: S, panel: usize, count: usize, words: &Range<usize>) {
        let packed = self.call.packed;
        let (length, panel_bytes, register) = (packed.words(), packed.panel_bytes(), 2 * S::LANES);
        let weights = packed.data[panel * panel_bytes..(panel + count) * panel_bytes].as_ptr();
        let panel_sums = self.rows.len() * register;
        for number in 0..self.blocks {
            let block = self.block(number);
            if panel == self.panels.start && words.start == 0 {
                self.pack::<S, E>(s, block.clone());
            }
            let (ahead, ahead_step) = self.ahead(panel, number, words);
            let place = self.place_of_sums(panel) * panel_sums + block.start * register;
            let inner = Inner {
                words: words.len(),
                activations: self.words[block.start * length + words.start * block.len()..].as_ptr(),
                weights: weights.wrapping_add(words.start * packed.layout.step_bytes()),
                panel_bytes,
                ahead,
                ahead_step,
                sums: self.sums[place..].as_mut_ptr(),
                panel_sums,
                fresh: words.start == 0,
            };
            inner.run::<S, E>(s, block.len(), count);
            if words.end == length {
                (0..count).for_each(|p| self.finish::<S, E>(s, block.clone(), panel, p));
            }
        }
    }

    fn pack<S: Simd, E: Element<S>>(&mut self, s: S, block: Range<usize>) {
        let packed = self.call.packed;
        let inputs = packed.inputs();
        let first = self.rows.start;
        s.call(PackRows::<E> {
            rows: &self.call.a[(first + block.start) * inputs..(first + block.end) * inputs],
            inputs,
            words: packed.words(),
            to: &mut self.words[block.start * packed.words()..],
            scales: &mut self.scales[block],
            element: PhantomData,
        });
    }

    /// What a tile brings near for the next ones, so that they need not wait for it, and how many bytes of it for
    /// each of its words: the next block's rows if they are not packed yet, else its share of the next panel.
    fn ahead(&self, panel: usize, block: usize, words: &Range<usize>) -> (*const u8, usize) {
        if panel == self.panels.start && words.start == 0 && block + 1 < self.blocks {
            return (self.source(&self.block(block + 1)).as_ptr().cast(), CACHE_LINE);
        }
        let packed = self.call.packed;
        let step = packed.layout.step_bytes();
        let next = if panel + 1 < self.panels.end {
            (panel + 1) * packed.panel_bytes() + words.start * step
        } else {
            self.panels.start * packed.panel_bytes() + words.end * step
        };
        // No more than a line a word is asked for; the rest of a lone block's panel comes as a stream.
        let share = step.div_ceil(self.blocks).min(CACHE_LINE);
        (packed.data.as_ptr().wrapping_add(next + block * words.len() * share), share)
    }

    /// Turns the sums of a block and one of the panels into results.
    fn finish<S: Simd, E: Element<S>>(&self, s: S, block: Range<usize>, panel: usize, p: usize) {
        let (packed, register) = (self.call.packed, 2 * S::LANES);
        let panel = panel + p;
        let row = self.rows.start + block.start;
        let place = row * packed.outputs() + panel * packed.panel_outputs();
        let residual = self.call.residual.get();
        let first = ((self.place_of_sums(panel - p) + p) * self.rows.len() + block.start) * register;
        s.call(Finish::<E> {
            packed,
            panel,
            sums: &self.sums[first..first + block.len() * register],
            row_scales: &self.scales[block],
            to: self.call.c.get().wrapping_add(place),
            residual: if residual.is_null() { residual } else { residual.wrapping_add(place) },
            activation: self.call.epilogue.activation,
            scale: self.call.epilogue.scale,
            element: PhantomData,
        });
    }
}

/// A tile whose numbers of rows and panels are known at run time.
struct Inner {
    words: usize,
    activations: *const u32,
    weights: *const u8,
    panel_bytes: usize,
    sums: *mut u32,
    panel_sums: usize,
    fresh: bool,
    ahead: *const u8,
    ahead_step: usize,
}

impl Inner {
    fn run<S: Simd, E: Element<S>>(self, s: S, rows: usize, panels: usize) {
        macro_rules! choose {
            ($($rows:literal x $panels:literal)*) => {
                match (rows, panels) {
                    // Not compiled for sets whose registers do not hold so many sums.
                    $(($rows, $panels) if const { is_used(S::LANES, $rows, $panels) } => {
                        self.tile::<S, E, $rows, $panels>(s);
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

    fn tile<S: Simd, E: Element<S>, const ROWS: usize, const PANELS: usize>(self, s: S) {
        s.call(Tile::<E, ROWS, PANELS> {
            words: self.words,
            activations: self.activations,
            weights: self.weights,
            panel_bytes: self.panel_bytes,
            sums: self.sums,
            panel_sums: self.panel_sums,
            fresh: self.fresh,
            ahead: self.ahead,
            ahead_step: self.ahead_step,
            element: PhantomData,
        });
    }
}
