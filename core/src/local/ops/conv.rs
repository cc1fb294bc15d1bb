//! Convolution of images.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::Place;
use super::linear::{Epilogue, vector, with_weights};
use super::tensor::{OrFail, expect, filled, with_some_values, with_values};
use crate::error::{Error, Result};
use ayni_kernels::Cpu;
use ayni_kernels::conv::{self, Conv, Geometry, Images, Window};
use ayni_kernels::gemm::{Precision, Residual};

/// A convolution of `[image, height, width, channel]`, with weights packed once. Cheap to clone: clones share the weights.
#[derive(Clone, Debug)]
pub struct Conv2d {
    window: Window,
    geometry: Geometry,
    weights: Held,
}

#[derive(Clone, Debug)]
enum Held {
    /// On the CPU. The tensor that they were packed from is gone.
    Packed(Cpu, Arc<Conv>),
    /// On a GPU: weights as candle wants them, and the bias.
    Tensors(Tensor, Option<Tensor>),
}

impl Conv2d {
    /// Takes `[outputs, inputs, height, width]` weights in f32, f16 or bf16, in the precision of the place. Convolutions
    /// are not done in int8: where linear layers are, they are in bf16 if the CPU multiplies it in one instruction, else
    /// in f32.
    ///
    /// # Errors
    /// `invalid_request` if weight and bias do not belong together.
    pub fn new(place: &Place, weight: Tensor, bias: Option<Tensor>, geometry: Geometry) -> Result<Self> {
        let &[outputs, inputs, height, width] = weight.dims() else {
            let dims = weight.dims();
            return Err(Error::invalid_request(format!(
                "the weight of a convolution is {dims:?}, not 4 dimensions"
            )));
        };
        let window = Window { outputs, inputs, height, width };
        if let Some(bias) = &bias {
            expect("the bias of a convolution", bias, &[outputs])?;
        }
        if !matches!(place.device, Device::Cpu) {
            let moved =
                |x: Tensor| x.to_dtype(place.dtype()).and_then(|x| x.to_device(&place.device)).or_fail();
            let weights = Held::Tensors(moved(weight)?, bias.map(moved).transpose()?);
            return Ok(Self { window, geometry, weights });
        }
        let precision = match place.precision {
            Precision::Int8 if place.cpu.isa.has_bf16_dot() => Precision::Bf16,
            Precision::Int8 => Precision::F32,
            other => other,
        };
        let packed = with_weights(&weight, |weights| {
            Conv::new(&place.cpu, weights, window, geometry, precision).or_fail()
        })?;
        drop(weight);
        let packed = match bias {
            Some(bias) => packed.with_bias(&vector(&bias)?).or_fail()?,
            None => packed,
        };
        Ok(Self { window, geometry, weights: Held::Packed(place.cpu.clone(), Arc::new(packed)) })
    }

    /// Applies the convolution.
    ///
    /// # Errors
    /// `invalid_request` if the images have other channels, or are smaller than the window.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Epilogue::default(), None)
    }

    /// Applies the convolution and what follows it, in one pass. `per_image` is a second bias, `[image, channel]`: the
    /// embedding of a time step.
    ///
    /// # Errors
    /// `invalid_request` if the images have other channels or are smaller than the window, or the residual or
    /// `per_image` has another shape than the result.
    pub fn forward_with(
        &self,
        x: &Tensor,
        epilogue: Epilogue<'_>,
        per_image: Option<&Tensor>,
    ) -> Result<Tensor> {
        let dims = self.result_dims(x, epilogue.residual, per_image)?;
        let &[count, height, width, _] = x.dims() else { return x.contiguous().or_fail() };
        match &self.weights {
            Held::Packed(cpu, packed) => with_values("the images", x, |data| {
                with_some_values("the residual", epilogue.residual, |residual| {
                    with_some_values("the bias of each image", per_image, |per_image| {
                        let then = conv::Epilogue {
                            activation: epilogue.activation,
                            scale: epilogue.scale,
                            residual: residual.map_or(Residual::None, Residual::From),
                            per_image,
                        };
                        let images = Images { data, count, height, width };
                        filled(&dims, |to| conv::conv(cpu, packed, images, to, then).or_fail())
                    })
                })
            }),
            Held::Tensors(weight, bias) => {
                let sums = plain(x, weight, bias.as_ref(), self.geometry, per_image).or_fail()?;
                epilogue.plain(&sums, None)
            }
        }
    }

    /// Checks what the layer is applied to; says which shape the result gets.
    fn result_dims(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        per_image: Option<&Tensor>,
    ) -> Result<[usize; 4]> {
        let (window, geometry) = (self.window, self.geometry);
        let unfit =
            || Error::invalid_request(format!("{window:?} with {geometry:?} cannot take {:?}", x.dims()));
        let &[count, height, width, channels] = x.dims() else { return Err(unfit()) };
        let [above, below, left, right] = geometry.padding;
        let times = if geometry.doubled { 2 } else { 1 };
        let size = |length: usize, padding: usize, window: usize| {
            Some((times * length + padding).checked_sub(window)? / geometry.stride + 1)
        };
        let rows = size(height, above + below, window.height).ok_or_else(unfit)?;
        let columns = size(width, left + right, window.width).ok_or_else(unfit)?;
        if channels != window.inputs {
            return Err(unfit());
        }
        let dims = [count, rows, columns, window.outputs];
        residual.map_or(Ok(()), |residual| expect("the residual", residual, &dims))?;
        per_image.map_or(Ok(()), |bias| expect("the bias of each image", bias, &[count, window.outputs]))?;
        Ok(dims)
    }
}

