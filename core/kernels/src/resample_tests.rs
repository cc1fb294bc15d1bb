//! Every instruction set against plain loops, bit for bit.

use proptest::prelude::*;

use super::super::Isa;
use super::super::testing::{cpus, random_words};
use super::*;

fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut words = random_words(seed);
    let mut next = || {
        let word = words();
        // Mostly the extremes, so that sums are clipped on both sides.
        match word >> 30 {
            0 => 0,
            1 => 255,
            _ => (word >> 8) as u8,
        }
    };
    (0..length).map(|_| next()).collect()
}

/// Windows of some inputs each, with weights of both signs that sum up to about one.
fn taps(inputs: usize, outputs: usize, most: usize, seed: u32) -> Taps {
    let noise = bytes(outputs * (most + 2), seed);
    let mut noise = noise.into_iter().map(usize::from);
    let mut next = move || noise.next().unwrap();
    Taps::new((0..outputs).map(|_| {
        let count = 1 + next() % most.min(inputs);
        let start = next() * 7 % (inputs - count + 1);
        let weights: Vec<i32> =
            (0..count).map(|_| (next() as i32 - 90) * ((2 << PRECISION_BITS) / 255 / count as i32)).collect();
        (start, weights)
    }))
}

fn clipped(sum: i64) -> u8 {
    ((sum + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS).clamp(0, 255) as u8
}

fn by_plain_loops(
    from: &[u8],
    width: usize,
    columns: Option<&Taps>,
    rows: Option<&Taps>,
    order: Order,
) -> Vec<u8> {
    let height = from.len() / width / 3;
    let axis = |from: &[u8], width: usize, height: usize, taps: &Taps| {
        let mut to = Vec::new();
        for y in 0..height {
            for output in 0..taps.outputs() {
                let (start, weights) = taps.window(output);
                for channel in 0..3 {
                    let pixel = |i: usize| i64::from(from[3 * (y * width + start + i) + channel]);
                    to.push(clipped(weights.iter().enumerate().map(|(i, w)| i64::from(*w) * pixel(i)).sum()));
                }
            }
        }
        to
    };
    let turned = |from: &[u8], width: usize| -> Vec<u8> {
        let height = from.len() / width / 3;
        (0..width)
            .flat_map(|x| (0..height).flat_map(move |y| (0..3).map(move |c| 3 * (y * width + x) + c)))
            .map(|at| from[at])
            .collect()
    };
    let along = |from: &[u8], width: usize| match columns {
        Some(taps) => (axis(from, width, from.len() / width / 3, taps), taps.outputs()),
        None => (from.to_vec(), width),
    };
    let down = |from: &[u8], width: usize| match rows {
        Some(taps) => turned(&axis(&turned(from, width), height, width, taps), taps.outputs()),
        None => from.to_vec(),
    };
    match order {
        Order::AlongRowsFirst => {
            let (between, width) = along(from, width);
            down(&between, width)
        }
        Order::DownColumnsFirst => along(&down(from, width), width).0,
    }
}

fn check(width: usize, height: usize, columns: Option<&Taps>, rows: Option<&Taps>, seed: u32) {
    let from = bytes(3 * width * height, seed);
    for order in [Order::AlongRowsFirst, Order::DownColumnsFirst] {
        let expected = by_plain_loops(&from, width, columns, rows, order);
        for cpu in cpus() {
            let found = resample(&cpu, Pixels::new(&from, width).unwrap(), columns, rows, order).unwrap();
            assert!(found == expected, "{cpu:?}: {order:?}, {width}×{height}, {columns:?}, {rows:?}");
        }
    }
}

#[test]
fn every_instruction_set_does_what_plain_loops_do() {
    let sizes = [(1, 1), (2, 3), (5, 17), (16, 16), (31, 33), (65, 20), (130, 47)];
    for (number, &(width, height)) in sizes.iter().enumerate() {
        for (outputs, most) in [(1, 1), (3, 2), (15, 4), (16, 4), (17, 9), (49, 40), (97, 5)] {
            let seed = number as u32 + 1;
            let (columns, rows) = (taps(width, outputs, most, seed), taps(height, outputs + 1, most, !seed));
            check(width, height, Some(&columns), Some(&rows), seed);
            check(width, height, Some(&columns), None, seed);
            check(width, height, None, Some(&rows), seed);
        }
        check(width, height, None, None, 9);
    }
}

#[test]
fn the_number_of_threads_does_not_change_the_bits() {
    let from = bytes(3 * 200 * 150, 3);
    let (columns, rows) = (taps(200, 90, 12, 1), taps(150, 80, 12, 2));
    let pixels = Pixels::new(&from, 200).unwrap();
    let run = |isa, threads, order| {
        resample(&Cpu::new(isa, threads), pixels, Some(&columns), Some(&rows), order).unwrap()
    };
    for isa in Isa::available() {
        for order in [Order::AlongRowsFirst, Order::DownColumnsFirst] {
            let alone = run(isa, 1, order);
            for threads in [2, 3, 7] {
                assert!(run(isa, threads, order) == alone, "{isa}: {order:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn taps_beyond_the_picture_and_broken_rows_are_refused() {
    let cpu = Cpu::new(Isa::PORTABLE, 1);
    let from = [0_u8; 3 * 4 * 2];
    let pixels = Pixels::new(&from, 4).unwrap();
    let beyond = Taps::new([(3, [1, 1])]);
    assert!(resample(&cpu, pixels, Some(&beyond), None, Order::AlongRowsFirst).is_err());
    assert!(resample(&cpu, pixels, None, Some(&beyond), Order::AlongRowsFirst).is_err());
    assert!(
        resample(&cpu, pixels, Some(&Taps::new([(usize::MAX, [1, 1])])), None, Order::AlongRowsFirst)
            .is_err()
    );
    assert!(Pixels::new(&from[1..], 4).is_err());
    assert!(Pixels::new(&from, 0).is_err());
    assert!(Pixels::new(&from, usize::MAX).is_err());
}

#[test]
fn no_outputs_and_no_pixels_are_an_empty_picture() {
    for cpu in cpus() {
        let (none, one) =
            (Taps::new(Vec::<(usize, Vec<i32>)>::new()), Taps::new([(0, [1 << PRECISION_BITS])]));
        let from = [9_u8; 3 * 4 * 2];
        let pixels = Pixels::new(&from, 4).unwrap();
        let empty = Pixels::new(&[], 4).unwrap();
        for order in [Order::AlongRowsFirst, Order::DownColumnsFirst] {
            assert!(resample(&cpu, pixels, Some(&none), Some(&one), order).unwrap().is_empty());
            assert!(resample(&cpu, pixels, Some(&one), Some(&none), order).unwrap().is_empty());
            assert!(resample(&cpu, empty, Some(&one), None, order).unwrap().is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_size_and_any_windows_give_the_same_bits(
        width in 1_usize..90, height in 1_usize..60, outputs in (1_usize..70, 1_usize..70), most in 1_usize..30, seed in 1_u32..,
    ) {
        let (columns, rows) = (taps(width, outputs.0, most, seed), taps(height, outputs.1, most, !seed));
        check(width, height, Some(&columns), Some(&rows), seed);
    }
}
