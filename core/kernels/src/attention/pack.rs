//! Heads, packed in the order in which the inner loop reads them.

use super::super::simd::Simd;
use super::view::{Numbers, Strided};

/// Keys that are interleaved.
pub(super) const KEYS: usize = 8;

/// Copies a head: faster than a call of `memcpy`.
///
/// # Safety
/// `size` numbers are readable at `from` and writable at `to`, elsewhere.
#[inline(always)]
pub(super) unsafe fn copy<S: Simd>(s: S, from: *const f32, to: *mut f32, size: usize) {
    let whole = size / S::LANES * S::LANES;
    let mut at = 0;
    // SAFETY: whole registers, then as many lanes as are left.
    unsafe {
        while at < whole {
            s.store_ptr(to.add(at), s.load_ptr(from.add(at)));
            at += S::LANES;
        }
        if at < size {
            s.store_first_ptr(to.add(at), s.load_first_ptr(from.add(at), size - at), size - at);
        }
    }
}

/// Copies a head of `to.len()` numbers as f32.
///
/// # Safety
/// The head lies within the data.
#[inline(always)]
pub(super) unsafe fn widen<S: Simd>(
    s: S,
    data: &Strided<Numbers<'_>>,
    token: usize,
    head: usize,
    to: &mut [f32],
) {
    let (data, place) = data.at(token, head);
    let size = to.len();
    let to = to.as_mut_ptr();
    let whole = size / S::LANES * S::LANES;
    let mut at = 0;
    macro_rules! each {
        ($values:ident, $from:ident => $register:expr, $number:expr) => {{
            let start = $values.as_ptr().add(place);
            while at < whole {
                let $from = start.add(at);
                s.store_ptr(to.add(at), $register);
                at += S::LANES;
            }
            while at < size {
                let $from = start.add(at);
                *to.add(at) = $number;
                at += 1;
            }
        }};
    }
    // SAFETY: whole registers of the head, then the rest one by one.
    unsafe {
        match data {
            Numbers::F32(values) => copy(s, values.as_ptr().add(place), to, size),
            Numbers::F16(values) => each!(values, from => s.load_f16_ptr(from), (*from).to_f32()),
            Numbers::Bf16(values) => each!(values, from => s.load_bf16_ptr(from), (*from).to_f32()),
            Numbers::Int8(values, scales) => {
                let scale = *scales.get_unchecked(place / size);
                let scales = s.splat(scale);
                each!(values, from => s.mul(s.to_f32(s.load_i8_ptr(from)), scales), f32::from(*from) * scale);
            }
            // `at` gives a page itself.
            Numbers::Pages(..) => {}
        }
    }
}

/// Transposes four rows of `size` numbers; columns are `stride` apart.
///
/// # Safety
/// `size` numbers are readable at every row, and `(size - 1) · stride + 4` are writable at `to`.
#[inline(always)]
pub(super) unsafe fn four_columns<S: Simd>(
    s: S,
    rows: [*const f32; 4],
    size: usize,
    to: *mut f32,
    stride: usize,
) {
    let [a, b, c, d] = rows;
    // SAFETY: registers lie within the rows. The last may repeat a part of the one before.
    unsafe {
        if size < S::LANES {
            for at in 0..size {
                let column = to.add(at * stride);
                *column = *a.add(at);
                *column.add(1) = *b.add(at);
                *column.add(2) = *c.add(at);
                *column.add(3) = *d.add(at);
            }
            return;
        }
        let mut at = 0;
        loop {
            let rows = [a.add(at).cast(), b.add(at).cast(), c.add(at).cast(), d.add(at).cast()];
            s.transpose4_ptr(rows, to.add(at * stride).cast(), stride);
            if at + S::LANES == size {
                return;
            }
            at = (at + S::LANES).min(size - S::LANES);
        }
    }
}

/// Rounds `count` rows of `size` numbers to bf16 and interleaves every two rows in place: row `2 · i` in the lower
/// halves and row `2 · i + 1` in the upper halves of the words of row `i`. An odd last row is paired with the one after
/// it.
///
/// # Safety
/// Whole pairs of rows are readable and writable at `rows`.
#[inline(always)]
pub(super) unsafe fn join_rows<S: Simd>(s: S, rows: *mut f32, count: usize, size: usize) {
    for pair in 0..count.div_ceil(2) {
        let mut at = 0;
        while at < size {
            let lanes = S::LANES.min(size - at);
            // SAFETY: the caller's promise; what is written was read before.
            unsafe {
                let low = rows.add(2 * pair * size + at).cast_const();
                let low_high = [s.load_first_ptr(low, lanes), s.load_first_ptr(low.add(size), lanes)];
                let words = s.from_bits(s.join_bf16(low_high[0], low_high[1]));
                s.store_first_ptr(rows.add(pair * size + at), words, lanes);
            }
            at += lanes;
        }
    }
}

/// Interleaves [`KEYS`] keys: number 0 of each, then number 1, and so on. An incomplete four is filled with copies of
/// the last key; an incomplete eight with arbitrary numbers. Heads of `width` numbers are padded with zeros to `size`.
///
/// # Safety
/// The keys from token `first` lie within `data`; `staging` has room for them as they are, `to` for whole eights.
#[inline(always)]
pub(super) unsafe fn pack_keys<S: Simd>(
    s: S,
    data: &Strided<Numbers<'_>>,
    first: usize,
    head: usize,
    [count, width, size]: [usize; 3],
    staging: &mut [f32],
    to: &mut [f32],
) {
    let (start, stride) = match data.data {
        Numbers::F32(values) => (values.as_ptr().wrapping_add(data.place(first, head)), data.token),
        _ => {
            for (i, row) in staging.chunks_exact_mut(width).take(count).enumerate() {
                // SAFETY: the caller's promise.
                unsafe { widen(s, data, first + i, head, row) };
            }
            (staging.as_ptr(), width)
        }
    };
    let mut key = 0;
    while key < count {
        let row = |i: usize| start.wrapping_add((key + i).min(count - 1) * stride);
        let rows = [row(0), row(1), row(2), row(3)];
        let place = key / KEYS * KEYS * size + key % KEYS;
        // SAFETY: the rows lie within the data or the staging, and the columns within whole eights.
        unsafe { four_columns(s, rows, width, to.as_mut_ptr().add(place), KEYS) };
        key += 4;
    }
    if width < size {
        for keys in to.chunks_exact_mut(KEYS * size).take(count.div_ceil(KEYS)) {
            keys[KEYS * width..].fill(0.0);
        }
    }
}
