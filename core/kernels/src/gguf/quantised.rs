//! The inner loop over weights in blocks: products of bytes with exact sums, scaled per unit of 32.

use std::marker::PhantomData;

use super::super::simd::Simd;
use super::activations;
use super::block::{Block, FLOATS, GROUP, GROUPS, NON_LINEAR, Scales, Shape, UNIT};
use super::format::Format;
use super::multiply::{Multiply, Panel};
use super::tile::{HALVES, LINE, ROWS as TILE_ROWS, repeat};
use super::{simple, super_blocks};

/// How far ahead weights are prefetched, in bytes: about bandwidth times latency of the memory.
const PREFETCH_BYTES: usize = 12 << 10;

/// A format as a type, so that the shape of its blocks is a constant.
pub(super) trait BlockFormat: Copy + Send + Sync + 'static {
    /// The format.
    const FORMAT: Format;
    /// The shape of its blocks.
    const SHAPE: Shape;

    /// Parses a block of the format's size. What is in `block` beyond the format's numbers stays.
    fn parse(block: &mut Block, bytes: &[u8]);
}

macro_rules! kinds {
    ($($name:ident = $shape:expr, $parse:path;)*) => {
        $(
            #[doc = concat!("The format `", stringify!($name), "`.")]
            #[derive(Clone, Copy)]
            pub(super) struct $name;

            impl BlockFormat for $name {
                const FORMAT: Format = Format::$name;
                const SHAPE: Shape = $shape;

                #[inline(always)]
                fn parse(block: &mut Block, bytes: &[u8]) {
                    $parse(block, bytes);
                }
            }
        )*
    };
}
kinds! {
    Q4_0 = Shape::simple([4, 0], 8, Scales::Half), simple::q4_0;
    Q4_1 = Shape::simple([4, 0], 0, Scales::HalfAndMinimum), simple::q4_1;
    Q5_0 = Shape::simple([4, 1], 16, Scales::Half), simple::q5_0;
    Q5_1 = Shape::simple([4, 1], 0, Scales::HalfAndMinimum), simple::q5_1;
    Q8_0 = Shape::simple([8, 0], 128, Scales::Half), simple::q8_0;
    Q2K = Shape::of_256([2, 0], 2, 0, Scales::Nibbles), super_blocks::q2_k;
    Q3K = Shape::of_256([2, 1], 2, 4, Scales::Signed), super_blocks::q3_k;
    Q4K = Shape::of_256([4, 0], 1, 0, Scales::Pairs), super_blocks::q4_k;
    Q5K = Shape::of_256([4, 1], 1, 0, Scales::Pairs), super_blocks::q5_k;
    Q6K = Shape::of_256([4, 2], 2, 32, Scales::Signed), super_blocks::q6_k;
    Iq4Nl = Shape::simple([4, 0], 128, Scales::Half).with_table(&NON_LINEAR), simple::q4_0;
    Iq4Xs = Shape::of_256([4, 0], 1, 128, Scales::Signed).with_table(&NON_LINEAR), super_blocks::iq4_xs;
    Mxfp4 = Shape::simple([4, 0], 12, Scales::Exponent).with_table(&FLOATS), simple::mxfp4;
    Tq2_0 = Shape::of_256([2, 0], 1, 1, Scales::Half), super_blocks::tq2_0;
}

/// Evaluates an expression with the type of a format with blocks; the formats without come after it.
macro_rules! with_kind {
    ($format:expr, $kind:ident => $body:expr, $($plain:pat => $other:expr),*) => {
        $crate::gguf::quantised::with_kind!(
            @ [Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2K Q3K Q4K Q5K Q6K Iq4Nl Iq4Xs Mxfp4 Tq2_0] $format, $kind => $body, $($plain => $other),*
        )
    };
    (@ [$($name:ident)*] $format:expr, $kind:ident => $body:expr, $($plain:pat => $other:expr),*) => {
        match $format {
            $($crate::gguf::Format::$name => {
                type $kind = $crate::gguf::quantised::$name;
                $body
            })*
            $($plain => $other,)*
        }
    };
}
pub(super) use with_kind;

/// Multiplies weights of a format with blocks.
#[derive(Clone, Copy)]
pub(super) struct Quantised<K>(PhantomData<K>);

impl<K: BlockFormat> Multiply for Quantised<K> {
    fn words(k: usize) -> usize {
        k / UNIT * K::SHAPE.unit_words()
    }

    fn panel_bytes(k: usize) -> usize {
        k / K::SHAPE.length() * K::SHAPE.tile_bytes()
    }

    #[inline(always)]
    fn prepare<S: Simd>(s: S, rows: &[f32], k: usize, padded: usize, to: &mut [u32]) {
        activations::prepare(s, &K::SHAPE, rows, k, padded, to);
    }

