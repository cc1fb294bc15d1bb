//! Vectors of NEON: four f32 in a register.
//!
//! Instructions whose names in the standard library are newer than our oldest Rust, or unstable, are in assembler.

use std::arch::{aarch64::*, asm};

use half::{bf16, f16};

use super::{Simd, Work, instructions};

/// NEON, which every 64-bit ARM has; with `DOT`, dot products of bytes; with `BF16`, those of bf16. A value exists only where
/// the CPU has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NeonSet<const DOT: bool, const BF16: bool>(());

/// Without dot products.
pub(crate) type Neon = NeonSet<false, false>;
/// With dot products of bytes.
pub(crate) type NeonDot = NeonSet<true, false>;
/// With dot products of bytes and of bf16.
pub(crate) type NeonBf16 = NeonSet<true, true>;

impl<const DOT: bool, const BF16: bool> NeonSet<DOT, BF16> {
    /// The token that proves it.
    ///
    /// # Safety
    /// The CPU has NEON, the extension `dotprod`, if `DOT`, and `bf16`, if `BF16`.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Instructions of this set. Those that take pointers rely on what the method requires of its caller; those of an extension are
/// only reached in sets that have it.
macro_rules! neon {
    ($($body:tt)*) => {
        // SAFETY: there is a value of `NeonSet`, so the CPU has the instructions; see also above.
        unsafe { $($body)* }
    };
}

/// An instruction of registers only, `$sum` (or what it becomes) first. The assembler is told the extension, so that this compiles
/// in functions without it too.
macro_rules! assemble {
    ($instruction:literal, $from:expr) => {{
        let to;
        asm!($instruction, out(vreg) to, in(vreg) $from, options(pure, nomem, nostack, preserves_flags));
        to
    }};
    ($extension:literal, $instruction:literal, $sum:expr, $a:expr, $b:expr) => {{
        let mut sum = $sum;
        asm!(
            concat!(".arch_extension ", $extension),
            $instruction,
            inout(vreg) sum,
            in(vreg) $a,
            in(vreg) $b,
            options(pure, nomem, nostack, preserves_flags)
        );
        sum
    }};
}

const LANES: usize = 4;

/// The bits of the bf16 nearest to each lane, in the lower halves of the words.
#[inline(always)]
fn nearest_bf16(value: float32x4_t) -> uint32x4_t {
    neon! {
        let bits = vreinterpretq_u32_f32(value);
        let even = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
        let rounded = vaddq_u32(bits, vaddq_u32(even, vdupq_n_u32(0x7fff)));
        // Rounding could turn a NaN into an infinity; use a quiet NaN instead.
        let quiet = vorrq_u32(bits, vdupq_n_u32(0x0040_0000));
        let ordered = vceqq_f32(value, value);
        vshrq_n_u32::<16>(vbslq_u32(ordered, rounded, quiet))
    }
}

/// The sums of neighbours: `low` gives the lower two lanes, `high` the upper two.
#[inline(always)]
fn pair_sums(low: int32x4_t, high: int32x4_t) -> int32x4_t {
    neon! { vpaddq_s32(low, high) }
}

impl<const DOT: bool, const BF16: bool> Simd for NeonSet<DOT, BF16> {
    const LANES: usize = LANES;
    const REGISTERS: usize = 32;
    const HAS_BF16_DOT: bool = BF16;
    const HAS_BYTE_DOT: bool = DOT;
    const BYTE_DOT_IS_SIGNED: bool = DOT;
    type F32 = float32x4_t;
    type I32 = int32x4_t;
    type Mask = uint32x4_t;
    type Plain = Neon;

    #[inline(always)]
    fn plain(self) -> Neon {
        NeonSet(())
    }

    #[inline]
    fn call<W: Work<Self>>(self, work: W) -> W::Output {
        #[target_feature(enable = "neon")]
        fn compiled<S: Simd, W: Work<S>>(s: S, work: W) -> W::Output {
            work.run(s)
        }
        neon! { compiled(self, work) }
    }

