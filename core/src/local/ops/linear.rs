//! The linear layer.

use std::sync::Arc;

use ayni_kernels::elementwise;
use ayni_kernels::gated::{Gate, gate_halves};
use ayni_kernels::gemm::{self, Packed, Precision, Residual};
use ayni_kernels::gguf::{Format, QuantisedWeights};
use ayni_kernels::math::Activation;

use super::error::OrFail;
use super::weights::{expect_shape, numbers, with_weights};
use super::{Device, LayerWeights, Tensor, activate, gate, gpu};
use crate::error::{Error, Result};

/// What follows a linear layer or a convolution: `residual + scale · activation(x · wᵀ + bias)`, and if the layer is
/// gated, `residual + scale · activation(gate) · up`.
#[derive(Clone, Debug)]
pub struct Epilogue {
    /// What the sums go through.
    pub activation: Activation,
    /// What the result is multiplied by.
    pub scale: f32,
    /// What is added to it, in the shape of the result. If nobody else holds it, the result takes its memory.
    pub residual: Option<Tensor>,
}

impl Default for Epilogue {
    fn default() -> Self {
        Self { activation: Activation::None, scale: 1.0, residual: None }
    }
}

impl Epilogue {
    /// Only an activation.
    pub fn activation(activation: Activation) -> Self {
        Self { activation, ..Self::default() }
    }

    /// Only a residual.
    pub fn residual(residual: impl Into<Tensor>) -> Self {
        Self { residual: Some(residual.into()), ..Self::default() }
    }

    /// All of it, where a layer does not fuse it.
    pub(super) fn apply(self, y: Tensor) -> Result<Tensor> {
        let y = activate(y, self.activation)?;
        self.apply_after_activation(y)
    }

    fn apply_after_activation(self, y: Tensor) -> Result<Tensor> {
        let y = if self.scale == 1.0 { y } else { (y * self.scale)? };
        match self.residual {
            Some(residual) => y + &residual,
            None => Ok(y),
        }
    }
}

/// Weight, `[outputs, inputs]`, and bias of a layer, as tensors of candle on the CPU.
pub type DenseWeights = (candle_core::Tensor, Option<candle_core::Tensor>);

/// `x · wᵀ + bias` over the last dimension. Cheap to clone: clones share the weights.
#[derive(Clone, Debug)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    weights: LinearWeights,
}

#[derive(Clone, Debug)]
enum LinearWeights {
    /// Packed for the kernels. The tensors that they were packed from are gone.
    Dense(Arc<Packed>),
    /// Those of a GGUF file, in the kernels' order. The file's bytes are not kept.
    Blocks(Arc<QuantisedWeights>, Option<Arc<[f32]>>),
    /// On a GPU.
    Gpu(gpu::Linear),
    /// Layers with the same input, their outputs side by side.
    Stacked(Arc<[Linear]>),
    /// A layer that gates another.
    Gated(Arc<[Linear; 2]>),
    /// A layer whose first half of outputs gates the second.
    GatedHalves(Arc<Linear>),
}

impl Linear {
    /// Takes weights in f32, f16 or bf16; they will be multiplied in the precision of the device.
    ///
    /// # Errors
    /// `invalid_request` if weight and bias do not belong together, or in int8 if a weight is not finite.
    pub fn new(device: &Device, (weight, bias): DenseWeights) -> Result<Self> {
        let [outputs, inputs] = matrix(&weight, bias.as_ref())?;
        if let Some(gpu) = device.gpu() {
            let layer = gpu::Linear::dense(gpu, device.dtype(), &weight, bias.as_ref()).or_fail()?;
            return Ok(Self { inputs, outputs, weights: LinearWeights::Gpu(layer) });
        }
        with_weights(&weight, |weights| Self::packed(device, weights, [outputs, inputs], bias.as_ref()))
    }

