//! From the rows of a file to the order of panels.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::super::finite::Float;
use super::packed::TILE_WORDS;
use super::{Precision, int8};

/// Weights as a file has them: one row per output channel.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// In f32.
    F32(&'a [f32]),
    /// In bf16.
    Bf16(&'a [bf16]),
    /// In f16.
    F16(&'a [f16]),
    /// The bytes of a file, at any alignment, least significant first.
    Bytes(Float, &'a [u8]),
    /// Layers with the same input, one after another: each has whole rows.
    Stacked(&'a [Self]),
}

impl Weights<'_> {
    pub(in super::super) fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bytes(float, bytes) => bytes.len() / float.bytes(),
            Self::Stacked(layers) => layers.iter().map(Self::len).sum(),
        }
    }

    /// Copies a row of `to.len()` numbers, widened.
    pub(in super::super) fn read_row(&self, row: usize, to: &mut [f32]) {
        let range = row * to.len()..(row + 1) * to.len();
        match self {
            Self::F32(values) => to.copy_from_slice(&values[range]),
            Self::Bf16(values) => values[range].convert_to_f32_slice(to),
            Self::F16(values) => values[range].convert_to_f32_slice(to),
            Self::Bytes(float, bytes) => {
                let size = float.bytes();
                float.widen(&bytes[range.start * size..range.end * size], to);
            }
            Self::Stacked(layers) => {
                let mut row = row;
                for layer in *layers {
                    let rows = layer.len() / to.len().max(1);
                    if row < rows {
                        return layer.read_row(row, to);
                    }
                    row -= rows;
                }
            }
        }
    }
}

impl<'a> From<&'a [f32]> for Weights<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::F32(values)
    }
}

impl<'a> From<&'a [bf16]> for Weights<'a> {
    fn from(values: &'a [bf16]) -> Self {
        Self::Bf16(values)
    }
}

impl<'a> From<&'a [f16]> for Weights<'a> {
    fn from(values: &'a [f16]) -> Self {
        Self::F16(values)
    }
}

impl Float {
    fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }

    /// The numbers of as many bytes.
    fn widen(self, bytes: &[u8], to: &mut [f32]) {
        match self {
            Self::F32 => {
                for (to, word) in to.iter_mut().zip(bytes.as_chunks().0) {
                    *to = f32::from_le_bytes(*word);
                }
            }
            Self::Bf16 => {
                for (to, half) in to.iter_mut().zip(bytes.as_chunks().0) {
                    *to = f32::from_bits(u32::from(u16::from_le_bytes(*half)) << 16);
                }
            }
            Self::F16 => {
                const PIECE: usize = 256;
                let mut halves = [f16::ZERO; PIECE];
                for (to, bytes) in to.chunks_mut(PIECE).zip(bytes.chunks(2 * PIECE)) {
                    for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks().0) {
                        *half = f16::from_le_bytes(*bytes);
                    }
                    halves[..to.len()].convert_to_f32_slice(to);
                }
            }
        }
    }
}

impl Precision {
    /// The packed bytes of weights in their own order; in int8 they are quantised already, in bf16x3 split.
    pub(in super::super) fn convert(self, values: &[f32], to: &mut [u8]) {
        match self {
            Self::F32 => {
                for (to, value) in to.as_chunks_mut().0.iter_mut().zip(values) {
                    *to = value.to_ne_bytes();
                }
            }
            Self::Bf16 | Self::Bf16x3 => {
                for (to, value) in to.as_chunks_mut().0.iter_mut().zip(values) {
                    *to = bf16_bits(*value).to_ne_bytes();
                }
            }
            Self::Int8 => {
                for (to, value) in to.iter_mut().zip(values) {
                    *to = int8::byte(*value);
                }
            }
        }
    }
}

/// Numbers of a tile's row in bf16.
pub(super) const STEP_NUMBERS: usize = 2 * TILE_WORDS;

