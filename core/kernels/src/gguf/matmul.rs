//! `Y = X · Wᵀ`: rows of activations prepared once, panels of weights shared among threads.

use std::marker::PhantomData;

use super::super::Cpu;
use super::super::buffer::Scratch;
use super::super::dispatch::with_simd;
#[cfg(any(test, target_arch = "x86_64"))]
use super::super::dispatch::with_tiles;
use super::super::pool::SharedStart;
use super::super::simd::Simd;
#[cfg(any(test, target_arch = "x86_64"))]
use super::amx;
use super::format::Format;
use super::multiply::{Multiply, Panel, Prepare, max_rows, padded};
use super::quantised::{Quantised, with_kind};
use super::tile;
use super::wide::Wide;

/// Fewer multiplications than this are done by one thread: two or three microseconds of work. The other threads of a model
/// that computes are awake.
const MIN_PARALLEL_WORK: usize = 1 << 17;

/// Parts per thread where memory bandwidth is the limit: several, so that none waits long for a slow thread.
pub(super) const PARTS_A_THREAD: usize = 4;

/// One multiplication whose sizes are checked.
pub(super) struct BlockMatmul<'a> {
    /// Panels, in the order of the format's kernel.
    pub(super) weights: &'a [u8],
    /// `rows` rows of `k` numbers.
    pub(super) x: &'a [f32],
    /// Rows of `x` and of the result.
    pub(super) rows: usize,
    /// Rows of weights.
    pub(super) outputs: usize,
    /// Numbers of a row of `x` and of the weights.
    pub(super) k: usize,
    /// `rows` rows of `outputs` numbers. Each part writes its own.
    pub(super) y: SharedStart<f32>,
}

impl BlockMatmul<'_> {
    /// Multiplies with weights of this format.
    pub(super) fn run(&self, cpu: &Cpu, format: Format) {
        if self.rows == 0 || self.outputs == 0 {
            return;
        }
        with_kind!(
            format, K => {
                #[cfg(any(test, target_arch = "x86_64"))]
                if amx::is_for(self.rows, self.k)
                    && with_tiles!(bytes cpu.isa, s, T => amx::multiply::<_, K, T>(s, self, cpu)).is_some()
                {
                    return;
                }
                with_simd!(bytes cpu.isa, s => self.with_set::<_, Quantised<K>>(cpu, s));
            },
            Format::F16 => with_simd!(cpu.isa, s => self.with_set::<_, Wide<false>>(cpu, s)),
            Format::Bf16 => with_simd!(cpu.isa, s => self.with_set::<_, Wide<true>>(cpu, s))
        );
    }

    pub(super) fn with_set<S: Simd, M: Multiply>(&self, cpu: &Cpu, s: S) {
        let blocks = self.rows.div_ceil(max_rows::<S>());
        let last = self.block::<S>(blocks - 1).len();
        let words = M::words(self.k) * ((blocks - 1) * max_rows::<S>() + padded(last));
        let mut prepared = Scratch::<u32>::take(words);
        self.prepare::<S::Plain, M>(cpu, s.plain(), &mut prepared);
        let prepared: &[u32] = &prepared;
        let panels = self.outputs.div_ceil(tile::ROWS);
        let parts = self.parts(cpu, M::panel_bytes(self.k), blocks);
        cpu.pool.parallel(parts, |part| {
            let panels = panels * part / parts..panels * (part + 1) / parts;
            for block in 0..blocks {
                for panel in panels.clone() {
                    self.panel::<S, M>(s, prepared, block, panel);
                }
            }
        });
    }

    /// The rows of a block. All blocks but the last are full.
    fn block<S: Simd>(&self, block: usize) -> std::ops::Range<usize> {
        let most = max_rows::<S>();
        block * most..self.rows.min((block + 1) * most)
    }

    /// The number of parts of panels.
    fn parts(&self, cpu: &Cpu, panel_bytes: usize, blocks: usize) -> usize {
        let panels = self.outputs.div_ceil(tile::ROWS);
        let threads = cpu.pool.threads();
        // Weights that are multiplied by one block of rows after another: half of a small L2 cache.
        let in_cache = ((cpu.pool.l2_bytes() / 2).min(256 << 10) / panel_bytes.max(1)).max(1);
        let for_cache = if blocks > 1 { panels.div_ceil(in_cache) } else { 1 };
        if threads == 1 || self.rows.saturating_mul(self.outputs).saturating_mul(self.k) < MIN_PARALLEL_WORK {
            return for_cache;
        }
        for_cache.max(threads * PARTS_A_THREAD).min(panels)
    }

    fn prepare<S: Simd, M: Multiply>(&self, cpu: &Cpu, s: S, to: &mut [u32]) {
        let chunk = M::words(self.k) * max_rows::<S>();
        cpu.pool.parallel_chunks(to, chunk, |number, to| {
            let rows = self.block::<S>(number);
            s.call(Prepare::<M> {
                padded: padded(rows.len()),
                rows: &self.x[rows.start * self.k..rows.end * self.k],
                k: self.k,
                to,
                way: PhantomData,
            });
        });
    }

    /// A block of rows times a panel of weights.
    fn panel<S: Simd, M: Multiply>(&self, s: S, prepared: &[u32], block: usize, panel: usize) {
        let rows = self.block::<S>(block);
        let bytes = M::panel_bytes(self.k);
        let first = panel * tile::ROWS;
        let padded = padded(rows.len());
        let start = rows.start * M::words(self.k);
        let activations = &prepared[start..start + padded * M::words(self.k)];
        Panel::<M> {
            k: self.k,
            weights: self.weights[panel * bytes..(panel + 1) * bytes].as_ptr(),
            activations: activations.as_ptr(),
            to: self.y.get().wrapping_add(rows.start * self.outputs + first),
            stride: self.outputs,
            rows: rows.len(),
            outputs: tile::ROWS.min(self.outputs - first),
            way: PhantomData,
        }
        .multiply(s, padded);
    }
}
