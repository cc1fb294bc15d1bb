//! Vectors of AVX-512: sixteen f32 in a register; without VNNI and BF16, with VNNI, and with both.

use std::arch::x86_64::*;
use std::mem::transmute;

use half::{bf16, f16};

use super::{Simd, Work, instructions};

/// AVX-512 F, BW, DQ and VL; VNNI, if `VNNI`; VNNI and BF16, if `BF16`. A value exists only where the CPU has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Set<const VNNI: bool, const BF16: bool>(());

/// Without VNNI and BF16.
pub(crate) type Avx512 = Avx512Set<false, false>;
/// With VNNI.
pub(crate) type Avx512Vnni = Avx512Set<true, false>;
/// With VNNI and BF16.
pub(crate) type Avx512Full = Avx512Set<true, true>;

impl<const VNNI: bool, const BF16: bool> Avx512Set<VNNI, BF16> {
    /// The token that proves it.
    ///
    /// # Safety
    /// The CPU has AVX-512 F, BW, DQ and VL, AVX2, FMA and F16C; VNNI, if `VNNI`; VNNI and BF16, if `BF16`.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Instructions of this set. Those that take pointers rely on what the method requires of its caller;
/// those of VNNI and BF16 are only reached in sets that have them.
macro_rules! avx512 {
    ($($body:tt)*) => {
        // SAFETY: there is a value of `Avx512Set`, so the CPU has the instructions; see also above.
        unsafe { $($body)* }
    };
}

const LANES: usize = 16;

/// A mask of the first `count` lanes.
#[inline(always)]
fn ones(count: usize) -> __mmask16 {
    if count >= LANES { 0xffff } else { (1 << count) - 1 }
}

/// The bits of the bf16 nearest to each lane, in the lower halves of the words.
#[inline(always)]
fn nearest_bf16(value: __m512) -> __m512i {
    avx512! {
        let bits = _mm512_castps_si512(value);
        let even = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff)));
        // Rounding could turn a NaN into an infinity; use a quiet NaN instead.
        let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
        let unordered = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
        _mm512_srli_epi32::<16>(_mm512_mask_mov_epi32(rounded, unordered, quiet))
    }
}

impl<const VNNI: bool, const BF16: bool> Simd for Avx512Set<VNNI, BF16> {
    const LANES: usize = LANES;
    const REGISTERS: usize = 32;
    const HAS_BF16_DOT: bool = BF16;
    const HAS_BYTE_DOT: bool = VNNI;
    type F32 = __m512;
    type I32 = __m512i;
    type Mask = __mmask16;
    type Plain = Avx512;

    #[inline(always)]
    fn plain(self) -> Avx512 {
        Avx512Set(())
    }

    #[inline]
    fn call<W: Work<Self>>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
        fn compiled<S: Simd, W: Work<S>>(s: S, work: W) -> W::Output {
            work.run(s)
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
        fn compiled_vnni<S: Simd, W: Work<S>>(s: S, work: W) -> W::Output {
            work.run(s)
        }
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma,f16c")]
        fn compiled_full<S: Simd, W: Work<S>>(s: S, work: W) -> W::Output {
            work.run(s)
        }
        avx512! {
            match (VNNI, BF16) {
                (_, true) => compiled_full(self, work),
                (true, false) => compiled_vnni(self, work),
                (false, false) => compiled(self, work),
            }
        }
    }