/// A convolution by candle's own operations, which want channels first.
fn plain(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: Geometry,
    per_image: Option<&Tensor>,
) -> candle_core::Result<Tensor> {
    let mut planes = x.permute((0, 3, 1, 2))?.contiguous()?;
    if geometry.doubled {
        let (_, _, height, width) = planes.dims4()?;
        planes = planes.upsample_nearest2d(2 * height, 2 * width)?;
    }
    let [above, below, left, right] = geometry.padding;
    let even = above == below && left == right && above == left;
    let padding = if even { above } else { 0 };
    if !even {
        planes = planes.pad_with_zeros(2, above, below)?.pad_with_zeros(3, left, right)?;
    }
    let sums = planes.conv2d(weight, padding, geometry.stride, 1, 1)?.permute((0, 2, 3, 1))?.contiguous()?;
    let sums = match bias {
        Some(bias) => sums.broadcast_add(bias)?,
        None => sums,
    };
    match per_image {
        Some(bias) => sums.broadcast_add(&bias.unsqueeze(1)?.unsqueeze(1)?),
        None => Ok(sums),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, noise, places};
    use super::*;
    use crate::error::ErrorKind;
    use ayni_kernels::math::Activation;

    fn geometries() -> [Geometry; 5] {
        let plain = Geometry::default();
        [
            plain,
            Geometry::padded(1),
            Geometry { stride: 2, ..Geometry::padded(1) },
            // The downsampling of diffusers' autoencoders.
            Geometry { stride: 2, padding: [0, 1, 0, 1], doubled: false },
            Geometry { doubled: true, ..Geometry::padded(1) },
        ]
    }

    #[test]
    fn convolutions_are_those_of_candle_in_every_precision() {
        let (x, weight, bias) = (noise(&[2, 7, 9, 20]), noise(&[18, 20, 3, 3]), noise(&[18]));
        for geometry in geometries() {
            let truth = plain(&x, &weight, Some(&bias), geometry, None).unwrap();
            for place in places() {
                for (precision, error) in
                    [(Precision::F32, 2e-4), (Precision::Bf16, 0.2), (Precision::Int8, 0.2)]
                {
                    let place = Place { precision, ..place.clone() };
                    let layer = Conv2d::new(&place, weight.clone(), Some(bias.clone()), geometry).unwrap();
                    let what = format!("{geometry:?} {precision:?} {}", place.cpu.isa);
                    assert_near(&layer.forward(&x).unwrap(), &truth, error, &what);
                }
            }
        }
    }

    #[test]
    fn what_follows_is_fused_and_means_what_candle_computes() {
        let (x, weight, residual) = (noise(&[2, 5, 5, 8]), noise(&[8, 8, 3, 3]), noise(&[2, 5, 5, 8]));
        let step = noise(&[2, 8]);
        let epilogue = Epilogue { activation: Activation::Silu, scale: 0.5, residual: Some(&residual) };
        let sums = plain(&x, &weight, None, Geometry::padded(1), Some(&step)).unwrap();
        let truth = epilogue.plain(&sums, None).unwrap();
        for place in places() {
            let layer = Conv2d::new(&place, weight.clone(), None, Geometry::padded(1)).unwrap();
            let ours = layer.forward_with(&x, epilogue, Some(&step)).unwrap();
            assert_near(&ours, &truth, 1e-4, "epilogue");
        }
    }

    #[test]
    fn shapes_that_do_not_belong_together_are_errors() {
        let place = places().remove(0);
        let layer = Conv2d::new(&place, noise(&[4, 3, 3, 3]), None, Geometry::default()).unwrap();
        for error in [
            layer.forward(&noise(&[1, 8, 8, 4])).unwrap_err(),
            layer.forward(&noise(&[1, 2, 8, 3])).unwrap_err(),
            layer.forward(&noise(&[8, 8, 3])).unwrap_err(),
            layer
                .forward_with(&noise(&[1, 8, 8, 3]), Epilogue::default(), Some(&noise(&[1, 3])))
                .unwrap_err(),
            Conv2d::new(&place, noise(&[4, 3, 3]), None, Geometry::default()).unwrap_err(),
            Conv2d::new(&place, noise(&[4, 3, 3, 3]), Some(noise(&[3])), Geometry::default()).unwrap_err(),
            Conv2d::new(&place, noise(&[4, 3, 3, 3]), None, Geometry { stride: 0, ..Geometry::default() })
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        }
    }
}
