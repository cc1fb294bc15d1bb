//! Resampling of 8-bit RGB images with fixed-point weights: along the rows and down the columns, rounded and clipped to
//! bytes after each pass.
//!
//! Sums are integers, so every instruction set gives the same bits. Neighbours in a row need different weights; so as
//! many rows as a register has lanes are transposed first, and every lane does the same with a row of its own.

use super::Cpu;
use super::dispatch::dispatch;
use super::simd::{MAX_LANES, Simd};
use crate::error::{KernelError, Result};

/// Fraction bits of a weight: 1.0 is `1 << PRECISION_BITS`. The sum overflows where the absolute weights of an output
/// add up to more than two.
pub const PRECISION_BITS: u32 = 22;

/// Pixels that are transposed back at once: 48 bytes, twelve words.
const GROUP: usize = 16;
const GROUP_WORDS: usize = 3 * GROUP / 4;

/// The inputs and weights of each output along one axis.
#[derive(Clone, Debug)]
pub struct Taps {
    windows: Vec<Window>,
    weights: Vec<i32>,
    /// The inputs that the outputs need.
    first: usize,
    end: usize,
}

/// The inputs of one output: those from `start` on, one for each weight.
#[derive(Clone, Copy, Debug)]
struct Window {
    start: usize,
    first_weight: usize,
    count: usize,
}

impl Taps {
    /// One window for each output: its first input, and a weight for each input from there on.
    pub fn new<W: AsRef<[i32]>>(windows: impl IntoIterator<Item = (usize, W)>) -> Self {
        let mut taps = Self { windows: Vec::new(), weights: Vec::new(), first: usize::MAX, end: 0 };
        for (start, weights) in windows {
            let (first_weight, count) = (taps.weights.len(), weights.as_ref().len());
            taps.weights.extend_from_slice(weights.as_ref());
            taps.windows.push(Window { start, first_weight, count });
            taps.first = taps.first.min(start);
            taps.end = taps.end.max(start.saturating_add(count));
        }
        taps.first = taps.first.min(taps.end);
        taps
    }

    /// How many outputs there are.
    pub fn outputs(&self) -> usize {
        self.windows.len()
    }

    /// The inputs that the outputs need.
    pub fn inputs(&self) -> std::ops::Range<usize> {
        self.first..self.end
    }

    #[inline(always)]
    fn window(&self, output: usize) -> (usize, &[i32]) {
        let window = self.windows[output];
        (window.start, &self.weights[window.first_weight..window.first_weight + window.count])
    }
}

/// RGB pixels, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Pixels<'a> {
    bytes: &'a [u8],
    width: usize,
}

impl<'a> Pixels<'a> {
    /// Three bytes for each pixel, `width` pixels in a row.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if they are not whole rows.
    pub fn new(bytes: &'a [u8], width: usize) -> Result<Self> {
        match width.checked_mul(3) {
            Some(row) if row > 0 && bytes.len().is_multiple_of(row) => Ok(Self { bytes, width }),
            _ => {
                let length = bytes.len();
                Err(KernelError::shape(format!(
                    "expected whole rows of {width} RGB pixels, found {length} bytes"
                )))
            }
        }
    }

    fn height(self) -> usize {
        self.bytes.len() / (3 * self.width)
    }
}

/// StridedRows of bytes with a stride.
#[derive(Clone, Copy, Debug)]
struct StridedRows<'a> {
    bytes: &'a [u8],
    stride: usize,
    /// The number of the row that `bytes` begins with.
    first: usize,
}

/// Which pass comes first. Each rounds and clips, so the bits depend on the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Along the rows, then down the columns.
    AlongRowsFirst,
    /// Down the columns, then along the rows.
    DownColumnsFirst,
}

/// Resamples an image; an axis without taps stays as it is.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if taps reach beyond the picture.
pub fn resample(
    cpu: &Cpu,
    from: Pixels<'_>,
    columns: Option<&Taps>,
    rows: Option<&Taps>,
    order: Order,
) -> Result<Vec<u8>> {
    within("columns", columns, from.width)?;
    within("rows", rows, from.height())?;
    let source = StridedRows { bytes: from.bytes, stride: 3 * from.width, first: 0 };
    match (columns, rows) {
        (None, None) => Ok(from.bytes.to_vec()),
        (None, Some(rows)) => Ok(down_columns(cpu, source, 3 * from.width, rows)),
        (Some(columns), None) => Ok(only_along_rows(cpu, from, columns)),
        (Some(columns), Some(rows)) if order == Order::DownColumnsFirst => {
            let between = down_columns(cpu, source, 3 * from.width, rows);
            Ok(only_along_rows(cpu, Pixels::new(&between, from.width)?, columns))
        }
        (Some(columns), Some(rows)) => {
            let (between, stride) = along_rows(cpu, from, rows.inputs(), columns);
            let between = StridedRows { bytes: as_bytes(&between), stride, first: rows.inputs().start };
            Ok(down_columns(cpu, between, 3 * columns.outputs(), rows))
        }
    }
}

