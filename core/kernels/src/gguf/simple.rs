//! The formats with blocks of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and MXFP4; IQ4_NL is written as Q4_0.
//!
//! A block is an f16 scale; an f16 minimum, if it has one; a word of fifth bits, if it has them; and the codes: with
//! four bits, the first 16 in the lower halves of 16 bytes and the others in the upper halves.

use half::f16;

use super::block::Block;

/// The f16 at byte `at`.
pub(super) fn half_at(bytes: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The lower halves of 16 bytes, and then the upper ones.
fn nibbles(block: &mut Block, bytes: &[u8]) {
    let (first, others) = block.codes.split_at_mut(16);
    for ((first, other), byte) in first.iter_mut().zip(others).zip(bytes) {
        (*first, *other) = (byte & 15, byte >> 4);
    }
}

/// Adds the fifth bits: bit `i` of a word to code `i`.
fn fifth_bits(block: &mut Block, bytes: &[u8]) {
    let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    for (i, code) in block.codes[..32].iter_mut().enumerate() {
        *code |= ((word >> i & 1) as u8) << 4;
    }
}

/// Parses a block of Q4_0 or IQ4_NL.
pub(super) fn q4_0(block: &mut Block, bytes: &[u8]) {
    block.scale = half_at(bytes, 0);
    nibbles(block, &bytes[2..]);
}

/// Parses a block of Q4_1.
pub(super) fn q4_1(block: &mut Block, bytes: &[u8]) {
    (block.scale, block.minimum) = (half_at(bytes, 0), half_at(bytes, 2));
    nibbles(block, &bytes[4..]);
}

/// Parses a block of Q5_0.
pub(super) fn q5_0(block: &mut Block, bytes: &[u8]) {
    block.scale = half_at(bytes, 0);
    nibbles(block, &bytes[6..]);
    fifth_bits(block, &bytes[2..]);
}

/// Parses a block of Q5_1.
pub(super) fn q5_1(block: &mut Block, bytes: &[u8]) {
    (block.scale, block.minimum) = (half_at(bytes, 0), half_at(bytes, 2));
    nibbles(block, &bytes[8..]);
    fifth_bits(block, &bytes[4..]);
}

/// Parses a block of MXFP4: a power of two instead of the f16 scale.
pub(super) fn mxfp4(block: &mut Block, bytes: &[u8]) {
    block.scales[0] = bytes[0];
    nibbles(block, &bytes[1..]);
}

/// Parses a block of Q8_0.
pub(super) fn q8_0(block: &mut Block, bytes: &[u8]) {
    block.scale = half_at(bytes, 0);
    // Signed bytes, made unsigned by adding 128.
    block.codes.iter_mut().zip(&bytes[2..]).for_each(|(code, byte)| *code = byte ^ 0x80);
}