    /// Packs weights, `[outputs, inputs]`, from where they are; only on the CPU.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn packed(
        device: &Device,
        weights: LayerWeights<'_>,
        [outputs, inputs]: [usize; 2],
        bias: Option<&candle_core::Tensor>,
    ) -> Result<Self> {
        let packed = Packed::new(&device.cpu, weights, outputs, inputs, device.precision).or_fail()?;
        let packed = match bias {
            Some(bias) => packed.with_bias(&numbers(bias)?).or_fail()?,
            None => packed,
        };
        Ok(Self { inputs, outputs, weights: LinearWeights::Dense(Arc::new(packed)) })
    }

    /// Takes the two halves of a gated layer (SwiGLU, GEGLU): it yields `activation(gate) · up`.
    ///
    /// # Errors
    /// `invalid_request` if the two differ in shape, or only one has a bias.
    pub fn gated(device: &Device, gate: DenseWeights, up: DenseWeights) -> Result<Self> {
        let [outputs, inputs] = matrix(&gate.0, gate.1.as_ref())?;
        expect_shape("the weight of the gated half", &up.0, &[outputs, inputs])?;
        matrix(&up.0, up.1.as_ref())?;
        if gate.1.is_some() != up.1.is_some() {
            return Err(Error::invalid_request("only one half of a gated layer has a bias"));
        }
        if !device.is_cpu() {
            return Self::gated_by(Self::new(device, gate)?, Self::new(device, up)?);
        }
        with_weights(&gate.0, |gate_weights| {
            with_weights(&up.0, |up_weights| {
                let biases = gate.1.as_ref().zip(up.1.as_ref());
                Self::packed_gated(device, [gate_weights, up_weights], [outputs, inputs], biases)
            })
        })
    }

    /// Packs the two halves of a gated layer, `[outputs, inputs]` each, from where they are; only on the CPU.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn packed_gated(
        device: &Device,
        [gate, up]: [LayerWeights<'_>; 2],
        [outputs, inputs]: [usize; 2],
        biases: Option<(&candle_core::Tensor, &candle_core::Tensor)>,
    ) -> Result<Self> {
        let packed = Packed::gated(&device.cpu, gate, up, outputs, inputs, device.precision).or_fail()?;
        let packed = match biases {
            Some((gate, up)) => packed.with_gated_bias(&numbers(gate)?, &numbers(up)?).or_fail()?,
            None => packed,
        };
        Ok(Self { inputs, outputs, weights: LinearWeights::Dense(Arc::new(packed)) })
    }

    /// Takes the bytes of tensors of a GGUF file, one after another: `outputs` rows of `inputs` weights in all.
    ///
    /// # Errors
    /// `invalid_request` if rows are not whole blocks of the format, or bytes or bias have another size; `unsupported`
    /// for a format that a GPU does not compute.
    pub fn blocks(
        device: &Device,
        format: Format,
        tensors: &[&[u8]],
        [outputs, inputs]: [usize; 2],
        bias: Option<&candle_core::Tensor>,
    ) -> Result<Self> {
        bias.map_or(Ok(()), |bias| expect_shape("the bias of a linear layer", bias, &[outputs]))?;
        let Some(gpu) = device.gpu() else {
            let weights =
                QuantisedWeights::from_ggml(&device.cpu, format, tensors, outputs, inputs).or_fail()?;
            return Self::of_blocks(Arc::new(weights), bias);
        };
        let (expected, bytes) = (format.bytes(outputs, inputs).or_fail()?, tensors.concat());
        if bytes.len() != expected {
            let found = bytes.len();
            return Err(Error::invalid_request(format!("weights: expected {expected} bytes, found {found}")));
        }
        let layer = gpu::Linear::blocks(gpu, format, &bytes, [outputs, inputs], bias).ok_or_else(|| {
            Error::unsupported(format!("weights in {} are not supported on a GPU", format.name()))
        })?;
        Ok(Self { inputs, outputs, weights: LinearWeights::Gpu(layer.or_fail()?) })
    }

    /// Blocks that are in the kernels' order already.
    pub(super) fn of_blocks(
        weights: Arc<QuantisedWeights>,
        bias: Option<&candle_core::Tensor>,
    ) -> Result<Self> {
        let (inputs, outputs) = (weights.inputs(), weights.outputs());
        let bias = bias.map(numbers).transpose()?.map(Into::into);
        Ok(Self { inputs, outputs, weights: LinearWeights::Blocks(weights, bias) })
    }

    /// The rows of a table on a GPU as weights.
    pub(super) fn of_gpu_table(table: candle_core::Tensor, [outputs, inputs]: [usize; 2]) -> Self {
        Self { inputs, outputs, weights: LinearWeights::Gpu(gpu::Linear::tied(table)) }
    }

    /// Layers with the same input as one, their outputs side by side: queries, keys and values whose formats differ.
    ///
    /// # Errors
    /// `invalid_request` if there are none, or their inputs differ.
    pub fn stacked(layers: Vec<Self>) -> Result<Self> {
        let Some(inputs) = layers.first().map(|layer| layer.inputs) else {
            return Err(Error::invalid_request("no layers to stack"));
        };
        if layers.iter().any(|layer| layer.inputs != inputs) {
            return Err(Error::invalid_request("stacked layers differ in their inputs"));
        }
        let outputs = layers.iter().map(|layer| layer.outputs).sum();
        Ok(Self { inputs, outputs, weights: LinearWeights::Stacked(layers.into()) })
    }

    /// The gated layer of two that are there already.
    ///
    /// # Errors
    /// `invalid_request` if the two differ in shape.
    pub fn gated_by(gate: Self, up: Self) -> Result<Self> {
        let (inputs, outputs) = (gate.inputs, gate.outputs);
        if [up.inputs, up.outputs] != [inputs, outputs] {
            return Err(Error::invalid_request("the halves of a gated layer differ in shape"));
        }
        Ok(Self { inputs, outputs, weights: LinearWeights::Gated(Arc::new([gate, up])) })
    }

    /// The gated layer of one whose outputs are the gates and then what they gate.
    ///
    /// # Errors
    /// `invalid_request` if the number of its outputs is odd.
    pub fn gated_halves(layer: Self) -> Result<Self> {
        if !layer.outputs.is_multiple_of(2) {
            return Err(Error::invalid_request("a gated layer with an odd number of outputs"));
        }
        let (inputs, outputs) = (layer.inputs, layer.outputs / 2);
        Ok(Self { inputs, outputs, weights: LinearWeights::GatedHalves(Arc::new(layer)) })
    }

    /// Input features: the last dimension of what the layer is applied to.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Output features: the last dimension of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Applies the layer.
    ///
    /// # Errors
    /// `invalid_request` if the last dimension is not [`inputs`](Self::inputs).
    pub fn forward(&self, x: impl Into<Tensor>) -> Result<Tensor> {
        self.forward_with(x, Epilogue::default())
    }

    /// How many rows of its inputs there are.
    fn rows_of(&self, x: &Tensor) -> Result<usize> {
        let (rows, width) = x.rows("the input of a linear layer")?;
        if width == self.inputs {
            return Ok(rows);
        }
        let (expected, found) = (self.inputs, x.dims());
        Err(Error::invalid_request(format!("a linear layer: expected {expected} inputs, found {found:?}")))
    }

    /// Applies the layer and what follows it, fused where the kernels can.
    ///
    /// # Errors
    /// `invalid_request` if the last dimension is not [`inputs`](Self::inputs), or the residual has another shape than
    /// the result.
    pub fn forward_with(&self, x: impl Into<Tensor>, epilogue: Epilogue) -> Result<Tensor> {
        let x = x.into();
        let rows = self.rows_of(&x)?;
        let mut dims = x.dims().to_vec();
        dims.iter_mut().last().into_iter().for_each(|last| *last = self.outputs);
        if let Some(residual) = &epilogue.residual {
            residual.expect_dims("the residual", &dims)?;
        }
        match &self.weights {
            LinearWeights::Dense(packed) => dense(packed, x, rows, &dims, epilogue),
            LinearWeights::Blocks(weights, bias) => {
                let x = x.contiguous()?;
                let values = x.cpu_values("the input of a linear layer")?;
                let y = Tensor::build(x.device(), &dims, |to| {
                    weights.matmul(&x.device().cpu, values, rows, to).or_fail()?;
                    bias.as_ref()
                        .map_or(Ok(()), |bias| elementwise::add_row(&x.device().cpu, to, bias).or_fail())
                })?;
                epilogue.apply(y)
            }
            LinearWeights::Gpu(layer) => {
                let on_gpu = x.expect_gpu("the input of a linear layer")?;
                epilogue.apply(Tensor::from_gpu(x.device(), layer.forward(on_gpu))?)
            }
            LinearWeights::Stacked(layers) => epilogue.apply(stacked(layers, &x)?),
            LinearWeights::Gated(layers) => {
                let [gating, up] = &**layers;
                let y = gate(gating.forward(&x)?, up.forward(&x)?, epilogue.activation)?;
                epilogue.apply_after_activation(y)
            }
            LinearWeights::GatedHalves(layer) => {
                let y = gated_halves(layer.forward(&x)?, &dims, epilogue.activation)?;
                epilogue.apply_after_activation(y)
            }
        }
    }
}

