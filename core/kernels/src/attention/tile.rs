//! The inner loop: sums of scalars times registers of rows.

use super::super::simd::Simd;

/// Adds `Σₙ factors[n · stride + i] · vectors[n][r]` to `sums[i][r]`, over `n` from 0 to `count`, in order. Vectors are
/// two registers apart, of which `REGISTERS` are used. With `PAIRS`, each word holds two numbers in bf16, whose
/// products are added.
///
/// # Safety
/// For every `n`, `ROWS` factors and `REGISTERS` registers of vectors are readable.
#[inline(always)]
pub(super) unsafe fn tile<S: Simd, const PAIRS: bool, const ROWS: usize, const REGISTERS: usize>(
    s: S,
    count: usize,
    factors: *const f32,
    stride: usize,
    vectors: *const f32,
    sums: &mut [[S::F32; REGISTERS]; ROWS],
) {
    let mut totals = *sums;
    let (mut factors, mut vectors) = (factors, vectors);
    for _ in 0..count {
        let mut vector = [s.zero(); REGISTERS];
        let mut r = 0;
        while r < REGISTERS {
            // SAFETY: the caller's promise.
            vector[r] = unsafe { s.load_ptr(vectors.add(r * S::LANES)) };
            r += 1;
        }
        let mut i = 0;
        while i < ROWS {
            // SAFETY: the caller's promise.
            let factor = s.splat(unsafe { *factors.add(i) });
            let mut r = 0;
            while r < REGISTERS {
                totals[i][r] = if PAIRS {
                    s.dot_bf16(totals[i][r], s.bits(factor), s.bits(vector[r]))
                } else {
                    s.mul_add(factor, vector[r], totals[i][r])
                };
                r += 1;
            }
            i += 1;
        }
        factors = factors.wrapping_add(stride);
        vectors = vectors.wrapping_add(2 * S::LANES);
    }
    *sums = totals;
}

/// Stores `Σₙ factors[n · stride + i] · vectors[n]` as row `i` of `to`, for `ROWS` rows two registers apart.
///
/// # Safety
/// As [`tile`], and the rows are writable.
#[inline(always)]
pub(super) unsafe fn products<S: Simd, const PAIRS: bool, const ROWS: usize, const REGISTERS: usize>(
    s: S,
    count: usize,
    factors: *const f32,
    stride: usize,
    vectors: *const f32,
    to: *mut f32,
) {
    let mut sums = [[s.zero(); REGISTERS]; ROWS];
    // SAFETY: the caller's promise.
    unsafe {
        tile::<S, PAIRS, ROWS, REGISTERS>(s, count, factors, stride, vectors, &mut sums);
        let mut i = 0;
        while i < ROWS {
            let mut r = 0;
            while r < REGISTERS {
                s.store_ptr(to.add((2 * i + r) * S::LANES), sums[i][r]);
                r += 1;
            }
            i += 1;
        }
    }
}

/// Multiplies row `i` of `to` with `keep` and adds `Σₙ factors[n · stride + i] · vectors[n]`, for `ROWS` rows two
/// registers apart.
///
/// # Safety
/// As [`products`].
#[inline(always)]
pub(super) unsafe fn add_products<S: Simd, const PAIRS: bool, const ROWS: usize, const REGISTERS: usize>(
    s: S,
    count: usize,
    factors: *const f32,
    stride: usize,
    vectors: *const f32,
    keep: [S::F32; REGISTERS],
    to: *mut f32,
) {
    let mut sums = [[s.zero(); REGISTERS]; ROWS];
    // SAFETY: the caller's promise.
    unsafe {
        let mut i = 0;
        while i < ROWS {
            let mut r = 0;
            while r < REGISTERS {
                sums[i][r] = s.mul(s.load_ptr(to.add((2 * i + r) * S::LANES)), keep[r]);
                r += 1;
            }
            i += 1;
        }
        tile::<S, PAIRS, ROWS, REGISTERS>(s, count, factors, stride, vectors, &mut sums);
        let mut i = 0;
        while i < ROWS {
            let mut r = 0;
            while r < REGISTERS {
                s.store_ptr(to.add((2 * i + r) * S::LANES), sums[i][r]);
                r += 1;
            }
            i += 1;
        }
    }
}
