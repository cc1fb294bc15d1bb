//! The model against formulas, and the hardware against the model.

use super::model::Model;
use super::*;
use crate::testing::random_words;

/// Words of a tile, row after row.
type Tile = [u32; 256];

/// `c` changed by one instruction on `a` and `b`.
fn one<T: Tiles>(c: &Tile, a: &Tile, b: &Tile, dot: fn(&mut T)) -> Tile {
    let (mut result, bytes) = ([0; 256], |tile: &Tile| tile.as_ptr().cast::<u8>());
    // SAFETY: tests use the hardware only where it may be used; tiles are 16 rows of 64 bytes.
    unsafe {
        let mut tiles = T::configure();
        tiles.load::<0>(bytes(c), ROW_BYTES);
        tiles.load::<5>(bytes(a), ROW_BYTES);
        tiles.load::<7>(bytes(b), ROW_BYTES);
        dot(&mut tiles);
        tiles.store::<0>(result.as_mut_ptr().cast(), ROW_BYTES);
    }
    result
}

fn bf16<T: Tiles>(c: &Tile, a: &Tile, b: &Tile) -> Tile {
    one::<T>(c, a, b, T::dot_bf16::<0, 5, 7>)
}

/// The products of bytes, those of `a` without and with signs.
fn bytes<T: Tiles>(c: &Tile, a: &Tile, b: &Tile) -> [Tile; 2] {
    [T::dot_u8_i8::<0, 5, 7>, T::dot_i8_i8::<0, 5, 7>].map(|dot: fn(&mut T)| one::<T>(c, a, b, dot))
}

/// The number at a position of a row of `a` or of a column of `b`, as bf16.
fn number(tile: &Tile, is_column: bool, line: usize, position: usize) -> f32 {
    let word = if is_column { tile[position / 2 * 16 + line] } else { tile[line * 16 + position / 2] };
    f32::from_bits(word >> (16 * (position % 2)) << 16)
}

/// Tiles of which the patterns of bits are about something.
fn operands(seed: u32) -> [Tile; 3] {
    let mut next = random_words(seed + 1);
    // Which bits of two bf16 are random, and which are set: anything; about one, so that sums cancel; so small that
    // products are below the normal range; below it themselves; many sizes.
    let (random_bits, set) =
        [(!0, 0), (0x80ff, 0x3f00), (0x81ff, 0x1f00), (0x80ff, 0), (0x8fff, 0x3000)][seed as usize % 5];
    let [random_bits, set] = [random_bits, set].map(|half: u32| half & 0xffff | half << 16);
    let mut tile = || std::array::from_fn(|_| next() & random_bits | set);
    let [mut c, a, b]: [Tile; 3] = [tile(), tile(), tile()];
    if seed % 5 == 3 {
        c = c.map(|word| word & 0x807f_ffff);
    }
    [c, a, b]
}

#[test]
fn products_of_numbers_are_those_of_f64() {
    for seed in [1, 4, 6, 9] {
        let [c, a, b] = operands(seed);
        let found = bf16::<Model>(&c, &a, &b);
        for (i, found) in found.iter().enumerate() {
            let (row, column) = (i / 16, i % 16);
            let products = (0..32)
                .map(|k| f64::from(number(&a, false, row, k)) * f64::from(number(&b, true, column, k)));
            let before = f64::from(f32::from_bits(c[i]));
            let size = before.abs() + products.clone().map(f64::abs).sum::<f64>();
            let off = (f64::from(f32::from_bits(*found)) - before - products.sum::<f64>()).abs();
            // Eighteen roundings of at most half a unit each.
            assert!(off <= size * 18.0 * 2_f64.powi(-24) + 1e-36, "{seed} {i}: {off} of {size}");
        }
    }
}

