//! The formats of ggml: their names, their numbers in a file, and the sizes of their blocks.

use half::{bf16, f16};

use super::block::{Block, Shape};
use super::{simple, super_blocks};
use crate::error::{KernelError, Result};

/// The format of the numbers in a weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// 16-bit IEEE numbers.
    F16,
    /// bfloat16: the upper halves of f32.
    Bf16,
    /// Blocks of 32 with a scale; 4 bits a number.
    Q4_0,
    /// Blocks of 32 with a scale and a minimum; 4 bits a number.
    Q4_1,
    /// Blocks of 32 with a scale; 5 bits a number.
    Q5_0,
    /// Blocks of 32 with a scale and a minimum; 5 bits a number.
    Q5_1,
    /// Blocks of 32 with a scale; 8 bits a number.
    Q8_0,
    /// Blocks of 256 in 16 parts with scale and minimum; 2 bits a number.
    Q2K,
    /// Blocks of 256 in 16 parts with a scale; 3 bits a number.
    Q3K,
    /// Blocks of 256 in 8 parts with scale and minimum; 4 bits a number.
    Q4K,
    /// Blocks of 256 in 8 parts with scale and minimum; 5 bits a number.
    Q5K,
    /// Blocks of 256 in 16 parts with a scale; 6 bits a number.
    Q6K,
}

impl Format {
    /// Every format, for tests and measurements.
    pub const ALL: &'static [Self] = &[
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// The format's name, as ggml spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// The format's number in a GGUF file (`ggml_type`).
    pub const fn number(self) -> u32 {
        match self {
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q2K => 10,
            Self::Q3K => 11,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::Bf16 => 30,
        }
    }

    /// The format with this number in a GGUF file, if it is one of these.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.number() == number)
    }

    /// How many numbers a block has. A row is made of whole blocks.
    pub const fn block_length(self) -> usize {
        match self.shape() {
            Some(shape) => shape.length(),
            None => 1,
        }
    }

    /// How many bytes a block takes in a file.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// How many bytes `n` rows of `k` numbers take in a file.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if `k` is not a whole number of blocks, or the size does not fit memory.
    pub fn bytes(self, n: usize, k: usize) -> Result<usize> {
        let length = self.block_length();
        if !k.is_multiple_of(length) {
            let name = self.name();
            return Err(KernelError::shape(format!(
                "{name}: expected rows of a multiple of {length} numbers, found {k}"
            )));
        }
        let bytes = n.checked_mul(k / length).and_then(|blocks| blocks.checked_mul(self.block_bytes()));
        bytes.ok_or_else(|| KernelError::shape(format!("{n} rows of {k} numbers are too large")))
    }

    /// Writes the numbers of the blocks in `bytes`: the same bits as ggml's own functions.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if `bytes` has not the size of `to.len()` numbers.
    pub fn dequantise(self, bytes: &[u8], to: &mut [f32]) -> Result<()> {
        let wanted = self.bytes(1, to.len())?;
        if bytes.len() != wanted {
            let (name, found, count) = (self.name(), bytes.len(), to.len());
            return Err(KernelError::shape(format!(
                "{count} numbers in {name}: expected {wanted} bytes, found {found}"
            )));
        }
        let blocks = bytes.chunks_exact(self.block_bytes()).zip(to.chunks_exact_mut(self.block_length()));
        match self.shape() {
            None => {
                blocks.for_each(|(bytes, to)| to[0] = self.half(u16::from_le_bytes([bytes[0], bytes[1]])))
            }
            Some(shape) => blocks.for_each(|(bytes, to)| self.parse(bytes).dequantise(&shape, to)),
        }
        Ok(())
    }

    /// Where a block has its scale and its minimum, in f16 (bf16 for that format).
    pub(super) const fn scale_places(self) -> &'static [usize] {
        match self {
            Self::F16 | Self::Bf16 | Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => &[0],
            Self::Q4_1 | Self::Q5_1 | Self::Q4K | Self::Q5K => &[0, 2],
            Self::Q2K => &[80, 82],
            Self::Q3K => &[108],
            Self::Q6K => &[208],
        }
    }

    /// Whether the scales of the blocks in `bytes` are finite, and so every number.
    pub fn are_finite(self, bytes: &[u8]) -> bool {
        bytes.chunks_exact(self.block_bytes()).all(|block| {
            let scale = |at: &usize| self.half(u16::from_le_bytes([block[*at], block[at + 1]]));
            self.scale_places().iter().all(|at| scale(at).is_finite())
        })
    }

    /// A number of one of the formats without blocks, from its bits.
    pub(super) fn half(self, bits: u16) -> f32 {
        if self == Self::Bf16 { bf16::from_bits(bits).to_f32() } else { f16::from_bits(bits).to_f32() }
    }

    /// The shape of the format's blocks, if it has blocks.
    pub(super) const fn shape(self) -> Option<Shape> {
        Some(match self {
            Self::F16 | Self::Bf16 => return None,
            Self::Q4_0 => Shape::Q4_0,
            Self::Q4_1 => Shape::Q4_1,
            Self::Q5_0 => Shape::Q5_0,
            Self::Q5_1 => Shape::Q5_1,
            Self::Q8_0 => Shape::Q8_0,
            Self::Q2K => Shape::Q2K,
            Self::Q3K => Shape::Q3K,
            Self::Q4K => Shape::Q4K,
            Self::Q5K => Shape::Q5K,
            Self::Q6K => Shape::Q6K,
        })
    }

    /// Parses a block. `bytes` has the block's size.
    pub(super) fn parse(self, bytes: &[u8]) -> Block {
        match self {
            // Without blocks.
            Self::F16 | Self::Bf16 => Block::default(),
            Self::Q4_0 => simple::q4_0(bytes),
            Self::Q4_1 => simple::q4_1(bytes),
            Self::Q5_0 => simple::q5_0(bytes),
            Self::Q5_1 => simple::q5_1(bytes),
            Self::Q8_0 => simple::q8_0(bytes),
            Self::Q2K => super_blocks::q2_k(bytes),
            Self::Q3K => super_blocks::q3_k(bytes),
            Self::Q4K => super_blocks::q4_k(bytes),
            Self::Q5K => super_blocks::q5_k(bytes),
            Self::Q6K => super_blocks::q6_k(bytes),
        }
    }
}
