//! Activations, packed in the order in which the inner loop reads them.

use std::marker::PhantomData;
use std::ops::Range;

use super::super::buffer::Scratch;
use super::super::pool::SharedStart;
use super::super::simd::{Simd, Work};
use super::Rows;
use super::element::{Element, RowScale};

/// Words past the end of packed activations that packing may overwrite.
pub(super) const SLACK: usize = 4;

/// Words of each row that are packed at a time: few enough that those of all rows stay in the L1 cache.
const CHUNK: usize = 256;

/// Memory for packed rows, block after block. Each row has [`SLACK`] after its words, so that packing a block leaves
/// the others alone.
pub(super) struct RowMemory {
    words: Scratch<u32>,
    scales: Scratch<RowScale>,
}

impl RowMemory {
    /// Memory for `rows` rows of `words` words.
    pub(super) fn take(rows: usize, words: usize) -> Self {
        Self { words: Scratch::take(rows * (words + SLACK)), scales: Scratch::take(rows) }
    }

    /// The start, for all threads. It must not outlive the memory.
    pub(super) fn start(&mut self) -> RowStart {
        RowStart {
            words: SharedStart(self.words.as_mut_ptr()),
            scales: SharedStart(self.scales.as_mut_ptr()),
        }
    }
}

/// The start of the memory of some rows.
pub(super) struct RowStart {
    words: SharedStart<u32>,
    /// The scale of each row.
    scales: SharedStart<RowScale>,
}

impl RowStart {
    /// The start of a later row.
    pub(super) fn of_row(&self, row: usize, words: usize) -> Self {
        Self {
            words: SharedStart(self.words(row, words).cast_mut()),
            scales: SharedStart(self.scales.get().wrapping_add(row)),
        }
    }

    /// The words of the block that starts with this row.
    pub(super) fn words(&self, row: usize, words: usize) -> *const u32 {
        self.words.get().wrapping_add(row * (words + SLACK))
    }

    /// A block's words and scales, for writing.
    ///
    /// # Safety
    /// The block lies within the memory, and nobody else uses it meanwhile.
    #[allow(clippy::mut_from_ref, reason = "blocks are disjoint, and the caller answers for them")]
    pub(super) unsafe fn block_mut(
        &self,
        block: &Range<usize>,
        words: usize,
    ) -> (&mut [u32], &mut [RowScale]) {
        let first = self.words(block.start, words).cast_mut();
        // SAFETY: the caller's promise.
        unsafe {
            (
                std::slice::from_raw_parts_mut(first, block.len() * (words + SLACK)),
                std::slice::from_raw_parts_mut(self.scales.get().add(block.start), block.len()),
            )
        }
    }

    /// A block's scales.
    ///
    /// # Safety
    /// The block lies within the memory, and nobody writes it meanwhile.
    pub(super) unsafe fn scales(&self, block: &Range<usize>) -> &[RowScale] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.scales.get().add(block.start), block.len()) }
    }
}

/// Packs a block of rows: word 0 of every row, then word 1 of every row, and so on.
pub(super) struct PackRows<'a, E> {
    /// The rows, each of `inputs` numbers.
    pub(super) rows: Rows<'a>,
    pub(super) inputs: usize,
    /// Words per row.
    pub(super) words: usize,
    /// The destination: `rows · words` words, and at least [`SLACK`] more.
    pub(super) to: &'a mut [u32],
    /// The scale of each row.
    pub(super) scales: &'a mut [RowScale],
    pub(super) element: PhantomData<E>,
}

impl<S: Simd, E: Element<S>> Work<S> for PackRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let rows = self.scales.len();
        let numbers = match self.rows {
            Rows::F32(numbers) => numbers,
            Rows::Bf16(words) => {
                self.scales.fill(RowScale::ONE);
                for start in (0..self.words).step_by(CHUNK) {
                    let size = [rows, CHUNK.min(self.words - start)];
                    let from = words.as_ptr().wrapping_add(start);
                    transpose(s, from, self.words, size, &mut self.to[start * rows..]);
                }
                return;
            }
        };
        let row = |i: usize| &numbers[i * self.inputs..(i + 1) * self.inputs];
        for (i, scale) in self.scales.iter_mut().enumerate() {
            *scale = E::row_scale(s, row(i));
        }
        let mut converted = Scratch::<u32>::take(if E::IS_F32 { 0 } else { rows * CHUNK });
        for start in (0..self.words).step_by(CHUNK) {
            let words = CHUNK.min(self.words - start);
            let to = &mut self.to[start * rows..];
            if E::IS_F32 {
                let from = numbers.as_ptr().wrapping_add(start).cast();
                transpose(s, from, self.inputs, [rows, words], to);
            } else {
                for (i, scale) in self.scales.iter().enumerate() {
                    let numbers = &row(i)[start * E::GROUP..self.inputs.min((start + words) * E::GROUP)];
                    E::convert(s, numbers, *scale, &mut converted[i * words..(i + 1) * words]);
                }
                transpose(s, converted.as_ptr(), words, [rows, words], to);
            }
        }
    }
}

/// Transposes `words` words of each of `rows` rows, `stride` words apart.
#[inline(always)]
fn transpose<S: Simd>(s: S, from: *const u32, stride: usize, [rows, words]: [usize; 2], to: &mut [u32]) {
    assert!(to.len() >= rows * words + SLACK, "packed activations have no room");
    let to = to.as_mut_ptr();
    let whole = words / S::LANES * S::LANES;
    // Four rows at a time, from last to first. An incomplete last four writes into the next column, which the others
    // then overwrite; its missing rows are copies of its first.
    for four in (0..rows.div_ceil(4)).rev() {
        let row = |i: usize| {
            let number = 4 * four + i;
            from.wrapping_add(if number < rows { number } else { 4 * four } * stride)
        };
        let sources = [row(0), row(1), row(2), row(3)];
        let mut at = 0;
        while at < whole {
            let sources = sources.map(|source| source.wrapping_add(at));
            for source in sources {
                // Prefetch the next words of these rows: hardware prefetchers do not follow so many streams across
                // pages.
                s.prefetch(source.wrapping_add(CHUNK).cast());
            }
            // SAFETY: rows have so many words; a column that is too long by three fits into the slack.
            unsafe { s.transpose4_ptr(sources, to.add(at * rows + 4 * four), rows) };
            at += S::LANES;
        }
    }
    for at in whole..words {
        for row in 0..rows {
            // SAFETY: within the rows and columns.
            unsafe { *to.add(at * rows + row) = *from.add(row * stride + at) };
        }
    }
}
