//! Writes the gzip stream of a repeated text directly, as one copy and back references. Compressing a bomb of 70 MB
//! would take seconds in an unoptimised build.

use crate::case::Repeat;

/// The longest match of a deflate back reference.
const MAX_MATCH_BYTES: usize = 258;
/// The longest distance of a deflate back reference.
pub(super) const MAX_DISTANCE: usize = 32_768;

/// `repeat` as a gzip stream.
pub(super) fn compress(repeat: &Repeat) -> Vec<u8> {
    let text = repeat.text.as_bytes();
    let mut bits = Bits { bytes: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], pending: 0, count: 0 };
    // One block, the last one, with fixed Huffman codes.
    bits.low_first(0b011, 3);
    repeat.prefix.bytes().for_each(|byte| bits.literal(byte));
    let mut left = text.len() * repeat.count;
    if text.len() <= MAX_DISTANCE && repeat.count > 1 {
        text.iter().for_each(|byte| bits.literal(*byte));
        left -= text.len();
        while left >= MAX_MATCH_BYTES {
            bits.longest_match(text.len());
            left -= MAX_MATCH_BYTES;
        }
    }
    let written = text.len() * repeat.count - left;
    text.iter().cycle().skip(written % text.len().max(1)).take(left).for_each(|byte| bits.literal(*byte));
    repeat.suffix.bytes().for_each(|byte| bits.literal(byte));
    bits.high_first(0, 7);
    let mut bytes = bits.finish();
    let (sum, length) = checksum(repeat);
    bytes.extend(sum.to_le_bytes());
    #[allow(clippy::cast_possible_truncation)]
    bytes.extend((length as u32).to_le_bytes());
    bytes
}

struct Bits {
    bytes: Vec<u8>,
    pending: u32,
    count: u32,
}

impl Bits {
    fn low_first(&mut self, value: u32, width: u32) {
        self.pending |= value << self.count;
        self.count += width;
        while self.count >= 8 {
            self.bytes.push((self.pending & 0xff) as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// Huffman codes are packed from their highest bit.
    fn high_first(&mut self, code: u32, width: u32) {
        self.low_first(code.reverse_bits() >> (32 - width), width);
    }

    fn literal(&mut self, byte: u8) {
        match byte {
            0..144 => self.high_first(0x30 + u32::from(byte), 8),
            _ => self.high_first(0x190 + u32::from(byte) - 144, 9),
        }
    }

    fn longest_match(&mut self, distance: usize) {
        self.high_first(0xc5, 8);
        #[allow(clippy::cast_possible_truncation)]
        let back = distance as u32 - 1;
        if back < 4 {
            return self.high_first(back, 5);
        }
        let extra = back.ilog2() - 1;
        self.high_first(2 * extra + (back >> extra), 5);
        self.low_first(back & ((1 << extra) - 1), extra);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.low_first(0, 8 - self.count);
        }
        self.bytes
    }
}

const POLYNOMIAL: u32 = 0xedb8_8320;

/// The CRC-32 and the length of the unpacked whole.
fn checksum(repeat: &Repeat) -> (u32, u64) {
    let part = |text: &str| (crc(text.as_bytes()), text.len() as u64);
    let mut whole = part(&repeat.prefix);
    let mut power = part(&repeat.text);
    let mut left = repeat.count;
    while left > 0 {
        if left & 1 == 1 {
            whole = combined(whole, power);
        }
        power = combined(power, power);
        left >>= 1;
    }
    combined(whole, part(&repeat.suffix))
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 },
        )
    })
}

/// The checksum of two texts one after the other, from their checksums and lengths.
fn combined((first, first_length): (u32, u64), (second, second_length): (u32, u64)) -> (u32, u64) {
    // x to the power of 8, squared on for every bit of the length.
    let mut square = 1 << 23;
    let mut shift = 1 << 31;
    let mut left = second_length;
    while left > 0 {
        if left & 1 == 1 {
            shift = product(square, shift);
        }
        square = product(square, square);
        left >>= 1;
    }
    (product(shift, first) ^ second, first_length + second_length)
}

/// The product of two polynomials over GF(2), modulo that of the checksum; the highest bit is x⁰.
fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    for bit in (0..32).rev() {
        if a >> bit & 1 == 1 {
            sum ^= b;
        }
        b = if b & 1 == 1 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeat(text: &str, count: usize, prefix: &str, suffix: &str) -> Repeat {
        Repeat { text: text.into(), count, prefix: prefix.into(), suffix: suffix.into() }
    }

    #[test]
    fn checksums_are_those_of_the_written_out_text() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        for (text, count) in [("a", 1), ("ab", 7), ("123456789", 1000)] {
            let whole = format!("<{}>", text.repeat(count));
            let expected = (crc(whole.as_bytes()), whole.len() as u64);
            assert_eq!(checksum(&repeat(text, count, "<", ">")), expected, "{text} × {count}");
        }
    }

    #[test]
    fn a_bomb_is_small_on_the_wire() {
        let bomb = compress(&repeat("a", 100 << 20, "", ""));
        assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
    }
}
