//! The linear layer.

use std::sync::Arc;

use candle_core::{DType, Device, Storage, Tensor};
use half::{bf16, f16};

use super::Place;
use super::activation;
use super::tensor::{OrFail, expect, filled, recycle, rows, with_some_values, with_values};
use crate::error::{Error, ErrorKind, Result};
use ayni_kernels::Cpu;
use ayni_kernels::gemm::{self, Packed, Precision, Residual, Weights};
use ayni_kernels::math::Activation;

/// What follows a linear layer: `residual + scale · activation(x · wᵀ + bias)`, and if the layer is gated,
/// `residual + scale · activation(gate) · up`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// What the sums go through.
    pub activation: Activation,
    /// What the result is multiplied by.
    pub scale: f32,
    /// What is added to it, in the shape of the result.
    pub residual: Option<&'a Tensor>,
}

impl Default for Epilogue<'_> {
    fn default() -> Self {
        Self { activation: Activation::None, scale: 1.0, residual: None }
    }
}

impl<'a> Epilogue<'a> {
    /// Only an activation.
    pub fn activation(activation: Activation) -> Self {
        Self { activation, ..Self::default() }
    }

    /// Only a residual.
    pub fn residual(residual: &'a Tensor) -> Self {
        Self { residual: Some(residual), ..Self::default() }
    }

    /// The epilogue by candle's own operations; `up` is the other half of a gated layer.
    pub(super) fn plain(&self, sums: &Tensor, up: Option<&Tensor>) -> Result<Tensor> {
        let mut y = activation::plain(sums, self.activation)?;
        if let Some(up) = up {
            y = y.mul(up).or_fail()?;
        }
        if self.scale != 1.0 {
            y = (y * f64::from(self.scale)).or_fail()?;
        }
        match self.residual {
            Some(residual) => y.add(residual).or_fail(),
            None => Ok(y),
        }
    }
}

/// `x · wᵀ + bias` over the last dimension, with weights packed once. Cheap to clone: clones share the weights.
#[derive(Clone, Debug)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    weights: Held,
}

#[derive(Clone, Debug)]
enum Held {
    /// On the CPU. The tensors that they were packed from are gone.
    Packed(Cpu, Arc<Packed>),
    /// On a GPU: the layer, and the second of a gated one.
    Tensors(Half, Option<Half>),
}

/// Weight and bias.
type Half = (Tensor, Option<Tensor>);

impl Linear {
    /// Takes `[outputs, inputs]` weights in f32, f16 or bf16, in the precision of the place.
    ///
    /// # Errors
    /// `invalid_request` if weight and bias do not belong together, or in int8 if a weight is not finite.
    pub fn new(place: &Place, weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        Self::in_precision(place, weight, bias, place.precision)
    }

    /// The same in another precision than the place's: for a layer that needs all its digits.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn in_precision(
        place: &Place,
        weight: Tensor,
        bias: Option<Tensor>,
        precision: Precision,
    ) -> Result<Self> {
        let [outputs, inputs] = matrix(&weight)?;
        check_bias(bias.as_ref(), outputs)?;
        if !matches!(place.device, Device::Cpu) {
            let half = on_gpu(place, weight, bias)?;
            return Ok(Self { inputs, outputs, weights: Held::Tensors(half, None) });
        }
        let packed = with_weights(&weight, |weights| {
            Packed::new(&place.cpu, weights, outputs, inputs, precision).or_fail()
        })?;
        drop(weight);
        let bias = bias.map(|bias| vector(&bias)).transpose()?;
        let packed = match bias {
            Some(bias) => packed.with_bias(&bias).or_fail()?,
            None => packed,
        };
        Ok(Self { inputs, outputs, weights: Held::Packed(place.cpu.clone(), Arc::new(packed)) })
    }

    /// Takes the two layers of a gated one (SwiGLU, GEGLU): it yields `activation(gate) · up`.
    ///
    /// # Errors
    /// `invalid_request` if the two differ in shape, or only one has a bias.
    pub fn gated(place: &Place, gate: Half, up: Half) -> Result<Self> {
        let [outputs, inputs] = matrix(&gate.0)?;
        expect("the gated layer's weight", &up.0, gate.0.dims())?;
        check_bias(gate.1.as_ref(), outputs)?;
        check_bias(up.1.as_ref(), outputs)?;
        if gate.1.is_some() != up.1.is_some() {
            return Err(Error::invalid_request(
                "of a gate and what it gates, one has a bias and the other none",
            ));
        }
        if !matches!(place.device, Device::Cpu) {
            let (gate, up) = (on_gpu(place, gate.0, gate.1)?, on_gpu(place, up.0, up.1)?);
            return Ok(Self { inputs, outputs, weights: Held::Tensors(gate, Some(up)) });
        }
        let packed = with_weights(&gate.0, |gate| {
            with_weights(&up.0, |up| {
                Packed::gated(&place.cpu, gate, up, outputs, inputs, place.precision).or_fail()
            })
        })?;
        let packed = match (gate.1, up.1) {
            (Some(gate), Some(up)) => packed.with_gated_bias(&vector(&gate)?, &vector(&up)?).or_fail()?,
            _ => packed,
        };
        Ok(Self { inputs, outputs, weights: Held::Packed(place.cpu.clone(), Arc::new(packed)) })
    }

    /// How long the last dimension of what goes in is.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// How long the last dimension of what comes out is.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Applies the layer.
    ///
    /// # Errors
    /// `invalid_request` if the last dimension is not [`inputs`](Self::inputs).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Epilogue::default())
    }

    /// Applies the layer and what follows it to what nobody reads afterwards: clones and views of it are gone too, and
    /// their memory serves the next tensors.
    ///
    /// # Errors
    /// As [`forward_with`](Self::forward_with).
    pub fn forward_owned(&self, x: Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let y = self.forward_with(&x, epilogue)?;
        recycle(x);
        Ok(y)
    }

    /// Applies the layer and what follows it, in one pass.
    ///
    /// # Errors
    /// `invalid_request` if the last dimension is not [`inputs`](Self::inputs), or the residual has another shape than
    /// the result.
    pub fn forward_with(&self, x: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let (count, dims) = result_dims(x, self.inputs, self.outputs, epilogue.residual)?;
        match &self.weights {
            Held::Packed(cpu, packed) => with_values("the input", x, |values| {
                with_some_values("the residual", epilogue.residual, |residual| {
                    let then = gemm::Epilogue {
                        activation: epilogue.activation,
                        scale: epilogue.scale,
                        residual: residual.map_or(Residual::None, Residual::From),
                    };
                    filled(dims, |to| gemm::gemm(cpu, packed, values, count, to, then).or_fail())
                })
            }),
            Held::Tensors(first, second) => {
                let up = second.as_ref().map(|second| plain(x, second)).transpose()?;
                epilogue.plain(&plain(x, first)?, up.as_ref())
            }
        }
    }
}

