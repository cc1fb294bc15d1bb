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

/// More bytes of weights than this come from memory; with few rows, each is then read by one thread only. A CPU says how
/// large its L3 cache is, but not who else uses it.
const LARGE_WEIGHTS: usize = 4 << 20;

/// Tiles of fewer words would wait for the stores of their results where these exceed the cache.
const SHORT_TILE: usize = 128;

/// How many of a row's words are multiplied before the next rows: with AVX-512, a panel of them takes at most 3/16 of the
/// L2 cache.
fn words_at_once(words: usize, l2_bytes: usize) -> usize {
    let most = l2_bytes / 2048 * 3;
    words.div_ceil(words.div_ceil(most).max(1))
}

/// Rows and panels are cut into groups. A part is one group of rows times one group of panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) row_groups: usize,
    pub(super) panel_groups: usize,
    /// Whether the rows are packed before the parts start, because several parts use the same.
    pub(super) packs_first: bool,
    /// How many of a row's words are multiplied before the next rows.
    pub(super) words_at_once: usize,
    /// Whether sums are stored first and finished one block later, because storing results takes longer than multiplying.
    pub(super) finishes_later: bool,
}

impl Plan {
    pub(super) fn new(cpu: &Cpu, packed: &Packed, rows: usize) -> Self {
        let block = packed.layout.block_rows();
        let (l2_bytes, words) = (cpu.pool.l2_bytes(), packed.words());
        let words_at_once = words_at_once(words, l2_bytes);
        // Packed activations take 3/8 of the cache; two panels at most as much.
        let rows_in_cache = (l2_bytes / 8 * 3 / 4 / words_at_once.max(1)).clamp(4 * block, 16 * block);
        let row_groups = rows.div_ceil(rows_in_cache);
        let threads = cpu.pool.threads();
        let work = rows * words * packed.panels() * packed.layout.channels();
        let finishes_later = words < SHORT_TILE && rows * packed.outputs() * size_of::<f32>() > l2_bytes;
        let alone = Self { row_groups, panel_groups: 1, packs_first: false, words_at_once, finishes_later };
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
        Self { panel_groups, packs_first: rows * words >= PACKED_FIRST, ..alone }
    }

    pub(super) fn parts(self) -> usize {
        self.row_groups * self.panel_groups
    }
}

/// Part `number` of `length` things that are cut into `total` parts of nearly the same size.
pub(in super::super) fn share(length: usize, number: usize, total: usize) -> std::ops::Range<usize> {
    length * number / total..length * (number + 1) / total
}
