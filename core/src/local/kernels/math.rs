//! Functions of one number, over the vectors of any instruction set.
//!
//! Errors are a few units in the last place (the tests say how many); NaN stays NaN.

use super::simd::Simd;

/// What a layer applies to its sums.
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
        // The second operand is the one that stays where `x` is NaN.
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
fn polynomial<S: Simd, const N: usize>(s: S, x: S::F32, coefficients: [f32; N]) -> S::F32 {
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
    // `x` second, so that NaN stays.
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
    // `x` second, so that NaN stays.
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

/// `x · σ(1.702 x)`.
#[inline(always)]
pub(crate) fn quick_gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    s.div(x, s.add(s.splat(1.0), exp(s, s.mul(x, s.splat(-1.702)))))
}

/// GELU by the hyperbolic tangent. `½(1 + tanh u)` is `σ(2u)`, which loses nothing where the tangent is near -1.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(s: S, x: S::F32) -> S::F32 {
    const TWICE_ROOT_2_OVER_PI: f32 = 1.595_769;
    let cubic =
        s.mul_add(s.mul(x, x), s.splat(0.044_715 * TWICE_ROOT_2_OVER_PI), s.splat(TWICE_ROOT_2_OVER_PI));
    s.div(x, s.add(s.splat(1.0), exp(s, s.neg(s.mul(x, cubic)))))
}

/// GELU by the error function.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::F32) -> S::F32 {
    // x Φ(x) = max(x, 0) - ½ |x| erfc(|x| / √2), without cancellation on either side. Beyond 20 the second term
    // is zero; the limit keeps infinity times zero out. NaN stays, being second.
    let size = s.min(s.splat(20.0), s.abs(x));
    let tail =
        s.mul(s.mul(size, s.splat(0.5)), erfc(s, s.mul(size, s.splat(std::f32::consts::FRAC_1_SQRT_2))));
    s.sub(s.max(x, s.zero()), tail)
}

/// `1 - erf(z)` for `z ≥ 0`, with a relative error of about 3·10⁻⁷ near zero (more, by `z²`, where it is tiny).
#[inline(always)]
fn erfc<S: Simd>(s: S, z: S::F32) -> S::F32 {
    let one = s.splat(1.0);
    let t = s.div(one, s.mul_add(z, s.splat(0.5), one));
    // The Chebyshev fit of Numerical Recipes, section 6.2.
    let fit = polynomial(
        s,
        t,
        [
            0.170_872_77,
            -0.822_152_23,
            1.488_515_9,
            -1.135_204,
            0.278_868_07,
            -0.186_288_06,
            0.096_784_18,
            0.374_091_96,
            1.000_023_7,
            -1.265_512_2,
        ],
    );
    s.mul(t, exp(s, s.neg_mul_add(z, z, fit)))
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
