//! The formats with blocks of 256: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS and TQ2_0.
//!
//! A byte holds bits of positions that are 32 apart, so that shifting a register of bytes gives a register of codes.

use super::block::Block;
use super::simple::half_at;

/// Codes of two bits: each byte holds those of four positions, 32 apart.
fn two_bits(block: &mut Block, bytes: &[u8]) {
    for (codes, bytes) in block.codes.chunks_exact_mut(128).zip(bytes.chunks_exact(32)) {
        for (number, codes) in codes.chunks_exact_mut(32).enumerate() {
            codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code = byte >> (2 * number) & 3);
        }
    }
}

/// Codes of four bits: each byte holds those of two positions, 32 apart.
fn four_bits(block: &mut Block, bytes: &[u8]) {
    for (codes, bytes) in block.codes.chunks_exact_mut(64).zip(bytes.chunks_exact(32)) {
        let (first, others) = codes.split_at_mut(32);
        for ((first, other), byte) in first.iter_mut().zip(others).zip(bytes) {
            (*first, *other) = (byte & 15, byte >> 4);
        }
    }
}

/// Adds one bit to every code: each of 32 bytes holds those of eight positions, 32 apart.
fn one_more_bit(block: &mut Block, bytes: &[u8], place: u32) {
    for (number, codes) in block.codes.chunks_exact_mut(32).enumerate() {
        codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code |= (byte >> number & 1) << place);
    }
}

/// Eight scales and eight minima of six bits in 12 bytes. The first four of each are the lower six bits of the first
/// eight bytes; the others have their lower four bits in the last four bytes and their upper two in the first eight.
fn six_bit_pairs(block: &mut Block, bytes: &[u8]) {
    for i in 0..4 {
        block.scales[i] = bytes[i] & 63;
        block.minima[i] = bytes[i + 4] & 63;
        block.scales[i + 4] = bytes[i + 8] & 15 | bytes[i] >> 6 << 4;
        block.minima[i + 4] = bytes[i + 8] >> 4 | bytes[i + 4] >> 6 << 4;
    }
}

/// Parses a block of Q2_K.
pub(super) fn q2_k(block: &mut Block, bytes: &[u8]) {
    (block.scale, block.minimum) = (half_at(bytes, 80), half_at(bytes, 82));
    for (i, byte) in bytes[..16].iter().enumerate() {
        (block.scales[i], block.minima[i]) = (byte & 15, byte >> 4);
    }
    two_bits(block, &bytes[16..80]);
}

/// Parses a block of Q3_K.
pub(super) fn q3_k(block: &mut Block, bytes: &[u8]) {
    block.scale = half_at(bytes, 108);
    two_bits(block, &bytes[32..96]);
    one_more_bit(block, &bytes[..32], 2);
    // Sixteen scales of six bits with an offset of 32: the lower four bits in eight bytes, the upper two in four.
    let packed = &bytes[96..108];
    for i in 0..16 {
        let low = if i < 8 { packed[i] & 15 } else { packed[i - 8] >> 4 };
        let high = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
        block.scales[i] = (low | high << 4).wrapping_sub(32);
    }
}

/// Parses a block of Q4_K.
pub(super) fn q4_k(block: &mut Block, bytes: &[u8]) {
    (block.scale, block.minimum) = (half_at(bytes, 0), half_at(bytes, 2));
    six_bit_pairs(block, &bytes[4..16]);
    four_bits(block, &bytes[16..]);
}

/// Parses a block of Q5_K.
pub(super) fn q5_k(block: &mut Block, bytes: &[u8]) {
    (block.scale, block.minimum) = (half_at(bytes, 0), half_at(bytes, 2));
    six_bit_pairs(block, &bytes[4..16]);
    four_bits(block, &bytes[48..]);
    one_more_bit(block, &bytes[16..48], 4);
}

/// Parses a block of Q6_K.
pub(super) fn q6_k(block: &mut Block, bytes: &[u8]) {
    block.scale = half_at(bytes, 208);
    block.scales.copy_from_slice(&bytes[192..208]);
    let halves = bytes[..128].chunks_exact(64).zip(bytes[128..192].chunks_exact(32));
    for (codes, (low, high)) in block.codes.chunks_exact_mut(128).zip(halves) {
        for (number, codes) in codes.chunks_exact_mut(32).enumerate() {
            // The lower four bits: two positions 64 apart in a byte. The upper two: four positions in a byte.
            let low = low[32 * (number % 2)..].iter().map(|byte| byte >> (4 * (number / 2)) & 15);
            let high = high.iter().map(|byte| (byte >> (2 * number) & 3) << 4);
            codes.iter_mut().zip(low.zip(high)).for_each(|(code, (low, high))| *code = low | high);
        }
    }
}

/// Parses a block of IQ4_XS: eight scales of six bits with an offset of 32, the lower four in four bytes, the upper two in a word.
pub(super) fn iq4_xs(block: &mut Block, bytes: &[u8]) {
    block.scale = half_at(bytes, 0);
    let high = u16::from_le_bytes([bytes[2], bytes[3]]);
    for (unit, codes) in block.codes.chunks_exact_mut(32).enumerate() {
        let low = bytes[4 + unit / 2] >> (4 * (unit % 2)) & 15;
        block.scales[unit] = (low | ((high >> (2 * unit) & 3) as u8) << 4).wrapping_sub(32);
        let (first, others) = codes.split_at_mut(16);
        for ((first, other), byte) in first.iter_mut().zip(others).zip(&bytes[8 + 16 * unit..]) {
            (*first, *other) = (byte & 15, byte >> 4);
        }
    }
}

/// Parses a block of TQ2_0: -1, 0 or 1 in two bits.
pub(super) fn tq2_0(block: &mut Block, bytes: &[u8]) {
    block.scale = half_at(bytes, 64);
    two_bits(block, &bytes[..64]);
}
