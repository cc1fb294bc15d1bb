//! Activations in the order in which the multiplication reads them.

use std::marker::PhantomData;
use std::ops::Range;

use super::super::buffer::Scratch;
use super::super::pool::SharedStart;
use super::super::simd::{Simd, Work};
use super::element::{Element, RowScale};

/// Words past the end of packed activations that packing may overwrite.
pub(super) const SLACK: usize = 4;

/// Words of each row that are packed before the next ones: so few that all rows' stay in the first-level cache.
const CHUNK: usize = 256;

/// Memory for packed rows, block after block. A row takes its words and [`SLACK`], so that no block's packing
/// touches another's words.
pub(super) struct RowMemory {
    words: Scratch<u32>,
    scales: Scratch<RowScale>,
}

impl RowMemory {
    /// For `rows` rows of `words` words.
    pub(super) fn take(rows: usize, words: usize) -> Self {
        Self { words: Scratch::take(rows * (words + SLACK)), scales: Scratch::take(rows) }
    }

    /// What threads share of it. Used no longer than the memory lives.
    pub(super) fn start(&mut self) -> RowStart {
        RowStart {
            words: SharedStart(self.words.as_mut_ptr()),
            scales: SharedStart(self.scales.as_mut_ptr()),
        }
    }
}

/// Where the memory of some rows starts.
pub(super) struct RowStart {
    words: SharedStart<u32>,
    /// What the words of each row stand for.
    scales: SharedStart<RowScale>,
}

impl RowStart {
    /// The same from another row on.
    pub(super) fn of_row(&self, row: usize, words: usize) -> Self {
        Self {
            words: SharedStart(self.words(row, words).cast_mut()),
            scales: SharedStart(self.scales.get().wrapping_add(row)),
        }
    }

    /// The words of the block that begins with this row.
    pub(super) fn words(&self, row: usize, words: usize) -> *const u32 {
        self.words.get().wrapping_add(row * (words + SLACK))
    }

    /// A block's words and scales, to be written.
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

/// Packs a block of rows: their words of the first positions after each other, then those of the next.
pub(super) struct PackRows<'a, E> {
    /// The rows, each of `inputs` numbers.
    pub(super) rows: &'a [f32],
    pub(super) inputs: usize,
    /// A word of every row for each of so many positions.
    pub(super) words: usize,
    /// Where the words go: `rows · words` of them, and [`SLACK`] at least.
    pub(super) to: &'a mut [u32],
    /// What the words of each row stand for.
    pub(super) scales: &'a mut [RowScale],
    pub(super) element: PhantomData<E>,
}

impl<S: Simd, E: Element<S>> Work<S> for PackRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let rows = self.scales.len();
        let row = |i: usize| &self.rows[i * self.inputs..(i + 1) * self.inputs];
        for (i, scale) in self.scales.iter_mut().enumerate() {
            *scale = E::row_scale(s, row(i));
        }
        let mut converted = Scratch::<u32>::take(if E::IS_F32 { 0 } else { rows * CHUNK });
        for start in (0..self.words).step_by(CHUNK) {
            let words = CHUNK.min(self.words - start);
            let to = &mut self.to[start * rows..];
            if E::IS_F32 {
                let from = self.rows.as_ptr().wrapping_add(start).cast();
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

/// Writes `words` words of each of `rows` rows, which begin `stride` words apart, as columns.
#[inline(always)]
fn transpose<S: Simd>(s: S, from: *const u32, stride: usize, [rows, words]: [usize; 2], to: &mut [u32]) {
    assert!(to.len() >= rows * words + SLACK, "packed activations have no room");
    let to = to.as_mut_ptr();
    let whole = words / S::LANES * S::LANES;
    // Fours of rows from the last to the first. Where the last four is not full it writes into the next column,
    // which the others then overwrite; its missing rows are copies of its first.
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
                // What the next words of these rows will need: four streams that start anew every page are too many to
                // be guessed.
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