/// The first result of a row of `a` and a column of `b`, both otherwise zero.
fn first(c: f32, products: &[(f32, f32)]) -> f32 {
    let [mut a, mut b] = [[0; 256]; 2];
    for (k, (x, y)) in products.iter().enumerate() {
        a[k / 2] |= x.to_bits() >> 16 << (16 * (k % 2));
        b[k / 2 * 16] |= y.to_bits() >> 16 << (16 * (k % 2));
    }
    f32::from_bits(bf16::<Model>(&[c.to_bits(); 256], &a, &b)[0])
}

#[test]
fn products_are_rounded_in_the_order_of_the_hardware() {
    let (big, tiny) = (16_777_216.0, f32::MIN_POSITIVE);
    // Even positions are one chain: 2²⁴ + 1 - 2²⁴ loses the one; on the other chain, it is kept.
    assert_eq!(first(0.0, &[(big, 1.0), (0.0, 0.0), (1.0, 1.0), (0.0, 0.0), (-big, 1.0)]), 0.0);
    assert_eq!(first(0.0, &[(big, 1.0), (0.0, 0.0), (-big, 1.0), (1.0, 1.0)]), 1.0);
    // The chains are added before the former sum.
    assert_eq!(first(big, &[(1.0, 1.0), (1.0, 1.0)]), big + 2.0);
    // A product is not rounded before it is added: (1 + 2⁻⁷)² - (1 + 2⁻⁶) = 2⁻¹⁴.
    assert_eq!(first(0.0, &[(-1.0, 1.015_625), (0.0, 0.0), (1.007_812_5, 1.007_812_5)]), 2_f32.powi(-14));
    // Below the normal range, operands, results and the former sum are zero.
    assert_eq!(first(0.0, &[(tiny / 2.0, big)]), 0.0);
    assert_eq!(first(0.0, &[(tiny, 0.5)]), 0.0);
    assert_eq!(first(tiny / 2.0, &[(tiny, 1.0)]), tiny);
    assert_eq!(first(tiny, &[(-tiny, 1.5)]).to_bits(), (-0.0_f32).to_bits());
}

#[test]
fn a_nan_is_the_first_operand_that_is_one() {
    let nan = |bits: u32| f32::from_bits(bits);
    assert_eq!(first(0.0, &[(f32::INFINITY, 0.0)]).to_bits(), 0xffc0_0000);
    assert_eq!(first(0.0, &[(f32::INFINITY, 1.0), (f32::NEG_INFINITY, 1.0)]).to_bits(), 0xffc0_0000);
    assert_eq!(first(0.0, &[(f32::INFINITY, 1.0)]), f32::INFINITY);
    // A signalling one becomes quiet and keeps its other bits.
    assert_eq!(first(0.0, &[(1.0, nan(0x7f81_0000))]).to_bits(), 0x7fc1_0000);
    assert_eq!(first(0.0, &[(nan(0xffa3_0000), nan(0x7f81_0000))]).to_bits(), 0xffe3_0000);
    assert_eq!(first(nan(0x7f81_2345), &[(nan(0xffa3_0000), 1.0)]).to_bits(), 0x7fc1_2345);
}

#[test]
fn products_of_bytes_wrap_around() {
    for seed in 0..20 {
        let [c, mut a, mut b] = operands(5 * seed);
        if seed % 4 == 1 {
            (a, b) = ([!0; 256], [0x8080_8080; 256]);
        }
        let found = bytes::<Model>(&c, &a, &b);
        for i in 0..256 {
            let (row, column) = (i / 16, i % 16);
            let byte = |word: u32, k: usize| word.to_le_bytes()[k % 4];
            let (mut unsigned, mut signed) = (i64::from(c[i].cast_signed()), i64::from(c[i].cast_signed()));
            for k in 0..64 {
                let (x, y) = (byte(a[row * 16 + k / 4], k), byte(b[k / 4 * 16 + column], k));
                unsigned += i64::from(x) * i64::from(y.cast_signed());
                signed += i64::from(x.cast_signed()) * i64::from(y.cast_signed());
            }
            assert_eq!(found.map(|tile| tile[i]), [unsigned as u32, signed as u32], "{seed} {i}");
        }
    }
}

