//! Functions of one number, over the vectors of any instruction set.
//!
//! Errors are a few units in the last place (the tests say how many); NaN stays NaN. `rough.rs` has less accurate ones
//! for results that are rounded anyway.

use super::simd::Simd;

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `x · Φ(x)` with the error function: what `gelu` means in BERT, CLIP of LAION and diffusers.
    Gelu,
    /// The approximation of GELU with a hyperbolic tangent: `gelu_new`, `gelu_pytorch_tanh`.
    GeluTanh,
    /// `x · σ(1.702 x)`: the GELU of OpenAI's CLIP.
    QuickGelu,
    /// `x · σ(x)`, also called swish.
    Silu,
    /// `σ(x) = 1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Every activation, for tests and measurements.
    pub const ALL: &'static [Self] = &[
        Self::None,
        Self::Relu,
        Self::Gelu,
        Self::GeluTanh,
        Self::QuickGelu,
        Self::Silu,
        Self::Sigmoid,
        Self::Tanh,
    ];
}

/// Applies an activation.
#[inline(always)]
pub(crate) fn activate<S: Simd>(s: S, activation: Activation, x: S::F32) -> S::F32 {
    match activation {
        Activation::None => x,
        // `max` returns its second operand if one is NaN.
        Activation::Relu => s.max(s.zero(), x),
        Activation::Gelu => gelu(s, x),
        Activation::GeluTanh => gelu_tanh(s, x),
        Activation::QuickGelu => quick_gelu(s, x),
        Activation::Silu => silu(s, x),
        Activation::Sigmoid => sigmoid(s, x),
        Activation::Tanh => tanh(s, x),
    }
}

/// A polynomial by Horner's rule, highest coefficient first.
#[inline(always)]
pub(super) fn polynomial<S: Simd, const N: usize>(s: S, x: S::F32, coefficients: [f32; N]) -> S::F32 {
    let mut sum = s.splat(coefficients[0]);
    let mut i = 1;
    while i < N {
        sum = s.mul_add(sum, x, s.splat(coefficients[i]));
        i += 1;
    }
    sum
}

/// `eˣ`; zero and infinity beyond the range of f32.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // `x` is the second operand, so that NaN stays NaN.
    let x = s.max(s.splat(-105.0), s.min(s.splat(90.0), x));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts: products of the first with small whole numbers are exact.
    let r = s.neg_mul_add(n, s.splat(0.693_359_4), x);
    let r = s.neg_mul_add(n, s.splat(-2.121_944_4e-4), r);
    let tail =
        polynomial(s, r, [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5]);
    let p = s.add(s.mul_add(tail, s.mul(r, r), r), s.splat(1.0));
    s.mul_pow2(p, n)
}

/// `2ˣ`; zero and infinity beyond the range of f32.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // `x` is the second operand, so that NaN stays NaN.
    let x = s.max(s.splat(-152.0), s.min(s.splat(130.0), x));
    let n = s.round(x);
    let r = s.sub(x, n);
    let p = polynomial(
        s,
        r,
        [1.545_316_3e-4, 1.339_086_3e-3, 9.618_083e-3, 5.550_357e-2, 2.402_265e-1, 6.931_472e-1, 1.0],
    );
    s.mul_pow2(p, n)
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.neg(x))))
}

/// `x · σ(x)`.
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.div(x, s.add(s.splat(1.0), exp(s, s.neg(x))))
}

/// The factor in QuickGELU's sigmoid.
pub(super) const QUICK: f32 = 1.702;

/// `x · σ(1.702 x)`.
#[inline(always)]
pub(crate) fn quick_gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.div(x, s.add(s.splat(1.0), exp(s, s.mul(x, s.splat(-QUICK)))))
}

/// GELU by the hyperbolic tangent. `½(1 + tanh u)` is `σ(2u)`, which stays accurate where the tangent is near -1.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.div(x, s.add(s.splat(1.0), exp(s, s.neg(twice_argument_of_tanh(s, x, 1.0)))))
}

/// `2u` of that tangent, `unit` times.
#[inline(always)]
pub(super) fn twice_argument_of_tanh<S: Simd>(s: S, x: S::F32, unit: f32) -> S::F32 {
    const TWICE_ROOT_2_OVER_PI: f32 = 1.595_769;
    let factor = TWICE_ROOT_2_OVER_PI * unit;
    s.mul(x, s.mul_add(s.mul(x, x), s.splat(0.044_715 * factor), s.splat(factor)))
}

/// GELU by the error function: `x Φ(x)`, off by less than `3·10⁻⁷ |x|`.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // Beyond this, Φ is 0 or 1 up to 2·10⁻⁸.
    const MAX_ARGUMENT: f32 = 5.5;
    // `x` is the second operand, so that NaN stays NaN.
    let near = s.max(s.splat(-MAX_ARGUMENT), s.min(s.splat(MAX_ARGUMENT), x));
    let square = s.mul(near, near);
    // (Φ(x) - ½) / x as a fraction of polynomials in x²: the minimax fit of Φ.
    let above = polynomial(
        s,
        square,
        [
            1.117_574_9e-10,
            -2.208_229e-8,
            3.241_046_2e-6,
            1.703_727_9e-4,
            4.509_157e-3,
            3.592_213e-2,
            3.989_421_4e-1,
        ],
    );
    let below = polynomial(s, square, [6.232_61e-5, 1.830_636_9e-3, 2.909_144_2e-2, 2.567_08e-1, 1.0]);
    let beyond_half = s.mul(near, s.div(above, below));
    let y = s.mul_add(x, beyond_half, s.mul(x, s.splat(0.5)));
    s.select(s.lt(x, s.splat(-MAX_ARGUMENT)), s.zero(), y)
}

/// The hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    let size = s.abs(x);
    let square = s.mul(x, x);
    let small = polynomial(
        s,
        square,
        [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1],
    );
    let small = s.mul_add(s.mul(small, square), x, x);
    let one = s.splat(1.0);
    let large = s.sub(one, s.div(s.splat(2.0), s.add(exp(s, s.add(size, size)), one)));
    let large = s.select(s.lt(x, s.zero()), s.neg(large), large);
    s.select(s.lt(size, s.splat(0.625)), small, large)
}

#[cfg(test)]
#[path = "math_tests.rs"]
mod tests;