/// The pass along all rows, its results row after row.
fn only_along_rows(cpu: &Cpu, from: Pixels<'_>, columns: &Taps) -> Vec<u8> {
    let width = 3 * columns.outputs();
    let (words, stride) = along_rows(cpu, from, 0..from.height(), columns);
    let mut to = Vec::with_capacity(width * from.height());
    for row in as_bytes(&words).chunks_exact(stride.max(1)).take(from.height()) {
        to.extend_from_slice(&row[..width]);
    }
    to
}

fn within(what: &str, taps: Option<&Taps>, length: usize) -> Result<()> {
    match taps {
        Some(taps) if taps.end > length => {
            let end = taps.end;
            Err(KernelError::shape(format!("taps reach to {what} {end} of an image that has {length}")))
        }
        _ => Ok(()),
    }
}

fn as_bytes(words: &[u32]) -> &[u8] {
    // SAFETY: every word is four initialised bytes, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// The pass along some rows: the words of the result, and its stride in bytes. The result is padded to whole registers
/// of rows.
fn along_rows(
    cpu: &Cpu,
    from: Pixels<'_>,
    rows: std::ops::Range<usize>,
    columns: &Taps,
) -> (Vec<u32>, usize) {
    let stride = columns.outputs().div_ceil(GROUP) * GROUP_WORDS;
    let blocks = rows.len().div_ceil(MAX_LANES);
    let mut to = vec![0_u32; blocks * MAX_LANES * stride];
    // Several blocks at once share one allocation.
    let at_once = blocks.div_ceil(4 * cpu.pool.threads()).max(1);
    cpu.pool.parallel_chunks(&mut to, (at_once * MAX_LANES * stride).max(1), |number, to| {
        let first = rows.start + number * at_once * MAX_LANES;
        along_some_rows(cpu.isa, from, first, columns, to, stride);
    });
    (to, 4 * stride)
}

/// The rows from `first` on, as many as `to` has room for; past the last row, the content is arbitrary.
#[inline(always)]
fn along_some_rows_with<S: Simd>(
    s: S,
    from: Pixels<'_>,
    first: usize,
    columns: &Taps,
    to: &mut [u32],
    stride: usize,
) {
    let bytes = 3 * (columns.end - columns.first);
    let mut turned = vec![0_u8; bytes.div_ceil(4 * S::LANES) * 4 * S::LANES * S::LANES];
    for (block, to) in to.chunks_exact_mut(S::LANES * stride).enumerate() {
        turn(s, from, first + block * S::LANES, columns, &mut turned);
        let mut output = 0;
        while output < columns.outputs() {
            let words = group_of_pixels(s, &turned, columns, output);
            let at = output / GROUP * GROUP_WORDS;
            let mut word = 0;
            while word < GROUP_WORDS {
                let row = |i: usize| words[word + i].as_ptr();
                // SAFETY: each of `words` holds a register; row `i` of the register is written to the same row of
                // `to`, which has `LANES` rows of `stride` words, a multiple of `GROUP_WORDS`.
                unsafe {
                    s.transpose4_ptr(
                        [row(0), row(1), row(2), row(3)],
                        to.as_mut_ptr().add(at + word),
                        stride,
                    );
                }
                word += 4;
            }
            output += GROUP;
        }
    }
}

/// Transposes `LANES` rows: byte `i` of each row, as far as the taps need it, from `i · LANES` on.
#[inline(always)]
fn turn<S: Simd>(s: S, from: Pixels<'_>, first: usize, columns: &Taps, turned: &mut [u8]) {
    let row_bytes = 3 * from.width;
    let last = from.height() - 1;
    let (mut rows, mut words) = ([[0_u32; MAX_LANES]; MAX_LANES], [[0_u32; MAX_LANES]; MAX_LANES]);
    let end = 3 * columns.end;
    for (chunk, turned) in turned.chunks_exact_mut(4 * S::LANES * S::LANES).enumerate() {
        let start = 3 * columns.first + chunk * 4 * S::LANES;
        let count = (end - start).min(4 * S::LANES);
        for (lane, row) in rows[..S::LANES].iter_mut().enumerate() {
            let at = (first + lane).min(last) * row_bytes + start;
            let source = &from.bytes[at..at + count];
            // SAFETY: the row holds `4 · LANES` bytes, at least as many as the source, and is another.
            unsafe { std::ptr::copy_nonoverlapping(source.as_ptr(), row.as_mut_ptr().cast(), source.len()) };
        }
        let mut lane = 0;
        while lane < S::LANES {
            let row = |i: usize| rows[lane + i].as_ptr();
            // SAFETY: every row holds a register, and `words` has `LANES` rows of `MAX_LANES` words.
            unsafe {
                let to = words.as_mut_ptr().cast::<u32>().add(lane);
                s.transpose4_ptr([row(0), row(1), row(2), row(3)], to, MAX_LANES);
            }
            lane += 4;
        }
        for (word, turned) in words[..S::LANES].iter().zip(turned.chunks_exact_mut(4 * S::LANES)) {
            // SAFETY: a row of `words` holds a register, and `turned` four times `LANES` bytes.
            unsafe {
                let word = s.load_words_ptr(word.as_ptr().cast());
                let to = turned.as_mut_ptr().cast::<i8>();
                s.store_i8_ptr(to, word);
                s.store_i8_ptr(to.add(S::LANES), s.shr_i32(word, 8));
                s.store_i8_ptr(to.add(2 * S::LANES), s.shr_i32(word, 16));
                s.store_i8_ptr(to.add(3 * S::LANES), s.shr_i32(word, 24));
            }
        }
    }
}

/// The pixels of a group packed four bytes to a `u32`, one row per SIMD lane; the tail is padded with zeros.
#[inline(always)]
fn group_of_pixels<S: Simd>(
    s: S,
    turned: &[u8],
    columns: &Taps,
    output: usize,
) -> [[u32; MAX_LANES]; GROUP_WORDS] {
    let mut words = [[0_u32; MAX_LANES]; GROUP_WORDS];
    let mut group = 0;
    while group < GROUP_WORDS {
        let mut bytes = [s.splat_i32(0); 12];
        let mut pixel = 0;
        while pixel < 4 {
            let at = output + group / 3 * 4 + pixel;
            if at < columns.outputs() {
                let (start, weights) = columns.window(at);
                let from = &turned[3 * (start - columns.first) * S::LANES..];
                let sums = pixel_of_rows(s, from, weights);
                bytes[3 * pixel] = sums[0];
                bytes[3 * pixel + 1] = sums[1];
                bytes[3 * pixel + 2] = sums[2];
            }
            pixel += 1;
        }
        let mut word = 0;
        while word < 3 {
            let low = s.or_i32(bytes[4 * word], s.shl_i32(bytes[4 * word + 1], 8));
            let high = s.or_i32(s.shl_i32(bytes[4 * word + 2], 16), s.shl_i32(bytes[4 * word + 3], 24));
            // SAFETY: every element of `words` holds a register.
            unsafe { s.store_words_ptr(words[group + word].as_mut_ptr().cast(), s.or_i32(low, high)) };
            word += 1;
        }
        group += 3;
    }
    words
}

/// One output pixel of `LANES` rows.
#[inline(always)]
fn pixel_of_rows<S: Simd>(s: S, from: &[u8], weights: &[i32]) -> [S::I32; 3] {
    let mut sums = [s.splat_i32(1 << (PRECISION_BITS - 1)); 3];
    for (pixel, weight) in from.chunks_exact(3 * S::LANES).zip(weights) {
        let weight = s.splat_i32(*weight);
        let mut channel = 0;
        while channel < 3 {
            // SAFETY: the chunk holds `LANES` bytes of each channel.
            let bytes = unsafe { s.load_u8_ptr(pixel.as_ptr().add(channel * S::LANES)) };
            sums[channel] = s.add_i32(sums[channel], s.mul_i32(bytes, weight));
            channel += 1;
        }
    }
    [clip(s, sums[0]), clip(s, sums[1]), clip(s, sums[2])]
}

/// The integer part of a sum, clipped to 0 to 255.
#[inline(always)]
fn clip<S: Simd>(s: S, sum: S::I32) -> S::I32 {
    let (zero, most) = (s.splat_i32(0), s.splat_i32((256 << PRECISION_BITS) - 1));
    let positive = s.max_i32(sum, zero);
    s.shr_i32(s.sub_i32(most, s.max_i32(s.sub_i32(most, positive), zero)), PRECISION_BITS)
}

/// The pass down the columns.
fn down_columns(cpu: &Cpu, from: StridedRows<'_>, width: usize, rows: &Taps) -> Vec<u8> {
    let mut to = vec![0_u8; width * rows.outputs()];
    let at_once = rows.outputs().div_ceil(4 * cpu.pool.threads()).max(1);
    cpu.pool.parallel_chunks(&mut to, (at_once * width).max(1), |number, to| {
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            let (start, weights) = rows.window(number * at_once + row);
            let from_row = StridedRows { bytes: &from.bytes[(start - from.first) * from.stride..], ..from };
            row_of_columns(cpu.isa, from_row, weights, to);
        }
    });
    to
}

