//! On every instruction set against f64; bits against the number of threads and the other rows.

use proptest::prelude::*;

use super::super::testing::{assert_close, bits, cpus, noise, with_threads};
use super::*;

fn truth(x: &[f32], width: usize, scale: f32) -> Vec<f64> {
    let one_row = |row: &[f32]| -> Vec<f64> {
        let row: Vec<f64> = row.iter().map(|x| f64::from(*x) * f64::from(scale)).collect();
        let most = row.iter().fold(f64::NEG_INFINITY, |most, x| most.max(*x));
        let sum: f64 = row.iter().map(|x| (x - most).exp()).sum();
        row.iter().map(|x| (x - most).exp() / sum).collect()
    };
    x.chunks(width).flat_map(one_row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn rows_of_any_shape_sum_up_to_one(rows in 0_usize..9, width in 1_usize..400, scale in 0.1_f32..40.0) {
        let x = noise(rows * width + 1, width as u64);
        for cpu in cpus() {
            let mut found = vec![f32::NAN; rows * width];
            softmax(&cpu, &mut found, Source::From(&x[1..]), width, scale).unwrap();
            // The exponent's own rounding grows with its size.
            assert_close(&found, &truth(&x[1..], width, scale), 3e-7 * (1.0 + f64::from(scale)), &format!("{cpu:?}"));
            let mut in_place = x.clone();
            softmax(&cpu, &mut in_place[1..], Source::InPlace, width, scale).unwrap();
            prop_assert_eq!(bits(&in_place[1..]), bits(&found));
        }
    }
}

#[test]
fn masked_numbers_get_nothing_and_a_row_of_them_is_zero() {
    for cpu in cpus() {
        let mut x = noise(3 * 37, 4);
        x[..37].fill(f32::NEG_INFINITY);
        x[37..57].fill(f32::NEG_INFINITY);
        softmax(&cpu, &mut x, Source::InPlace, 37, 0.5).unwrap();
        assert!(x[..57].iter().all(|x| x.to_bits() == 0), "{cpu:?}");
        for row in [&x[37..74], &x[74..]] {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{cpu:?}");
        }
    }
}

#[test]
fn nan_and_infinity_make_their_row_nan() {
    for cpu in cpus() {
        let mut x = noise(3 * 37, 4);
        x[1] = f32::NAN;
        x[72] = f32::INFINITY;
        softmax(&cpu, &mut x, Source::InPlace, 37, 1.0).unwrap();
        assert!(x[..37].iter().all(|x| x.is_nan()), "{cpu:?}");
        assert!(x[72].is_nan(), "{cpu:?}");
        assert!(x[74..].iter().all(|x| x.is_finite()), "{cpu:?}");
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch_with_any_threads() {
    for cpu in cpus() {
        let x = noise(200 * 301, 5);
        let run = |cpu: &Cpu, x: &[f32]| {
            let mut to = vec![0.0; x.len()];
            softmax(cpu, &mut to, Source::From(x), 301, 3.0).unwrap();
            bits(&to)
        };
        let all = run(&cpu, &x);
        assert_eq!(run(&with_threads(&cpu, 1), &x), all);
        assert_eq!(run(&cpu, &x[99 * 301..100 * 301]), all[99 * 301..100 * 301]);
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let cpu = &cpus()[0];
    assert!(softmax(cpu, &mut [0.0; 5], Source::InPlace, 2, 1.0).is_err());
    assert!(softmax(cpu, &mut [0.0; 4], Source::InPlace, 0, 1.0).is_err());
    assert!(softmax(cpu, &mut [0.0; 4], Source::From(&[0.0; 2]), 2, 1.0).is_err());
}
