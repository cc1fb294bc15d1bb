//! Vectors in plain Rust: lanes in an array, which compilers turn into what the target has.

use half::{bf16, f16};

use super::{Simd, Work};

/// `LANES` numbers; with `DOTS`, sums of products count as one instruction. On every CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain<const LANES: usize, const DOTS: bool>;

/// What plain Rust computes with.
pub(crate) const PORTABLE: Plain<8, false> = Plain;

/// As wide as AVX-512, for tests of what is packed for it.
#[cfg(test)]
pub(crate) const WIDE: Plain<16, true> = Plain;

/// Lane by lane.
macro_rules! lanes {
    (|$i:ident| $lane:expr) => {{
        let mut out = [Default::default(); LANES];
        let mut $i = 0;
        while $i < LANES {
            out[$i] = $lane;
            $i += 1;
        }
        out
    }};
}

/// The pairs of bf16 of a word as f32.
#[inline(always)]
fn widened_pair(word: i32) -> (f32, f32) {
    (f32::from_bits((word as u32) << 16), f32::from_bits(word as u32 & 0xffff_0000))
}

/// The sum of four unsigned times four signed bytes.
#[inline(always)]
fn byte_products(unsigned: i32, signed: i32) -> i32 {
    let (u, s) = (unsigned.to_le_bytes(), signed.to_le_bytes());
    let mut sum = 0;
    let mut i = 0;
    while i < 4 {
        sum += i32::from(u[i]) * i32::from(s[i] as i8);
        i += 1;
    }
    sum
}

/// The nearest integer, to even between two, without a library call.
#[inline(always)]
fn nearest(a: f32) -> f32 {
    // From 2²³ on there are no fractions; below, adding 2²³ leaves no bits for one, and the sum rounds to even.
    const NO_FRACTION: f32 = 8_388_608.0;
    let size = a.abs();
    let rounded = (size + NO_FRACTION) - NO_FRACTION;
    if size < NO_FRACTION { rounded.copysign(a) } else { a }
}

impl<const LANES: usize, const DOTS: bool> Simd for Plain<LANES, DOTS> {
    const LANES: usize = LANES;
    const REGISTERS: usize = 8;
    const HAS_BF16_DOT: bool = DOTS;
    const HAS_BYTE_DOT: bool = DOTS;
    type F32 = [f32; LANES];
    type I32 = [i32; LANES];
    type Mask = [bool; LANES];
    type Plain = Self;

    #[inline(always)]
    fn plain(self) -> Self {
        self
    }

    #[inline(never)]
    fn call<W: Work<Self>>(self, work: W) -> W::Output {
        work.run(self)
    }

    #[inline(always)]
    unsafe fn load_ptr(self, from: *const f32) -> Self::F32 {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<Self::F32>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_ptr(self, to: *mut f32, value: Self::F32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Self::F32>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn load_first_ptr(self, from: *const f32, count: usize) -> Self::F32 {
        let mut lanes = [0.0; LANES];
        // SAFETY: the caller's promise; no more than a register is copied.
        unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count.min(LANES)) };
        lanes
    }

    #[inline(always)]
    unsafe fn store_first_ptr(self, to: *mut f32, value: Self::F32, count: usize) {
        // SAFETY: the caller's promise; no more than a register is copied.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), to, count.min(LANES)) };
    }

    #[inline(always)]
    unsafe fn load_words_ptr(self, from: *const u8) -> Self::I32 {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<Self::I32>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_words_ptr(self, to: *mut u8, value: Self::I32) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Self::I32>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn load_f16_ptr(self, from: *const f16) -> Self::F32 {
        // SAFETY: the caller's promise.
        let lanes = unsafe { from.cast::<[f16; LANES]>().read_unaligned() };
        lanes!(|i| lanes[i].to_f32_const())
    }

    #[inline(always)]
    unsafe fn store_f16_ptr(self, to: *mut f16, value: Self::F32) {
        let lanes: [f16; LANES] = lanes!(|i| f16::from_f32_const(value[i]));
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[f16; LANES]>().write_unaligned(lanes) }
    }

    #[inline(always)]
    unsafe fn load_bf16_ptr(self, from: *const bf16) -> Self::F32 {
        // SAFETY: the caller's promise.
        let lanes = unsafe { from.cast::<[u16; LANES]>().read_unaligned() };
        lanes!(|i| f32::from_bits(u32::from(lanes[i]) << 16))
    }

