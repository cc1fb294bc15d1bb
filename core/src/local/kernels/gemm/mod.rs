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

/// Packed rows of a part, in blocks that one tile takes.
struct Rows<'a> {
    first: usize,
    count: usize,
    blocks: usize,
    words: &'a [u32],
    scales: &'a [f32],
}

impl Rows<'_> {
    /// The rows of a block, counted from the part's first.
    fn block(&self, number: usize) -> std::ops::Range<usize> {
        share(self.count, number, self.blocks)
    }
}

impl Call<'_> {
    /// A group of rows times a group of panels.
    fn part<S: Simd, E: Element<S>>(&self, s: S, part: usize) {
        let rows = share(self.rows, part / self.plan.panel_groups, self.plan.row_groups);
        let panels = share(self.packed.panels(), part % self.plan.panel_groups, self.plan.panel_groups);
        if rows.is_empty() || panels.is_empty() {
            return;
        }
        let (length, inputs) = (self.packed.words(), self.packed.inputs());
        let mut words = Scratch::<u32>::take(rows.len() * length + activations::SLACK);
        let mut scales = Scratch::<f32>::take(rows.len());
        let blocks = rows.len().div_ceil(most_rows(S::LANES));
        for number in 0..blocks {
            let block = share(rows.len(), number, blocks);
            s.call(PackRows::<E> {
                rows: &self.a[(rows.start + block.start) * inputs..(rows.start + block.end) * inputs],
                inputs,
                words: length,
                to: &mut words[block.start * length..],
                scales: &mut scales[block],
                element: PhantomData,
            });
        }
        let rows = Rows { first: rows.start, count: rows.len(), blocks, words: &words, scales: &scales };
        let at_once = if blocks == 1 { panels_at_once(S::LANES, rows.count) } else { 1 };
        let mut sums = Scratch::<u32>::take(at_once * rows.count * 2 * S::LANES);
        let mut panel = panels.start;
        while panel < panels.end {
            let count = if panel + at_once <= panels.end { at_once } else { 1 };
            self.panels::<S, E>(s, &rows, panel, count, &mut sums);
            panel += count;
        }
    }

    /// All rows of a part times `count` panels.
    fn panels<S: Simd, E: Element<S>>(
        &self,
        s: S,
        rows: &Rows<'_>,
        panel: usize,
        count: usize,
        sums: &mut [u32],
    ) {
        let length = self.packed.words();
        let panel_bytes = self.packed.panel_bytes();
        let weights = self.packed.data[panel * panel_bytes..(panel + count) * panel_bytes].as_ptr();
        let register = 2 * S::LANES;
        let mut start = 0;
        // Once at least, so that rows without numbers get their zeros.
        while start < length || start == 0 {
            let words = (length - start).min(plan::BLOCK_WORDS);
            for number in 0..rows.blocks {
                let block = rows.block(number);
                let inner = Inner {
                    words,
                    activations: rows.words[block.start * length + start * block.len()..].as_ptr(),
                    weights: weights.wrapping_add(start * self.packed.layout.step_bytes()),
                    panel_bytes,
                    sums: sums[block.start * register..].as_mut_ptr(),
                    panel_sums: rows.count * register,
                    fresh: start == 0,
                    ahead: weights.wrapping_add(start * self.packed.layout.step_bytes() + panel_bytes),
                };
                inner.run::<S, E>(s, block.len(), count);
            }
            start += words.max(1);
        }
        for (p, sums) in sums.chunks_exact(rows.count * register).take(count).enumerate() {
            self.finish::<S, E>(s, rows, panel + p, sums);
        }
    }

    fn finish<S: Simd, E: Element<S>>(&self, s: S, rows: &Rows<'_>, panel: usize, sums: &[u32]) {
        let place = rows.first * self.packed.outputs() + panel * self.packed.panel_outputs();
        let residual = self.residual.get();
        s.call(Finish::<E> {
            packed: self.packed,
            panel,
            sums,
            row_scales: &rows.scales[..rows.count],
            to: self.c.get().wrapping_add(place),
            residual: if residual.is_null() { residual } else { residual.wrapping_add(place) },
            activation: self.epilogue.activation,
            scale: self.epilogue.scale,
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
            element: PhantomData,
        });
    }
}
