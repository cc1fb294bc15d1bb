//! The peak arithmetic and memory throughput of this CPU: loops that only multiply, and loops that only read.
//!
//! The benchmarks compare the kernels with these, measured in the same run.

use super::Cpu;
#[cfg(any(test, target_arch = "x86_64"))]
use super::amx::Tiles;
use super::dispatch::with_simd;
#[cfg(any(test, target_arch = "x86_64"))]
use super::dispatch::with_tiles;
use super::simd::{Simd, Work};

/// The instruction to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// Multiply and add in f32.
    MultiplyAdd,
    /// Products of bf16 pairs, added in f32.
    Bf16Dot,
    /// Products of four bytes, added in i32: one instruction, or the few that replace it.
    ByteDot,
}

impl Instruction {
    /// Every kind, that of the widest numbers first.
    pub const ALL: &'static [Self] = &[Self::MultiplyAdd, Self::Bf16Dot, Self::ByteDot];
}

/// Independent sums: more than there are instructions in flight.
const SUMS: usize = 12;

/// Tasks per thread, so that the others need not wait for one that starts late.
const PIECES: usize = 16;

/// Multiplies registers on all threads without touching memory. Returns the number of operations, of which a product
/// and a sum are two; `None` if the instruction set has no such instruction. Products of bf16 and bytes are those of tiles
/// where the set has them.
///
/// A `round` is a few nanoseconds.
pub fn multiply(cpu: &Cpu, instruction: Instruction, rounds: usize) -> Option<u64> {
    #[cfg(any(test, target_arch = "x86_64"))]
    if instruction != Instruction::MultiplyAdd {
        let in_tiles = with_tiles!(cpu.isa, s, T => multiply_tiles::<_, T>(s, cpu, instruction, rounds));
        if in_tiles.is_some() {
            return in_tiles;
        }
    }
    with_simd!(every cpu.isa, s => multiply_with(s, cpu, instruction, rounds))
}

/// The same with tiles: four independent sums keep their unit busy.
#[cfg(any(test, target_arch = "x86_64"))]
fn multiply_tiles<S: Simd, T: Tiles>(_: S, cpu: &Cpu, instruction: Instruction, rounds: usize) -> u64 {
    let (parts, rounds) = (cpu.pool.threads() * PIECES, rounds.div_ceil(PIECES).max(1));
    cpu.pool.parallel(parts, |_| {
        // SAFETY: the instruction set has these tiles; the part is this thread's only work.
        let mut tiles = unsafe { T::configure() };
        for _ in 0..rounds {
            if instruction == Instruction::Bf16Dot {
                tiles.dot_bf16::<0, 4, 5>();
                tiles.dot_bf16::<1, 4, 6>();
                tiles.dot_bf16::<2, 4, 5>();
                tiles.dot_bf16::<3, 4, 6>();
            } else {
                tiles.dot_u8_i8::<0, 4, 5>();
                tiles.dot_u8_i8::<1, 4, 6>();
                tiles.dot_u8_i8::<2, 4, 5>();
                tiles.dot_u8_i8::<3, 4, 6>();
            }
        }
    });
    let depth = if instruction == Instruction::Bf16Dot { 32 } else { 64 };
    (2 * parts * rounds * 4 * 16 * 16 * depth) as u64
}

fn multiply_with<S: Simd>(s: S, cpu: &Cpu, instruction: Instruction, rounds: usize) -> Option<u64> {
    let parts = cpu.pool.threads() * PIECES;
    let rounds = rounds.div_ceil(PIECES).max(1);
    let products_a_lane = match instruction {
        Instruction::MultiplyAdd => 1,
        Instruction::Bf16Dot if S::HAS_BF16_DOT => 2,
        Instruction::Bf16Dot => return None,
        Instruction::ByteDot => 4,
    };
    cpu.pool.parallel(parts, |_| match instruction {
        Instruction::MultiplyAdd => s.call(MultiplyAdds(rounds)),
        Instruction::Bf16Dot => s.call(Bf16Dots(rounds)),
        Instruction::ByteDot => s.call(ByteDots(rounds)),
    });
    Some((2 * products_a_lane * parts * rounds * SUMS * S::LANES) as u64)
}

struct MultiplyAdds(usize);

impl<S: Simd> Work<S> for MultiplyAdds {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let (a, b) = (s.splat(std::hint::black_box(0.5)), s.splat(std::hint::black_box(0.25)));
        let mut sums = [s.zero(); SUMS];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = s.mul_add(a, b, *sum);
            }
        }
        keep(s, sums);
    }
}

struct Bf16Dots(usize);

impl<S: Simd> Work<S> for Bf16Dots {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let ones = s.splat_i32(std::hint::black_box(0x3f80_3f80));
        let mut sums = [s.zero(); SUMS];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = s.dot_bf16(*sum, ones, ones);
            }
        }
        keep(s, sums);
    }
}

