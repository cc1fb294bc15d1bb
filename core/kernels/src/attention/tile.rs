//! The inner loop: sums of scalars times registers of rows.

use super::super::simd::Simd;
use super::pack::{KEYS, join_rows, pack_keys};
use super::view::{Numbers, Strided};

/// How a block's operands are packed and multiplied.
pub(super) trait Products<S: Simd>: Sized {
    /// Whether numbers are rounded to bf16 and multiplied in pairs.
    const PAIRS: bool;
    /// The size of a head is padded to a multiple of this.
    const MULTIPLE: usize;

    /// Gets ready for a block.
    ///
    /// # Safety
    /// The process may use the instructions, and the thread has no other value of the type.
    unsafe fn start() -> Self;

    /// Packs `count` keys of `width` numbers, padded with zeros to `size`, from token `first` on.
    ///
    /// # Safety
    /// The keys lie within `data`; `staging` and `to` have room for a whole tile.
    unsafe fn pack_keys(
        s: S,
        data: &Strided<Numbers<'_>>,
        first: usize,
        head: usize,
        sizes: [usize; 3],
        staging: &mut [f32],
        to: &mut [f32],
    );

    /// Arranges `count` rows of values, of `size` numbers each. May exchange the two, each for a whole tile.
    ///
    /// # Safety
    /// Both have room for a whole tile.
    unsafe fn arrange_values<'a>(
        s: S,
        values: &mut &'a mut [f32],
        staging: &mut &'a mut [f32],
        count: usize,
        size: usize,
    );

    /// Stores the products of `count` keys and a panel of queries, those of a key side by side.
    ///
    /// # Safety
    /// Both are packed, and `to` has room for a whole tile.
    unsafe fn scores<const REGISTERS: usize>(
        &mut self,
        s: S,
        size: usize,
        count: usize,
        keys: *const f32,
        queries: *const f32,
        to: *mut f32,
    );

    /// Multiplies sums with `keep` and adds the values of `count` keys times their weights.
    ///
    /// # Safety
    /// Values are arranged, weights are there for `count` keys, with room for a whole tile, and sums for a panel; as much
    /// as a tile of values is writable at `spare`.
    #[allow(clippy::too_many_arguments, reason = "what a block knows")]
    unsafe fn add_values<const REGISTERS: usize>(
        &mut self,
        s: S,
        size: usize,
        count: usize,
        values: *const f32,
        weights: *mut f32,
        keep: [S::F32; REGISTERS],
        sums: *mut f32,
        spare: *mut f32,
    );
}

/// Products in registers, of f32 or pairs of bf16.
pub(super) struct InRegisters<const PAIRS: bool>;

impl<const PAIRS: bool> InRegisters<PAIRS> {
    /// Numbers of a word.
    const GROUP: usize = if PAIRS { 2 } else { 1 };
}

impl<S: Simd, const PAIRS: bool> Products<S> for InRegisters<PAIRS> {
    const PAIRS: bool = PAIRS;
    const MULTIPLE: usize = 8;

    #[inline(always)]
    unsafe fn start() -> Self {
        Self
    }

    #[inline(always)]
    unsafe fn pack_keys(
        s: S,
        data: &Strided<Numbers<'_>>,
        first: usize,
        head: usize,
        sizes: [usize; 3],
        staging: &mut [f32],
        to: &mut [f32],
    ) {
        let [count, _, size] = sizes;
        // SAFETY: the caller's promise; whole eights of keys.
        unsafe {
            pack_keys(s, data, first, head, sizes, staging, to);
            if PAIRS {
                for keys in to.chunks_exact_mut(KEYS * size).take(count.div_ceil(KEYS)) {
                    join_rows(s, keys.as_mut_ptr(), size, KEYS);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn arrange_values<'a>(
        s: S,
        values: &mut &'a mut [f32],
        _: &mut &'a mut [f32],
        count: usize,
        size: usize,
    ) {
        if PAIRS {
            if let Some(beyond) = values.get_mut(count * size..(count + 1) * size) {
                beyond.fill(0.0);
            }
            // SAFETY: the caller's promise.
            unsafe { join_rows(s, values.as_mut_ptr(), count, size) };
        }
    }

    #[inline(always)]
    unsafe fn scores<const REGISTERS: usize>(
        &mut self,
        s: S,
        size: usize,
        count: usize,
        keys: *const f32,
        queries: *const f32,
        to: *mut f32,
    ) {
        let (panel, words) = (2 * S::LANES, size / Self::GROUP);
        let mut key = 0;
        while key < count {
            // SAFETY: keys are packed in whole eights, and scores have room for a whole tile.
            unsafe {
                let keys = keys.add(key * size);
                let to = to.add(key * panel);
                if S::REGISTERS >= 32 {
                    products::<S, PAIRS, KEYS, REGISTERS>(s, words, keys, KEYS, queries, to);
                } else {
                    products::<S, PAIRS, 4, REGISTERS>(s, words, keys, KEYS, queries, to);
                    let (keys, to) = (keys.add(4), to.add(4 * panel));
                    products::<S, PAIRS, 4, REGISTERS>(s, words, keys, KEYS, queries, to);
                }
            }
            key += KEYS;
        }
    }

    #[inline(always)]
    unsafe fn add_values<const REGISTERS: usize>(
        &mut self,
        s: S,
        size: usize,
        count: usize,
        values: *const f32,
        weights: *mut f32,
        keep: [S::F32; REGISTERS],
        sums: *mut f32,
        _: *mut f32,
    ) {
        let (panel, count) = (2 * S::LANES, count.div_ceil(Self::GROUP));
        let mut at = 0;
        while at < size {
            // SAFETY: the padded size is a multiple of eight; values and weights are there for `count` keys.
            unsafe {
                let (values, to) = (values.add(at), sums.add(at * panel));
                if S::REGISTERS >= 32 {
                    add_products::<S, PAIRS, 8, REGISTERS>(s, count, values, size, weights, keep, to);
                } else {
                    add_products::<S, PAIRS, 4, REGISTERS>(s, count, values, size, weights, keep, to);
                    let (values, to) = (values.add(4), to.add(4 * panel));
                    add_products::<S, PAIRS, 4, REGISTERS>(s, count, values, size, weights, keep, to);
                }
            }
            at += 8;
        }
    }
}

/// Adds `Σₙ factors[n · stride + i] · vectors[n][r]` to `sums[i][r]`, over `n` from 0 to `count`, in order. Vectors are
/// two registers apart, of which `REGISTERS` are used. With `PAIRS`, each word holds two numbers in bf16, whose
/// products are added.
///
/// # Safety
/// For every `n`, `ROWS` factors and `REGISTERS` registers of vectors are readable.
#[inline(always)]
unsafe fn tile<S: Simd, const PAIRS: bool, const ROWS: usize, const REGISTERS: usize>(
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
unsafe fn products<S: Simd, const PAIRS: bool, const ROWS: usize, const REGISTERS: usize>(
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
unsafe fn add_products<S: Simd, const PAIRS: bool, const ROWS: usize, const REGISTERS: usize>(
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
