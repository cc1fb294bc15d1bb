//! On every instruction set against f64; bits against the number of threads and the other rows.

use proptest::prelude::*;

use super::super::testing::{assert_close, bits, cpus, noise, with_threads};
use super::*;

fn truth(x: &[f32], scaling: Scaling<'_>, centred: bool) -> Vec<f64> {
    let width = scaling.weight.len();
    let one_row = |row: &[f32]| -> Vec<f64> {
        let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        let mean = if centred { row.iter().sum::<f64>() / width as f64 } else { 0.0 };
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        let factor = 1.0 / (variance + f64::from(scaling.epsilon)).sqrt();
        let bias = |i: usize| scaling.bias.map_or(0.0, |bias| f64::from(bias[i]));
        row.iter()
            .enumerate()
            .map(|(i, x)| (x - mean) * factor * f64::from(scaling.weight[i]) + bias(i))
            .collect()
    };
    x.chunks(width).flat_map(one_row).collect()
}

fn check(cpu: &Cpu, rows: usize, width: usize, offset: f32, with_bias: bool) {
    let x: Vec<f32> = noise(rows * width + 1, width as u64).iter().map(|x| x + offset).collect();
    let (weight, bias) = (noise(width, 8), noise(width, 9));
    let scaling = Scaling { weight: &weight, bias: with_bias.then_some(&bias[..]), epsilon: 1e-5 };
    let what = format!("{cpu:?}, {rows} × {width}, offset {offset}");
    let error = 4e-6 * (1.0 + f64::from(offset.abs()));
    let mut found = vec![f32::NAN; rows * width];
    // One past an aligned start.
    layer_norm(cpu, &mut found, Source::From(&x[1..]), scaling).unwrap();
    assert_close(&found, &truth(&x[1..], scaling, true), error, &what);
    let mut in_place = x.clone();
    layer_norm(cpu, &mut in_place[1..], Source::InPlace, scaling).unwrap();
    assert_eq!((bits(&in_place[1..]), in_place[0]), (bits(&found), x[0]), "{what}");
    rms_norm(cpu, &mut found, Source::From(&x[1..]), scaling).unwrap();
    assert_close(&found, &truth(&x[1..], scaling, false), 4e-6, &what);
}

#[test]
fn rows_of_every_width_are_normalised() {
    for cpu in cpus() {
        for width in (1..70).chain([127, 128, 384, 768, 1025]) {
            check(&cpu, 3, width, 0.0, width % 2 == 0);
        }
        check(&cpu, 70, 300, 10.0, true);
        check(&cpu, 0, 300, 0.0, true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn rows_of_any_shape_are_normalised(rows in 0_usize..9, width in 1_usize..600, offset in -50_f32..50.0, bias: bool) {
        for cpu in cpus() {
            check(&cpu, rows, width, offset, bias);
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch_with_any_threads() {
    for cpu in cpus() {
        let (rows, width) = (130, 389);
        let (x, weight) = (noise(rows * width, 5), noise(width, 6));
        let scaling = Scaling { weight: &weight, bias: None, epsilon: 1e-6 };
        let norm = |cpu: &Cpu, x: &[f32]| {
            let mut to = vec![0.0; x.len()];
            layer_norm(cpu, &mut to, Source::From(x), scaling).unwrap();
            rms_norm(cpu, &mut to, Source::InPlace, scaling).unwrap();
            bits(&to)
        };
        let all = norm(&cpu, &x);
        for threads in [1, 3] {
            assert_eq!(norm(&with_threads(&cpu, threads), &x), all);
        }
        for row in [0, 57, rows - 1] {
            let range = row * width..(row + 1) * width;
            assert_eq!(norm(&cpu, &x[range.clone()]), all[range]);
        }
    }
}

#[test]
fn nan_and_infinity_stay_in_their_row_and_denormals_do_no_harm() {
    for cpu in cpus() {
        let weight = vec![1.0; 40];
        let scaling = Scaling { weight: &weight, bias: None, epsilon: 1e-5 };
        let mut x = noise(160, 3);
        x[50] = f32::NAN;
        x[90] = f32::INFINITY;
        x[120..].fill(1e-40);
        let mut found = vec![0.0; 160];
        layer_norm(&cpu, &mut found, Source::From(&x), scaling).unwrap();
        assert!(found[..40].iter().all(|x| x.is_finite()));
        assert!(found[40..80].iter().all(|x| x.is_nan()), "{cpu:?}");
        assert!(found[80..120].iter().any(|x| x.is_nan()), "{cpu:?}");
        assert!(found[120..].iter().all(|x| x.abs() < 1e-30), "{cpu:?}");
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let cpu = &cpus()[0];
    let scaling = Scaling { weight: &[1.0; 4], bias: None, epsilon: 1e-5 };
    assert!(layer_norm(cpu, &mut [0.0; 6], Source::InPlace, scaling).is_err());
    assert!(rms_norm(cpu, &mut [0.0; 8], Source::From(&[0.0; 4]), scaling).is_err());
    assert!(
        layer_norm(cpu, &mut [0.0; 8], Source::InPlace, Scaling { bias: Some(&[0.0; 3]), ..scaling })
            .is_err()
    );
    assert!(layer_norm(cpu, &mut [0.0; 8], Source::InPlace, Scaling { weight: &[], ..scaling }).is_err());
}
