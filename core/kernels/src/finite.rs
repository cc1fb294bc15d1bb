//! Whether numbers are finite: weights are checked while they load.

use super::Cpu;

/// A number's type, stored least significant byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Float {
    /// f32.
    F32,
    /// f16.
    F16,
    /// bf16.
    Bf16,
}

/// Bytes per task of the thread pool; a multiple of every number's size.
const CHUNK: usize = 1 << 18;

/// Whether none of the numbers in `bytes` is NaN or an infinity. It runs at the speed of memory. Bytes past the last
/// whole number are ignored.
pub fn are_finite(cpu: &Cpu, float: Float, bytes: &[u8]) -> bool {
    let found = std::sync::atomic::AtomicBool::new(true);
    cpu.pool.parallel(bytes.len().div_ceil(CHUNK), |part| {
        let start = part * CHUNK;
        let bytes = &bytes[start..bytes.len().min(start + CHUNK)];
        let is_finite = match float {
            Float::F32 => words_are_finite(bytes),
            Float::F16 => halves_are_finite(bytes, 0x7c00),
            Float::Bf16 => halves_are_finite(bytes, 0x7f80),
        };
        if !is_finite {
            found.store(false, std::sync::atomic::Ordering::Relaxed);
        }
    });
    found.into_inner()
}

// Neither stops at the first it finds, so that the compiler makes vector instructions of them.

fn words_are_finite(bytes: &[u8]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let is_not = |word: &[u8; 4]| u32::from_le_bytes(*word) & EXPONENT == EXPONENT;
    !bytes.as_chunks().0.iter().fold(false, |found, word| found | is_not(word))
}

fn halves_are_finite(bytes: &[u8], exponent: u16) -> bool {
    let is_not = |half: &[u8; 2]| u16::from_le_bytes(*half) & exponent == exponent;
    !bytes.as_chunks().0.iter().fold(false, |found, half| found | is_not(half))
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::super::testing::cpus;
    use super::*;

    #[test]
    fn one_number_among_many_is_found_wherever_it_is() {
        let cpu = &cpus()[0];
        let count = CHUNK / 2 + 3;
        for place in [0, 1, CHUNK / 4, count - 1] {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, -0.0] {
                let at = |index: usize| if index == place { value } else { 1.0 };
                let words: Vec<u8> = (0..count).flat_map(|index| at(index).to_le_bytes()).collect();
                let narrow: Vec<u8> =
                    (0..count).flat_map(|index| f16::from_f32(at(index)).to_le_bytes()).collect();
                let brain: Vec<u8> =
                    (0..count).flat_map(|index| bf16::from_f32(at(index)).to_le_bytes()).collect();
                assert_eq!(are_finite(cpu, Float::F32, &words), value.is_finite(), "{value} at {place}");
                let (half, rounded) = (f16::from_f32(value), bf16::from_f32(value));
                assert_eq!(are_finite(cpu, Float::F16, &narrow), half.is_finite(), "{half} at {place}");
                assert_eq!(are_finite(cpu, Float::Bf16, &brain), rounded.is_finite(), "{rounded} at {place}");
            }
        }
        assert!(are_finite(cpu, Float::F32, &[]));
    }
}
