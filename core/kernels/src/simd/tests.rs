//! Every operation of every instruction set against plain arithmetic, lane by lane.

use super::*;
use crate::Isa;
use crate::dispatch::with_simd;

/// Two registers' lanes of test values, some of them awkward.
fn values() -> Vec<f32> {
    let awkward = [0.0, -0.0, 1e-40, -1e-40, 0.5, 1.5, -2.5, 8_388_607.5, 3.4e38, -7.25, 1.0 / 3.0, 65_504.0];
    (0..2 * MAX_LANES).map(|i| awkward[i % 12] + if i >= 12 { i as f32 * 0.37 } else { 0.0 }).collect()
}

/// Bytes of every kind.
fn bytes(seed: usize) -> Vec<u8> {
    (0..4 * MAX_LANES).map(|i| ((i * 37 + seed * 101) % 256) as u8).collect()
}

fn lanes<S: Simd>(s: S, register: S::F32) -> Vec<f32> {
    let mut out = vec![0.0; S::LANES];
    s.store(&mut out, register);
    out
}

fn words<S: Simd>(s: S, register: S::I32) -> Vec<i32> {
    let mut out = vec![0_i32; S::LANES];
    // SAFETY: the vector holds a register.
    unsafe { s.store_words_ptr(out.as_mut_ptr().cast(), register) };
    out
}

fn load_words<S: Simd>(s: S, from: &[u8]) -> S::I32 {
    assert!(from.len() >= 4 * S::LANES);
    // SAFETY: long enough, as just checked.
    unsafe { s.load_words_ptr(from.as_ptr()) }
}

