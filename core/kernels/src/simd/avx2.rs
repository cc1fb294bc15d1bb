//! Vectors of AVX2 with FMA and F16C: eight f32 in a register; without and with AVX-VNNI.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{Simd, Work, instructions};

/// AVX2, FMA and F16C; AVX-VNNI, if `VNNI`. A value exists only where the CPU has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2Set<const VNNI: bool>(());

/// Without AVX-VNNI.
pub(crate) type Avx2 = Avx2Set<false>;
/// With AVX-VNNI.
pub(crate) type Avx2Vnni = Avx2Set<true>;

impl<const VNNI: bool> Avx2Set<VNNI> {
    /// The token that proves it.
    ///
    /// # Safety
    /// The CPU has AVX2, FMA and F16C; and AVX-VNNI, if `VNNI`.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }
}

/// Instructions of this set. Those that take pointers rely on what the method requires of its caller;
/// those of AVX-VNNI are only reached if `VNNI`.
macro_rules! avx2 {
    ($($body:tt)*) => {
        // SAFETY: there is a value of `Avx2Set`, so the CPU has the instructions; see also above.
        unsafe { $($body)* }
    };
}

const LANES: usize = 8;

/// A mask whose first `count` lanes are all ones.
#[inline(always)]
fn ones(count: usize) -> __m256i {
    static WINDOW: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let start = WINDOW.len() - LANES - count.min(LANES);
    // SAFETY: the window is 16 long and starts at 8 at most; only called by methods of `Avx2Set`.
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(start).cast()) }
}

/// The bits of the bf16 nearest to each lane, in the upper halves of the words; the lower halves are zero.
#[inline(always)]
fn nearest_bf16(value: __m256) -> __m256i {
    avx2! {
        let bits = _mm256_castps_si256(value);
        let even = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff)));
        // Rounding could turn a NaN into an infinity; use a quiet NaN instead.
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let ordered = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_ORD_Q>(value, value));
        let chosen = _mm256_blendv_epi8(quiet, rounded, ordered);
        _mm256_and_si256(chosen, _mm256_set1_epi32(0xffff_0000_u32 as i32))
    }
}

impl<const VNNI: bool> Simd for Avx2Set<VNNI> {
    const LANES: usize = LANES;
    const REGISTERS: usize = 16;
    const HAS_BF16_DOT: bool = false;
    const HAS_BYTE_DOT: bool = VNNI;
    type F32 = __m256;
    type I32 = __m256i;
    type Mask = __m256;
    type Plain = Avx2;

    #[inline(always)]
    fn plain(self) -> Avx2 {
        Avx2Set(())
    }

