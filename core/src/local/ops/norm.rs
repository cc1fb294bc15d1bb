//! Norms and softmax.

use std::sync::Arc;

use ayni_kernels::math::Activation;
use ayni_kernels::norm::{self, Scaling};
use ayni_kernels::{elementwise, group_norm, softmax as softmax_kernel};
use candle_core::DType;

use super::error::OrFail;
use super::weights::{expect_shape, numbers};
use super::{Device, Tensor, activate, gpu};
use crate::error::{Error, Result};

/// A norm over the last dimension, or over groups of channels.
#[derive(Clone, Debug)]
pub struct Norm {
    kind: Kind,
    width: usize,
    weights: NormWeights,
    epsilon: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Layer,
    RootMeanSquare,
    /// So many groups of channels.
    Group(usize),
}

/// In f32 everywhere: norms are where bf16 would hurt, and cost nothing.
#[derive(Clone, Debug)]
enum NormWeights {
    Cpu {
        weight: Arc<[f32]>,
        bias: Option<Arc<[f32]>>,
    },
    /// A bias that the model does not have is zeros.
    Gpu {
        weight: candle_core::Tensor,
        bias: candle_core::Tensor,
    },
}

impl Norm {
    /// `(x - mean) / √(variance + ε) · weight + bias`.
    ///
    /// # Errors
    /// `invalid_request` if weight and bias are not vectors of one length.
    pub fn layer(
        device: &Device,
        weight: &candle_core::Tensor,
        bias: Option<&candle_core::Tensor>,
        epsilon: f32,
    ) -> Result<Self> {
        Self::new(device, Kind::Layer, weight, bias, epsilon)
    }

    /// `x / √(mean of x² + ε) · weight`.
    ///
    /// # Errors
    /// `invalid_request` if the weight is not a vector.
    pub fn rms(device: &Device, weight: &candle_core::Tensor, epsilon: f32) -> Result<Self> {
        Self::new(device, Kind::RootMeanSquare, weight, None, epsilon)
    }

    /// A norm of `[image, height, width, channel]` over each image's groups of neighbouring channels.
    ///
    /// # Errors
    /// `invalid_request` if weight and bias are not vectors of one length, or not whole groups.
    pub fn group(
        device: &Device,
        weight: &candle_core::Tensor,
        bias: &candle_core::Tensor,
        groups: usize,
        epsilon: f32,
    ) -> Result<Self> {
        let channels = weight.elem_count();
        if groups == 0 || !channels.is_multiple_of(groups) {
            return Err(Error::invalid_request(format!("{channels} channels are not {groups} groups")));
        }
        Self::new(device, Kind::Group(groups), weight, Some(bias), epsilon)
    }

    fn new(
        device: &Device,
        kind: Kind,
        weight: &candle_core::Tensor,
        bias: Option<&candle_core::Tensor>,
        epsilon: f32,
    ) -> Result<Self> {
        let width = weight.elem_count();
        expect_shape("the weight of a norm", weight, &[width])?;
        bias.map_or(Ok(()), |bias| expect_shape("the bias of a norm", bias, &[width]))?;
        let weights = match device.gpu() {
            None => NormWeights::Cpu {
                weight: numbers(weight)?.into(),
                bias: bias.map(numbers).transpose()?.map(Into::into),
            },
            Some(gpu) => {
                let moved = |x: &candle_core::Tensor| x.to_dtype(DType::F32)?.to_device(gpu);
                let weight = moved(weight).or_fail()?;
                let bias = bias.map_or_else(|| weight.zeros_like(), moved).or_fail()?;
                NormWeights::Gpu { weight, bias }
            }
        };
        Ok(Self { kind, width, weights, epsilon })
    }

    /// Applies the norm.
    ///
    /// # Errors
    /// `invalid_request` if the last dimension is not that of the weights.
    pub fn forward(&self, x: impl Into<Tensor>) -> Result<Tensor> {
        self.forward_with(x, Activation::None)
    }

    /// Applies the norm and then an activation.
    ///
    /// # Errors
    /// `invalid_request` if the last dimension is not that of the weights, or a norm of groups is not applied to
    /// images.
    pub fn forward_with(&self, x: impl Into<Tensor>, activation: Activation) -> Result<Tensor> {
        let x = x.into();
        let (width, (_, found)) = (self.width, x.rows("the input of a norm")?);
        if found != width {
            return Err(Error::invalid_request(format!(
                "a norm: expected {width} columns, found {:?}",
                x.dims()
            )));
        }
        let (weight, bias) = match &self.weights {
            NormWeights::Cpu { .. } => return self.on_cpu(x, activation),
            NormWeights::Gpu { weight, bias } => (weight, bias),
        };
        let on_gpu = x.expect_gpu("the input of a norm")?;
        let normal = match self.kind {
            Kind::Layer => gpu::layer_norm(on_gpu, weight, bias, self.epsilon),
            Kind::RootMeanSquare => gpu::rms_norm(on_gpu, weight, self.epsilon),
            Kind::Group(groups) => gpu::group_norm(on_gpu, weight, bias, groups, self.epsilon),
        };
        activate(Tensor::from_gpu(x.device(), normal)?, activation)
    }