    instructions! { neon unsafe:
        load_ptr(from: *const f32) -> float32x4_t = vld1q_f32(from);
        store_ptr(to: *mut f32, value: float32x4_t) -> () = vst1q_f32(to, value);
    }

    #[inline(always)]
    unsafe fn load_first_ptr(self, from: *const f32, count: usize) -> float32x4_t {
        let mut lanes = [0.0_f32; LANES];
        neon! {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), count.min(LANES));
            vld1q_f32(lanes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn store_first_ptr(self, to: *mut f32, value: float32x4_t, count: usize) {
        let mut lanes = [0.0_f32; LANES];
        neon! {
            vst1q_f32(lanes.as_mut_ptr(), value);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, count.min(LANES));
        }
    }

    instructions! { neon unsafe:
        load_words_ptr(from: *const u8) -> int32x4_t = vreinterpretq_s32_u8(vld1q_u8(from));
        store_words_ptr(to: *mut u8, value: int32x4_t) -> () = vst1q_u8(to, vreinterpretq_u8_s32(value));
    }

    instructions! { neon unsafe:
        load_f16_ptr(from: *const f16) -> float32x4_t = {
            let halves: uint16x4_t = vld1_u16(from.cast());
            assemble!("fcvtl {:v}.4s, {:v}.4h", halves)
        };
        store_f16_ptr(to: *mut f16, value: float32x4_t) -> () = {
            let halves: uint16x4_t = assemble!("fcvtn {:v}.4h, {:v}.4s", value);
            vst1_u16(to.cast(), halves);
        };
        load_bf16_ptr(from: *const bf16) -> float32x4_t =
            vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(from.cast()))));
        store_bf16_ptr(to: *mut bf16, value: float32x4_t) -> () =
            vst1_u16(to.cast(), vmovn_u32(nearest_bf16(value)));
    }

    #[inline(always)]
    unsafe fn load_i8_ptr(self, from: *const i8) -> int32x4_t {
        neon! {
            let bytes = from.cast::<[i8; LANES]>().read_unaligned();
            let lanes = [i32::from(bytes[0]), i32::from(bytes[1]), i32::from(bytes[2]), i32::from(bytes[3])];
            vld1q_s32(lanes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn load_u8_ptr(self, from: *const u8) -> int32x4_t {
        neon! {
            let bytes = from.cast::<[u8; LANES]>().read_unaligned();
            let lanes = [i32::from(bytes[0]), i32::from(bytes[1]), i32::from(bytes[2]), i32::from(bytes[3])];
            vld1q_s32(lanes.as_ptr())
        }
    }

    instructions! { neon unsafe:
        load_i8_as_i16_ptr(from: *const i8) -> int32x4_t = vreinterpretq_s32_s16(vmovl_s8(vld1_s8(from)));
        store_i16_ptr(to: *mut i16, value: int32x4_t) -> () = vst1_s16(to, vmovn_s32(value));
    }

    #[inline(always)]
    unsafe fn store_i8_ptr(self, to: *mut i8, value: int32x4_t) {
        neon! {
            let halves = vmovn_s32(value);
            let bytes = vmovn_s16(vcombine_s16(halves, halves));
            to.cast::<i32>().write_unaligned(vget_lane_s32::<0>(vreinterpret_s32_s8(bytes)))
        }
    }

    #[inline(always)]
    unsafe fn transpose4_ptr(self, rows: [*const u32; 4], to: *mut u32, stride: usize) {
        neon! {
            let (a, b) = (vld1q_u32(rows[0]), vld1q_u32(rows[1]));
            let (c, d) = (vld1q_u32(rows[2]), vld1q_u32(rows[3]));
            // a₀ b₀ a₂ b₂ and a₁ b₁ a₃ b₃; then pairs of columns.
            let (even01, odd01) = (vtrn1q_u32(a, b), vtrn2q_u32(a, b));
            let (even23, odd23) = (vtrn1q_u32(c, d), vtrn2q_u32(c, d));
            vst1q_u32(to, vcombine_u32(vget_low_u32(even01), vget_low_u32(even23)));
            vst1q_u32(to.add(stride), vcombine_u32(vget_low_u32(odd01), vget_low_u32(odd23)));
            vst1q_u32(to.add(2 * stride), vcombine_u32(vget_high_u32(even01), vget_high_u32(even23)));
            vst1q_u32(to.add(3 * stride), vcombine_u32(vget_high_u32(odd01), vget_high_u32(odd23)));
        }
    }

    instructions! { neon:
        splat(value: f32) -> float32x4_t = vdupq_n_f32(value);
        add(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32(a, b);
        sub(a: float32x4_t, b: float32x4_t) -> float32x4_t = vsubq_f32(a, b);
        mul(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32(a, b);
        div(a: float32x4_t, b: float32x4_t) -> float32x4_t = vdivq_f32(a, b);
        mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmaq_f32(c, a, b);
        neg_mul_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t = vfmsq_f32(c, a, b);
        // Not `vminq_f32` and `vmaxq_f32`, which return NaN where one side is.
        min(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcltq_f32(a, b), a, b);
        max(a: float32x4_t, b: float32x4_t) -> float32x4_t = vbslq_f32(vcgtq_f32(a, b), a, b);
        sqrt(a: float32x4_t) -> float32x4_t = vsqrtq_f32(a);
        abs(a: float32x4_t) -> float32x4_t = vabsq_f32(a);
        neg(a: float32x4_t) -> float32x4_t = vnegq_f32(a);
        round(a: float32x4_t) -> float32x4_t = vrndnq_f32(a);
        lt(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vcltq_f32(a, b);
        le(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vcleq_f32(a, b);
        eq(a: float32x4_t, b: float32x4_t) -> uint32x4_t = vceqq_f32(a, b);
    }

    #[inline(always)]
    fn first(self, count: usize) -> uint32x4_t {
        static NUMBERS: [u32; LANES] = [0, 1, 2, 3];
        neon! { vcltq_u32(vld1q_u32(NUMBERS.as_ptr()), vdupq_n_u32(count.min(LANES) as u32)) }
    }

    instructions! { neon:
        select(mask: uint32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t = vbslq_f32(mask, yes, no);
        splat_i32(value: i32) -> int32x4_t = vdupq_n_s32(value);
        add_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = vaddq_s32(a, b);
        sub_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = vsubq_s32(a, b);
        mul_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = vmulq_s32(a, b);
        max_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = vmaxq_s32(a, b);
        and_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = vandq_s32(a, b);
        or_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = vorrq_s32(a, b);
        xor_i32(a: int32x4_t, b: int32x4_t) -> int32x4_t = veorq_s32(a, b);
        shl_i32(a: int32x4_t, by: u32) -> int32x4_t = vshlq_s32(a, vdupq_n_s32(by as i32));
    }

    #[inline(always)]
    fn shr_i32(self, a: int32x4_t, by: u32) -> int32x4_t {
        // A shift to the left by a negative number is one to the right.
        neon! { vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-(by as i32)))) }
    }

    instructions! { neon:
        add_i8(a: int32x4_t, b: int32x4_t) -> int32x4_t =
            vreinterpretq_s32_s8(vaddq_s8(vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b)));
        lookup(table: &[u8; 16], places: int32x4_t) -> int32x4_t =
            vreinterpretq_s32_u8(vqtbl1q_u8(vld1q_u8(table.as_ptr()), vreinterpretq_u8_s32(places)));
        to_i32(a: float32x4_t) -> int32x4_t = vcvtnq_s32_f32(a);
        to_f32(a: int32x4_t) -> float32x4_t = vcvtq_f32_s32(a);
        bits(a: float32x4_t) -> int32x4_t = vreinterpretq_s32_f32(a);
        from_bits(a: int32x4_t) -> float32x4_t = vreinterpretq_f32_s32(a);
    }

    #[inline(always)]
    fn dot_bf16(self, acc: float32x4_t, a: int32x4_t, b: int32x4_t) -> float32x4_t {
        if BF16 {
            return neon! { assemble!("bf16", "bfdot {:v}.4s, {:v}.8h, {:v}.8h", acc, a, b) };
        }
        neon! {
            let high = vdupq_n_s32(0xffff_0000_u32 as i32);
            let a0 = vreinterpretq_f32_s32(vshlq_n_s32::<16>(a));
            let b0 = vreinterpretq_f32_s32(vshlq_n_s32::<16>(b));
            let a1 = vreinterpretq_f32_s32(vandq_s32(a, high));
            let b1 = vreinterpretq_f32_s32(vandq_s32(b, high));
            vfmaq_f32(vfmaq_f32(acc, a0, b0), a1, b1)
        }
    }

    #[inline(always)]
    fn dot_u8_i8(self, acc: int32x4_t, u: int32x4_t, s: int32x4_t) -> int32x4_t {
        neon! {
            let (u, s) = (vreinterpretq_u8_s32(u), vreinterpretq_s8_s32(s));
            let u_low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(u)));
            let u_high = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(u)));
            let (s_low, s_high) = (vmovl_s8(vget_low_s8(s)), vmovl_s8(vget_high_s8(s)));
            let lane0 = vmull_s16(vget_low_s16(u_low), vget_low_s16(s_low));
            let lane1 = vmull_s16(vget_high_s16(u_low), vget_high_s16(s_low));
            let lane2 = vmull_s16(vget_low_s16(u_high), vget_low_s16(s_high));
            let lane3 = vmull_s16(vget_high_s16(u_high), vget_high_s16(s_high));
            let sums = pair_sums(pair_sums(lane0, lane1), pair_sums(lane2, lane3));
            vaddq_s32(acc, sums)
        }
    }

    #[inline(always)]
    fn dot_bytes(self, acc: int32x4_t, x: int32x4_t, s: int32x4_t) -> int32x4_t {
        if DOT {
            return neon! { assemble!("dotprod", "sdot {:v}.4s, {:v}.16b, {:v}.16b", acc, x, s) };
        }
        self.dot_u8_i8(acc, x, s)
    }

    #[inline(always)]
    fn dot_u7_i8(self, acc: int32x4_t, u: int32x4_t, s: int32x4_t) -> int32x4_t {
        // Unsigned bytes of at most 127 are signed bytes too.
        if DOT {
            return self.dot_bytes(acc, u, s);
        }
        neon! {
            // 127 · 128 fits i16.
            let (u, s) = (vreinterpretq_s8_s32(u), vreinterpretq_s8_s32(s));
            let low = vpaddlq_s16(vmull_s8(vget_low_s8(u), vget_low_s8(s)));
            let high = vpaddlq_s16(vmull_s8(vget_high_s8(u), vget_high_s8(s)));
            vaddq_s32(acc, pair_sums(low, high))
        }
    }

    #[inline(always)]
    fn dot_i16(self, acc: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        neon! {
            let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
            let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
            let high = vmull_s16(vget_high_s16(a), vget_high_s16(b));
            vaddq_s32(acc, pair_sums(low, high))
        }
    }

    #[inline(always)]
    fn pack_bf16(self, low: float32x4_t, high: float32x4_t) -> int32x4_t {
        neon! {
            let halves = vcombine_u16(vmovn_u32(nearest_bf16(low)), vmovn_u32(nearest_bf16(high)));
            vreinterpretq_s32_u16(halves)
        }
    }

    #[inline(always)]
    fn reduce_add(self, a: float32x4_t) -> f32 {
        neon! {
            let two = vadd_f32(vget_low_f32(a), vget_high_f32(a));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }

    #[inline(always)]
    fn reduce_max(self, a: float32x4_t) -> f32 {
        neon! {
            let (low, high) = (vget_low_f32(a), vget_high_f32(a));
            let two = vbsl_f32(vcgt_f32(low, high), low, high);
            let (x, y) = (vget_lane_f32::<0>(two), vget_lane_f32::<1>(two));
            if x > y { x } else { y }
        }
    }

    instructions! { neon:
        reduce_add_i32(a: int32x4_t) -> i32 = vaddvq_s32(a);
        swap_pairs(a: float32x4_t) -> float32x4_t = vrev64q_f32(a);
        reduce_max_i32(a: int32x4_t) -> i32 = vmaxvq_s32(a);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::with_simd;
    use crate::{Isa, testing::random_words};

    /// The only NaN that `bfdot` gives.
    const DEFAULT_NAN: u32 = 0x7fc0_0000;

    /// The sum rounded as `bfdot` does: to the neighbour with an odd last bit where it is not exact, to zero below the normal
    /// range.
    fn sum_to_odd(a: f64, b: f64) -> f64 {
        let sum = a + b;
        if sum.is_nan() {
            return sum;
        }
        if sum.abs() >= 2.0_f64.powi(128) {
            return f64::INFINITY.copysign(sum);
        }
        // What the sum has lost, exactly.
        let of_b = sum - a;
        let lost = (a - (sum - of_b)) + (b - of_b);
        if sum.abs() < f64::from(f32::MIN_POSITIVE) {
            return 0.0_f64.copysign(sum);
        }
        let nearest = sum as f32;
        let beyond = (sum - f64::from(nearest)) + lost;
        if beyond == 0.0 || nearest.to_bits() & 1 == 1 {
            return f64::from(nearest);
        }
        f64::from(if beyond > 0.0 { nearest.next_up() } else { nearest.next_down() })
    }

    /// A bf16 in the upper half of a word, or an f32; numbers below the normal range are zero.
    fn normal(bits: u32) -> f64 {
        let value = f32::from_bits(bits);
        f64::from(if value.is_subnormal() { 0.0_f32.copysign(value) } else { value })
    }

    /// Two products and their sum with `acc`, as Arm's manual has them for CPUs that do not extend bf16 (FEAT_EBF16).
    fn bfdot(acc: u32, a: u32, b: u32) -> u32 {
        let product = |a: u32, b: u32| sum_to_odd(normal(a) * normal(b), -0.0);
        let [low, high] = [product(a << 16, b << 16), product(a & 0xffff_0000, b & 0xffff_0000)];
        let sum = sum_to_odd(normal(acc), sum_to_odd(low, high));
        if sum.is_nan() { DEFAULT_NAN } else { (sum as f32).to_bits() }
    }

    #[test]
    fn bf16_products_have_the_bits_of_the_manual() {
        let Ok(isa) = Isa::choose(Some("neon-bf16")) else { return };
        let special = [
            0, 1, 0x7f, 0x80, 0x3f80, 0x3f81, 0x4049, 0x7f7f, 0x7f80, 0x7f81, 0x7fc0, 0x1f80, 0x2000, 0x5f80,
        ];
        let mut random = random_words(7);
        let mut number = || {
            let word = random();
            match word % 4 {
                0 => special[(word >> 8) as usize % special.len()] | (word >> 16 & 0x8000),
                // Of like size, so that sums cancel.
                1 => word >> 16 & 0x81ff | 0x3f00,
                _ => word >> 16,
            }
        };
        for _ in 0..200_000 {
            let [a, b] = [(); 2].map(|()| number() << 16 | number());
            let acc = number() << 16 | number();
            let found = with_simd!(every isa, s => s.call(Dot([acc, a, b])));
            assert_eq!(found, bfdot(acc, a, b), "{acc:#x} + {a:#x} · {b:#x}");
        }
    }

    struct Dot([u32; 3]);

    impl<S: Simd> Work<S> for Dot {
        type Output = u32;

        #[inline(always)]
        fn run(self, s: S) -> u32 {
            let [acc, a, b] = self.0.map(|bits| s.splat_i32(bits as i32));
            s.reduce_max_i32(s.bits(s.dot_bf16(s.from_bits(acc), a, b))) as u32
        }
    }
}
