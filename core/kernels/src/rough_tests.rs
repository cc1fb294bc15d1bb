//! The rough functions against the exact ones, on every instruction set.

use super::*;
use crate::dispatch::dispatch;
use crate::math::exp2;
use crate::{Isa, elementwise};

#[inline(always)]
fn roughly_all<S: Simd>(s: S, values: &mut [f32], activation: Activation) {
    for chunk in values.chunks_mut(S::LANES) {
        let result = activate_roughly(s, activation, s.load_first(chunk));
        s.store_first(chunk, result);
    }
}

dispatch! {
pub(crate) fn roughly_slice(values: &mut [f32], activation: Activation) = roughly_all; }

#[inline(always)]
fn powers_all<S: Simd>(s: S, values: &mut [f32], rough: bool) {
    for chunk in values.chunks_mut(S::LANES) {
        let x = s.load_first(chunk);
        s.store_first(chunk, if rough { exp2_roughly(s, x) } else { exp2(s, x) });
    }
}

dispatch! { fn powers_slice(values: &mut [f32], rough: bool) = powers_all; }

fn grid(most: f32) -> Vec<f32> {
    (-40_000..=40_000).map(|i| i as f32 / 40_000.0 * most).collect()
}

#[test]
fn activations_are_within_a_part_of_sixteen_thousand_of_their_argument() {
    for isa in Isa::available() {
        for &activation in Activation::ALL {
            let arguments = grid(30.0);
            let (mut rough, mut exact) = (arguments.clone(), arguments.clone());
            roughly_slice(isa, &mut rough, activation);
            elementwise::activate_slice(isa, &mut exact, activation);
            for ((x, rough), exact) in arguments.iter().zip(&rough).zip(&exact) {
                let most = x.abs() / 8192.0;
                assert!((rough - exact).abs() <= most, "{isa}: {activation:?}({x}) = {rough}, not {exact}");
            }
        }
    }
}

#[test]
fn powers_of_two_are_within_a_part_of_ten_thousand() {
    for isa in Isa::available() {
        let arguments = grid(126.0);
        let (mut rough, mut exact) = (arguments.clone(), arguments.clone());
        powers_slice(isa, &mut rough, true);
        powers_slice(isa, &mut exact, false);
        for ((x, rough), exact) in arguments.iter().zip(&rough).zip(&exact) {
            assert!((rough / exact - 1.0).abs() <= 1e-4, "{isa}: 2^{x} = {rough}, not {exact}");
        }
    }
}

#[test]
fn extremes_stay_what_they_are() {
    for isa in Isa::available() {
        let mut powers = [f32::NAN, f32::NEG_INFINITY, -1000.0, -151.0];
        powers_slice(isa, &mut powers, true);
        assert!(powers[0].is_nan(), "{isa}");
        assert_eq!(powers[1..], [0.0; 3], "{isa}");
        for &activation in Activation::ALL {
            let mut values = [f32::NAN, 0.0, f32::INFINITY, 60.0, -60.0];
            let mut exact = values;
            roughly_slice(isa, &mut values, activation);
            elementwise::activate_slice(isa, &mut exact, activation);
            assert!(values[0].is_nan(), "{isa}: {activation:?}");
            assert_eq!(values[1..3], exact[1..3], "{isa}: {activation:?}");
            assert!((values[3] - exact[3]).abs() <= 60.0 / 8192.0, "{isa}: {activation:?}");
            assert!((values[4] - exact[4]).abs() < 1e-5, "{isa}: {activation:?}");
        }
    }
}