/// Runs a check with the instructions of a set.
macro_rules! check_every_set {
    ($(#[$meta:meta])* fn $name:ident($s:ident) $body:block) => {
        $(#[$meta])*
        #[test]
        fn $name() {
            struct Check;
            impl<S: Simd> Work<S> for Check {
                type Output = ();
                #[inline(always)]
                fn run(self, $s: S) $body
            }
            for isa in Isa::available().into_iter().chain([Isa::MODEL]) {
                with_simd!(every isa, s => s.call(Check));
            }
        }
    };
}

check_every_set! {
    fn loads_and_stores_never_reach_past_the_count(s) {
        let from = values();
        for count in 0..=S::LANES + 1 {
            let inside = count.min(S::LANES);
            let part = lanes(s, s.load_first(&from[1..1 + inside]));
            assert_eq!(part[..inside], from[1..1 + inside]);
            assert!(part[inside..].iter().all(|lane| *lane == 0.0));
            let mut to = vec![9.0; S::LANES + 2];
            s.store_first(&mut to[1..1 + inside], s.load(&from));
            assert_eq!(to[1..1 + inside], from[..inside]);
            assert!(to[0] == 9.0 && to[1 + inside..].iter().all(|value| *value == 9.0));
        }
    }
}

check_every_set! {
    fn arithmetic_is_that_of_f32(s) {
        let (x, y) = (values(), values().into_iter().rev().map(|y| y * 0.5 + 1e-3).collect::<Vec<_>>());
        let (a, b) = (s.load(&x), s.load(&y));
        for i in 0..S::LANES {
            let (x, y) = (x[i], y[i]);
            assert_eq!(lanes(s, s.add(a, b))[i], x + y);
            assert_eq!(lanes(s, s.sub(a, b))[i], x - y);
            assert_eq!(lanes(s, s.mul(a, b))[i], x * y);
            assert_eq!(lanes(s, s.div(a, b))[i], x / y);
            let once = lanes(s, s.mul_add(a, b, s.splat(0.75)))[i];
            assert!(once == x.mul_add(y, 0.75) || once == x * y + 0.75, "{once}");
            let once = lanes(s, s.neg_mul_add(a, b, s.splat(0.75)))[i];
            assert!(once == (-x).mul_add(y, 0.75) || once == 0.75 - x * y, "{once}");
            assert_eq!(lanes(s, s.abs(a))[i].to_bits(), x.abs().to_bits());
            assert_eq!(lanes(s, s.neg(a))[i].to_bits(), (-x).to_bits());
            assert_eq!(lanes(s, s.sqrt(s.abs(a)))[i], x.abs().sqrt());
            assert_eq!(lanes(s, s.round(a))[i].to_bits(), x.round_ties_even().to_bits(), "{x}");
            assert_eq!(lanes(s, s.min(a, b))[i], if x < y { x } else { y });
            assert_eq!(lanes(s, s.max(a, b))[i], if x > y { x } else { y });
            assert_eq!(lanes(s, s.select(s.lt(a, b), a, b))[i], if x < y { x } else { y });
            assert_eq!(lanes(s, s.select(s.le(a, b), a, b))[i], if x <= y { x } else { y });
            assert_eq!(lanes(s, s.select(s.eq(a, a), a, b))[i], x);
            assert_eq!(lanes(s, s.select(s.first(3), a, b))[i], if i < 3 { x } else { y });
        }
    }
}

check_every_set! {
    fn the_second_operand_wins_against_nan(s) {
        let (nan, one) = (s.splat(f32::NAN), s.splat(1.0));
        assert_eq!(lanes(s, s.max(nan, one))[0], 1.0);
        assert_eq!(lanes(s, s.min(nan, one))[0], 1.0);
        assert!(lanes(s, s.max(one, nan))[0].is_nan());
        assert!(lanes(s, s.min(one, nan))[0].is_nan());
    }
}

check_every_set! {
    fn rounding_keeps_large_numbers_and_goes_to_even(s) {
        for (x, rounded) in [(0.5, 0.0), (1.5, 2.0), (2.5, 2.0), (-0.5, -0.0), (-3.5, -4.0), (4_194_305.5, 4_194_306.0),
            (8_388_609.0, 8_388_609.0), (1e30, 1e30), (f32::INFINITY, f32::INFINITY)] {
            assert_eq!(lanes(s, s.round(s.splat(x)))[0].to_bits(), f32::to_bits(rounded), "{x}");
            if rounded.abs() < 1e9 {
                assert_eq!(words(s, s.to_i32(s.splat(x)))[0], rounded as i32);
            }
        }
    }
}

check_every_set! {
    fn integers_wrap_and_shift(s) {
        let (x, y) = (bytes(1), bytes(2));
        let (a, b) = (load_words(s, &x), load_words(s, &y));
        let (x, y) = (words(s, a), words(s, b));
        for i in 0..S::LANES {
            let (x, y) = (x[i], y[i]);
            assert_eq!(words(s, s.add_i32(a, b))[i], x.wrapping_add(y));
            assert_eq!(words(s, s.sub_i32(a, b))[i], x.wrapping_sub(y));
            assert_eq!(words(s, s.mul_i32(a, b))[i], x.wrapping_mul(y));
            assert_eq!(words(s, s.max_i32(a, b))[i], x.max(y));
            assert_eq!(words(s, s.and_i32(a, b))[i], x & y);
            assert_eq!(words(s, s.or_i32(a, b))[i], x | y);
            assert_eq!(words(s, s.xor_i32(a, b))[i], x ^ y);
            assert_eq!(words(s, s.shl_i32(a, 7))[i], x << 7);
            assert_eq!(words(s, s.shr_i32(a, 9))[i], (x as u32 >> 9) as i32);
            assert_eq!(lanes(s, s.to_f32(a))[i], x as f32);
            assert_eq!(words(s, s.bits(s.from_bits(a)))[i], x);
            let sums = words(s, s.add_i8(a, b))[i].to_le_bytes();
            for (j, sum) in sums.iter().enumerate() {
                assert_eq!(*sum, x.to_le_bytes()[j].wrapping_add(y.to_le_bytes()[j]));
            }
        }
        assert_eq!(Some(s.reduce_max_i32(a)), x.iter().copied().max());
        assert_eq!(s.reduce_add_i32(a), x[..S::LANES].iter().fold(0, |sum, x| x.wrapping_add(sum)));
    }
}

check_every_set! {
    fn narrow_numbers_widen_and_come_back(s) {
        let x = values();
        let mut half = vec![f16::ZERO; S::LANES];
        let mut brain = vec![bf16::ZERO; S::LANES];
        let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.003_906_2, 1.011_718_8, 1e-40];
        for (start, x) in [(0, &x[..]), (1, &x[1..]), (2, &[&special[..], &x[..]].concat()[..])] {
            // SAFETY: every slice holds a register.
            let (halves, brains) = unsafe {
                s.store_f16_ptr(half.as_mut_ptr(), s.load(x));
                s.store_bf16_ptr(brain.as_mut_ptr(), s.load(x));
                (lanes(s, s.load_f16_ptr(half.as_ptr())), lanes(s, s.load_bf16_ptr(brain.as_ptr())))
            };
            for i in 0..S::LANES {
                let expected = (f16::from_f32(x[i]), bf16::from_f32(x[i]));
                if x[i].is_nan() {
                    assert!(half[i].is_nan() && brain[i].is_nan() && halves[i].is_nan() && brains[i].is_nan());
                } else {
                    assert_eq!((half[i], brain[i]), expected, "{start}: {}", x[i]);
                    assert_eq!((halves[i], brains[i]), (expected.0.to_f32(), expected.1.to_f32()));
                }
            }
        }
    }
}

check_every_set! {
    fn pairs_of_bf16_are_packed_in_order_and_multiplied(s) {
        let x: Vec<f32> = (0..2 * S::LANES).map(|i| i as f32 * 0.37 - 3.0).collect();
        let packed = s.pack_bf16(s.load(&x), s.load(&x[S::LANES..]));
        let narrow: Vec<f32> = x.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
        for (i, word) in words(s, packed).into_iter().enumerate() {
            let pair = [bf16::from_bits(word as u16).to_f32(), bf16::from_bits((word as u32 >> 16) as u16).to_f32()];
            assert_eq!(pair[..], narrow[2 * i..2 * i + 2]);
        }
        let joined = s.join_bf16(s.load(&x), s.load(&x[S::LANES..]));
        for (i, word) in words(s, joined).into_iter().enumerate() {
            let pair = [bf16::from_bits(word as u16).to_f32(), bf16::from_bits((word as u32 >> 16) as u16).to_f32()];
            assert_eq!(pair, [narrow[i], narrow[S::LANES + i]]);
        }
        let unknown = s.join_bf16(s.splat(f32::NAN), s.splat(f32::from_bits(0x7f80_0001)));
        for word in words(s, unknown) {
            assert!(bf16::from_bits(word as u16).is_nan() && bf16::from_bits((word as u32 >> 16) as u16).is_nan());
        }
        let products = lanes(s, s.dot_bf16(s.splat(0.25), packed, packed));
        for i in 0..S::LANES {
            let expected = 0.25 + narrow[2 * i] * narrow[2 * i] + narrow[2 * i + 1] * narrow[2 * i + 1];
            assert!((products[i] - expected).abs() <= 1e-6 * expected, "{} {expected}", products[i]);
        }
    }
}

check_every_set! {
    fn products_of_bytes_are_exact_up_to_the_extremes(s) {
        let extremes = |a: u8| vec![a; 4 * MAX_LANES];
        let cases = [(bytes(1), bytes(2)), (extremes(255), extremes(128)), (extremes(255), extremes(127)), (bytes(3), extremes(128))];
        for (x, y) in cases {
            let seven: Vec<u8> = x.iter().map(|x| x & 127).collect();
            let (u, low, v) = (load_words(s, &x), load_words(s, &seven), load_words(s, &y));
            let start = s.splat_i32(-5);
            for i in 0..S::LANES {
                let dot = |x: &[u8]| -> i32 {
                    -5 + (0..4).map(|j| i32::from(x[4 * i + j]) * i32::from(y[4 * i + j] as i8)).sum::<i32>()
                };
                assert_eq!(words(s, s.dot_u8_i8(start, u, v))[i], dot(&x));
                assert_eq!(words(s, s.dot_u7_i8(start, low, v))[i], dot(&seven));
                let all_signed = |x: &[u8]| -> i32 {
                    -5 + (0..4).map(|j| i32::from(x[4 * i + j] as i8) * i32::from(y[4 * i + j] as i8)).sum::<i32>()
                };
                let expected = if S::BYTE_DOT_IS_SIGNED { all_signed(&x) } else { dot(&x) };
                assert_eq!(words(s, s.dot_bytes(start, u, v))[i], expected);
                let half = |x: &[u8], j: usize| i32::from(i16::from_le_bytes([x[4 * i + 2 * j], x[4 * i + 2 * j + 1]]));
                let expected = (-5_i32).wrapping_add(half(&seven, 0) * half(&y, 0)).wrapping_add(half(&seven, 1) * half(&y, 1));
                assert_eq!(words(s, s.dot_i16(start, low, v))[i], expected);
            }
        }
    }
}

check_every_set! {
    fn bytes_widen_with_and_without_sign(s) {
        let x = bytes(5);
        // SAFETY: the bytes hold more than a register, and the narrow one fits.
        unsafe {
            let signed = words(s, s.load_i8_ptr(x.as_ptr().cast()));
            let unsigned = words(s, s.load_u8_ptr(x.as_ptr()));
            let pairs = words(s, s.load_i8_as_i16_ptr(x.as_ptr().cast()));
            let mut back = vec![0_i8; S::LANES];
            s.store_i8_ptr(back.as_mut_ptr(), load_words(s, &x));
            let mut halves = vec![0_i16; S::LANES];
            s.store_i16_ptr(halves.as_mut_ptr(), s.load_i8_ptr(x.as_ptr().cast()));
            for i in 0..S::LANES {
                assert_eq!((signed[i], unsigned[i]), (i32::from(x[i] as i8), i32::from(x[i])));
                assert_eq!((pairs[i] as i16, (pairs[i] >> 16) as i16), (i16::from(x[2 * i] as i8), i16::from(x[2 * i + 1] as i8)));
                assert_eq!((back[i], halves[i]), (x[4 * i] as i8, i16::from(x[i] as i8)));
            }
        }
    }
}

check_every_set! {
    fn reductions_add_halves_until_one_lane_is_left(s) {
        let mut x: Vec<f32> = (0..S::LANES).map(|i| 1.0 / (i as f32 + 0.7)).collect();
        let a = s.load(&x);
        assert_eq!(s.reduce_max(a), x[0]);
        assert_eq!(s.reduce_max(s.neg(a)), -x[S::LANES - 1]);
        let mut half = S::LANES / 2;
        while half > 0 {
            for i in 0..half {
                x[i] += x[i + half];
            }
            half /= 2;
        }
        assert_eq!(s.reduce_add(a), x[0]);
        let all = [a, s.neg(a), s.mul(a, a), s.sqrt(a)];
        assert_eq!(s.reduce_add4(all), all.map(|one| s.reduce_add(one)));
    }
}

check_every_set! {
    fn bytes_are_looked_up(s) {
        let table: [u8; 16] = std::array::from_fn(|i| (i * 37 + 5) as u8);
        let places: Vec<u8> = (0..4 * S::LANES).map(|i| (i * 7 % 16) as u8).collect();
        // SAFETY: there are as many bytes as a register has.
        let found = words(s, s.lookup(&table, unsafe { s.load_words_ptr(places.as_ptr()) }));
        let bytes: Vec<u8> = found[..S::LANES].iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(bytes, places.iter().map(|place| table[usize::from(*place)]).collect::<Vec<_>>());
    }
}

check_every_set! {
    fn powers_of_two_scale_into_denormals_and_infinity(s) {
        for (a, n, expected) in [(1.5, 10.0, 1536.0), (1.0, -149.0, 1e-45), (1.75, 128.0, f32::INFINITY), (1.0, 127.0, 1.701_411_8e38)] {
            assert_eq!(lanes(s, s.mul_pow2(s.splat(a), s.splat(n)))[0], expected);
        }
    }
}

check_every_set! {
    fn four_rows_are_transposed(s) {
        let rows: Vec<Vec<u32>> = (0..4).map(|row| (0..S::LANES).map(|i| (100 * row + i) as u32).collect()).collect();
        let stride = 7;
        let mut to = vec![u32::MAX; S::LANES * stride + 4];
        // SAFETY: every row holds a register, and the last column ends before the end.
        unsafe { s.transpose4_ptr(std::array::from_fn(|row| rows[row].as_ptr()), to.as_mut_ptr(), stride) };
        for i in 0..S::LANES {
            for row in 0..stride {
                let expected = if row < 4 { rows[row][i] } else { u32::MAX };
                assert_eq!(to[i * stride + row], expected, "column {i}, row {row}");
            }
        }
    }
}

check_every_set! {
    fn neighbours_are_exchanged(s) {
        let x = values();
        let swapped = lanes(s, s.swap_pairs(s.load(&x)));
        for i in 0..S::LANES {
            assert_eq!(swapped[i], x[i ^ 1]);
        }
    }
}
