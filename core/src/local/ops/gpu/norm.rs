//! Norms and softmax. Weights are f32, and so is the arithmetic, whatever the dtype of `x` is.

use candle_core::{D, DType, Result, Tensor};

/// `(x - mean) / √(variance + ε) · weight + bias` over the last dimension.
pub(in super::super) fn layer_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f32,
) -> Result<Tensor> {
    in_f32(x, |x| candle_nn::ops::layer_norm(x, weight, bias, epsilon))
}

/// `x / √(mean of x² + ε) · weight` over the last dimension.
pub(in super::super) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f32) -> Result<Tensor> {
    in_f32(x, |x| candle_nn::ops::rms_norm(x, weight, epsilon))
}

/// [`layer_norm`] of each image's groups of neighbouring channels; the weights are those of channels. candle-nn has
/// none that is fused.
pub(in super::super) fn group_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: usize,
    epsilon: f32,
) -> Result<Tensor> {
    in_f32(x, |x| {
        let (images, height, width, channels) = x.dims4()?;
        let split = (images, height * width, groups, channels / groups);
        let grouped = x.reshape(split)?.transpose(1, 2)?.contiguous()?;
        let flat = grouped.flatten_from(2)?;
        let centred = flat.broadcast_sub(&flat.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + f64::from(epsilon))?.sqrt()?)?;
        let normal = normal.reshape(grouped.shape())?.transpose(1, 2)?.contiguous()?.reshape(x.shape())?;
        normal.broadcast_mul(weight)?.broadcast_add(bias)
    })
}

/// `exp(scale · x) / sum` over the last dimension.
pub(in super::super) fn softmax(x: &Tensor, scale: f32) -> Result<Tensor> {
    in_f32(x, |x| candle_nn::ops::softmax_last_dim(&(x * f64::from(scale))?))
}

/// Widens, calls `work` with numbers that lie in order, and narrows again.
fn in_f32(x: &Tensor, work: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    // A kernel of no blocks cannot be launched.
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    work(&x.to_dtype(DType::F32)?.contiguous()?)?.to_dtype(x.dtype())
}
