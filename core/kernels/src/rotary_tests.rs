//! Both layouts on every instruction set against f64.

use super::super::testing::{assert_close, bits, cpus, noise, with_threads};
use super::*;

fn truth(x: &[f32], heads: TokenHeads, layout: Layout, frequencies: &[f32], positions: &[u32]) -> Vec<f64> {
    let mut to: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    for (token, position) in positions.iter().enumerate() {
        for head in 0..heads.count {
            for (pair, frequency) in frequencies.iter().enumerate() {
                let start = token * heads.stride + head * heads.size;
                let (i, j) = match layout {
                    Layout::Interleaved => (start + 2 * pair, start + 2 * pair + 1),
                    Layout::Halves => (start + pair, start + pair + frequencies.len()),
                };
                let (sine, cosine) = f64::from(*position as f32 * frequency).sin_cos();
                let (a, b) = (to[i], to[j]);
                (to[i], to[j]) = (a * cosine - b * sine, b * cosine + a * sine);
            }
        }
    }
    to
}

#[test]
fn heads_of_every_size_are_turned_and_nothing_else_is_touched() {
    for cpu in cpus() {
        for layout in [Layout::Interleaved, Layout::Halves] {
            let every_width = (1..=35).map(|pairs| (2 * pairs, 2 * pairs + pairs % 4));
            for (width, size) in every_width.chain([(40, 64), (128, 128)]) {
                let heads = TokenHeads { count: 3, size, stride: 5 * size + 1 };
                let frequencies = Table::frequencies(width, 10_000.0);
                let table = Table::new(layout, &frequencies, 3000, 1.0);
                let positions = [0, 7, 2999, 7, 64];
                let x = noise(4 * heads.stride + 3 * size + 1, 3);
                let mut found = x.clone();
                rotate(&cpu, &mut found[1..], heads, &table, &positions).unwrap();
                let truth = truth(&x[1..], heads, layout, &frequencies, &positions);
                assert_close(&found[1..], &truth, 3e-7, &format!("{cpu:?}, {layout:?}, {width} of {size}"));
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_other_tokens() {
    let table = Table::new(Layout::Halves, &Table::frequencies(64, 1e6), 500, 1.0);
    let heads = TokenHeads { count: 4, size: 64, stride: 256 };
    let positions: Vec<u32> = (0..400).collect();
    for cpu in cpus() {
        let run = |cpu: &Cpu, tokens: std::ops::Range<usize>| {
            let mut x = noise(400 * 256, 9)[tokens.start * 256..tokens.end * 256].to_vec();
            rotate(cpu, &mut x, heads, &table, &positions[tokens]).unwrap();
            bits(&x)
        };
        let all = run(&cpu, 0..400);
        assert_eq!(run(&with_threads(&cpu, 1), 0..400), all);
        assert_eq!(run(&cpu, 399..400), all[399 * 256..]);
    }
}

#[test]
fn frequencies_fall_from_one_and_a_scale_multiplies_all() {
    let frequencies = Table::frequencies(8, 10_000.0);
    assert_eq!(frequencies, [1.0, 0.1, 0.01, 0.001]);
    let table = Table::new(Layout::Halves, &frequencies, 1, 2.5);
    let mut x = [1.0; 8];
    rotate(&cpus()[0], &mut x, TokenHeads { count: 1, size: 8, stride: 8 }, &table, &[0]).unwrap();
    assert_eq!(x, [2.5; 8]);
}

#[test]
fn a_claimed_window_costs_nothing_until_a_text_reaches_so_far() {
    let frequencies = Table::frequencies(8, 10_000.0);
    let heads = TokenHeads { count: 1, size: 8, stride: 8 };
    for positions in [20_000_000, usize::MAX] {
        let table = Table::new(Layout::Halves, &frequencies, positions, 1.0);
        let mut x = noise(8 * 3, 4);
        rotate(&cpus()[0], &mut x, heads, &table, &[0, 511, 40]).unwrap();
        let made = |table: &Table| table.parts.iter().filter(|part| part.get().is_some()).count();
        assert_eq!(made(&table), 1);
        rotate(&cpus()[0], &mut x, heads, &table, &[512, 1023, 1024]).unwrap();
        assert_eq!((made(&table), made(&table.clone())), (3, 3));
    }
}

#[test]
fn positions_of_every_part_turn_as_in_f64() {
    let frequencies = Table::frequencies(16, 10_000.0);
    let heads = TokenHeads { count: 2, size: 16, stride: 32 };
    let positions = [0, 511, 512, 1023, 1024, 2047, 2048, 4999];
    for layout in [Layout::Interleaved, Layout::Halves] {
        let table = Table::new(layout, &frequencies, 5000, 1.0);
        let x = noise(8 * 32, 3);
        let mut found = x.clone();
        rotate(&cpus()[0], &mut found, heads, &table, &positions).unwrap();
        assert_close(&found, &truth(&x, heads, layout, &frequencies, &positions), 3e-7, "parts");
    }
    assert_eq!((part_of(0), part_of(u32::MAX as usize)), (0, PARTS - 1));
}

#[test]
fn what_does_not_fit_is_refused() {
    let cpu = &cpus()[0];
    let table = Table::new(Layout::Halves, &[1.0, 0.5], 10, 1.0);
    let heads = TokenHeads { count: 2, size: 4, stride: 8 };
    let run = |heads, positions: &[u32]| rotate(cpu, &mut [0.0; 16], heads, &table, positions);
    assert!(run(heads, &[9, 0]).is_ok());
    assert!(run(heads, &[]).is_ok());
    assert!(run(heads, &[0, 10]).is_err());
    assert!(run(heads, &[0, 1, 2]).is_err());
    assert!(run(TokenHeads { size: 3, ..heads }, &[0]).is_err());
    assert!(run(TokenHeads { stride: 7, ..heads }, &[0, 0]).is_err());
    assert!(run(TokenHeads { count: usize::MAX, ..heads }, &[0]).is_err());
}