/// Checks what a layer is applied to; says how many rows it has and which shape the result gets.
pub(super) fn result_dims(
    x: &Tensor,
    inputs: usize,
    outputs: usize,
    residual: Option<&Tensor>,
) -> Result<(usize, Vec<usize>)> {
    let (count, width) = rows("the input", x)?;
    if width != inputs {
        return Err(Error::invalid_request(format!("a layer of {inputs} inputs cannot take {:?}", x.dims())));
    }
    let mut dims = x.dims().to_vec();
    dims.truncate(dims.len() - 1);
    dims.push(outputs);
    if let Some(residual) = residual {
        expect("the residual", residual, &dims)?;
    }
    Ok((count, dims))
}

/// A layer by candle's own operations.
fn plain(x: &Tensor, (weight, bias): &Half) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2().or_fail()?;
    let mut dims = x.dims().to_vec();
    dims.truncate(dims.len() - 1);
    dims.push(outputs);
    let flat = x.reshape(((), inputs)).or_fail()?;
    let sums = weight.t().and_then(|w| flat.matmul(&w)).or_fail()?;
    let sums = match bias {
        Some(bias) => sums.broadcast_add(bias).or_fail()?,
        None => sums,
    };
    sums.reshape(dims).or_fail()
}

fn on_gpu(place: &Place, weight: Tensor, bias: Option<Tensor>) -> Result<Half> {
    let moved = |x: Tensor| x.to_dtype(place.dtype()).and_then(|x| x.to_device(&place.device)).or_fail();
    Ok((moved(weight)?, bias.map(moved).transpose()?))
}

fn matrix(weight: &Tensor) -> Result<[usize; 2]> {
    match weight.dims() {
        [outputs, inputs] => Ok([*outputs, *inputs]),
        dims => {
            Err(Error::invalid_request(format!("the weight of a linear layer is {dims:?}, not a matrix")))
        }
    }
}

fn check_bias(bias: Option<&Tensor>, outputs: usize) -> Result<()> {
    bias.map_or(Ok(()), |bias| expect("the bias of a linear layer", bias, &[outputs]))
}

/// The numbers of a small tensor, widened.
pub(super) fn vector(x: &Tensor) -> Result<Vec<f32>> {
    x.flatten_all().and_then(|x| x.to_dtype(DType::F32)?.to_vec1()).or_fail()
}

/// The numbers of weights on the CPU as they are, or widened if the kernels do not read such.
pub(super) fn with_weights<R>(weight: &Tensor, work: impl FnOnce(Weights<'_>) -> Result<R>) -> Result<R> {
    let weight = match weight.dtype() {
        DType::F32 | DType::F16 | DType::BF16 => weight.contiguous(),
        _ => weight.to_dtype(DType::F32).and_then(|weight| weight.contiguous()),
    };
    let weight = weight.or_fail()?;
    let (storage, layout) = weight.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(Error::invalid_request("the weights are not on the CPU, where they are packed"));
    };
    let misplaced = || Error::new(ErrorKind::Unexpected, "a tensor does not lie in its storage");
    let (start, end) = layout.contiguous_offsets().ok_or_else(misplaced)?;
    let weights = match weight.dtype() {
        DType::F16 => {
            Weights::F16(storage.as_slice::<f16>().or_fail()?.get(start..end).ok_or_else(misplaced)?)
        }
        DType::BF16 => {
            Weights::Bf16(storage.as_slice::<bf16>().or_fail()?.get(start..end).ok_or_else(misplaced)?)
        }
        _ => Weights::F32(storage.as_slice::<f32>().or_fail()?.get(start..end).ok_or_else(misplaced)?),
    };
    work(weights)
}

#[cfg(test)]
#[path = "linear_tests.rs"]
mod tests;