    #[inline(always)]
    unsafe fn sums<S: Simd, const ROWS: usize>(s: S, panel: &Panel<Self>, lane: usize) -> [S::F32; ROWS] {
        let mut sums = [s.zero(); ROWS];
        let (mut weights, mut activations) = (panel.weights, panel.activations);
        for _ in 0..panel.k / K::SHAPE.length() {
            let scales = weights.wrapping_add(K::SHAPE.code_bytes());
            let mut unit = 0;
            while unit < K::SHAPE.units {
                if lane == 0 && ROWS <= 8 {
                    prefetch::<S, K>(s, weights, unit);
                }
                // SAFETY: the caller's promise: there is a tile here, and activations for its units.
                unsafe {
                    let codes = weights.add(unit * K::SHAPE.unit_bytes() + GROUP * lane);
                    let here = Unit::<K> { codes, scales, unit, lane, kind: PhantomData };
                    here.add_to(s, activations, &mut sums);
                }
                activations = activations.wrapping_add(ROWS * K::SHAPE.unit_words());
                unit += 1;
            }
            weights = weights.wrapping_add(K::SHAPE.tile_bytes());
        }
        sums
    }
}

/// Prefetches this unit's share of the lines ahead.
#[inline(always)]
fn prefetch<S: Simd, K: BlockFormat>(s: S, tile: *const u8, unit: usize) {
    let share = K::SHAPE.tile_bytes() / K::SHAPE.units;
    let mut at = 0;
    while at < share {
        s.prefetch_near(tile.wrapping_add(unit * share + PREFETCH_BYTES + at));
        at += LINE;
    }
}

/// `LANES` rows of a unit of weights.
#[derive(Clone, Copy)]
pub(super) struct Unit<K> {
    /// The first line, from the first of the rows.
    codes: *const u8,
    /// The tile's scales.
    scales: *const u8,
    unit: usize,
    lane: usize,
    kind: PhantomData<K>,
}

impl<K: BlockFormat> Unit<K> {
    /// A unit of a panel, all of whose rows are meant.
    #[cfg(any(test, target_arch = "x86_64"))]
    pub(super) fn of_panel(panel: *const u8, unit: usize) -> Self {
        let tile = panel.wrapping_add(unit / K::SHAPE.units * K::SHAPE.tile_bytes());
        let unit = unit % K::SHAPE.units;
        let (codes, scales) = (unit * K::SHAPE.unit_bytes(), K::SHAPE.code_bytes());
        let [codes, scales] = [codes, scales].map(|at| tile.wrapping_add(at));
        Self { codes, scales, unit, lane: 0, kind: PhantomData }
    }

