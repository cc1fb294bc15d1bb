//! Images cut into patches, a row each: what the first layer of a vision transformer multiplies.

use super::error::OrFail;
use super::{Tensor, gpu};
use crate::error::{Error, Result};

/// Cuts `[image, height, width, channel]` into squares of `size` pixels: `[image, leading + patch, size · size ·
/// channel]`, patches row by row, in each its pixels row by row. Pixels right of and below the last whole patch are
/// left out. The `leading` rows of each image are zeros: room for tokens that are no patches.
///
/// # Errors
/// `invalid_request` if there are not four dimensions, or an image is smaller than a patch.
pub fn patches(images: impl Into<Tensor>, size: usize, leading: usize) -> Result<Tensor> {
    let images = images.into();
    let [count, height, width, channels] = images.dims_of()?;
    if size == 0 || height < size || width < size {
        return Err(Error::invalid_request(format!(
            "an image of {height} × {width} has no patch of {size} × {size}"
        )));
    }
    let (rows, columns) = (height / size, width / size);
    if let Some(on_gpu) = images.as_gpu() {
        let patches = gpu::conv::patches(on_gpu, [rows, columns, size], leading);
        return Tensor::from_gpu(images.device(), patches);
    }
    let (line, patch) = (size * channels, size * size * channels);
    let of_image = (leading + rows * columns) * patch;
    let images = images.contiguous()?;
    let pixels = images.cpu_values("the images")?;
    Tensor::build(images.device(), [count, leading + rows * columns, patch], |to| {
        for (image, to) in pixels.chunks_exact(height * width * channels).zip(to.chunks_exact_mut(of_image)) {
            let (before, to) = to.split_at_mut(leading * patch);
            before.fill(0.0);
            for (y, pixels) in image.chunks_exact(width * channels).take(rows * size).enumerate() {
                let of_row = to.chunks_exact_mut(columns * patch).nth(y / size).unwrap_or_default();
                for (to, from) in of_row.chunks_exact_mut(patch).zip(pixels.chunks_exact(line)) {
                    let start = y % size * line;
                    to[start..start + line].copy_from_slice(from);
                }
            }
        }
        Ok(())
    })
}

/// The weight of a convolution whose stride is its window, `[outputs, channel, height, width]`, as that of a linear
/// layer over [`patches`].
///
/// # Errors
/// `invalid_request` if there are not four dimensions.
pub fn weight_of_patches(weight: &candle_core::Tensor) -> Result<candle_core::Tensor> {
    let &[outputs, channels, height, width] = weight.dims() else {
        let dims = weight.dims();
        return Err(Error::invalid_request(format!(
            "the weight of a convolution: expected 4 dimensions, found {dims:?}"
        )));
    };
    let reordered = weight.permute((0, 2, 3, 1)).and_then(|weight| weight.contiguous());
    reordered.and_then(|weight| weight.reshape((outputs, height * width * channels))).or_fail()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, devices, noise, on_gpu};
    use super::super::{Conv2d, Geometry, Linear};
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn patches_are_those_that_candle_cuts() {
        let device = &devices()[0];
        for (dims, size, leading) in [([2, 8, 12, 3], 4, 1), ([1, 7, 9, 3], 2, 0), ([3, 5, 5, 1], 5, 2)] {
            let images = noise(&dims, 1.0);
            let truth = patches(images.tensor(&on_gpu()), size, leading).unwrap();
            assert_near(&patches(images.tensor(device), size, leading).unwrap(), &truth, 0.0, "patches");
        }
    }

    #[test]
    fn a_linear_layer_over_patches_is_a_convolution_whose_stride_is_its_window() {
        let (images, weight, bias) =
            (noise(&[2, 8, 12, 3], 1.0), noise(&[16, 3, 4, 4], 1.0).weight(), noise(&[16], 1.0).weight());
        let geometry = Geometry { stride: 4, ..Geometry::default() };
        for device in devices() {
            let images = images.tensor(&device);
            let convolution = Conv2d::new(&device, weight.clone(), Some(bias.clone()), geometry).unwrap();
            let truth = convolution.forward(&images).unwrap().reshape([2, 6, 16]).unwrap();
            let flat = weight_of_patches(&weight).unwrap();
            let layer = Linear::new(&device, (flat, Some(bias.clone()))).unwrap();
            let found = layer.forward(patches(&images, 4, 0).unwrap()).unwrap();
            assert_near(&found, &truth, 1e-5, "patches");
        }
    }

    #[test]
    fn what_cannot_be_cut_is_an_error() {
        let device = &devices()[0];
        for (dims, size) in [(&[2, 8, 3][..], 4), (&[1, 3, 8, 3], 4), (&[1, 8, 8, 3], 0)] {
            let error = patches(noise(dims, 1.0).tensor(device), size, 0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{dims:?}");
        }
        let error = weight_of_patches(&noise(&[4, 4], 1.0).weight()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}