/// One row of the result, from as many rows as there are weights.
#[inline(always)]
fn row_of_columns_with<S: Simd>(s: S, from: StridedRows<'_>, weights: &[i32], to: &mut [u8]) {
    let width = to.len();
    let needed = weights.len().saturating_sub(1) * from.stride + width;
    assert!(weights.is_empty() || from.bytes.len() >= needed, "taps reach beyond the rows");
    let mut at = 0;
    while at + 4 * S::LANES <= width {
        // SAFETY: every row holds `width` bytes, as just checked, and so does `to`.
        unsafe { some_columns::<S, 4>(s, from, weights, at, to) };
        at += 4 * S::LANES;
    }
    while at + S::LANES <= width {
        // SAFETY: as above.
        unsafe { some_columns::<S, 1>(s, from, weights, at, to) };
        at += S::LANES;
    }
    if at < width && width >= S::LANES {
        // Overlaps with the columns before, which get the same again.
        // SAFETY: as above, ending with the last column.
        unsafe { some_columns::<S, 1>(s, from, weights, width - S::LANES, to) };
    } else if at < width {
        few_columns(from, weights, to);
    }
}

/// `N` registers of columns.
///
/// # Safety
/// `N · LANES` bytes from `at` on are in `to`, and readable in each row that has a weight.
#[inline(always)]
unsafe fn some_columns<S: Simd, const N: usize>(
    s: S,
    from: StridedRows<'_>,
    weights: &[i32],
    at: usize,
    to: &mut [u8],
) {
    let mut sums = [s.splat_i32(1 << (PRECISION_BITS - 1)); N];
    let mut row = from.bytes.as_ptr().wrapping_add(at);
    for weight in weights {
        let weight = s.splat_i32(*weight);
        let mut i = 0;
        while i < N {
            // SAFETY: the caller's promise.
            let bytes = unsafe { s.load_u8_ptr(row.add(i * S::LANES)) };
            sums[i] = s.add_i32(sums[i], s.mul_i32(bytes, weight));
            i += 1;
        }
        row = row.wrapping_add(from.stride);
    }
    let mut i = 0;
    while i < N {
        // SAFETY: the caller's promise.
        unsafe { s.store_i8_ptr(to.as_mut_ptr().add(at + i * S::LANES).cast(), clip(s, sums[i])) };
        i += 1;
    }
}

/// StridedRows narrower than a register.
fn few_columns(from: StridedRows<'_>, weights: &[i32], to: &mut [u8]) {
    for (column, to) in to.iter_mut().enumerate() {
        let products = weights
            .iter()
            .zip(from.bytes[column..].iter().step_by(from.stride))
            .map(|(weight, byte)| weight.wrapping_mul(i32::from(*byte)));
        let sum = products.fold(1 << (PRECISION_BITS - 1), i32::wrapping_add);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
        let byte = (sum >> PRECISION_BITS).clamp(0, 255) as u8;
        *to = byte;
    }
}

dispatch! {
    fn along_some_rows(from: Pixels<'_>, first: usize, columns: &Taps, to: &mut [u32], stride: usize) = along_some_rows_with;
}
dispatch! { fn row_of_columns(from: StridedRows<'_>, weights: &[i32], to: &mut [u8]) = row_of_columns_with; }

#[cfg(test)]
#[path = "resample_tests.rs"]
mod tests;