    #[inline]
    fn call<W: Work<Self>>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn compiled<S: Simd, W: Work<S>>(s: S, work: W) -> W::Output {
            work.run(s)
        }
        #[target_feature(enable = "avxvnni,avx2,fma,f16c")]
        fn compiled_vnni<S: Simd, W: Work<S>>(s: S, work: W) -> W::Output {
            work.run(s)
        }
        avx2! { if VNNI { compiled_vnni(self, work) } else { compiled(self, work) } }
    }

    instructions! { avx2 unsafe:
        load_ptr(from: *const f32) -> __m256 = _mm256_loadu_ps(from);
        store_ptr(to: *mut f32, value: __m256) -> () = _mm256_storeu_ps(to, value);
        load_first_ptr(from: *const f32, count: usize) -> __m256 = _mm256_maskload_ps(from, ones(count));
        store_first_ptr(to: *mut f32, value: __m256, count: usize) -> () =
            _mm256_maskstore_ps(to, ones(count), value);
        load_words_ptr(from: *const u8) -> __m256i = _mm256_loadu_si256(from.cast());
        store_words_ptr(to: *mut u8, value: __m256i) -> () = _mm256_storeu_si256(to.cast(), value);
        load_f16_ptr(from: *const f16) -> __m256 = _mm256_cvtph_ps(_mm_loadu_si128(from.cast()));
        store_f16_ptr(to: *mut f16, value: __m256) -> () =
            _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value));
    }

    #[inline(always)]
    unsafe fn load_bf16_ptr(self, from: *const bf16) -> __m256 {
        avx2! {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16_ptr(self, to: *mut bf16, value: __m256) {
        avx2! {
            let words = _mm256_srli_epi32::<16>(nearest_bf16(value));
            let halves = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.cast(), halves)
        }
    }

    instructions! { avx2 unsafe:
        load_i8_ptr(from: *const i8) -> __m256i = _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()));
        load_u8_ptr(from: *const u8) -> __m256i = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
        load_i8_as_i16_ptr(from: *const i8) -> __m256i = _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast()));
    }

    #[inline(always)]
    unsafe fn store_i16_ptr(self, to: *mut i16, value: __m256i) {
        avx2! {
            let halves = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256::<1>(value));
            _mm_storeu_si128(to.cast(), halves)
        }
    }

    #[inline(always)]
    unsafe fn store_i8_ptr(self, to: *mut i8, value: __m256i) {
        avx2! {
            // Packing saturates; without the upper bytes there is nothing to saturate.
            let low = _mm256_and_si256(value, _mm256_set1_epi32(0xff));
            let halves = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256::<1>(low));
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(halves, halves))
        }
    }

    #[inline(always)]
    unsafe fn transpose4_ptr(self, rows: [*const u32; 4], to: *mut u32, stride: usize) {
        avx2! {
            let (a, b) = (_mm256_loadu_si256(rows[0].cast()), _mm256_loadu_si256(rows[1].cast()));
            let (c, d) = (_mm256_loadu_si256(rows[2].cast()), _mm256_loadu_si256(rows[3].cast()));
            let (low01, high01) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (low23, high23) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            // Column i of each half of the registers.
            let columns = [
                _mm256_unpacklo_epi64(low01, low23),
                _mm256_unpackhi_epi64(low01, low23),
                _mm256_unpacklo_epi64(high01, high23),
                _mm256_unpackhi_epi64(high01, high23),
            ];
            let mut i = 0;
            while i < 4 {
                _mm_storeu_si128(to.add(i * stride).cast(), _mm256_castsi256_si128(columns[i]));
                i += 1;
            }
            while i < 8 {
                _mm_storeu_si128(to.add(i * stride).cast(), _mm256_extracti128_si256::<1>(columns[i - 4]));
                i += 1;
            }
        }
    }

    instructions! { avx2:
        splat(value: f32) -> __m256 = _mm256_set1_ps(value);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        mul_add(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        neg_mul_add(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fnmadd_ps(a, b, c);
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        sqrt(a: __m256) -> __m256 = _mm256_sqrt_ps(a);
        abs(a: __m256) -> __m256 = _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
        neg(a: __m256) -> __m256 = _mm256_xor_ps(_mm256_set1_ps(-0.0), a);
        round(a: __m256) -> __m256 = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
        lt(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LT_OQ>(a, b);
        le(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_LE_OQ>(a, b);
        eq(a: __m256, b: __m256) -> __m256 = _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b);
        first(count: usize) -> __m256 = _mm256_castsi256_ps(ones(count));
        select(mask: __m256, yes: __m256, no: __m256) -> __m256 = _mm256_blendv_ps(no, yes, mask);
        splat_i32(value: i32) -> __m256i = _mm256_set1_epi32(value);
        add_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi32(a, b);
        sub_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_sub_epi32(a, b);
        mul_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_mullo_epi32(a, b);
        max_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_max_epi32(a, b);
        and_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_and_si256(a, b);
        or_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_or_si256(a, b);
        xor_i32(a: __m256i, b: __m256i) -> __m256i = _mm256_xor_si256(a, b);
        shl_i32(a: __m256i, by: u32) -> __m256i = _mm256_sll_epi32(a, _mm_cvtsi32_si128(by as i32));
        shr_i32(a: __m256i, by: u32) -> __m256i = _mm256_srl_epi32(a, _mm_cvtsi32_si128(by as i32));
        add_i8(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi8(a, b);
        lookup(table: &[u8; 16], places: __m256i) -> __m256i =
            _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())), places);
        to_i32(a: __m256) -> __m256i = _mm256_cvtps_epi32(a);
        to_f32(a: __m256i) -> __m256 = _mm256_cvtepi32_ps(a);
        bits(a: __m256) -> __m256i = _mm256_castps_si256(a);
        from_bits(a: __m256i) -> __m256 = _mm256_castsi256_ps(a);
    }

    #[inline(always)]
    fn dot_bf16(self, acc: __m256, a: __m256i, b: __m256i) -> __m256 {
        avx2! {
            let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
            let a0 = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(a));
            let b0 = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(b));
            let a1 = _mm256_castsi256_ps(_mm256_and_si256(a, high));
            let b1 = _mm256_castsi256_ps(_mm256_and_si256(b, high));
            _mm256_fmadd_ps(a1, b1, _mm256_fmadd_ps(a0, b0, acc))
        }
    }

    #[inline(always)]
    fn dot_u8_i8(self, acc: __m256i, u: __m256i, s: __m256i) -> __m256i {
        if VNNI {
            return avx2! { _mm256_dpbusd_avx_epi32(acc, u, s) };
        }
        avx2! {
            // Even and odd bytes separately, as i16: the pairwise byte product of AVX2 saturates.
            let u_even = _mm256_and_si256(u, _mm256_set1_epi16(0xff));
            let u_odd = _mm256_srli_epi16::<8>(u);
            let s_even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(s));
            let s_odd = _mm256_srai_epi16::<8>(s);
            let even = _mm256_madd_epi16(u_even, s_even);
            let odd = _mm256_madd_epi16(u_odd, s_odd);
            _mm256_add_epi32(acc, _mm256_add_epi32(even, odd))
        }
    }

    #[inline(always)]
    fn dot_u7_i8(self, acc: __m256i, u: __m256i, s: __m256i) -> __m256i {
        if VNNI {
            return avx2! { _mm256_dpbusd_avx_epi32(acc, u, s) };
        }
        avx2! {
            // 2 · 127 · 128 fits i16, so nothing saturates.
            let pairs = _mm256_maddubs_epi16(u, s);
            _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    instructions! { avx2:
        dot_i16(acc: __m256i, a: __m256i, b: __m256i) -> __m256i =
            _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
    }

    #[inline(always)]
    fn pack_bf16(self, low: __m256, high: __m256) -> __m256i {
        avx2! {
            let low = _mm256_srli_epi32::<16>(nearest_bf16(low));
            let high = _mm256_srli_epi32::<16>(nearest_bf16(high));
            // Packing works within halves of the register; put the quarters into order.
            _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high))
        }
    }

    #[inline(always)]
    fn reduce_add(self, a: __m256) -> f32 {
        avx2! {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn reduce_max(self, a: __m256) -> f32 {
        avx2! {
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    fn reduce_add_i32(self, a: __m256i) -> i32 {
        avx2! {
            let four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b11_10_11_10>(four));
            _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two)))
        }
    }

    instructions! { avx2:
        swap_pairs(a: __m256) -> __m256 = _mm256_permute_ps::<0b10_11_00_01>(a);
    }

    #[inline(always)]
    fn reduce_max_i32(self, a: __m256i) -> i32 {
        avx2! {
            let four = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256::<1>(a));
            let two = _mm_max_epi32(four, _mm_shuffle_epi32::<0b11_10_11_10>(four));
            _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32::<1>(two)))
        }
    }

    instructions! { avx2:
        prefetch(at: *const u8) -> () = _mm_prefetch::<_MM_HINT_T1>(at.cast());
        prefetch_near(at: *const u8) -> () = _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
}