/// `residual + down(activation(up(x)))`: the feed-forward network of a transformer. `up` may be gated.
///
/// # Errors
/// As [`Linear::forward_with`].
pub fn feed_forward(
    [up, down]: [&Linear; 2],
    x: impl Into<Tensor>,
    activation: Activation,
    residual: Tensor,
) -> Result<Tensor> {
    let x = x.into();
    let (LinearWeights::Dense(first), LinearWeights::Dense(second), false) =
        (&up.weights, &down.weights, x.device().has_two_steps)
    else {
        let hidden = up.forward_with(x, Epilogue::activation(activation))?;
        return down.forward_with(hidden, Epilogue::residual(residual));
    };
    let rows = up.rows_of(&x)?;
    let x = x.contiguous()?;
    let values = x.cpu_values("the input of a feed-forward network")?;
    residual.update(|cpu, to, source| {
        let epilogue = gemm::Epilogue::residual(source.into());
        gemm::gemm_through(cpu, [first, second], values, rows, activation, to, epilogue)
    })
}

fn dense(packed: &Packed, x: Tensor, rows: usize, dims: &[usize], epilogue: Epilogue) -> Result<Tensor> {
    let x = x.contiguous()?;
    let values = x.cpu_values("the input of a linear layer")?;
    if x.device().has_two_steps && packed.precision() == Precision::Int8 && !packed.is_gated() {
        let y = Tensor::build(x.device(), dims, |to| {
            gemm::gemm_in_two_steps(&x.device().cpu, packed, values, rows, to).or_fail()
        })?;
        return epilogue.apply(y);
    }
    let Epilogue { activation, scale, residual } = epilogue;
    let epilogue = gemm::Epilogue { activation, scale, residual: Residual::None };
    match residual {
        None => Tensor::build(x.device(), dims, |to| {
            gemm::gemm(&x.device().cpu, packed, values, rows, to, epilogue).or_fail()
        }),
        Some(residual) => residual.update(|cpu, to, source| {
            let epilogue = gemm::Epilogue { residual: source.into(), ..epilogue };
            gemm::gemm(cpu, packed, values, rows, to, epilogue)
        }),
    }
}