    instructions! { avx512 unsafe:
        load_ptr(from: *const f32) -> __m512 = _mm512_loadu_ps(from);
        store_ptr(to: *mut f32, value: __m512) -> () = _mm512_storeu_ps(to, value);
        load_first_ptr(from: *const f32, count: usize) -> __m512 = _mm512_maskz_loadu_ps(ones(count), from);
        store_first_ptr(to: *mut f32, value: __m512, count: usize) -> () =
            _mm512_mask_storeu_ps(to, ones(count), value);
        load_words_ptr(from: *const u8) -> __m512i = _mm512_loadu_si512(from.cast());
        store_words_ptr(to: *mut u8, value: __m512i) -> () = _mm512_storeu_si512(to.cast(), value);
        load_f16_ptr(from: *const f16) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()));
        store_f16_ptr(to: *mut f16, value: __m512) -> () =
            _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value));
    }

    #[inline(always)]
    unsafe fn load_bf16_ptr(self, from: *const bf16) -> __m512 {
        avx512! {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    instructions! { avx512 unsafe:
        // The conversion of BF16 is not used: it flushes small numbers to zero.
        store_bf16_ptr(to: *mut bf16, value: __m512) -> () =
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(nearest_bf16(value)));
        load_i8_ptr(from: *const i8) -> __m512i = _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()));
        load_u8_ptr(from: *const u8) -> __m512i = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
        load_i8_as_i16_ptr(from: *const i8) -> __m512i =
            _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast()));
        store_i16_ptr(to: *mut i16, value: __m512i) -> () =
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(value));
        store_i8_ptr(to: *mut i8, value: __m512i) -> () =
            _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(value));
    }

    #[inline(always)]
    unsafe fn transpose4_ptr(self, rows: [*const u32; 4], to: *mut u32, stride: usize) {
        avx512! {
            let (a, b) = (_mm512_loadu_si512(rows[0].cast()), _mm512_loadu_si512(rows[1].cast()));
            let (c, d) = (_mm512_loadu_si512(rows[2].cast()), _mm512_loadu_si512(rows[3].cast()));
            let (low01, high01) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (low23, high23) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            // Column i of each quarter of the registers.
            let columns = [
                _mm512_unpacklo_epi64(low01, low23),
                _mm512_unpackhi_epi64(low01, low23),
                _mm512_unpacklo_epi64(high01, high23),
                _mm512_unpackhi_epi64(high01, high23),
            ];
            let mut i = 0;
            while i < 4 {
                _mm_storeu_si128(to.add(i * stride).cast(), _mm512_castsi512_si128(columns[i]));
                i += 1;
            }
            while i < 8 {
                _mm_storeu_si128(to.add(i * stride).cast(), _mm512_extracti32x4_epi32::<1>(columns[i - 4]));
                i += 1;
            }
            while i < 12 {
                _mm_storeu_si128(to.add(i * stride).cast(), _mm512_extracti32x4_epi32::<2>(columns[i - 8]));
                i += 1;
            }
            while i < 16 {
                _mm_storeu_si128(to.add(i * stride).cast(), _mm512_extracti32x4_epi32::<3>(columns[i - 12]));
                i += 1;
            }
        }
    }

    instructions! { avx512:
        splat(value: f32) -> __m512 = _mm512_set1_ps(value);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        reciprocal_roughly(a: __m512) -> __m512 = _mm512_rcp14_ps(a);
        mul_add(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        neg_mul_add(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fnmadd_ps(a, b, c);
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        sqrt(a: __m512) -> __m512 = _mm512_sqrt_ps(a);
        abs(a: __m512) -> __m512 = _mm512_andnot_ps(_mm512_set1_ps(-0.0), a);
        neg(a: __m512) -> __m512 = _mm512_xor_ps(_mm512_set1_ps(-0.0), a);
        round(a: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        mul_pow2(a: __m512, n: __m512) -> __m512 = _mm512_scalef_ps(a, n);
        lt(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b);
        le(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(a, b);
        eq(a: __m512, b: __m512) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
    }

    #[inline(always)]
    fn first(self, count: usize) -> __mmask16 {
        ones(count)
    }

    instructions! { avx512:
        select(mask: __mmask16, yes: __m512, no: __m512) -> __m512 = _mm512_mask_blend_ps(mask, no, yes);
        splat_i32(value: i32) -> __m512i = _mm512_set1_epi32(value);
        add_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi32(a, b);
        sub_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_sub_epi32(a, b);
        mul_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_mullo_epi32(a, b);
        max_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_max_epi32(a, b);
        and_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_and_si512(a, b);
        or_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_or_si512(a, b);
        xor_i32(a: __m512i, b: __m512i) -> __m512i = _mm512_xor_si512(a, b);
        shl_i32(a: __m512i, by: u32) -> __m512i = _mm512_sll_epi32(a, _mm_cvtsi32_si128(by as i32));
        shr_i32(a: __m512i, by: u32) -> __m512i = _mm512_srl_epi32(a, _mm_cvtsi32_si128(by as i32));
        add_i8(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi8(a, b);
        lookup(table: &[u8; 16], places: __m512i) -> __m512i =
            _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), places);
        to_i32(a: __m512) -> __m512i = _mm512_cvtps_epi32(a);
        to_f32(a: __m512i) -> __m512 = _mm512_cvtepi32_ps(a);
        bits(a: __m512) -> __m512i = _mm512_castps_si512(a);
        from_bits(a: __m512i) -> __m512 = _mm512_castsi512_ps(a);
    }

    #[inline(always)]
    fn dot_bf16(self, acc: __m512, a: __m512i, b: __m512i) -> __m512 {
        if BF16 {
            return avx512! {
                _mm512_dpbf16_ps(acc, transmute::<__m512i, __m512bh>(a), transmute::<__m512i, __m512bh>(b))
            };
        }
        avx512! {
            let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            let a0 = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(a));
            let b0 = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(b));
            let a1 = _mm512_castsi512_ps(_mm512_and_si512(a, high));
            let b1 = _mm512_castsi512_ps(_mm512_and_si512(b, high));
            _mm512_fmadd_ps(a1, b1, _mm512_fmadd_ps(a0, b0, acc))
        }
    }

    #[inline(always)]
    fn dot_u8_i8(self, acc: __m512i, u: __m512i, s: __m512i) -> __m512i {
        if VNNI {
            return avx512! { _mm512_dpbusd_epi32(acc, u, s) };
        }
        avx512! {
            // Even and odd bytes separately, as i16: the pairwise byte product without VNNI saturates.
            let u_even = _mm512_and_si512(u, _mm512_set1_epi16(0xff));
            let u_odd = _mm512_srli_epi16::<8>(u);
            let s_even = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(s));
            let s_odd = _mm512_srai_epi16::<8>(s);
            let even = _mm512_madd_epi16(u_even, s_even);
            let odd = _mm512_madd_epi16(u_odd, s_odd);
            _mm512_add_epi32(acc, _mm512_add_epi32(even, odd))
        }
    }

    #[inline(always)]
    fn dot_u7_i8(self, acc: __m512i, u: __m512i, s: __m512i) -> __m512i {
        if VNNI {
            return avx512! { _mm512_dpbusd_epi32(acc, u, s) };
        }
        avx512! {
            // 2 · 127 · 128 fits i16, so nothing saturates.
            let pairs = _mm512_maddubs_epi16(u, s);
            _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }

    instructions! { avx512:
        dot_i16(acc: __m512i, a: __m512i, b: __m512i) -> __m512i =
            _mm512_add_epi32(acc, _mm512_madd_epi16(a, b));
    }

    #[inline(always)]
    fn pack_bf16(self, low: __m512, high: __m512) -> __m512i {
        if BF16 {
            // Flushes small numbers to zero, as the products do.
            return avx512! { transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) };
        }
        avx512! {
            let low = _mm512_cvtepi32_epi16(nearest_bf16(low));
            let high = _mm512_cvtepi32_epi16(nearest_bf16(high));
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }

    #[inline(always)]
    fn join_bf16(self, low: __m512, high: __m512) -> __m512i {
        avx512! {
            if BF16 {
                let both = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                let places = _mm512_set1_epi32(16 << 16);
                let words = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                let places = _mm512_add_epi32(places, _mm512_mullo_epi32(words, _mm512_set1_epi32(0x1_0001)));
                return _mm512_permutexvar_epi16(places, both);
            }
            let high = _mm512_slli_epi32::<16>(nearest_bf16(high));
            _mm512_or_si512(nearest_bf16(low), high)
        }
    }

    #[inline(always)]
    fn reduce_add(self, a: __m512) -> f32 {
        avx512! {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn reduce_add4(self, all: [__m512; 4]) -> [f32; 4] {
        avx512! {
            // The halves of two registers side by side, then the quarters of four.
            let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(all[0], all[1]);
            let a = _mm512_add_ps(low, _mm512_shuffle_f32x4::<0b11_10_11_10>(all[0], all[1]));
            let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(all[2], all[3]);
            let b = _mm512_add_ps(low, _mm512_shuffle_f32x4::<0b11_10_11_10>(all[2], all[3]));
            let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
            let four = _mm512_add_ps(low, _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
            let two = _mm512_add_ps(four, _mm512_permute_ps::<0b01_00_11_10>(four));
            let one = _mm512_add_ps(two, _mm512_permute_ps::<0b10_11_00_01>(two));
            let mut sums = [0.0; 4];
            _mm_storeu_ps(sums.as_mut_ptr(), _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, one)));
            sums
        }
    }

    #[inline(always)]
    fn reduce_max(self, a: __m512) -> f32 {
        avx512! {
            let eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    instructions! { avx512:
        reduce_add_i32(a: __m512i) -> i32 = _mm512_reduce_add_epi32(a);
        swap_pairs(a: __m512) -> __m512 = _mm512_permute_ps::<0b10_11_00_01>(a);
        reduce_max_i32(a: __m512i) -> i32 = _mm512_reduce_max_epi32(a);
        prefetch(at: *const u8) -> () = _mm_prefetch::<_MM_HINT_T1>(at.cast());
        prefetch_near(at: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
}
