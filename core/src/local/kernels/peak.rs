//! What the CPU can do at most: loops over registers alone, for measurements to be compared with.

use super::Isa;
use super::dispatch::with_simd;
use super::gemm::Precision;
use super::simd::{Simd, Work};

/// The most sums in flight.
const SUMS: usize = 24;

/// Sums in flight: enough to hide how long one multiplication takes, and no more than the registers hold.
const fn in_flight<S: Simd>() -> usize {
    if S::REGISTERS >= 32 { SUMS } else { SUMS / 2 }
}

/// Multiplies and adds in registers `steps` times, in the instructions that a precision's multiplication uses on
/// this set, and returns how many operations that were: a multiplication and an addition count as two.
pub fn multiply(isa: Isa, precision: Precision, steps: usize) -> f64 {
    let per_step = match precision {
        Precision::F32 => with_simd!(isa, s => s.call(F32Loop(steps))),
        Precision::Bf16 => with_simd!(full isa, s => s.call(Bf16Loop(steps))),
        Precision::Int8 => with_simd!(full isa, s => s.call(Int8Loop(steps))),
    };
    (per_step * steps) as f64
}

struct F32Loop(usize);
struct Bf16Loop(usize);
struct Int8Loop(usize);

impl<S: Simd> Work<S> for F32Loop {
    type Output = usize;

    #[inline(always)]
    fn run(self, s: S) -> usize {
        let factor = s.splat(std::hint::black_box(0.999_9));
        let mut sums = [factor; SUMS];
        for _ in 0..self.0 {
            let mut i = 0;
            while i < in_flight::<S>() {
                sums[i] = s.mul_add(sums[i], factor, factor);
                i += 1;
            }
        }
        consume_f32(s, sums);
        2 * in_flight::<S>() * S::LANES
    }
}

impl<S: Simd> Work<S> for Bf16Loop {
    type Output = usize;

    #[inline(always)]
    fn run(self, s: S) -> usize {
        if !S::HAS_BF16_DOT {
            return F32Loop(self.0).run(s);
        }
        let factor = s.splat_i32(std::hint::black_box(0x3f80_3f80));
        let mut sums = [s.zero(); SUMS];
        for _ in 0..self.0 {
            let mut i = 0;
            while i < in_flight::<S>() {
                sums[i] = s.dot_bf16(sums[i], factor, factor);
                i += 1;
            }
        }
        consume_f32(s, sums);
        4 * in_flight::<S>() * S::LANES
    }
}

impl<S: Simd> Work<S> for Int8Loop {
    type Output = usize;

    #[inline(always)]
    fn run(self, s: S) -> usize {
        let factor = s.splat_i32(std::hint::black_box(0x0102_0304));
        let mut sums = [factor; SUMS];
        for _ in 0..self.0 {
            let mut i = 0;
            while i < in_flight::<S>() {
                let sum = sums[i];
                // Without VNNI the product must depend on the sum, or it is computed once for all steps.
                sums[i] = if S::HAS_BYTE_DOT {
                    s.dot_u8_i8(sum, factor, factor)
                } else {
                    s.dot_i16(sum, sum, factor)
                };
                i += 1;
            }
        }
        let mut total = s.splat_i32(0);
        for sum in sums {
            total = s.add_i32(total, sum);
        }
        std::hint::black_box(s.reduce_add_i32(total));
        2 * in_flight::<S>() * S::LANES * if S::HAS_BYTE_DOT { 4 } else { 2 }
    }
}

#[inline(always)]
fn consume_f32<S: Simd>(s: S, sums: [S::F32; SUMS]) {
    let mut total = s.zero();
    for sum in sums {
        total = s.add(total, sum);
    }
    std::hint::black_box(s.reduce_add(total));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_for_every_set_and_precision() {
        for isa in Isa::available() {
            for &precision in Precision::ALL {
                let once = multiply(isa, precision, 1);
                assert!(once >= (SUMS * 4) as f64 && multiply(isa, precision, 7) == 7.0 * once, "{isa}");
            }
        }
    }
}