struct ByteDots(usize);

impl<S: Simd> Work<S> for ByteDots {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        // Without the instruction, twelve different products: equal ones would share their first half. With it a single one, or
        // the sums and the factors would not fit the 16 registers of AVX2.
        let mut unsigned = [s.splat_i32(0); 3];
        let mut signed = [s.splat_i32(0); 4];
        for (i, u) in unsigned.iter_mut().enumerate() {
            *u = s.splat_i32(std::hint::black_box(0x0102_0304 + i as i32));
        }
        for (i, v) in signed.iter_mut().enumerate() {
            *v = s.splat_i32(std::hint::black_box(0x0403_0201 + i as i32));
        }
        let mut sums = [s.splat_i32(0); SUMS];
        for _ in 0..self.0 {
            if !S::HAS_BYTE_DOT {
                // Or the compiler would move the products out of the loop.
                unsigned[0] = s.add_i32(unsigned[0], signed[0]);
                unsigned[1] = s.add_i32(unsigned[1], signed[1]);
                unsigned[2] = s.add_i32(unsigned[2], signed[2]);
            }
            for (i, sum) in sums.iter_mut().enumerate() {
                let i = if S::HAS_BYTE_DOT { 0 } else { i };
                *sum = s.dot_u7_i8(*sum, unsigned[i % 3], signed[i / 3]);
            }
        }
        for sum in sums {
            std::hint::black_box(s.reduce_add_i32(sum));
        }
    }
}

#[inline(always)]
fn keep<S: Simd>(s: S, sums: [S::F32; SUMS]) {
    for sum in sums {
        std::hint::black_box(s.reduce_add(sum));
    }
}

/// Reads all of `memory` on all threads. The sum of its words only proves that they were read.
pub fn read(cpu: &Cpu, memory: &[u32]) -> u32 {
    const PIECE: usize = 1 << 18;
    let sum = std::sync::atomic::AtomicU32::new(0);
    cpu.pool.parallel(memory.len().div_ceil(PIECE), |part| {
        let piece = &memory[part * PIECE..memory.len().min((part + 1) * PIECE)];
        let of_piece = with_simd!(cpu.isa, s => s.call(Sum(piece)));
        sum.fetch_add(of_piece, std::sync::atomic::Ordering::Relaxed);
    });
    sum.into_inner()
}

struct Sum<'a>(&'a [u32]);

impl<S: Simd> Work<S> for Sum<'_> {
    type Output = u32;

    #[inline(always)]
    fn run(self, s: S) -> u32 {
        /// Distance of the prefetched line.
        const PREFETCH_BYTES: usize = 4096;
        let mut sums = [s.splat_i32(0); 4];
        let mut chunks = self.0.chunks_exact(4 * S::LANES);
        for chunk in chunks.by_ref() {
            for (i, sum) in sums.iter_mut().enumerate() {
                let from = chunk[i * S::LANES..(i + 1) * S::LANES].as_ptr().cast::<u8>();
                s.prefetch(from.wrapping_add(PREFETCH_BYTES));
                // SAFETY: the slice holds a register.
                *sum = s.add_i32(*sum, unsafe { s.load_words_ptr(from) });
            }
        }
        let rest = chunks.remainder().iter().fold(0, |sum: u32, word| sum.wrapping_add(*word));
        let [a, b, c, d] = sums;
        let sum = s.add_i32(s.add_i32(a, b), s.add_i32(c, d));
        rest.wrapping_add(s.reduce_add_i32(sum) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Isa;
    use super::*;

    #[test]
    fn operations_are_counted_on_every_instruction_set() {
        for isa in Isa::available().into_iter().chain([Isa::MODEL]) {
            let cpu = Cpu::new(isa, 2);
            for instruction in Instruction::ALL.iter().copied() {
                let once = multiply(&cpu, instruction, 16);
                assert_eq!(multiply(&cpu, instruction, 32), once.map(|once| 2 * once));
                assert_eq!(once.is_none(), instruction == Instruction::Bf16Dot && !isa.has_bf16_dot());
            }
        }
    }

    #[test]
    fn every_word_is_read_once() {
        let memory: Vec<u32> = (0..1_000_003).map(|i: u32| i.wrapping_mul(2_654_435_761)).collect();
        let expected = memory.iter().fold(0, |sum: u32, word| sum.wrapping_add(*word));
        for isa in Isa::available() {
            for length in [0, 1, 63, 64, 1_000_003] {
                let prefix = &memory[..length];
                let expected = if length == memory.len() {
                    expected
                } else {
                    prefix.iter().fold(0, |s: u32, w| s.wrapping_add(*w))
                };
                assert_eq!(read(&Cpu::new(isa, 2), prefix), expected, "{isa} {length}");
            }
        }
    }
}
