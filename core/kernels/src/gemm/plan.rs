//! How a multiplication is cut: into parts for threads, and rows and words that stay in the cache.

use super::Cpu;
use super::packed::Packed;

/// Fewer multiplications than this are done by one thread, because sharing them takes as long. In f32; other precisions
/// are faster.
const MIN_PARALLEL_WORK: usize = 1 << 18;

/// Fewer than this are cut into one part per thread: packing the rows for a second part takes longer than waiting for
/// the slowest thread.
const MIN_WORK_FOR_MORE_PARTS: usize = 1 << 22;

/// From so many words of activations on, they are packed once for all threads. Fewer are packed by each thread.
const PACKED_FIRST: usize = 1 << 14;

/// Bytes of packed activations that are multiplied by one panel after another. With two panels, they fit an L2 cache of
/// 1 MiB.
const ACTIVATION_BYTES: usize = 384 << 10;

/// More bytes of weights than this come from memory; with few rows, each is then read by one thread only.
const LARGE_WEIGHTS: usize = 4 << 20;

/// The most words of a row that are multiplied before the next rows: a panel of them takes 192 KiB with AVX-512.
const MAX_WORDS: usize = 1536;

/// How many of a row's words are multiplied before the next rows.
pub(super) fn words_at_once(words: usize) -> usize {
    words.div_ceil(words.div_ceil(MAX_WORDS).max(1))
}

/// Rows and panels are cut into groups. A part is one group of rows times one group of panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) row_groups: usize,
    pub(super) panel_groups: usize,
    /// Whether the rows are packed before the parts start, because several parts use the same.
    pub(super) packs_first: bool,
}

impl Plan {
    pub(super) fn new(cpu: &Cpu, packed: &Packed, rows: usize) -> Self {
        let block = packed.layout.block_rows();
        let words = words_at_once(packed.words()).max(1);
        let rows_in_cache = (ACTIVATION_BYTES / 4 / words).clamp(4 * block, 16 * block);
        let row_groups = rows.div_ceil(rows_in_cache);
        let threads = cpu.pool.threads();
        let work = rows * packed.words() * packed.panels() * packed.layout.channels();
        let alone = Self { row_groups, panel_groups: 1, packs_first: false };
        if threads == 1 || work < MIN_PARALLEL_WORK {
            return alone;
        }
        let many_rows = rows >= threads * 2 * block;
        let reread = packed.data.len() > LARGE_WEIGHTS && rows < threads * rows_in_cache;
        if many_rows && !reread {
            // As many groups for each thread, and small ones, so that none waits long at the end.
            return Self {
                row_groups: row_groups.next_multiple_of(threads).min(rows.div_ceil(block)),
                ..alone
            };
        }
        let groups_a_thread = if work < MIN_WORK_FOR_MORE_PARTS { 1 } else { 2 };
        let panel_groups = (groups_a_thread * threads).min(packed.panels().max(1));
        Self { panel_groups, packs_first: rows * packed.words() >= PACKED_FIRST, ..alone }
    }

    pub(super) fn parts(self) -> usize {
        self.row_groups * self.panel_groups
    }
}

/// Part `number` of `length` things that are cut into `total` parts of nearly the same size.
pub(in super::super) fn share(length: usize, number: usize, total: usize) -> std::ops::Range<usize> {
    length * number / total..length * (number + 1) / total
}
