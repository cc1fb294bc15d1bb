//! Every function on every instruction set against f64.

use super::*;
use crate::dispatch::dispatch;
use crate::{Isa, elementwise};

#[inline(always)]
fn exp_all<S: Simd>(s: S, values: &mut [f32]) {
    for chunk in values.chunks_mut(S::LANES) {
        let result = exp(s, s.load_first(chunk));
        s.store_first(chunk, result);
    }
}

dispatch! { fn exp_slice(values: &mut [f32]) = exp_all; }

#[inline(always)]
fn exp2_all<S: Simd>(s: S, values: &mut [f32]) {
    for chunk in values.chunks_mut(S::LANES) {
        let result = exp2(s, s.load_first(chunk));
        s.store_first(chunk, result);
    }
}

dispatch! { fn exp2_slice(values: &mut [f32]) = exp2_all; }

/// How many f32 lie between the result and the true value.
fn units(found: f32, truth: f64) -> f64 {
    let nearest = truth as f32;
    if found == nearest || (found.is_nan() && truth.is_nan()) {
        return 0.0;
    }
    if nearest.is_infinite() {
        return f64::INFINITY;
    }
    let unit = f64::from(nearest.abs().max(f32::MIN_POSITIVE)) * f64::from(f32::EPSILON) / 2.0;
    (f64::from(found) - truth).abs() / unit
}

fn erf_complement(z: f64) -> f64 {
    // erfc by its continued fraction for large arguments, and the series of erf for small ones.
    if z < 2.5 {
        let (mut term, mut sum, mut n) = (z, z, 0.0);
        while term.abs() > 1e-18 * sum.abs() && n < 200.0 {
            n += 1.0;
            term *= -z * z / n;
            sum += term / (2.0 * n + 1.0);
        }
        return 1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let mut fraction = 0.0;
    for n in (1..200).rev() {
        fraction = f64::from(n) / 2.0 / (z + fraction);
    }
    (-z * z).exp() / (z + fraction) / std::f64::consts::PI.sqrt()
}

fn truth(activation: Activation, x: f32) -> f64 {
    let x = f64::from(x);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Gelu if x < 0.0 => 0.5 * x * erf_complement(-x / 2_f64.sqrt()),
        Activation::Gelu => x - 0.5 * x * erf_complement(x / 2_f64.sqrt()),
        Activation::GeluTanh => {
            x * sigmoid(2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3)))
        }
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::Silu => x * sigmoid(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}

/// Numbers of every size: an even grid and every power of two.
fn samples(most: f32) -> Vec<f32> {
    let grid = (-20_000..=20_000).map(|i| i as f32 / 20_000.0 * most);
    let powers = (-140..0).map(|n| 2_f32.powi(n)).flat_map(|x| [x, -x]);
    grid.chain(powers).collect()
}

#[test]
fn exp_is_within_two_units_over_its_whole_range() {
    let arguments = samples(88.7);
    for isa in Isa::available() {
        let mut results = arguments.clone();
        exp_slice(isa, &mut results);
        for (x, found) in arguments.iter().zip(&results) {
            let error = units(*found, f64::from(*x).exp());
            assert!(error <= 2.0, "{isa}: exp({x}) = {found}, {error} units off");
        }
    }
}

#[test]
fn powers_of_two_are_within_two_units_over_their_whole_range() {
    let arguments = samples(126.0);
    for isa in Isa::available() {
        let mut results = arguments.clone();
        exp2_slice(isa, &mut results);
        for (x, found) in arguments.iter().zip(&results) {
            let error = units(*found, f64::from(*x).exp2());
            assert!(error <= 2.0, "{isa}: exp2({x}) = {found}, {error} units off");
        }
        let mut values = [0.0, -0.0, 3.0, 200.0, f32::INFINITY, -200.0, f32::NEG_INFINITY, f32::NAN, -149.0];
        exp2_slice(isa, &mut values);
        assert_eq!(values[..7], [1.0, 1.0, 8.0, f32::INFINITY, f32::INFINITY, 0.0, 0.0], "{isa}");
        assert!(values[7].is_nan(), "{isa}");
        assert_eq!(values[8], 1e-45, "{isa}: a denormal result");
    }
}

#[test]
fn exp_ends_in_zero_and_infinity_and_keeps_nan() {
    for isa in Isa::available() {
        let mut values = [0.0, -0.0, 200.0, f32::INFINITY, -200.0, f32::NEG_INFINITY, f32::NAN, -100.0];
        exp_slice(isa, &mut values);
        assert_eq!(values[..6], [1.0, 1.0, f32::INFINITY, f32::INFINITY, 0.0, 0.0], "{isa}");
        assert!(values[6].is_nan(), "{isa}");
        assert_eq!(values[7], (-100_f64).exp() as f32, "{isa}: a denormal result");
    }
}

#[test]
fn activations_are_within_a_few_units_where_they_are_not_tiny() {
    for isa in Isa::available() {
        for &activation in Activation::ALL {
            let arguments = samples(8.0);
            let mut results = arguments.clone();
            elementwise::activate_slice(isa, &mut results, activation);
            for (x, found) in arguments.iter().zip(&results) {
                let expected = truth(activation, *x);
                if activation == Activation::Gelu {
                    // The difference of two halves: where it is tiny, so is what it is of the argument.
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error <= 3e-7 * f64::from(x.abs()), "{isa}: gelu({x}) = {found}, not {expected}");
                    continue;
                }
                // Exponentials of a rounded argument: relative errors grow with the argument.
                let most = 10.0 + 2.0 * f64::from(x * x);
                let error = units(*found, expected);
                assert!(
                    error <= most,
                    "{isa}: {activation:?}({x}) = {found}, not {expected}: {error} units off"
                );
            }
        }
    }
}

#[test]
fn activations_keep_nan_and_know_infinity() {
    for isa in Isa::available() {
        for &activation in Activation::ALL {
            let mut values = [f32::NAN, f32::INFINITY, 0.0, 60.0, -60.0, f32::NEG_INFINITY];
            elementwise::activate_slice(isa, &mut values, activation);
            assert!(values[0].is_nan(), "{isa}: {activation:?}");
            let squashing = matches!(activation, Activation::Sigmoid | Activation::Tanh);
            assert_eq!(values[1], if squashing { 1.0 } else { f32::INFINITY }, "{isa}: {activation:?}");
            assert_eq!(values[2], if activation == Activation::Sigmoid { 0.5 } else { 0.0 }, "{isa}");
            assert!((f64::from(values[3]) - truth(activation, 60.0)).abs() < 1e-5, "{isa}: {activation:?}");
            assert!((f64::from(values[4]) - truth(activation, -60.0)).abs() < 1e-5, "{isa}: {activation:?}");
            if activation == Activation::Gelu {
                assert_eq!(values[5], 0.0, "{isa}");
            }
        }
    }
}
