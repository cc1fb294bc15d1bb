//! How a multiplication is cut: parts for threads, rows that stay in the cache, words that stay in the cache.

use super::packed::Packed;
use super::{Cpu, most_rows};

/// Fewer multiplications than this are done by one thread: to share them takes as long. For f32; narrower numbers
/// are quicker.
const ALONE: usize = 1 << 18;

/// Fewer than this are cut into one part a thread: to pack the rows for a second one takes longer than one thread
/// waits for another.
const LITTLE: usize = 1 << 22;

/// From so many words of activations on, they are packed once for all threads; fewer are packed by each.
const PACKED_FIRST: usize = 1 << 14;

/// Packed activations that are multiplied with one panel after the other. With two panels, they fit a second-level
/// cache of 1 MiB.
const ACTIVATION_BYTES: usize = 384 << 10;

/// Weights beyond this come from afar, and are read by one thread each if rows are few.
const LARGE_WEIGHTS: usize = 4 << 20;

/// The most words of a row that are multiplied before the next rows' are: a panel of them takes 192 KiB with
/// AVX-512.
const MOST_WORDS: usize = 1536;

/// How many words of a row of so many are multiplied before the next rows' are.
pub(super) fn words_at_once(words: usize) -> usize {
    words.div_ceil(words.div_ceil(MOST_WORDS).max(1))
}

/// Rows and panels are cut into so many groups each; a part is one group of rows times one of panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) row_groups: usize,
    pub(super) panel_groups: usize,
    /// Whether the rows are packed before the parts begin, because several use the same.
    pub(super) packs_first: bool,
}

impl Plan {
    pub(super) fn new(cpu: &Cpu, packed: &Packed, rows: usize) -> Self {
        let block = most_rows(packed.layout.lanes);
        let words = words_at_once(packed.words()).max(1);
        let rows_in_cache = (ACTIVATION_BYTES / 4 / words).clamp(4 * block, 16 * block);
        let row_groups = rows.div_ceil(rows_in_cache);
        let threads = cpu.pool.threads();
        let work = rows * packed.words() * packed.panels() * packed.layout.channels();
        let alone = Self { row_groups, panel_groups: 1, packs_first: false };
        if threads == 1 || work < ALONE {
            return alone;
        }
        let many_rows = rows >= threads * 2 * block;
        let reread = packed.data.len() > LARGE_WEIGHTS && rows < threads * rows_in_cache;
        if many_rows && !reread {
            // Every thread has the same number of groups; small ones, so that none waits long at the end.
            return Self {
                row_groups: row_groups.next_multiple_of(threads).min(rows.div_ceil(block)),
                ..alone
            };
        }
        let groups_a_thread = if work < LITTLE { 1 } else { 2 };
        let panel_groups = (groups_a_thread * threads).min(packed.panels().max(1));
        Self { panel_groups, packs_first: rows * packed.words() >= PACKED_FIRST, ..alone }
    }

    pub(super) fn parts(self) -> usize {
        self.row_groups * self.panel_groups
    }
}

/// The part `number` of `total` when `length` things are cut into parts of nearly the same size.
pub(in super::super) fn share(length: usize, number: usize, total: usize) -> std::ops::Range<usize> {
    length * number / total..length * (number + 1) / total
}
