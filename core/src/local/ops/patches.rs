//! Images cut into patches, a row each: what the first layer of a vision transformer multiplies.

use candle_core::{Device, Tensor};

use super::tensor::{OrFail, filled, is_on_cpu, with_values};
use crate::error::{Error, Result};

/// Cuts `[image, height, width, channel]` into squares of `size` pixels: `[image, leading + patch, size · size · channel]`,
/// patches row by row, in each its pixels row by row. Pixels right and below of the last whole patch are left out. The
/// `leading` rows of each image are zeros: places for tokens that are no patches.
///
/// # Errors
/// `invalid_request` if there are not four dimensions, or an image is smaller than a patch.
pub fn patches(images: &Tensor, size: usize, leading: usize) -> Result<Tensor> {
    let &[count, height, width, channels] = images.dims() else {
        let dims = images.dims();
        return Err(Error::invalid_request(format!(
            "images are {dims:?}, not image, height, width, channel"
        )));
    };
    if size == 0 || height < size || width < size {
        return Err(Error::invalid_request(format!(
            "an image of {height} × {width} has no patch of {size} × {size}"
        )));
    }
    let (rows, columns) = (height / size, width / size);
    if !is_on_cpu(images) {
        return plain(images, [rows, columns, size], leading).or_fail();
    }
    let (line, patch) = (size * channels, size * size * channels);
    let of_image = (leading + rows * columns) * patch;
    with_values("the images", images, |pixels| {
        filled((count, leading + rows * columns, patch), |to| {
            for (image, to) in
                pixels.chunks_exact(height * width * channels).zip(to.chunks_exact_mut(of_image))
            {
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
    })
}

/// The same by candle's own operations.
fn plain(images: &Tensor, [rows, columns, size]: [usize; 3], leading: usize) -> candle_core::Result<Tensor> {
    let (count, _, _, channels) = images.dims4()?;
    let whole = images.narrow(1, 0, rows * size)?.narrow(2, 0, columns * size)?;
    let cut = whole.contiguous()?.reshape(&[count, rows, size, columns, size * channels][..])?;
    let patches =
        cut.transpose(2, 3)?.contiguous()?.reshape((count, rows * columns, size * size * channels))?;
    if leading == 0 {
        return Ok(patches);
    }
    let shape = (count, leading, size * size * channels);
    Tensor::cat(&[&Tensor::zeros(shape, patches.dtype(), patches.device())?, &patches], 1)
}

/// The weight of a convolution whose step is its window, `[outputs, channel, height, width]`, as that of a linear layer
/// over [`patches`].
///
/// # Errors
/// `invalid_request` if there are not four dimensions.
pub fn weight_of_patches(weight: &Tensor) -> Result<Tensor> {
    let &[outputs, channels, height, width] = weight.dims() else {
        let dims = weight.dims();
        return Err(Error::invalid_request(format!(
            "the weight of a convolution is {dims:?}, not 4 dimensions"
        )));
    };
    let reordered =
        weight.to_device(&Device::Cpu).and_then(|weight| weight.permute((0, 2, 3, 1))?.contiguous());
    reordered.and_then(|weight| weight.reshape((outputs, height * width * channels))).or_fail()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, noise, numbers, places};
    use super::super::{Conv2d, Geometry, Linear};
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn patches_are_those_that_candle_cuts() {
        for (dims, size, leading) in [([2, 8, 12, 3], 4, 1), ([1, 7, 9, 3], 2, 0), ([3, 5, 5, 1], 5, 2)] {
            let images = noise(&dims);
            let truth = plain(&images, [dims[1] / size, dims[2] / size, size], leading).unwrap();
            let found = patches(&images, size, leading).unwrap();
            assert_eq!(found.dims(), truth.dims());
            assert_eq!(numbers(&found), numbers(&truth), "{dims:?}");
        }
    }

    #[test]
    fn a_linear_layer_over_patches_is_a_convolution_that_steps_by_its_window() {
        let (images, weight, bias) = (noise(&[2, 8, 12, 3]), noise(&[16, 3, 4, 4]), noise(&[16]));
        let geometry = Geometry { stride: 4, ..Geometry::default() };
        for place in places() {
            let convolution = Conv2d::new(&place, weight.clone(), Some(bias.clone()), geometry).unwrap();
            let truth = convolution.forward(&images).unwrap().reshape((2, 6, 16)).unwrap();
            let flat = weight_of_patches(&weight).unwrap();
            let layer = Linear::new(&place, flat, Some(bias.clone())).unwrap();
            let found = layer.forward(&patches(&images, 4, 0).unwrap()).unwrap();
            assert_near(&found, &truth, 1e-5, "patches");
        }
    }

    #[test]
    fn what_cannot_be_cut_is_an_error() {
        for (dims, size) in [(&[2, 8, 3][..], 4), (&[1, 3, 8, 3], 4), (&[1, 8, 8, 3], 0)] {
            assert_eq!(
                patches(&noise(dims), size, 0).unwrap_err().kind(),
                ErrorKind::InvalidRequest,
                "{dims:?}"
            );
        }
        assert_eq!(weight_of_patches(&noise(&[4, 4])).unwrap_err().kind(), ErrorKind::InvalidRequest);
    }
}