    #[inline(always)]
    unsafe fn store_bf16_ptr(self, to: *mut bf16, value: Self::F32) {
        let lanes: [bf16; LANES] = lanes!(|i| bf16::from_f32(value[i]));
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[bf16; LANES]>().write_unaligned(lanes) }
    }

    #[inline(always)]
    unsafe fn load_i8_ptr(self, from: *const i8) -> Self::I32 {
        // SAFETY: the caller's promise.
        let lanes = unsafe { from.cast::<[i8; LANES]>().read_unaligned() };
        lanes!(|i| i32::from(lanes[i]))
    }

    #[inline(always)]
    unsafe fn load_u8_ptr(self, from: *const u8) -> Self::I32 {
        // SAFETY: the caller's promise.
        let lanes = unsafe { from.cast::<[u8; LANES]>().read_unaligned() };
        lanes!(|i| i32::from(lanes[i]))
    }

    #[inline(always)]
    unsafe fn load_i8_as_i16_ptr(self, from: *const i8) -> Self::I32 {
        // SAFETY: the caller's promise.
        let lanes = unsafe { from.cast::<[[i8; 2]; LANES]>().read_unaligned() };
        lanes!(|i| i32::from(lanes[i][0]) & 0xffff | i32::from(lanes[i][1]) << 16)
    }

    #[inline(always)]
    unsafe fn store_i16_ptr(self, to: *mut i16, value: Self::I32) {
        let lanes: [i16; LANES] = lanes!(|i| value[i] as i16);
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[i16; LANES]>().write_unaligned(lanes) }
    }

    #[inline(always)]
    unsafe fn store_i8_ptr(self, to: *mut i8, value: Self::I32) {
        let lanes: [i8; LANES] = lanes!(|i| value[i] as i8);
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[i8; LANES]>().write_unaligned(lanes) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        [value; LANES]
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes!(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes!(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes!(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes!(|i| a[i] / b[i])
    }

    // Two roundings: `f32::mul_add` is a slow library call where the target has no such instruction.
    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        lanes!(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn neg_mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        lanes!(|i| c[i] - a[i] * b[i])
    }

    #[inline(always)]
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes!(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        lanes!(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn sqrt(self, a: Self::F32) -> Self::F32 {
        lanes!(|i| a[i].sqrt())
    }

    #[inline(always)]
    fn abs(self, a: Self::F32) -> Self::F32 {
        lanes!(|i| a[i].abs())
    }

    #[inline(always)]
    fn neg(self, a: Self::F32) -> Self::F32 {
        lanes!(|i| -a[i])
    }

    #[inline(always)]
    fn round(self, a: Self::F32) -> Self::F32 {
        lanes!(|i| nearest(a[i]))
    }

    #[inline(always)]
    fn lt(self, a: Self::F32, b: Self::F32) -> Self::Mask {
        lanes!(|i| a[i] < b[i])
    }

    #[inline(always)]
    fn le(self, a: Self::F32, b: Self::F32) -> Self::Mask {
        lanes!(|i| a[i] <= b[i])
    }

    #[inline(always)]
    fn eq(self, a: Self::F32, b: Self::F32) -> Self::Mask {
        lanes!(|i| a[i] == b[i])
    }

    #[inline(always)]
    fn first(self, count: usize) -> Self::Mask {
        lanes!(|i| i < count)
    }

    #[inline(always)]
    fn select(self, mask: Self::Mask, yes: Self::F32, no: Self::F32) -> Self::F32 {
        lanes!(|i| if mask[i] { yes[i] } else { no[i] })
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> Self::I32 {
        [value; LANES]
    }

    #[inline(always)]
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        lanes!(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        lanes!(|i| a[i].wrapping_sub(b[i]))
    }

    #[inline(always)]
    fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        lanes!(|i| a[i].wrapping_mul(b[i]))
    }

    #[inline(always)]
    fn max_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        lanes!(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn and_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        lanes!(|i| a[i] & b[i])
    }

    #[inline(always)]
    fn or_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        lanes!(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn xor_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        lanes!(|i| a[i] ^ b[i])
    }

    #[inline(always)]
    fn shl_i32(self, a: Self::I32, by: u32) -> Self::I32 {
        lanes!(|i| a[i] << by)
    }

    #[inline(always)]
    fn shr_i32(self, a: Self::I32, by: u32) -> Self::I32 {
        lanes!(|i| (a[i] as u32 >> by) as i32)
    }

    #[inline(always)]
    fn add_i8(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        lanes!(|i| {
            let (x, y) = (a[i].to_le_bytes(), b[i].to_le_bytes());
            i32::from_le_bytes([
                x[0].wrapping_add(y[0]),
                x[1].wrapping_add(y[1]),
                x[2].wrapping_add(y[2]),
                x[3].wrapping_add(y[3]),
            ])
        })
    }

    #[inline(always)]
    fn to_i32(self, a: Self::F32) -> Self::I32 {
        let rounded = self.round(a);
        lanes!(|i| rounded[i] as i32)
    }

    #[inline(always)]
    fn to_f32(self, a: Self::I32) -> Self::F32 {
        lanes!(|i| a[i] as f32)
    }

    #[inline(always)]
    fn bits(self, a: Self::F32) -> Self::I32 {
        lanes!(|i| a[i].to_bits() as i32)
    }

    #[inline(always)]
    fn from_bits(self, a: Self::I32) -> Self::F32 {
        lanes!(|i| f32::from_bits(a[i] as u32))
    }

    #[inline(always)]
    fn dot_bf16(self, acc: Self::F32, a: Self::I32, b: Self::I32) -> Self::F32 {
        lanes!(|i| {
            let ((a0, a1), (b0, b1)) = (widened_pair(a[i]), widened_pair(b[i]));
            a1 * b1 + (a0 * b0 + acc[i])
        })
    }

    #[inline(always)]
    fn dot_u8_i8(self, acc: Self::I32, u: Self::I32, s: Self::I32) -> Self::I32 {
        lanes!(|i| acc[i].wrapping_add(byte_products(u[i], s[i])))
    }

    #[inline(always)]
    fn dot_u7_i8(self, acc: Self::I32, u: Self::I32, s: Self::I32) -> Self::I32 {
        self.dot_u8_i8(acc, u, s)
    }

    #[inline(always)]
    fn dot_i16(self, acc: Self::I32, a: Self::I32, b: Self::I32) -> Self::I32 {
        lanes!(|i| {
            let low = i32::from(a[i] as i16) * i32::from(b[i] as i16);
            let high = (a[i] >> 16) * (b[i] >> 16);
            acc[i].wrapping_add(low).wrapping_add(high)
        })
    }

    #[inline(always)]
    fn pack_bf16(self, low: Self::F32, high: Self::F32) -> Self::I32 {
        let mut words = [0; LANES];
        let mut i = 0;
        while i < LANES {
            let from = if i < LANES / 2 { &low } else { &high };
            let at = 2 * (i % (LANES / 2));
            let pair = [bf16::from_f32(from[at]).to_bits(), bf16::from_f32(from[at + 1]).to_bits()];
            words[i] = i32::from(pair[0]) | i32::from(pair[1]) << 16;
            i += 1;
        }
        words
    }

    #[inline(always)]
    fn reduce_add(self, a: Self::F32) -> f32 {
        let mut lanes = a;
        let mut half = LANES / 2;
        while half > 0 {
            let mut i = 0;
            while i < half {
                lanes[i] += lanes[i + half];
                i += 1;
            }
            half /= 2;
        }
        lanes[0]
    }

    #[inline(always)]
    fn reduce_max(self, a: Self::F32) -> f32 {
        let mut lanes = a;
        let mut half = LANES / 2;
        while half > 0 {
            let mut i = 0;
            while i < half {
                lanes[i] = if lanes[i] > lanes[i + half] { lanes[i] } else { lanes[i + half] };
                i += 1;
            }
            half /= 2;
        }
        lanes[0]
    }

    #[inline(always)]
    fn reduce_add_i32(self, a: Self::I32) -> i32 {
        let mut sum = 0_i32;
        let mut i = 0;
        while i < LANES {
            sum = sum.wrapping_add(a[i]);
            i += 1;
        }
        sum
    }

    #[inline(always)]
    fn swap_pairs(self, a: Self::F32) -> Self::F32 {
        lanes!(|i| a[i ^ 1])
    }

    #[inline(always)]
    fn reduce_max_i32(self, a: Self::I32) -> i32 {
        let mut most = a[0];
        let mut i = 1;
        while i < LANES {
            most = if a[i] > most { a[i] } else { most };
            i += 1;
        }
        most
    }
}