/// A row of weights, as long as both halves need, its numbers at the beginning, into halves, each with a bf16's value.
pub(super) fn split_row(row: &mut [f32]) {
    // From the end, where there is room.
    for step in (0..row.len() / (2 * STEP_NUMBERS)).rev() {
        for i in (0..STEP_NUMBERS).rev() {
            let value = row[step * STEP_NUMBERS + i];
            let first = f32::from_bits(u32::from(bf16_bits(value)) << 16);
            row[2 * step * STEP_NUMBERS + STEP_NUMBERS + i] = value - first;
            row[2 * step * STEP_NUMBERS + i] = first;
        }
    }
}

/// As `bf16::from_f32`, without the branches that keep the compiler from making vector instructions of it.
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
    (if is_nan { bits >> 16 | 0x40 } else { rounded }) as u16
}

/// Puts the packed rows of a panel's channels side by side: `group_bytes` bytes of each channel in turn. `rows` begins with
/// the first channel's, and each is `stride` bytes after the one before; `to` takes what there is room for.
pub(in super::super) fn interleave(
    rows: &[u8],
    stride: usize,
    channels: usize,
    group_bytes: usize,
    to: &mut [u8],
) {
    match group_bytes {
        2 => interleave_groups::<2>(rows, stride, channels, to),
        _ => interleave_groups::<4>(rows, stride, channels, to),
    }
}

fn interleave_groups<const BYTES: usize>(rows: &[u8], stride: usize, channels: usize, to: &mut [u8]) {
    // Steps at a time, so that what is written stays in the nearest cache until every channel's part is there.
    const STEPS: usize = 16;
    let to: &mut [[u8; BYTES]] = to.as_chunks_mut().0;
    for (block, to) in to.chunks_mut(STEPS * channels).enumerate() {
        let bytes = to.len() / channels * BYTES;
        for channel in 0..channels {
            let start = channel * stride + block * STEPS * BYTES;
            let groups = rows[start..start + bytes].as_chunks::<BYTES>().0;
            for (step, group) in to.chunks_exact_mut(channels).zip(groups) {
                step[channel] = *group;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_rounded_as_the_library_rounds() {
        let special =
            [f32::NAN, -f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, -0.0, f32::from_bits(1)];
        let ties = (0..1 << 20).map(|i: u32| f32::from_bits(i.wrapping_mul(0x9e37_79b9) & !0x7ffe));
        for value in special.into_iter().chain(ties) {
            assert_eq!(bf16_bits(value), bf16::from_f32(value).to_bits(), "{value:e}");
        }
    }

    #[test]
    fn bytes_at_any_alignment_and_layers_one_after_another_are_read_as_slices_are() {
        let values: Vec<f32> = (0..60).map(|i| i as f32 / 8.0 - 3.0).collect();
        let (halves, brains): (Vec<f16>, Vec<bf16>) = (
            values.iter().map(|x| f16::from_f32(*x)).collect(),
            values.iter().map(|x| bf16::from_f32(*x)).collect(),
        );
        let mut unaligned = vec![vec![7_u8]; 3];
        values.iter().for_each(|x| unaligned[0].extend(x.to_le_bytes()));
        halves.iter().for_each(|x| unaligned[1].extend(x.to_le_bytes()));
        brains.iter().for_each(|x| unaligned[2].extend(x.to_le_bytes()));
        let floats = [Float::F32, Float::F16, Float::Bf16];
        let slices = [Weights::F32(&values), Weights::F16(&halves), Weights::Bf16(&brains)];
        for ((float, bytes), slice) in floats.into_iter().zip(&unaligned).zip(slices) {
            let bytes = Weights::Bytes(float, &bytes[1..]);
            let stacked = [slice, bytes];
            let stacked = Weights::Stacked(&stacked);
            assert_eq!((bytes.len(), stacked.len()), (60, 120));
            for row in 0..6 {
                let (mut found, mut wanted) = ([0.0; 20], [0.0; 20]);
                stacked.read_row(row, &mut found);
                slice.read_row(row % 3, &mut wanted);
                assert_eq!(found, wanted, "{float:?}, row {row}");
            }
        }
    }
}
