//! Norms and softmax.

use candle_core::{D, DType, Tensor};

use super::Place;
use super::activation;
use super::tensor::{OrFail, changed, expect, filled, is_on_cpu, rows, with_some_values, with_values};
use crate::error::{Error, Result};
use ayni_kernels::math::Activation;
use ayni_kernels::norm::{self, Scaling};
use ayni_kernels::{Source, softmax as softmax_kernel};
use ayni_kernels::{elementwise, group_norm};

/// The weights of a norm over the last dimension.
#[derive(Clone, Debug)]
pub struct Norm {
    kind: Kind,
    weight: Tensor,
    bias: Option<Tensor>,
    epsilon: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Layer,
    RootMeanSquare,
    /// So many groups of channels.
    Group(usize),
}

impl Norm {
    /// `(x - mean) / √(variance + ε) · weight + bias`.
    ///
    /// # Errors
    /// `invalid_request` if weight and bias are not vectors of one length.
    pub fn layer(place: &Place, weight: Tensor, bias: Option<Tensor>, epsilon: f32) -> Result<Self> {
        Self::new(place, Kind::Layer, weight, bias, epsilon)
    }

    /// `x / √(mean of x² + ε) · weight`.
    ///
    /// # Errors
    /// `invalid_request` if the weight is not a vector.
    pub fn rms(place: &Place, weight: Tensor, epsilon: f32) -> Result<Self> {
        Self::new(place, Kind::RootMeanSquare, weight, None, epsilon)
    }

    /// A norm of `[image, height, width, channel]` over each image's groups of neighbouring channels.
    ///
    /// # Errors
    /// `invalid_request` if weight and bias are not vectors of one length, or not whole groups.
    pub fn group(place: &Place, weight: Tensor, bias: Tensor, groups: usize, epsilon: f32) -> Result<Self> {
        let channels = weight.elem_count();
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::invalid_request(format!("{channels} channels are not {groups} groups")));
        }
        Self::new(place, Kind::Group(groups), weight, Some(bias), epsilon)
    }

    fn new(place: &Place, kind: Kind, weight: Tensor, bias: Option<Tensor>, epsilon: f32) -> Result<Self> {
        expect("the weight of a norm", &weight, &[weight.elem_count()])?;
        if let Some(bias) = &bias {
            expect("the bias of a norm", bias, weight.dims())?;
        }
        // In f32 everywhere: norms are where bf16 would hurt, and cost nothing.
        let moved = |x: Tensor| x.to_device(&place.device).and_then(|x| x.to_dtype(DType::F32)).or_fail();
        Ok(Self { kind, weight: moved(weight)?, bias: bias.map(moved).transpose()?, epsilon })
    }

    /// Applies the norm.
    ///
    /// # Errors
    /// `invalid_request` if the last dimension is not that of the weights.
    pub fn forward(&self, place: &Place, x: &Tensor) -> Result<Tensor> {
        self.forward_with(place, x, Activation::None)
    }

    /// Applies the norm to what nobody needs afterwards, where it lies: clones and views of it change too.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); `unsupported` for norms of groups.
    pub fn forward_owned(&self, place: &Place, x: Tensor) -> Result<Tensor> {
        if !is_on_cpu(&x) {
            return self.forward(place, &x);
        }
        self.check(&x)?;
        self.with_scaling(|scaling| {
            changed("the input", x, |values| match self.kind {
                Kind::Layer => norm::layer_norm(&place.cpu, values, Source::InPlace, scaling).or_fail(),
                Kind::RootMeanSquare => {
                    norm::rms_norm(&place.cpu, values, Source::InPlace, scaling).or_fail()
                }
                Kind::Group(_) => Err(Error::unsupported("norms of groups are not applied in place")),
            })
        })
    }

    /// Checks the width of what the norm is applied to.
    fn check(&self, x: &Tensor) -> Result<()> {
        let width = self.weight.elem_count();
        if rows("the input", x)?.1 == width {
            return Ok(());
        }
        Err(Error::invalid_request(format!("a norm of {width} columns cannot take {:?}", x.dims())))
    }

    /// Calls `work` with the weights as the kernels take them.
    pub(super) fn with_scaling<R>(&self, work: impl FnOnce(Scaling<'_>) -> Result<R>) -> Result<R> {
        with_values("the weight", &self.weight, |weight| {
            with_some_values("the bias", self.bias.as_ref(), |bias| {
                work(Scaling { weight, bias, epsilon: self.epsilon })
            })
        })
    }

    /// Whether it is a root-mean-square norm of so many columns.
    pub(super) fn is_rms_of(&self, width: usize) -> bool {
        self.kind == Kind::RootMeanSquare && self.weight.elem_count() == width
    }

    /// Applies the norm and then an activation.
    ///
    /// # Errors
    /// `invalid_request` if the last dimension is not that of the weights.
    pub fn forward_with(&self, place: &Place, x: &Tensor, then: Activation) -> Result<Tensor> {
        self.check(x)?;
        if !is_on_cpu(x) {
            return activation::plain(&self.plain(x)?, then);
        }
        let images = x.dims().first().copied().unwrap_or(1);
        self.with_scaling(|scaling| {
            with_values("the input", x, |values| {
                let source = Source::From(values);
                filled(x.shape(), |to| {
                    match self.kind {
                        Kind::Layer => norm::layer_norm(&place.cpu, to, source, scaling).or_fail()?,
                        Kind::RootMeanSquare => norm::rms_norm(&place.cpu, to, source, scaling).or_fail()?,
                        Kind::Group(groups) => {
                            return group_norm::group_norm(
                                &place.cpu, to, source, images, groups, scaling, then,
                            )
                            .or_fail();
                        }
                    }
                    if then != Activation::None {
                        elementwise::activate(&place.cpu, to, then);
                    }
                    Ok(())
                })
            })
        })
    }

    /// The norm by candle's own operations.
    pub(super) fn plain(&self, x: &Tensor) -> Result<Tensor> {
        let wide = x.to_dtype(DType::F32).or_fail()?;
        let normal = match self.kind {
            Kind::Layer => centred(&wide).and_then(|x| divided(&x, self.epsilon)),
            Kind::RootMeanSquare => divided(&wide, self.epsilon),
            Kind::Group(groups) => in_groups(&wide, groups, self.epsilon),
        };
        let scaled = normal.and_then(|x| x.broadcast_mul(&self.weight));
        let biased = scaled.and_then(|x| match &self.bias {
            Some(bias) => x.broadcast_add(bias),
            None => Ok(x),
        });
        biased.and_then(|y| y.to_dtype(x.dtype())).or_fail()
    }
}

