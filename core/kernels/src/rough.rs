//! Faster, less accurate versions of functions of `math.rs`, for results that are rounded to bf16 or int8 next.
//!
//! Errors stay below 2⁻¹², an eighth of what rounding to bf16 may change (the tests say how far); NaN stays NaN.

use std::f32::consts::LOG2_E;

use super::math::{Activation, QUICK, activate, polynomial, twice_argument_of_tanh};
use super::simd::Simd;

/// Applies an activation.
#[inline(always)]
pub(crate) fn activate_roughly<S: Simd>(s: S, activation: Activation, x: S::F32) -> S::F32 {
    match activation {
        Activation::Gelu => gelu(s, x),
        Activation::GeluTanh => gated_by_sigmoid(s, x, twice_argument_of_tanh(s, x, LOG2_E)),
        Activation::QuickGelu => gated_by_sigmoid(s, x, s.mul(x, s.splat(QUICK * LOG2_E))),
        Activation::Silu => gated_by_sigmoid(s, x, s.mul(x, s.splat(LOG2_E))),
        Activation::None | Activation::Relu | Activation::Sigmoid | Activation::Tanh => {
            activate(s, activation, x)
        }
    }
}

/// `2ˣ` for `x` up to 127; zero from -150 down, so that scores masked by -∞ have no weight.
#[inline(always)]
pub(crate) fn exp2_roughly<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // `x` is the second operand, so that NaN stays NaN.
    let x = s.max(s.splat(-152.0), x);
    let n = s.round(x);
    let p = polynomial(s, s.sub(x, n), [5.517_167e-2, 2.426_111_3e-1, 6.932_61e-1, 9.999_280_7e-1]);
    s.mul_pow2(p, n)
}

/// `x · σ(e)`, where `e` is given in powers of two.
#[inline(always)]
fn gated_by_sigmoid<S: Simd>(s: S, x: S::F32, e: S::F32) -> S::F32 {
    let power = exp2_roughly(s, s.min(s.splat(126.0), s.neg(e)));
    s.mul(x, s.reciprocal_roughly(s.add(s.splat(1.0), power)))
}

/// GELU by the error function: `x Φ(x)`.
#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // Beyond this, Φ is 0 or 1 up to 3·10⁻⁵.
    const MAX_ARGUMENT: f32 = 4.0;
    // `x` is the second operand, so that NaN stays NaN.
    let near = s.max(s.splat(-MAX_ARGUMENT), s.min(s.splat(MAX_ARGUMENT), x));
    // (Φ(x) - ½) / x as a polynomial in x²: the minimax fit of Φ.
    let beyond_half = polynomial(
        s,
        s.mul(near, near),
        [
            -1.580_832_8e-9,
            1.217_134e-7,
            -4.100_910_9e-6,
            8.066_784e-5,
            -1.048_207_2e-3,
            9.664_887e-3,
            -6.617_541_5e-2,
            3.988_475_5e-1,
        ],
    );
    let y = s.mul_add(s.mul(x, near), beyond_half, s.mul(x, s.splat(0.5)));
    s.select(s.lt(x, s.splat(-MAX_ARGUMENT)), s.zero(), y)
}

#[cfg(test)]
#[path = "rough_tests.rs"]
pub(super) mod tests;