    fn on_cpu(&self, x: Tensor, activation: Activation) -> Result<Tensor> {
        let scaling = self.scaling()?;
        let images = x.dims().first().copied().unwrap_or(1);
        x.update(|cpu, to, source| {
            match self.kind {
                Kind::Layer => norm::layer_norm(cpu, to, source, scaling)?,
                Kind::RootMeanSquare => norm::rms_norm(cpu, to, source, scaling)?,
                Kind::Group(groups) => {
                    return group_norm::group_norm(cpu, to, source, images, groups, scaling, activation);
                }
            }
            if activation != Activation::None {
                elementwise::activate(cpu, to, activation);
            }
            Ok(())
        })
    }

    /// A norm of groups over a strip of an image, with the sums of the whole image.
    ///
    /// # Errors
    /// `invalid_request` if it is no norm of groups, or the channels differ.
    pub fn forward_with_sums(&self, x: Tensor, sums: &ChannelSums, activation: Activation) -> Result<Tensor> {
        let (Kind::Group(groups), Some(&channels)) = (self.kind, x.dims().last()) else {
            return Err(Error::invalid_request("sums of channels are for norms of groups"));
        };
        if channels != self.width || sums.sums.len() != 2 * channels {
            return Err(Error::invalid_request(format!(
                "a norm of {} channels over {:?}",
                self.width,
                x.dims()
            )));
        }
        let (weight, bias) = match &self.weights {
            NormWeights::Cpu { weight, bias } => {
                (weight.to_vec(), bias.as_ref().map_or_else(|| vec![0.0; channels], |bias| bias.to_vec()))
            }
            NormWeights::Gpu { weight, bias } => (numbers(weight)?, numbers(bias)?),
        };
        let width = channels / groups;
        let (mut factors, mut shifts) = (vec![0.0; channels], vec![0.0; channels]);
        for group in (0..channels).step_by(width) {
            let total = |from: usize| {
                sums.sums[from..from + width].iter().sum::<f64>() / (sums.pixels * width as f64)
            };
            let (mean, square) = (total(group), total(channels + group));
            let factor = 1.0 / (square - mean * mean + f64::from(self.epsilon)).sqrt();
            for channel in group..group + width {
                let scaled = factor * f64::from(weight[channel]);
                factors[channel] = scaled as f32;
                shifts[channel] = (f64::from(bias[channel]) - mean * scaled) as f32;
            }
        }
        if let Some(on_gpu) = x.as_gpu() {
            let row = |values: Vec<f32>| {
                candle_core::Tensor::new(values, on_gpu.device())?.to_dtype(on_gpu.dtype())
            };
            let normal =
                row(factors).and_then(|factors| on_gpu.broadcast_mul(&factors)?.broadcast_add(&row(shifts)?));
            return activate(Tensor::from_gpu(x.device(), normal)?, activation);
        }
        let normal = x.update_in_place(|cpu, to| {
            elementwise::mul_row(cpu, to, &factors)?;
            elementwise::add_row(cpu, to, &shifts)
        })?;
        activate(normal, activation)
    }

    /// The weights as the kernels take them.
    pub(super) fn scaling(&self) -> Result<Scaling<'_>> {
        match &self.weights {
            NormWeights::Cpu { weight, bias } => {
                Ok(Scaling { weight, bias: bias.as_deref(), epsilon: self.epsilon })
            }
            NormWeights::Gpu { .. } => {
                Err(Error::invalid_request("a norm: expected on the CPU, found on a GPU"))
            }
        }
    }

    /// Whether it is a root-mean-square norm of so many columns.
    pub(super) fn is_rms_of(&self, width: usize) -> bool {
        self.kind == Kind::RootMeanSquare && self.width == width
    }
}

/// The sums of an image's channels and of their squares, to which strips of the image are added.
#[derive(Clone, Debug, Default)]
pub struct ChannelSums {
    /// Those of the numbers, then those of the squares.
    sums: Vec<f64>,
    pixels: f64,
}

impl ChannelSums {
    /// Adds a strip.
    ///
    /// # Errors
    /// `unexpected` if a GPU fails.
    pub fn add(&mut self, x: &Tensor) -> Result<()> {
        let channels = x.dims().last().copied().unwrap_or_default();
        self.sums.resize(2 * channels, 0.0);
        let (sums, squares) = self.sums.split_at_mut(channels);
        for pixel in x.values()?.chunks_exact(channels.max(1)) {
            self.pixels += 1.0;
            for ((x, sum), square) in pixel.iter().zip(sums.iter_mut()).zip(squares.iter_mut()) {
                let x = f64::from(*x);
                *sum += x;
                *square += x * x;
            }
        }
        Ok(())
    }
}

