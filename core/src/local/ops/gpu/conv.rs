//! Convolution and patches of images.

use ayni_kernels::conv::Geometry;
use candle_core::{Result, Tensor};

/// A convolution of `[image, height, width, channel]`; candle wants channels first. `per_image` is a second bias,
/// `[image, channel]`.
pub(in super::super) fn conv(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: Geometry,
    per_image: Option<&Tensor>,
) -> Result<Tensor> {
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

/// Squares of `size` pixels, a row each: see [`super::super::patches`].
pub(in super::super) fn patches(
    images: &Tensor,
    [rows, columns, size]: [usize; 3],
    leading: usize,
) -> Result<Tensor> {
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
