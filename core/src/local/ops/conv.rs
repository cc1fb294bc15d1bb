//! Convolution of images.

use std::sync::Arc;

use ayni_kernels::conv::{self, Conv, Geometry, Images, Window};
use ayni_kernels::gemm::Residual;

use super::error::OrFail;
use super::weights::{expect_shape, numbers, with_weights};
use super::{Device, Epilogue, LayerWeights, Tensor, gpu};
use crate::error::{Error, Result};

/// A convolution of `[image, height, width, channel]`, with weights packed once. Cheap to clone: clones share the
/// weights.
#[derive(Clone, Debug)]
pub struct Conv2d {
    window: Window,
    geometry: Geometry,
    weights: ConvWeights,
}

#[derive(Clone, Debug)]
enum ConvWeights {
    /// Packed for the kernels. The tensor that they were packed from is gone.
    Packed(Arc<Conv>),
    /// Weights as candle wants them, and the bias.
    Gpu(candle_core::Tensor, Option<candle_core::Tensor>),
}

impl Conv2d {
    /// Takes `[outputs, inputs, height, width]` weights in f32, f16 or bf16, in the precision of the device.
    ///
    /// # Errors
    /// `invalid_request` if weight and bias do not belong together, or in int8 if a weight is not finite.
    pub fn new(
        device: &Device,
        weight: candle_core::Tensor,
        bias: Option<candle_core::Tensor>,
        geometry: Geometry,
    ) -> Result<Self> {
        let &[outputs, inputs, height, width] = weight.dims() else {
            let dims = weight.dims();
            return Err(Error::invalid_request(format!(
                "the weight of a convolution: expected 4 dimensions, found {dims:?}"
            )));
        };
        let window = Window { outputs, inputs, height, width };
        if let Some(bias) = &bias {
            expect_shape("the bias of a convolution", bias, &[outputs])?;
        }
        if let Some(gpu) = device.gpu() {
            let moved =
                |x: candle_core::Tensor| x.to_dtype(device.dtype()).and_then(|x| x.to_device(gpu)).or_fail();
            let weights = ConvWeights::Gpu(moved(weight)?, bias.map(moved).transpose()?);
            return Ok(Self { window, geometry, weights });
        }
        with_weights(&weight, |weights| Self::packed(device, weights, window, geometry, bias.as_ref()))
    }

