//! A parsed block: what the bits of every format mean.

use half::f16;

/// Numbers of a unit: the smallest block of all formats, and as many activations share a scale.
pub(super) const UNIT: usize = 32;

/// Codes of a group: they fill a word, which one instruction multiplies.
pub(super) const GROUP: usize = 4;

/// Groups of a unit.
pub(super) const GROUPS: usize = UNIT / GROUP;

/// The most numbers in a block.
pub(super) const MAX_LENGTH: usize = 256;

/// How scales and minima lie in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scales {
    /// One f16 scale.
    Half,
    /// An f16 scale and an f16 minimum, which is added.
    HalfAndMinimum,
    /// An f16 scale, times a signed byte per part.
    Signed,
    /// An f16 scale and an f16 minimum, which is subtracted; each times an unsigned byte per part.
    Pairs,
    /// The same with four bits per part each.
    Nibbles,
    /// A power of two: a byte, its exponent and 128.
    Exponent,
}

/// The blocks of a format: `(code - offset) · scale`, with a minimum added or subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Units of 32 in a block: 1 or 8.
    pub(super) units: usize,
    /// Lower bits of a code: 2, 4 or 8.
    pub(super) low: usize,
    /// Upper bits of a code, stored separately: 0, 1 or 2.
    pub(super) high: usize,
    /// Parts of a unit with a scale each: 1 or 2.
    pub(super) halves: usize,
    /// The code of zero.
    pub(super) offset: i32,
    /// How scales and minima are stored.
    pub(super) scales: Scales,
    /// What codes stand for, before the offset, where that is not the codes themselves.
    pub(super) table: Option<&'static [u8; 16]>,
}

/// The numbers of IQ4_NL and IQ4_XS, plus 128.
pub(super) const NON_LINEAR: [u8; 16] =
    [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];

/// The numbers of four-bit floats, doubled, plus 12.
pub(super) const FLOATS: [u8; 16] = [12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0];

impl Shape {
    /// Blocks of 32.
    pub(super) const fn simple([low, high]: [usize; 2], offset: i32, scales: Scales) -> Self {
        Self { units: 1, low, high, halves: 1, offset, scales, table: None }
    }

    /// Blocks of 256.
    pub(super) const fn of_256([low, high]: [usize; 2], halves: usize, offset: i32, scales: Scales) -> Self {
        Self { units: MAX_LENGTH / UNIT, low, high, halves, offset, scales, table: None }
    }

    /// The same blocks with codes that stand for what a table has.
    pub(super) const fn with_table(self, table: &'static [u8; 16]) -> Self {
        Self { table: Some(table), ..self }
    }

    /// Whether what is multiplied has at most seven bits.
    pub(super) const fn has_seven_bits(&self) -> bool {
        self.low + self.high < 8 && self.offset < 128
    }

    /// What a code stands for, before the scale.
    fn number(&self, code: u8) -> i32 {
        i32::from(self.table.map_or(code, |table| table[usize::from(code & 15)])) - self.offset
    }

    /// Numbers of a block.
    pub(super) const fn length(&self) -> usize {
        self.units * UNIT
    }

    /// Parts of a block with a scale each.
    pub(super) const fn parts(&self) -> usize {
        self.units * self.halves
    }

    /// Whether there are minima.
    pub(super) const fn has_minimum(&self) -> bool {
        matches!(self.scales, Scales::HalfAndMinimum | Scales::Pairs | Scales::Nibbles)
    }
}

/// A block's codes and scales, one per byte.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Block {
    /// The unsigned codes; a short block is padded with zeros.
    pub(super) codes: [u8; MAX_LENGTH],
    /// The block's scale.
    pub(super) scale: f16,
    /// The block's minimum, zero if it has none.
    pub(super) minimum: f16,
    /// The factor of the scale for each part, one byte each; signed bytes as their bits.
    pub(super) scales: [u8; 16],
    /// The factor of the minimum for each part, one byte each.
    pub(super) minima: [u8; 16],
}

impl Default for Block {
    fn default() -> Self {
        Self {
            codes: [0; MAX_LENGTH],
            scale: f16::ZERO,
            minimum: f16::ZERO,
            scales: [0; 16],
            minima: [0; 16],
        }
    }
}

impl Block {
    /// The scale of a part.
    pub(super) fn scale_of(&self, shape: &Shape, part: usize) -> f32 {
        let scale = self.scale.to_f32();
        match shape.scales {
            Scales::Half | Scales::HalfAndMinimum => scale,
            Scales::Signed => scale * f32::from(self.scales[part] as i8),
            Scales::Pairs | Scales::Nibbles => scale * f32::from(self.scales[part]),
            // Half of 2 to the power of the byte less 127; the lowest two are below the normal numbers.
            Scales::Exponent => f32::from_bits(match u32::from(self.scales[0]) {
                low @ 0..=1 => 0x0020_0000 << low,
                exponent => (exponent - 1) << 23,
            }),
        }
    }

    /// What is added to the numbers of a part.
    pub(super) fn minimum_of(&self, shape: &Shape, part: usize) -> f32 {
        let minimum = self.minimum.to_f32();
        match shape.scales {
            Scales::HalfAndMinimum => minimum,
            _ => -(minimum * f32::from(self.minima[part])),
        }
    }

    /// Writes the block's numbers, rounded as ggml rounds them.
    pub(super) fn dequantise(&self, shape: &Shape, to: &mut [f32]) {
        let length = UNIT / shape.halves;
        let parts = to.chunks_exact_mut(length).zip(self.codes.chunks_exact(length));
        for (part, (to, codes)) in parts.enumerate() {
            let scale = self.scale_of(shape, part);
            let numbers = codes.iter().map(|code| shape.number(*code) as f32 * scale);
            if shape.has_minimum() {
                let minimum = self.minimum_of(shape, part);
                to.iter_mut().zip(numbers).for_each(|(to, number)| *to = number + minimum);
            } else {
                to.iter_mut().zip(numbers).for_each(|(to, number)| *to = number);
            }
        }
    }
}