/// `activation(first half) · second half` of each row.
fn gated_halves(y: Tensor, dims: &[usize], activation: Activation) -> Result<Tensor> {
    let width = dims.last().copied().unwrap_or_default();
    if !y.device().is_cpu() {
        let last = dims.len().saturating_sub(1);
        let (gates, ups) = (y.narrow(last, 0, width)?, y.narrow(last, width, width)?);
        return gate(gates, ups, activation);
    }
    let values = y.cpu_values("a gated layer")?;
    Tensor::build(y.device(), dims, |to| {
        gate_halves(&y.device().cpu, values, to, width, Gate::First, activation).or_fail()
    })
}

/// The outputs of layers side by side.
fn stacked(layers: &[Linear], x: &Tensor) -> Result<Tensor> {
    let parts = layers.iter().map(|layer| layer.forward(x)).collect::<Result<Vec<_>>>()?;
    Tensor::side_by_side(&parts.iter().collect::<Vec<_>>())
}

/// Outputs and inputs of a layer whose weight and bias belong together.
fn matrix(weight: &candle_core::Tensor, bias: Option<&candle_core::Tensor>) -> Result<[usize; 2]> {
    let &[outputs, inputs] = weight.dims() else {
        let dims = weight.dims();
        return Err(Error::invalid_request(format!(
            "the weight of a linear layer: expected a matrix, found {dims:?}"
        )));
    };
    bias.map_or(Ok(()), |bias| expect_shape("the bias of a linear layer", bias, &[outputs]))?;
    Ok([outputs, inputs])
}

#[cfg(test)]
#[path = "linear_tests.rs"]
mod tests;
