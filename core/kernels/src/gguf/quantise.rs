//! From f32 to the formats with blocks of 32, as ggml's reference functions do it.

use half::{bf16, f16};

use super::block::UNIT;
use super::format::Format;
use crate::error::{KernelError, Result};

impl Format {
    /// Whether [`quantise`](Self::quantise) supports the format.
    pub const fn can_quantise(self) -> bool {
        matches!(
            self,
            Self::F16 | Self::Bf16 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0
        )
    }

    /// The blocks nearest to `numbers`: the same bytes as ggml's reference functions. The others
    /// can only be read.
    ///
    /// # Errors
    /// `unsupported` for a format that is only read; [`Shape`](crate::KernelError::Shape) if the numbers are not whole
    /// blocks.
    pub fn quantise(self, numbers: &[f32]) -> Result<Vec<u8>> {
        if !self.can_quantise() {
            return Err(KernelError::unsupported(format!("quantising to {} is not supported", self.name())));
        }
        let mut bytes = Vec::with_capacity(self.bytes(1, numbers.len())?);
        for block in numbers.chunks_exact(self.block_length()) {
            match self {
                Self::F16 => bytes.extend(f16::from_f32(block[0]).to_le_bytes()),
                Self::Bf16 => bytes.extend(bf16::from_f32(block[0]).to_le_bytes()),
                Self::Q8_0 => q8_0(block, &mut bytes),
                Self::Q4_0 => symmetric(block, 4, &mut bytes),
                Self::Q5_0 => symmetric(block, 5, &mut bytes),
                Self::Q4_1 => with_minimum(block, 4, &mut bytes),
                Self::Q5_1 => with_minimum(block, 5, &mut bytes),
                _ => {}
            }
        }
        Ok(bytes)
    }
}

/// `1 / scale`, or zero.
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

fn q8_0(block: &[f32], bytes: &mut Vec<u8>) {
    let largest = block.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
    let scale = largest / 127.0;
    let inverse = inverse(scale);
    bytes.extend(f16::from_f32(scale).to_le_bytes());
    bytes.extend(block.iter().map(|number| (number * inverse).round() as i8 as u8));
}

/// The number with the largest absolute value gets the lowest code, which has no positive counterpart.
fn symmetric(block: &[f32], bits: u32, bytes: &mut Vec<u8>) {
    let extreme =
        block.iter().fold(0.0_f32, |most, number| if number.abs() > most.abs() { *number } else { most });
    let middle = (1 << (bits - 1)) as f32;
    let scale = extreme / -middle;
    let inverse = inverse(scale);
    bytes.extend(f16::from_f32(scale).to_le_bytes());
    put_codes(block.iter().map(|number| number * inverse + (middle + 0.5)), bits, bytes);
}

fn with_minimum(block: &[f32], bits: u32, bytes: &mut Vec<u8>) {
    let least = block.iter().fold(f32::INFINITY, |least, number| least.min(*number));
    let most = block.iter().fold(f32::NEG_INFINITY, |most, number| most.max(*number));
    let scale = (most - least) / ((1 << bits) - 1) as f32;
    let inverse = inverse(scale);
    bytes.extend(f16::from_f32(scale).to_le_bytes());
    bytes.extend(f16::from_f32(least).to_le_bytes());
    put_codes(block.iter().map(|number| (number - least) * inverse + 0.5), bits, bytes);
}

/// Writes the fifth bits, if there are any, and then the lower four.
fn put_codes(numbers: impl Iterator<Item = f32>, bits: u32, bytes: &mut Vec<u8>) {
    let mut codes = [0_u8; UNIT];
    for (code, number) in codes.iter_mut().zip(numbers) {
        *code = (number as u8).min((1 << bits) - 1);
    }
    if bits == 5 {
        let fifth = codes.iter().enumerate().fold(0, |word, (i, code)| word | u32::from(code >> 4) << i);
        bytes.extend(fifth.to_le_bytes());
    }
    let (first, others) = codes.split_at(UNIT / 2);
    bytes.extend(first.iter().zip(others).map(|(first, other)| first & 15 | other << 4));
}
