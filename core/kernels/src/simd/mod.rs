//! Vectors of each instruction set behind one trait, so that a kernel is written once.
//!
//! A value of a type that implements [`Simd`] proves that the CPU has the set: it is made only by
//! [`dispatch!`](super::dispatch), from an [`Isa`](super::Isa). All intrinsics of the kernels are in this folder. Every
//! function generic over `S: Simd` must be `#[inline(always)]`, or it is compiled without the set's instructions;
//! closures do not inherit them either.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;

#[cfg(test)]
mod tests;

use half::{bf16, f16};

/// Methods of [`Simd`] that are an instruction or two of a set each.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! instructions {
    ($set:ident: $($name:ident($($argument:ident: $type:ty),*) -> $output:ty = $body:expr;)*) => {
        $(#[inline(always)]
        fn $name(self, $($argument: $type),*) -> $output {
            $set! { $body }
        })*
    };
    ($set:ident unsafe: $($name:ident($($argument:ident: $type:ty),*) -> $output:ty = $body:expr;)*) => {
        $(#[inline(always)]
        unsafe fn $name(self, $($argument: $type),*) -> $output {
            $set! { $body }
        })*
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use instructions;

/// Work that runs with the instructions of `S` through [`Simd::call`].
pub(crate) trait Work<S: Simd> {
    /// What it returns.
    type Output;

    /// Does the work; implementations are `#[inline(always)]`.
    fn run(self, s: S) -> Self::Output;
}

/// The vectors of one instruction set.
///
/// Methods that take pointers are for inner loops whose bounds the caller has checked; the others take slices and
/// check. Nothing is read or written past what was given. Unless a method says otherwise, results are those of IEEE
/// arithmetic in f32, but whether [`mul_add`](Self::mul_add) rounds once or twice depends on the set.
#[allow(dead_code, reason = "the operations are complete; which of them kernels use changes")]
#[allow(clippy::wrong_self_convention, reason = "`self` is the proof, not what is converted")]
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// How many f32 a register holds; at most [`MAX_LANES`].
    const LANES: usize;
    /// How many registers there are.
    const REGISTERS: usize;
    /// Whether [`dot_bf16`](Self::dot_bf16) is one instruction.
    const HAS_BF16_DOT: bool;
    /// Whether [`dot_bytes`](Self::dot_bytes) is one instruction.
    const HAS_BYTE_DOT: bool;
    /// Whether [`dot_bytes`](Self::dot_bytes) takes signed bytes on both sides.
    const BYTE_DOT_IS_SIGNED: bool = false;
    /// `LANES` f32.
    type F32: Copy;
    /// `LANES` i32; also `2 · LANES` i16 or bf16, or `4 · LANES` bytes, where a method says so.
    type I32: Copy;
    /// One bit per lane.
    type Mask: Copy;
    /// The same vectors without VNNI and BF16: code that makes no use of these is compiled for one set less.
    type Plain: Simd;

    /// The token of [`Plain`](Self::Plain).
    fn plain(self) -> Self::Plain;

    /// Runs `work`, compiled for this set. The call costs a few cycles; loops belong inside `work`.
    fn call<W: Work<Self>>(self, work: W) -> W::Output;

    // Memory.

    /// Loads `LANES` values.
    ///
    /// # Safety
    /// `LANES` values are readable at `from`; no alignment is needed.
    unsafe fn load_ptr(self, from: *const f32) -> Self::F32;
    /// Stores `LANES` values.
    ///
    /// # Safety
    /// `LANES` values are writable at `to`; no alignment is needed.
    unsafe fn store_ptr(self, to: *mut f32, value: Self::F32);
    /// Loads the first `count` lanes (all, if `count` is more) and sets the others to zero.
    ///
    /// # Safety
    /// `count.min(LANES)` values are readable at `from`.
    unsafe fn load_first_ptr(self, from: *const f32, count: usize) -> Self::F32;
    /// Stores the first `count` lanes (all, if `count` is more).
    ///
    /// # Safety
    /// `count.min(LANES)` values are writable at `to`.
    unsafe fn store_first_ptr(self, to: *mut f32, value: Self::F32, count: usize);
    /// Loads `LANES` words of any content.
    ///
    /// # Safety
    /// `4 · LANES` bytes are readable at `from`; no alignment is needed.
    unsafe fn load_words_ptr(self, from: *const u8) -> Self::I32;
    /// Stores `LANES` words of any content.
    ///
    /// # Safety
    /// `4 · LANES` bytes are writable at `to`; no alignment is needed.
    unsafe fn store_words_ptr(self, to: *mut u8, value: Self::I32);
    /// Loads `LANES` f16 and widens them.
    ///
    /// # Safety
    /// `LANES` values are readable at `from`.
    unsafe fn load_f16_ptr(self, from: *const f16) -> Self::F32;
    /// Narrows to f16, to nearest even, and stores `LANES` values.
    ///
    /// # Safety
    /// `LANES` values are writable at `to`.
    unsafe fn store_f16_ptr(self, to: *mut f16, value: Self::F32);
    /// Loads `LANES` bf16 and widens them.
    ///
    /// # Safety
    /// `LANES` values are readable at `from`.
    unsafe fn load_bf16_ptr(self, from: *const bf16) -> Self::F32;
    /// Narrows to bf16, to nearest even, and stores `LANES` values.
    ///
    /// # Safety
    /// `LANES` values are writable at `to`.
    unsafe fn store_bf16_ptr(self, to: *mut bf16, value: Self::F32);
    /// Loads `LANES` bytes with their signs.
    ///
    /// # Safety
    /// `LANES` bytes are readable at `from`.
    unsafe fn load_i8_ptr(self, from: *const i8) -> Self::I32;
    /// Loads `LANES` bytes without sign.
    ///
    /// # Safety
    /// `LANES` bytes are readable at `from`.
    unsafe fn load_u8_ptr(self, from: *const u8) -> Self::I32;
    /// Loads `2 · LANES` bytes with their signs as `2 · LANES` i16.
    ///
    /// # Safety
    /// `2 · LANES` bytes are readable at `from`.
    unsafe fn load_i8_as_i16_ptr(self, from: *const i8) -> Self::I32;
    /// Stores the low half of every lane: `LANES` i16. Lanes must lie in -32768..=32767.
    ///
    /// # Safety
    /// `LANES` i16 are writable at `to`.
    unsafe fn store_i16_ptr(self, to: *mut i16, value: Self::I32);
    /// Stores the low byte of every lane: `LANES` bytes.
    ///
    /// # Safety
    /// `LANES` bytes are writable at `to`.
    unsafe fn store_i8_ptr(self, to: *mut i8, value: Self::I32);

    /// Transposes `LANES` words of each of four rows: word `i` of row `r` to `to[i · stride + r]`.
    /// Columns are written from the first to the last, so a stride below four overwrites what is past each.
    ///
    /// # Safety
    /// `LANES` words are readable at every row; `(LANES - 1) · stride + 4` are writable at `to`.
    #[inline(always)]
    unsafe fn transpose4_ptr(self, rows: [*const u32; 4], to: *mut u32, stride: usize) {
        let mut i = 0;
        while i < Self::LANES {
            let mut row = 0;
            while row < 4 {
                // SAFETY: the caller's promise.
                unsafe { *to.add(i * stride + row) = *rows[row].add(i) };
                row += 1;
            }
            i += 1;
        }
    }

    // Arithmetic in f32.

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::F32;
    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a · b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `1 / a` for normal `a` whose inverse is normal, with a relative error of at most 2⁻¹⁴.
    #[inline(always)]
    fn reciprocal_roughly(self, a: Self::F32) -> Self::F32 {
        self.div(self.splat(1.0), a)
    }
    /// `a · b + c`, rounded once where the set has the instruction.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `c - a · b`, rounded once where the set has the instruction.
    fn neg_mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `if a < b { a } else { b }`: the second where one is NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `if a > b { a } else { b }`: the second where one is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The square root.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// The absolute value.
    fn abs(self, a: Self::F32) -> Self::F32;
    /// `-a`.
    fn neg(self, a: Self::F32) -> Self::F32;
    /// The nearest integer, to even between two.
    fn round(self, a: Self::F32) -> Self::F32;

    /// `a · 2ⁿ`, for whole `n` from -250 to 250.
    #[inline(always)]
    fn mul_pow2(self, a: Self::F32, n: Self::F32) -> Self::F32 {
        // In two steps, so that each factor is a normal number.
        let half = self.round(self.mul(n, self.splat(0.5)));
        let bias = self.splat_i32(127);
        let first = self.shl_i32(self.add_i32(self.to_i32(half), bias), 23);
        let second = self.shl_i32(self.add_i32(self.to_i32(self.sub(n, half)), bias), 23);
        self.mul(self.mul(a, self.from_bits(first)), self.from_bits(second))
    }

    // Comparison and selection.

    /// `a < b`, false with NaN.
    fn lt(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a <= b`, false with NaN.
    fn le(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// `a == b`, false with NaN.
    fn eq(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// True in the first `count` lanes.
    fn first(self, count: usize) -> Self::Mask;
    /// `yes` where the mask is true, else `no`.
    fn select(self, mask: Self::Mask, yes: Self::F32, no: Self::F32) -> Self::F32;

    // Wrapping integers.

    /// `value` in every lane.
    fn splat_i32(self, value: i32) -> Self::I32;
    /// `a + b`.
    fn add_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a - b`.
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The low 32 bits of `a · b`.
    fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The signed maximum. Non-negative f32 are in the same order as their bits.
    fn max_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Bitwise and.
    fn and_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Bitwise or.
    fn or_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Bitwise exclusive or.
    fn xor_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// Shifts left; `by` is a constant below 32.
    fn shl_i32(self, a: Self::I32, by: u32) -> Self::I32;
    /// Shifts right and fills with zeros; `by` is a constant below 32.
    fn shr_i32(self, a: Self::I32, by: u32) -> Self::I32;
    /// Every byte of `a` plus the byte of `b`: `4 · LANES` bytes.
    fn add_i8(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The nearest integer, to even between two; for values within i32.
    fn to_i32(self, a: Self::F32) -> Self::I32;
    /// As f32, to nearest even.
    fn to_f32(self, a: Self::I32) -> Self::F32;
    /// The bits of each lane.
    fn bits(self, a: Self::F32) -> Self::I32;
    /// The f32 with these bits.
    fn from_bits(self, a: Self::I32) -> Self::F32;

    // Sums of products within each 32-bit lane.

    /// `acc + a₀·b₀ + a₁·b₁` of bf16 pairs. Rounding between the two products depends on the set; where
    /// [`HAS_BF16_DOT`](Self::HAS_BF16_DOT), numbers below the normal range count as zero.
    fn dot_bf16(self, acc: Self::F32, a: Self::I32, b: Self::I32) -> Self::F32;
    /// `acc + Σ uᵢ·sᵢ` of four unsigned and four signed bytes, exact.
    fn dot_u8_i8(self, acc: Self::I32, u: Self::I32, s: Self::I32) -> Self::I32;
    /// The same where [`BYTE_DOT_IS_SIGNED`](Self::BYTE_DOT_IS_SIGNED) is false, else `acc + Σ xᵢ·sᵢ` of signed bytes, exact.
    #[inline(always)]
    fn dot_bytes(self, acc: Self::I32, x: Self::I32, s: Self::I32) -> Self::I32 {
        self.dot_u8_i8(acc, x, s)
    }
    /// The first for unsigned bytes of at most 127, which is faster without a byte dot instruction. Exact.
    fn dot_u7_i8(self, acc: Self::I32, u: Self::I32, s: Self::I32) -> Self::I32;
    /// `acc + a₀·b₀ + a₁·b₁` of i16 pairs, exact but for -32768 twice on both sides.
    fn dot_i16(self, acc: Self::I32, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The `2 · LANES` values of `low` and then `high` as bf16, to nearest even, in order.
    fn pack_bf16(self, low: Self::F32, high: Self::F32) -> Self::I32;

    /// The values of `low` as bf16, to nearest even, in the lower halves of the words, and those of `high` in the
    /// upper ones.
    #[inline(always)]
    fn join_bf16(self, low: Self::F32, high: Self::F32) -> Self::I32 {
        let upper = |value: Self::F32| {
            let bits = self.bits(value);
            let even = self.and_i32(self.shr_i32(bits, 16), self.splat_i32(1));
            let rounded = self.add_i32(bits, self.add_i32(even, self.splat_i32(0x7fff)));
            // Rounding could turn a NaN into an infinity; return a quiet NaN instead.
            let quiet = self.or_i32(bits, self.splat_i32(0x0040_0000));
            let number = self.eq(value, value);
            self.bits(self.select(number, self.from_bits(rounded), self.from_bits(quiet)))
        };
        let high = self.and_i32(upper(high), self.splat_i32(-0x1_0000));
        self.or_i32(self.shr_i32(upper(low), 16), high)
    }

    /// Each byte of `places`, all of them below 16, replaced by the table's byte there.
    #[inline(always)]
    fn lookup(self, table: &[u8; 16], places: Self::I32) -> Self::I32 {
        let mut bytes = [0_u8; 4 * MAX_LANES];
        // SAFETY: there is room for the largest register.
        unsafe { self.store_words_ptr(bytes.as_mut_ptr(), places) };
        bytes.iter_mut().for_each(|byte| *byte = table[usize::from(*byte & 15)]);
        // SAFETY: as above.
        unsafe { self.load_words_ptr(bytes.as_ptr()) }
    }

    // Reductions in a fixed order: halves are combined until one lane is left.

    /// The sum of all lanes.
    fn reduce_add(self, a: Self::F32) -> f32;
    /// The sums of the lanes of four registers, each with the bits of [`reduce_add`](Self::reduce_add).
    #[inline(always)]
    fn reduce_add4(self, all: [Self::F32; 4]) -> [f32; 4] {
        [self.reduce_add(all[0]), self.reduce_add(all[1]), self.reduce_add(all[2]), self.reduce_add(all[3])]
    }
    /// The maximum of all lanes; NaN lanes as in [`max`](Self::max).
    fn reduce_max(self, a: Self::F32) -> f32;
    /// The sum of all lanes.
    fn reduce_add_i32(self, a: Self::I32) -> i32;
    /// The signed maximum of all lanes.
    fn reduce_max_i32(self, a: Self::I32) -> i32;

    /// Neighbours exchanged: lanes 1, 0, 3, 2 and so on.
    fn swap_pairs(self, a: Self::F32) -> Self::F32;

    /// Prefetches the line at `at` into the L2 cache. Any address is allowed.
    #[inline(always)]
    fn prefetch(self, at: *const u8) {
        let _ = at;
    }

    /// Prefetches into the L1 cache: for what is read once and soon.
    #[inline(always)]
    fn prefetch_near(self, at: *const u8) {
        let _ = at;
    }

    // Provided methods.

    /// Zero in every lane.
    #[inline(always)]
    fn zero(self) -> Self::F32 {
        self.splat(0.0)
    }

    /// The first `LANES` values of `from`; panics if it is shorter.
    #[inline(always)]
    fn load(self, from: &[f32]) -> Self::F32 {
        assert!(from.len() >= Self::LANES, "a register is longer than the slice");
        // SAFETY: the slice holds a register, as just checked.
        unsafe { self.load_ptr(from.as_ptr()) }
    }

    /// Stores into the first `LANES` values of `to`; panics if it is shorter.
    #[inline(always)]
    fn store(self, to: &mut [f32], value: Self::F32) {
        assert!(to.len() >= Self::LANES, "a register is longer than the slice");
        // SAFETY: the slice holds a register, as just checked.
        unsafe { self.store_ptr(to.as_mut_ptr(), value) }
    }

    /// The values of `from`, at most `LANES`, and zeros after them.
    #[inline(always)]
    fn load_first(self, from: &[f32]) -> Self::F32 {
        // SAFETY: no more lanes are read than the slice has.
        unsafe { self.load_first_ptr(from.as_ptr(), from.len()) }
    }

    /// Stores as many lanes as `to` has room for.
    #[inline(always)]
    fn store_first(self, to: &mut [f32], value: Self::F32) {
        // SAFETY: no more lanes are written than the slice has.
        unsafe { self.store_first_ptr(to.as_mut_ptr(), value, to.len()) }
    }
}

/// No register of any set has more lanes than this.
pub(crate) const MAX_LANES: usize = 16;
