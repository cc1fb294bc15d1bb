//! Layers of models whose every layer and norm has a bias: one that is missing is a damaged file, and no other model.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;
use crate::local::ops::{Linear, Norm, Place, Precision, of_candle};
use crate::local::weights::Parameters;

/// The layer `name`.
pub(super) fn linear(weights: &Parameters<'_>, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
    let here = weights.at(name);
    let (weight, bias) = (here.tensor("weight", &[outputs, inputs])?, here.tensor("bias", &[outputs])?);
    here.layer_of(weight, Some(bias), weights.place.precision)
}

/// Layers with the same input as one.
pub(super) fn joined(weights: &Parameters<'_>, names: [&str; 3], width: usize) -> Result<Linear> {
    for name in names {
        weights.at(name).tensor("bias", &[width])?;
    }
    weights.joined(&names.map(|name| (name, width)), width)
}

/// The norm `name`.
pub(super) fn norm(weights: &Parameters<'_>, name: &str, width: usize, epsilon: f64) -> Result<Norm> {
    weights.at(name).tensor("bias", &[width])?;
    weights.layer_norm(name, width, epsilon)
}

/// The precision of a layer too small to cost time and too exposed to lose digits: that of the place, but not int8.
pub(super) fn careful(place: &Place) -> Precision {
    match place.precision {
        Precision::Int8 if place.cpu.isa.has_bf16_dot() => Precision::Bf16,
        Precision::Int8 => Precision::F32,
        other => other,
    }
}

/// A tensor in the numbers and at the place that activations have.
pub(super) fn moved(place: &Place, x: &Tensor) -> Result<Tensor> {
    x.to_device(&place.device).and_then(|x| x.to_dtype(place.dtype())).map_err(of_candle)
}

/// A small tensor of weights as f32 on the CPU.
pub(super) fn wide(x: &Tensor) -> Result<Tensor> {
    x.to_device(&Device::Cpu).and_then(|x| x.to_dtype(DType::F32)).map_err(of_candle)
}