    /// Packs weights, `[outputs, inputs, height, width]`, from where they are; only on the CPU.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn packed(
        device: &Device,
        weights: LayerWeights<'_>,
        window: Window,
        geometry: Geometry,
        bias: Option<&candle_core::Tensor>,
    ) -> Result<Self> {
        let packed = Conv::new(&device.cpu, weights, window, geometry, device.precision).or_fail()?;
        let packed = match bias {
            Some(bias) => packed.with_bias(&numbers(bias)?).or_fail()?,
            None => packed,
        };
        Ok(Self { window, geometry, weights: ConvWeights::Packed(Arc::new(packed)) })
    }

    /// The same weights with another stride, padding or upsampling; they are shared.
    pub fn with_geometry(&self, geometry: Geometry) -> Self {
        let weights = match &self.weights {
            ConvWeights::Packed(packed) => ConvWeights::Packed(Arc::new(packed.with_geometry(geometry))),
            gpu @ ConvWeights::Gpu(..) => gpu.clone(),
        };
        Self { geometry, weights, ..self.clone() }
    }

    /// Applies the convolution.
    ///
    /// # Errors
    /// `invalid_request` if the images have other channels, or are smaller than the window.
    pub fn forward(&self, x: impl Into<Tensor>) -> Result<Tensor> {
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
        x: impl Into<Tensor>,
        epilogue: Epilogue,
        per_image: Option<&Tensor>,
    ) -> Result<Tensor> {
        let x = x.into();
        let dims = self.result_dims(&x, epilogue.residual.as_ref(), per_image)?;
        match &self.weights {
            ConvWeights::Packed(packed) => on_cpu(packed, x, dims, epilogue, per_image),
            ConvWeights::Gpu(weight, bias) => {
                let per_image =
                    per_image.map(|bias| bias.expect_gpu("the bias of each image")).transpose()?;
                let on_gpu = x.expect_gpu("the images")?;
                let sums = gpu::conv::conv(on_gpu, weight, bias.as_ref(), self.geometry, per_image);
                epilogue.apply(Tensor::from_gpu(x.device(), sums)?)
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
        let unfit = || {
            Error::invalid_request(format!(
                "{window:?} with {geometry:?} cannot be applied to {:?}",
                x.dims()
            ))
        };
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
        residual.map_or(Ok(()), |residual| residual.expect_dims("the residual", &dims))?;
        per_image
            .map_or(Ok(()), |bias| bias.expect_dims("the bias of each image", &[count, window.outputs]))?;
        Ok(dims)
    }
}

fn on_cpu(
    packed: &Conv,
    x: Tensor,
    dims: [usize; 4],
    epilogue: Epilogue,
    per_image: Option<&Tensor>,
) -> Result<Tensor> {
    let [count, height, width, _] = x.dims_of()?;
    let x = x.contiguous()?;
    let images = Images { data: x.cpu_values("the images")?, count, height, width };
    let per_image = per_image.map(|bias| bias.clone().contiguous()).transpose()?;
    let per_image = per_image.as_ref().map(|bias| bias.cpu_values("the bias of each image")).transpose()?;
    let Epilogue { activation, scale, residual } = epilogue;
    let epilogue = conv::Epilogue { activation, scale, residual: Residual::None, per_image };
    match residual {
        None => Tensor::build(x.device(), dims, |to| {
            conv::conv(&x.device().cpu, packed, images, to, epilogue).or_fail()
        }),
        Some(residual) => residual.update(|cpu, to, source| {
            let epilogue = conv::Epilogue { residual: source.into(), ..epilogue };
            conv::conv(cpu, packed, images, to, epilogue)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Noise, assert_near, devices, noise, on_gpu};
    use super::*;
    use crate::error::ErrorKind;
    use crate::local::ops::Precision;
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

    fn layer(device: &Device, weight: &Noise, bias: Option<&Noise>, geometry: Geometry) -> Result<Conv2d> {
        Conv2d::new(device, weight.weight(), bias.map(Noise::weight), geometry)
    }

    #[test]
    fn convolutions_are_those_of_candle_in_every_precision() {
        let (x, weight, bias) = (noise(&[2, 7, 9, 20], 1.0), noise(&[18, 20, 3, 3], 1.0), noise(&[18], 1.0));
        for geometry in geometries() {
            let of = |device: &Device| {
                layer(device, &weight, Some(&bias), geometry).unwrap().forward(x.tensor(device)).unwrap()
            };
            let truth = of(&on_gpu());
            for device in devices() {
                for (precision, error) in
                    [(Precision::F32, 2e-4), (Precision::Bf16, 0.2), (Precision::Int8, 0.2)]
                {
                    let what = format!("{geometry:?} {precision:?} {}", device.cpu.isa);
                    assert_near(&of(&device.with_precision(precision)), &truth, error, &what);
                }
            }
        }
    }

    #[test]
    fn what_follows_is_fused_and_means_what_candle_computes() {
        let (x, weight) = (noise(&[2, 5, 5, 8], 1.0), noise(&[8, 8, 3, 3], 1.0));
        let (residual, step) = (noise(&[2, 5, 5, 8], 0.5), noise(&[2, 8], 1.0));
        let of = |device: &Device, residual: Tensor| {
            let epilogue = Epilogue { activation: Activation::Silu, scale: 0.5, residual: Some(residual) };
            let layer = layer(device, &weight, None, Geometry::padded(1)).unwrap();
            layer.forward_with(x.tensor(device), epilogue, Some(&step.tensor(device))).unwrap()
        };
        let truth = of(&on_gpu(), residual.tensor(&on_gpu()));
        for device in devices() {
            let held = residual.tensor(&device);
            let ours = of(&device, held.clone());
            assert_near(&ours, &truth, 1e-4, "epilogue");
            assert_near(
                &held,
                &residual.tensor(&device),
                0.0,
                "a residual that somebody holds stays as it is",
            );
            assert_near(&of(&device, residual.tensor(&device)), &ours, 0.0, "in the residual's memory");
        }
    }

    #[test]
    fn shapes_that_do_not_belong_together_are_errors() {
        let device = &devices()[0];
        let of = |dims: &[usize]| noise(dims, 1.0);
        let plain = layer(device, &of(&[4, 3, 3, 3]), None, Geometry::default()).unwrap();
        let step = of(&[1, 3]).tensor(device);
        let images = of(&[1, 8, 8, 3]).tensor(device);
        let no_stride = Geometry { stride: 0, ..Geometry::default() };
        for error in [
            plain.forward(of(&[1, 8, 8, 4]).tensor(device)).unwrap_err(),
            plain.forward(of(&[1, 2, 8, 3]).tensor(device)).unwrap_err(),
            plain.forward(of(&[8, 8, 3]).tensor(device)).unwrap_err(),
            plain.forward_with(&images, Epilogue::default(), Some(&step)).unwrap_err(),
            layer(device, &of(&[4, 3, 3]), None, Geometry::default()).unwrap_err(),
            layer(device, &of(&[4, 3, 3, 3]), Some(&of(&[3])), Geometry::default()).unwrap_err(),
            layer(device, &of(&[4, 3, 3, 3]), None, no_stride).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        }
    }
}