fn centred(x: &Tensor) -> candle_core::Result<Tensor> {
    x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)
}

fn divided(x: &Tensor, epsilon: f32) -> candle_core::Result<Tensor> {
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean_square + f64::from(epsilon))?.sqrt()?)
}

fn in_groups(x: &Tensor, groups: usize, epsilon: f32) -> candle_core::Result<Tensor> {
    let dims = x.dims();
    let (images, channels) = (dims[0], dims[dims.len() - 1]);
    let pixels = x.elem_count() / (images * channels).max(1);
    let split = (images, pixels, groups, channels / groups);
    let grouped = x.reshape(split)?.transpose(1, 2)?.contiguous()?;
    let normal = divided(&centred(&grouped.flatten_from(2)?)?, epsilon)?;
    normal.reshape((images, groups, pixels, channels / groups))?.transpose(1, 2)?.contiguous()?.reshape(dims)
}

/// `exp(scale · x) / sum` over the last dimension. On the CPU, a row of nothing but -∞ becomes zeros.
///
/// # Errors
/// `invalid_request` for numbers that the device does not compute in.
pub fn softmax(place: &Place, x: &Tensor, scale: f32) -> Result<Tensor> {
    let (_, width) = rows("the input", x)?;
    if !is_on_cpu(x) {
        return plain_softmax(x, scale).or_fail();
    }
    with_values("the input", x, |values| {
        let source = Source::From(values);
        filled(x.shape(), |to| softmax_kernel::softmax(&place.cpu, to, source, width, scale).or_fail())
    })
}

/// Softmax by candle's own operations.
pub(super) fn plain_softmax(x: &Tensor, scale: f32) -> candle_core::Result<Tensor> {
    let scaled = (x.to_dtype(DType::F32)? * f64::from(scale))?;
    let powers = scaled.broadcast_sub(&scaled.max_keepdim(D::Minus1)?)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?.to_dtype(x.dtype())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, noise, places};
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn norms_are_those_that_candle_computes() {
        let (x, weight, bias) = (noise(&[2, 5, 7, 24]), noise(&[24]), (noise(&[24]) * 0.5).unwrap());
        for place in places() {
            for norm in [
                Norm::layer(&place, weight.clone(), Some(bias.clone()), 1e-5).unwrap(),
                Norm::layer(&place, weight.clone(), None, 1e-5).unwrap(),
                Norm::rms(&place, weight.clone(), 1e-6).unwrap(),
                Norm::group(&place, weight.clone(), bias.clone(), 4, 1e-6).unwrap(),
            ] {
                let truth = activation::plain(&norm.plain(&x).unwrap(), Activation::Silu).unwrap();
                let ours = norm.forward_with(&place, &x, Activation::Silu).unwrap();
                assert_near(&ours, &truth, 2e-5, &format!("{:?}", norm.kind));
                if !matches!(norm.kind, Kind::Group(_)) {
                    let owned = norm.forward_owned(&place, x.copy().unwrap()).unwrap();
                    assert_near(&owned, &norm.forward(&place, &x).unwrap(), 0.0, "in place");
                }
            }
        }
    }

    #[test]
    fn a_tensor_that_lies_in_another_order_is_read_in_its_own() {
        let place = places().remove(0);
        let x = noise(&[6, 8]).t().unwrap();
        let norm = Norm::rms(&place, noise(&[6]), 1e-6).unwrap();
        assert_near(&norm.forward(&place, &x).unwrap(), &norm.plain(&x).unwrap(), 1e-5, "transposed");
    }

    #[test]
    fn softmax_is_that_of_candle() {
        let x = (noise(&[4, 3, 33]) * 9.0).unwrap();
        for place in places() {
            let truth = plain_softmax(&x, 0.3).unwrap();
            assert_near(&softmax(&place, &x, 0.3).unwrap(), &truth, 1e-6, "softmax");
        }
    }

    #[test]
    fn another_width_than_the_weights_is_an_error() {
        let place = places().remove(0);
        let norm = Norm::rms(&place, noise(&[6]), 1e-6).unwrap();
        assert_eq!(norm.forward(&place, &noise(&[2, 5])).unwrap_err().kind(), ErrorKind::InvalidRequest);
        assert!(Norm::group(&place, noise(&[6]), noise(&[6]), 4, 1e-6).is_err());
        assert!(Norm::layer(&place, noise(&[6]), Some(noise(&[5])), 1e-6).is_err());
    }

    #[test]
    fn numbers_that_are_not_f32_are_an_error_on_the_cpu() {
        let place = places().remove(0);
        let error = softmax(&place, &noise(&[2, 2]).to_dtype(DType::F64).unwrap(), 1.0).unwrap_err();
        assert!(error.message().contains("f64"), "{error}");
    }
}