    /// Adds the products to the sums.
    ///
    /// # Safety
    /// The pointers hold a tile and a unit of `ROWS` rows of activations.
    #[inline(always)]
    unsafe fn add_to<S: Simd, const ROWS: usize>(self, s: S, x: *const u32, sums: &mut [S::F32; ROWS]) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut dots = Self::begin::<S, ROWS>(s, x, 0);
            self.group::<S, ROWS, 0>(s, x, &mut dots);
            self.group::<S, ROWS, 1>(s, x, &mut dots);
            self.group::<S, ROWS, 2>(s, x, &mut dots);
            self.group::<S, ROWS, 3>(s, x, &mut dots);
            if K::SHAPE.halves == 2 {
                self.finish(s, x, 0, &dots, sums);
                dots = Self::begin::<S, ROWS>(s, x, 1);
            }
            self.group::<S, ROWS, 4>(s, x, &mut dots);
            self.group::<S, ROWS, 5>(s, x, &mut dots);
            self.group::<S, ROWS, 6>(s, x, &mut dots);
            self.group::<S, ROWS, 7>(s, x, &mut dots);
            self.finish(s, x, K::SHAPE.halves - 1, &dots, sums);
        }
    }

    /// Whether codes of eight bits are made signed by taking off their offset, for a dot product of signed bytes.
    #[inline(always)]
    const fn has_signed_codes<S: Simd>() -> bool {
        S::BYTE_DOT_IS_SIGNED && K::SHAPE.offset == 128
    }

    /// Starts sums of products of codes, with what cancels their offset.
    ///
    /// # Safety
    /// As [`add_to`](Self::add_to).
    #[inline(always)]
    unsafe fn begin<S: Simd, const ROWS: usize>(s: S, x: *const u32, half: usize) -> [S::I32; ROWS] {
        let mut dots = [s.splat_i32(0); ROWS];
        if K::SHAPE.offset != 0 && !Self::has_signed_codes::<S>() {
            let mut row = 0;
            while row < ROWS {
                // SAFETY: the caller's promise.
                let first = unsafe { *x.add((GROUPS + 1 + half) * ROWS + row) };
                dots[row] = s.splat_i32(first as i32);
                row += 1;
            }
        }
        dots
    }

    /// Adds the products of four positions.
    ///
    /// # Safety
    /// As [`add_to`](Self::add_to).
    #[inline(always)]
    unsafe fn group<S: Simd, const ROWS: usize, const G: usize>(
        self,
        s: S,
        x: *const u32,
        dots: &mut [S::I32; ROWS],
    ) {
        // SAFETY: the caller's promise.
        let mut codes = unsafe { self.codes_of::<S, G>(s) };
        if Self::has_signed_codes::<S>() {
            codes = s.xor_i32(codes, s.splat_i32(i32::from_ne_bytes([128; 4])));
        }
        let mut row = 0;
        while row < ROWS {
            // SAFETY: the caller's promise.
            let word = s.splat_i32(unsafe { *x.add(G * ROWS + row) } as i32);
            dots[row] = if Self::has_signed_codes::<S>() {
                s.dot_bytes(dots[row], codes, word)
            } else if K::SHAPE.has_seven_bits() {
                s.dot_u7_i8(dots[row], codes, word)
            } else {
                s.dot_u8_i8(dots[row], codes, word)
            };
            row += 1;
        }
    }

    /// The codes of four positions, one byte each.
    ///
    /// # Safety
    /// As [`add_to`](Self::add_to).
    #[inline(always)]
    pub(super) unsafe fn codes_of<S: Simd, const G: usize>(self, s: S) -> S::I32 {
        let (low, high) = (K::SHAPE.low, K::SHAPE.high);
        // SAFETY: the caller's promise.
        let line = unsafe { s.load_words_ptr(self.codes.add(G * low / 8 * LINE)) };
        if low == 8 {
            return line;
        }
        let shift = G * low % 8;
        let moved = if shift == 0 { line } else { s.shr_i32(line, shift as u32) };
        let codes = s.and_i32(moved, s.splat_i32(repeat(low) as i32));
        if let Some(table) = K::SHAPE.table {
            return s.lookup(table, codes);
        }
        if high == 0 {
            return codes;
        }
        // SAFETY: the caller's promise.
        let line = unsafe { s.load_words_ptr(self.codes.add((low + G * high / 8) * LINE)) };
        let at = G * high % 8;
        let moved = if at > low {
            s.shr_i32(line, (at - low) as u32)
        } else if at < low {
            s.shl_i32(line, (low - at) as u32)
        } else {
            line
        };
        s.or_i32(s.and_i32(moved, s.splat_i32((repeat(high) << low) as i32)), codes)
    }

    /// Scales sums of products and adds them to the sums.
    ///
    /// # Safety
    /// As [`add_to`](Self::add_to).
    #[inline(always)]
    unsafe fn finish<S: Simd, const ROWS: usize>(
        self,
        s: S,
        x: *const u32,
        half: usize,
        dots: &[S::I32; ROWS],
        sums: &mut [S::F32; ROWS],
    ) {
        // SAFETY: the caller's promise.
        let (scale, minimum) = unsafe { self.scale_and_minimum(s, half) };
        let mut row = 0;
        while row < ROWS {
            // SAFETY: the caller's promise.
            let x_scale = unsafe { *x.add(GROUPS * ROWS + row) };
            let scaled = s.mul(s.to_f32(dots[row]), scale);
            sums[row] = s.mul_add(scaled, s.splat(f32::from_bits(x_scale)), sums[row]);
            if K::SHAPE.has_minimum() {
                // SAFETY: the caller's promise.
                let x_sum = unsafe { *x.add((GROUPS + 1 + half) * ROWS + row) };
                sums[row] = s.mul_add(minimum, s.splat(f32::from_bits(x_sum)), sums[row]);
            }
            row += 1;
        }
    }

    /// The scales of a part, and its minima.
    ///
    /// # Safety
    /// As [`add_to`](Self::add_to).
    #[inline(always)]
    pub(super) unsafe fn scale_and_minimum<S: Simd>(self, s: S, half: usize) -> (S::F32, S::F32) {
        let part = self.unit * K::SHAPE.halves + half;
        // SAFETY: the caller's promise: all of it lies in the tile.
        unsafe {
            if K::SHAPE.scales == Scales::Exponent {
                let exponents = s.load_u8_ptr(self.scales.add(self.lane));
                return (s.mul(s.from_bits(s.shl_i32(exponents, 23)), s.splat(0.5)), s.zero());
            }
            let scale = s.load_f16_ptr(self.scales.add(2 * self.lane).cast());
            let minimum = if K::SHAPE.has_minimum() {
                s.load_f16_ptr(self.scales.add(HALVES + 2 * self.lane).cast())
            } else {
                s.zero()
            };
            let bytes = self.scales.add(K::SHAPE.part_start() + part * K::SHAPE.part_bytes() + self.lane);
            let (scales, minima) = match K::SHAPE.scales {
                Scales::Half | Scales::HalfAndMinimum | Scales::Exponent => return (scale, minimum),
                Scales::Signed => return (s.mul(scale, s.to_f32(s.load_i8_ptr(bytes.cast()))), minimum),
                Scales::Pairs => (s.load_u8_ptr(bytes), s.load_u8_ptr(bytes.add(TILE_ROWS))),
                Scales::Nibbles => {
                    let both = s.load_u8_ptr(bytes);
                    (s.and_i32(both, s.splat_i32(15)), s.shr_i32(both, 4))
                }
            };
            (s.mul(scale, s.to_f32(scales)), s.neg(s.mul(minimum, s.to_f32(minima))))
        }
    }
}
