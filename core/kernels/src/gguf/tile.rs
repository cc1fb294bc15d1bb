//! The blocks of 16 rows, packed in the order in which the inner loop reads them.
//!
//! A tile is one block of each of 16 rows. First come the codes, for each unit of 32 positions the lower bits of all
//! rows and then the upper bits; then the scales of the whole tile:
//!
//! ```text
//! codes    unit 0: lower bits, upper bits; unit 1: …
//! scales   16 f16; 16 f16 minima, if there are any;
//!          for each part one byte per row, scales and then minima (with four bits each: both in one byte)
//! ```
//! Bits are in lines of 64 bytes: four positions of row 0, of row 1, and so on. A unit of 8-bit codes takes eight
//! lines; a line of fewer bits holds several groups of four positions, the first in the lowest bits. So a line is one
//! register of AVX-512, and its halves and quarters are registers of smaller sets.

use half::f16;

use super::block::{Block, GROUP, GROUPS, Scales, Shape};

/// Rows of a tile.
pub(super) const ROWS: usize = 16;

/// Bytes of a line: four positions of every row.
pub(super) const LINE: usize = ROWS * GROUP;

/// Bytes of an f16 for every row.
pub(super) const HALVES: usize = ROWS * 2;

impl Shape {
    /// Bytes of the codes of a unit.
    pub(super) const fn unit_bytes(&self) -> usize {
        (self.low + self.high) * LINE
    }

    /// Bytes of a tile before its scales.
    pub(super) const fn code_bytes(&self) -> usize {
        self.units * self.unit_bytes()
    }

    /// Bytes from the tile's scales to those of the parts.
    pub(super) const fn part_start(&self) -> usize {
        match self.scales {
            Scales::Exponent => 0,
            _ if self.has_minimum() => 2 * HALVES,
            _ => HALVES,
        }
    }

    /// Bytes of a part's scale and minimum.
    pub(super) const fn part_bytes(&self) -> usize {
        match self.scales {
            Scales::Half | Scales::HalfAndMinimum => 0,
            Scales::Signed | Scales::Nibbles | Scales::Exponent => ROWS,
            Scales::Pairs => 2 * ROWS,
        }
    }

    /// Bytes of a tile.
    pub(super) const fn tile_bytes(&self) -> usize {
        self.code_bytes() + self.part_start() + self.parts() * self.part_bytes()
    }

    /// Where the lower and upper bits of a group are in a unit: the byte of row 0, and the shift to the left.
    const fn places(&self, group: usize) -> [(usize, usize); 2] {
        let low = (group * self.low / 8 * LINE, group * self.low % 8);
        let high = ((self.low + group * self.high / 8) * LINE, group * self.high % 8);
        [low, high]
    }
}

/// Writes a row's block to a tile.
#[inline(always)]
pub(super) fn write(shape: &Shape, tile: &mut [u8], row: usize, block: &Block) {
    let units = block.codes.chunks_exact(GROUP * GROUPS).zip(tile.chunks_exact_mut(shape.unit_bytes()));
    for (codes, unit) in units.take(shape.units) {
        let word =
            |group: usize| codes[GROUP * group..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        let (low, high) = unit.split_at_mut(shape.low * LINE);
        put(low, row, shape.low, word);
        put(high, row, shape.high, |group| word(group) >> shape.low);
    }
    let scales = &mut tile[shape.code_bytes()..];
    if shape.part_start() > 0 {
        scales[2 * row..2 * row + 2].copy_from_slice(&block.scale.to_le_bytes());
    }
    if shape.has_minimum() {
        scales[HALVES + 2 * row..HALVES + 2 * row + 2].copy_from_slice(&block.minimum.to_le_bytes());
    }
    let parts = scales[shape.part_start()..].chunks_exact_mut(shape.part_bytes().max(1));
    for (number, part) in parts.take(shape.parts()).enumerate() {
        let (scale, minimum) = (block.scales[number], block.minima[number]);
        match shape.scales {
            Scales::Half | Scales::HalfAndMinimum => {}
            Scales::Signed | Scales::Exponent => part[row] = scale,
            Scales::Nibbles => part[row] = scale | minimum << 4,
            Scales::Pairs => (part[row], part[ROWS + row]) = (scale, minimum),
        }
    }
}

/// What [`write`] was given.
pub(super) fn read(shape: &Shape, tile: &[u8], row: usize) -> Block {
    let mut block = Block::default();
    let units = block.codes.chunks_exact_mut(GROUP * GROUPS).zip(tile.chunks_exact(shape.unit_bytes()));
    for (codes, unit) in units.take(shape.units) {
        for (group, codes) in codes.chunks_exact_mut(GROUP).enumerate() {
            let [low, high] = shape.places(group);
            let mut word = get(unit, low, row) & repeat(shape.low);
            if shape.high > 0 {
                word |= (get(unit, high, row) & repeat(shape.high)) << shape.low;
            }
            codes.copy_from_slice(&word.to_le_bytes());
        }
    }
    let scales = &tile[shape.code_bytes()..];
    let half = |at: usize| f16::from_le_bytes([scales[at], scales[at + 1]]);
    if shape.part_start() > 0 {
        block.scale = half(2 * row);
    }
    if shape.has_minimum() {
        block.minimum = half(HALVES + 2 * row);
    }
    let parts = scales[shape.part_start()..].chunks_exact(shape.part_bytes().max(1));
    for (number, part) in parts.take(shape.parts()).enumerate() {
        (block.scales[number], block.minima[number]) = match shape.scales {
            Scales::Half | Scales::HalfAndMinimum => (0, 0),
            Scales::Signed | Scales::Exponent => (part[row], 0),
            Scales::Nibbles => (part[row] & 15, part[row] >> 4),
            Scales::Pairs => (part[row], part[ROWS + row]),
        };
    }
    block
}

/// A mask of so many low bits in each byte of a word.
pub(super) const fn repeat(bits: usize) -> u32 {
    ((1 << bits) - 1) * 0x0101_0101
}

/// Writes so many bits of every code of a row. A line has those of several groups.
#[inline(always)]
fn put(lines: &mut [u8], row: usize, bits: usize, word: impl Fn(usize) -> u32) {
    for (number, line) in lines.chunks_exact_mut(LINE).enumerate() {
        let groups = GROUPS / bits;
        let mut all = 0;
        for i in 0..groups {
            all |= (word(number * groups + i) & repeat(bits)) << (i * bits);
        }
        line[GROUP * row..GROUP * (row + 1)].copy_from_slice(&all.to_le_bytes());
    }
}

/// The bits of a row, and above them those of later groups.
#[inline]
fn get(unit: &[u8], (line, shift): (usize, usize), row: usize) -> u32 {
    let word = unit[line + GROUP * row..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
    word >> shift
}
