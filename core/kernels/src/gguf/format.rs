//! The formats of ggml: their names, their numbers in a file, and the sizes of their blocks.

use half::{bf16, f16};

use super::block::{Block, Shape};
use super::quantised::{BlockFormat, with_kind};
use crate::error::{KernelError, Result};

/// The formats: each with ggml's name and number (`ggml_type`), the bytes of a block, and where in it are its scale and its
/// minimum, in f16 (bf16 for that format).
macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident: $label:literal, $number:literal, $bytes:literal, $places:expr;)*) => {
        /// The format of the numbers in a weight file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Format {
            $($(#[$doc])* $name,)*
        }

        impl Format {
            /// Every format, for tests and measurements.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The format's name, as ggml spells it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// The format's number in a GGUF file (`ggml_type`).
            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// How many bytes a block takes in a file.
            pub const fn block_bytes(self) -> usize {
                match self { $(Self::$name => $bytes,)* }
            }

            /// Where a block has its scale and its minimum.
            pub(super) const fn scale_places(self) -> &'static [usize] {
                match self { $(Self::$name => $places,)* }
            }
        }
    };
}

formats! {
    /// 16-bit IEEE numbers.
    F16: "F16", 1, 2, &[0];
    /// bfloat16: the upper halves of f32.
    Bf16: "BF16", 30, 2, &[0];
    /// Blocks of 32 with a scale; 4 bits a number.
    Q4_0: "Q4_0", 2, 18, &[0];
    /// Blocks of 32 with a scale and a minimum; 4 bits a number.
    Q4_1: "Q4_1", 3, 20, &[0, 2];
    /// Blocks of 32 with a scale; 5 bits a number.
    Q5_0: "Q5_0", 6, 22, &[0];
    /// Blocks of 32 with a scale and a minimum; 5 bits a number.
    Q5_1: "Q5_1", 7, 24, &[0, 2];
    /// Blocks of 32 with a scale; 8 bits a number.
    Q8_0: "Q8_0", 8, 34, &[0];
    /// Blocks of 256 in 16 parts with scale and minimum; 2 bits a number.
    Q2K: "Q2_K", 10, 84, &[80, 82];
    /// Blocks of 256 in 16 parts with a scale; 3 bits a number.
    Q3K: "Q3_K", 11, 110, &[108];
    /// Blocks of 256 in 8 parts with scale and minimum; 4 bits a number.
    Q4K: "Q4_K", 12, 144, &[0, 2];
    /// Blocks of 256 in 8 parts with scale and minimum; 5 bits a number.
    Q5K: "Q5_K", 13, 176, &[0, 2];
    /// Blocks of 256 in 16 parts with a scale; 6 bits a number.
    Q6K: "Q6_K", 14, 210, &[208];
    /// Blocks of 32 with a scale; 4 bits for one of 16 numbers.
    Iq4Nl: "IQ4_NL", 20, 18, &[0];
    /// Blocks of 256 in 8 parts with a scale; 4 bits for one of 16 numbers.
    Iq4Xs: "IQ4_XS", 23, 136, &[0];
    /// Blocks of 256 with a scale; -1, 0 or 1 in 2 bits.
    Tq2_0: "TQ2_0", 35, 66, &[64];
    /// Blocks of 32 with a power of two; floats of 4 bits.
    Mxfp4: "MXFP4", 39, 17, &[];
}

impl Format {
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

    /// Whether the scales of the blocks in `bytes` are finite, and so every number.
    pub fn are_finite(self, bytes: &[u8]) -> bool {
        // The exponent of what is no number, and of an infinity.
        let exponent = if self == Self::Bf16 { 0x7f80 } else { 0x7c00 };
        let places = self.scale_places();
        bytes.chunks_exact(self.block_bytes()).all(|block| {
            let is_finite =
                |at: &usize| u16::from_le_bytes([block[*at], block[at + 1]]) & exponent != exponent;
            (self != Self::Mxfp4 || block[0] != u8::MAX) && places.iter().all(is_finite)
        })
    }

    /// A number of one of the formats without blocks, from its bits.
    pub(super) fn half(self, bits: u16) -> f32 {
        if self == Self::Bf16 { bf16::from_bits(bits).to_f32() } else { f16::from_bits(bits).to_f32() }
    }

    /// The shape of the format's blocks, if it has blocks.
    pub(super) const fn shape(self) -> Option<Shape> {
        with_kind!(self, K => Some(<K as BlockFormat>::SHAPE), Self::F16 | Self::Bf16 => None)
    }

    /// Parses a block. `bytes` has the block's size.
    pub(super) fn parse(self, bytes: &[u8]) -> Block {
        let mut block = Block::default();
        with_kind!(self, K => K::parse(&mut block, bytes), Self::F16 | Self::Bf16 => {});
        block
    }
}
