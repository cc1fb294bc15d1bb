//! The tile instructions in plain Rust, with the bits of the hardware.
//!
//! `tdpbf16ps` takes the even and the odd positions of a row through one chain of fused multiply-adds each, which starts
//! at zero; then it adds the two chains, and their sum to the tile's number. Every rounding is to nearest even, numbers
//! below the normal range are zero before and after, and a NaN is the first operand that is one, whatever MXCSR says.
//! A prototype with this arithmetic had the bits of half a million results of a Xeon, NaN and subnormal numbers among them.

use super::{ROW_BYTES, ROWS, Tiles};

/// 32-bit words of a tile's row.
const WORDS: usize = ROW_BYTES / 4;

/// Eight tiles in memory.
pub(crate) struct Model {
    tiles: [[[u32; WORDS]; ROWS]; 8],
}

impl Model {
    /// Changes every word of `C` by a function of it, the words of a row of `A` and of a column of `B`.
    fn dot(&mut self, [c, a, b]: [usize; 3], sum: impl Fn(u32, &[u32; WORDS], &[u32; WORDS]) -> u32) {
        for column in 0..WORDS {
            let b: [u32; WORDS] = std::array::from_fn(|row| self.tiles[b][row][column]);
            for row in 0..ROWS {
                self.tiles[c][row][column] = sum(self.tiles[c][row][column], &self.tiles[a][row], &b);
            }
        }
    }

    /// Adds the products of bytes, of which those of `B` are signed. Columns are innermost, which compilers make vectors of.
    fn dot_bytes(&mut self, [c, a, b]: [usize; 3], number: impl Fn(u8) -> i32) {
        for row in 0..ROWS {
            let mut sums = self.tiles[c][row];
            for (a, b) in self.tiles[a][row].iter().zip(&self.tiles[b]) {
                for byte in [0, 8, 16, 24] {
                    let a = number((a >> byte) as u8);
                    for (sum, b) in sums.iter_mut().zip(b) {
                        let b = i32::from(((b >> byte) as u8).cast_signed());
                        *sum = sum.wrapping_add((a * b).cast_unsigned());
                    }
                }
            }
            self.tiles[c][row] = sums;
        }
    }
}

impl Tiles for Model {
    unsafe fn configure() -> Self {
        Self { tiles: [[[0; WORDS]; ROWS]; 8] }
    }

    unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize) {
        for (number, row) in self.tiles[TILE].iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *row = unsafe { from.add(number * stride).cast::<[u32; WORDS]>().read_unaligned() };
        }
    }

    unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize) {
        for (number, row) in self.tiles[TILE].iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { to.add(number * stride).cast::<[u32; WORDS]>().write_unaligned(*row) };
        }
    }

    fn zero<const TILE: usize>(&mut self) {
        self.tiles[TILE] = [[0; WORDS]; ROWS];
    }

    fn dot_bf16<const C: usize, const A: usize, const B: usize>(&mut self) {
        // NaN and what becomes one is rare, and reaches the sum: only then it matters which one it is.
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the CPU has the instructions.
            let sums = unsafe { dot_without_nan(&self.tiles[C], &self.tiles[A], &self.tiles[B]) };
            if !sums.iter().flatten().any(|sum| sum.is_nan()) {
                self.tiles[C] = sums.map(|row| row.map(f32::to_bits));
                return;
            }
        }
        self.dot([C, A, B], |c, a, b| {
            let (mut even, mut odd) = (0.0, 0.0);
            for (a, b) in a.iter().zip(b) {
                even = multiply_add(f32::from_bits(a << 16), f32::from_bits(b << 16), even);
                odd = multiply_add(upper(*a), upper(*b), odd);
            }
            add(f32::from_bits(c), add(even, odd)).to_bits()
        });
    }

    fn dot_u8_i8<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.dot_bytes([C, A, B], i32::from);
    }

    fn dot_i8_i8<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.dot_bytes([C, A, B], |byte| i32::from(byte.cast_signed()));
    }
}

/// [`Model::dot_bf16`] by vectors, with any NaN where there is one.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn dot_without_nan(
    c: &[[u32; WORDS]; ROWS],
    a: &[[u32; WORDS]; ROWS],
    b: &[[u32; WORDS]; ROWS],
) -> [[f32; WORDS]; ROWS] {
    let mut sums = [[0.0; WORDS]; ROWS];
    for ((sums, c), a) in sums.iter_mut().zip(c).zip(a) {
        let mut chains = [[0.0_f32; WORDS]; 2];
        for (a, b) in a.iter().zip(b) {
            let [low, high] = [f32::from_bits(a << 16), upper(*a)].map(flushed);
            for column in 0..WORDS {
                let b = [f32::from_bits(b[column] << 16), upper(b[column])];
                chains[0][column] = flushed(low.mul_add(flushed(b[0]), chains[0][column]));
                chains[1][column] = flushed(high.mul_add(flushed(b[1]), chains[1][column]));
            }
        }
        for column in 0..WORDS {
            let both = flushed(chains[0][column] + chains[1][column]);
            sums[column] = flushed(flushed(f32::from_bits(c[column])) + both);
        }
    }
    sums
}

/// The bf16 in the upper half of a word.
#[inline(always)]
fn upper(word: u32) -> f32 {
    f32::from_bits(word & 0xffff_0000)
}

/// A number below the normal range as a zero of its sign.
#[inline(always)]
fn flushed(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(if bits & 0x7f80_0000 == 0 { bits & 0x8000_0000 } else { bits })
}

fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    result(flushed(a).mul_add(flushed(b), flushed(c)), &[a, b, c])
}

fn add(a: f32, b: f32) -> f32 {
    result(flushed(a) + flushed(b), &[a, b])
}

/// A result as the hardware gives it. Rust leaves open which NaN an operation has.
fn result(value: f32, operands: &[f32]) -> f32 {
    /// Makes a NaN quiet.
    const QUIET: u32 = 0x0040_0000;
    /// The NaN of operands that are none.
    const DEFAULT: u32 = 0xffc0_0000;
    if !value.is_nan() {
        return flushed(value);
    }
    let first = operands.iter().find(|operand| operand.is_nan());
    f32::from_bits(first.map_or(DEFAULT, |nan| nan.to_bits() | QUIET))
}
