//! Every function on every instruction set, for lengths around the register's and unaligned slices.

use super::super::testing::{cpus, random_words};
use super::*;
use proptest::prelude::*;

fn numbers(length: usize, seed: u32) -> Vec<f32> {
    let mut next = random_words(seed);
    (0..length).map(|_| next() as f32 / u32::MAX as f32 * 4.0 - 2.0).collect()
}

#[test]
fn slices_of_every_length_and_alignment_are_done_to_the_end_and_no_further() {
    for cpu in cpus() {
        for length in (0..70).chain([CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5]) {
            let (whole, by) = (numbers(length + 2, 1), numbers(length + 1, 2));
            let mut to = whole.clone();
            add_assign(&cpu, &mut to[1..=length], &by[1..]).unwrap();
            assert_eq!((to[0], to[length + 1]), (whole[0], whole[length + 1]), "{cpu:?}");
            for i in 1..=length {
                assert_eq!(to[i], whole[i] + by[i], "{cpu:?}: {i} of {length}");
            }
        }
    }
}

#[test]
fn slices_of_different_lengths_are_refused() {
    let cpu = Cpu::new(Isa::PORTABLE, 1);
    assert!(add_assign(&cpu, &mut [0.0; 3], &[0.0; 4]).is_err());
    assert!(mul_assign(&cpu, &mut [0.0; 4], &[0.0; 3]).is_err());
}

#[test]
fn rows_are_added_multiplied_and_added_with_a_factor() {
    for cpu in cpus() {
        for width in [1, 7, 16, 33, 3000] {
            let (to, row, by) = (numbers(7 * width, 3), numbers(width, 4), numbers(7 * width, 5));
            let mut found = to.clone();
            add_row(&cpu, &mut found, &row).unwrap();
            mul_row(&cpu, &mut found, &row).unwrap();
            add_scaled(&cpu, &mut found, &by, 0.5).unwrap();
            for (i, found) in found.iter().enumerate() {
                let expected = (to[i] + row[i % width]) * row[i % width] + 0.5 * by[i];
                assert!((found - expected).abs() <= 1e-6 * 12.0, "{cpu:?}: {i}: {found}, not {expected}");
            }
        }
        assert!(add_row(&cpu, &mut [0.0; 7], &[0.0; 3]).is_err());
        assert!(mul_row(&cpu, &mut [0.0; 7], &[]).is_err());
        assert!(add_scaled(&cpu, &mut [0.0; 7], &[0.0; 3], 1.0).is_err());
        assert!(add_row(&cpu, &mut [], &[0.0; 3]).is_ok());
    }
}

#[test]
fn nan_infinity_and_denormals_go_through() {
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-40, -0.0];
    for cpu in cpus() {
        let mut to = special;
        mul_assign(&cpu, &mut to, &[1.0; 5]).unwrap();
        assert!(to[0].is_nan());
        assert_eq!(to[1..], special[1..], "{cpu:?}");
    }
}

proptest! {
    #[test]
    fn every_instruction_set_gives_the_same_bits(length in 0_usize..300, seed in 1_u32.., factor in -9_f32..9.0) {
        let (to, by) = (numbers(length, seed), numbers(length, !seed));
        let expected: Vec<f32> = to.iter().zip(&by).map(|(to, by)| (to * by) * factor).collect();
        for cpu in cpus() {
            let mut found = to.clone();
            mul_assign(&cpu, &mut found, &by).unwrap();
            scale(&cpu, &mut found, factor);
            prop_assert_eq!(&found, &expected, "{:?}", cpu);
        }
    }
}