#[test]
fn rows_lie_as_far_apart_as_the_stride_says() {
    let from: Vec<u32> = (0..16 * 32).collect();
    let mut to = vec![0; 16 * 20];
    // SAFETY: sixteen rows of 64 bytes, 128 and 80 bytes apart.
    unsafe {
        let mut tiles = Model::configure();
        tiles.load::<3>(from[16..].as_ptr().cast(), 128);
        tiles.store::<3>(to.as_mut_ptr().cast(), 80);
        tiles.zero::<3>();
        tiles.store::<3>(to[4..].as_mut_ptr().cast(), 0);
    }
    for (row, words) in to.chunks_exact(20).enumerate().skip(1) {
        let expected: Vec<u32> = (0..16).map(|word| (row * 32 + 16 + word) as u32).collect();
        assert_eq!(words[..16], expected);
        assert_eq!(words[16..], [0; 4]);
    }
    assert_eq!(to[..20], [16, 17, 18, 19, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

/// The model, but a bit of what it stores is wrong.
struct Flawed(Model);

impl Tiles for Flawed {
    unsafe fn configure() -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { Model::configure() })
    }

    unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.0.load::<TILE>(from, stride) };
    }

    unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize) {
        // SAFETY: the caller's promise; the last word of the first row.
        unsafe {
            self.0.store::<TILE>(to, stride);
            *to.add(ROW_BYTES - 4) ^= 1;
        }
    }

    fn zero<const TILE: usize>(&mut self) {
        self.0.zero::<TILE>();
    }

    fn dot_bf16<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.0.dot_bf16::<C, A, B>();
    }

    fn dot_u8_i8<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.0.dot_u8_i8::<C, A, B>();
    }

    fn dot_i8_i8<const C: usize, const A: usize, const B: usize>(&mut self) {
        self.0.dot_i8_i8::<C, A, B>();
    }
}

#[test]
fn self_tests_find_a_wrong_bit() {
    use crate::simd::portable::WIDE as S;
    use crate::{Cpu, Isa, attention, conv, gemm, gguf};

    let cpu = &Cpu::new(Isa::MODEL, 1);
    assert!(gemm::tiled::has_bits_of_model::<_, Model>(S, cpu));
    assert!(conv::tiled::has_bits_of_model::<_, Model>(S, cpu));
    assert!(attention::has_bits_of_model::<_, Model>(S, cpu));
    assert!(gguf::amx::passes_self_test::<_, Model>(S, cpu));
    assert!(!gemm::tiled::has_bits_of_model::<_, Flawed>(S, cpu));
    assert!(!conv::tiled::has_bits_of_model::<_, Flawed>(S, cpu));
    assert!(!attention::has_bits_of_model::<_, Flawed>(S, cpu));
    assert!(!gguf::amx::passes_self_test::<_, Flawed>(S, cpu));
}

/// Where the CPU has AMX and the system permits it. Elsewhere it says that nothing was tested.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_hardware_has_the_bits_of_the_model() {
    use std::io::Write;

    let available = crate::Isa::available();
    if !available.iter().any(|isa| isa.has_tiles()) {
        // Directly to standard error, which the test harness does not capture.
        let why = enabling::reason_it_is_off().unwrap_or("this CPU has none");
        writeln!(std::io::stderr(), "AMX is NOT tested here, only its model: {why}").unwrap();
        return;
    }
    for seed in 0..500 {
        let [c, a, b] = operands(seed);
        assert_eq!(bf16::<hardware::Hardware>(&c, &a, &b), bf16::<Model>(&c, &a, &b), "bf16 {seed}");
        assert_eq!(bytes::<hardware::Hardware>(&c, &a, &b), bytes::<Model>(&c, &a, &b), "bytes {seed}");
    }
    writeln!(std::io::stderr(), "AMX is tested on this CPU, against its model").unwrap();
}