/// `exp(scale · x) / sum` over the last dimension. On the CPU, a row of nothing but -∞ becomes zeros.
///
/// # Errors
/// `invalid_request` if there is no dimension.
pub fn softmax(x: impl Into<Tensor>, scale: f32) -> Result<Tensor> {
    let x = x.into();
    let (_, width) = x.rows("the input of a softmax")?;
    match x.as_gpu() {
        Some(on_gpu) => Tensor::from_gpu(x.device(), gpu::softmax(on_gpu, scale)),
        None => x.update(|cpu, to, source| softmax_kernel::softmax(cpu, to, source, width, scale)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, devices, noise, on_gpu};
    use super::*;
    use crate::error::ErrorKind;

    fn norms(device: &Device) -> [Norm; 4] {
        let (weight, bias) = (noise(&[24], 1.0).weight(), noise(&[24], 0.5).weight());
        [
            Norm::layer(device, &weight, Some(&bias), 1e-5).unwrap(),
            Norm::layer(device, &weight, None, 1e-5).unwrap(),
            Norm::rms(device, &weight, 1e-6).unwrap(),
            Norm::group(device, &weight, &bias, 4, 1e-6).unwrap(),
        ]
    }

    #[test]
    fn norms_are_those_that_candle_computes() {
        let x = noise(&[2, 5, 7, 24], 1.0);
        for device in devices() {
            for (ours, theirs) in norms(&device).iter().zip(norms(&on_gpu())) {
                let truth = theirs.forward_with(x.tensor(&on_gpu()), Activation::Silu).unwrap();
                let found = ours.forward_with(x.tensor(&device), Activation::Silu).unwrap();
                assert_near(&found, &truth, 2e-5, &format!("{:?}", ours.kind));
                let held = x.tensor(&device);
                assert_near(
                    &ours.forward_with(&held, Activation::Silu).unwrap(),
                    &found,
                    0.0,
                    "not in place",
                );
                assert_near(&held, &x.tensor(&device), 0.0, "a tensor that is lent stays as it is");
            }
        }
    }

    #[test]
    fn a_norm_of_groups_in_strips_is_that_of_the_whole() {
        let x = noise(&[1, 9, 7, 24], 1.5);
        for device in devices().into_iter().chain([on_gpu()]) {
            let (norm, x) = (&norms(&device)[3], x.tensor(&device));
            let whole = norm.forward_with(&x, Activation::Silu).unwrap();
            let mut sums = ChannelSums::default();
            let strips = [x.narrow(1, 0, 4).unwrap(), x.narrow(1, 4, 5).unwrap()];
            strips.iter().for_each(|strip| sums.add(strip).unwrap());
            for (strip, first) in strips.into_iter().zip([0, 4]) {
                let count = strip.dims()[1];
                let found = norm.forward_with_sums(strip, &sums, Activation::Silu).unwrap();
                assert_near(&found, &whole.narrow(1, first, count).unwrap(), 1e-5, "strip");
            }
            assert!(norms(&device)[2].forward_with_sums(x, &sums, Activation::None).is_err());
        }
    }

    #[test]
    fn a_tensor_that_is_not_contiguous_is_read_in_its_own_order() {
        for device in devices() {
            let part = noise(&[6, 48], 1.0).tensor(&device).narrow(1, 24, 24).unwrap();
            let copied = Tensor::from_vec(&device, part.values().unwrap().into_owned(), [6, 24]).unwrap();
            let norm = &norms(&device)[2];
            assert_near(&norm.forward(&part).unwrap(), &norm.forward(copied).unwrap(), 0.0, "a view");
        }
    }

    #[test]
    fn softmax_is_that_of_candle() {
        let x = noise(&[4, 3, 33], 9.0);
        let truth = softmax(x.tensor(&on_gpu()), 0.3).unwrap();
        for device in devices() {
            assert_near(&softmax(x.tensor(&device), 0.3).unwrap(), &truth, 1e-6, "softmax");
        }
    }

    #[test]
    fn another_width_than_the_weights_is_an_error() {
        let device = &devices()[0];
        let weight = noise(&[6], 1.0).weight();
        let norm = Norm::rms(device, &weight, 1e-6).unwrap();
        let error = norm.forward(noise(&[2, 5], 1.0).tensor(device)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(Norm::group(device, &weight, &weight, 4, 1e-6).is_err());
        assert!(Norm::layer(device, &weight, Some(&noise(&[5], 1.0).weight()), 1e-6).is_err());
    }
}
