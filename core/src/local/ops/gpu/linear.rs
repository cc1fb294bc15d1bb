//! The linear layer: dense weights, or the blocks of a GGUF file.

use std::borrow::Cow;
use std::sync::Arc;

use ayni_kernels::gguf::Format;
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{DType, Device, Module, Result, Tensor};

/// `x · wᵀ + bias`.
#[derive(Clone, Debug)]
pub(in super::super) struct Linear {
    weight: Matrix,
    bias: Option<Tensor>,
}

#[derive(Clone, Debug)]
enum Matrix {
    Dense(Tensor),
    /// candle multiplies these in f32 only.
    Blocks(QMatMul),
}

impl Linear {
    /// Weight and bias as candle's tensors, moved to a GPU.
    pub(in super::super) fn dense(
        gpu: &Device,
        dtype: DType,
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<Self> {
        let moved = |x: &Tensor| x.to_dtype(dtype)?.to_device(gpu);
        Ok(Self { weight: Matrix::Dense(moved(weight)?), bias: bias.map(moved).transpose()? })
    }

    /// Weights as a GGUF file has them; `None` if candle does not compute this format.
    pub(in super::super) fn blocks(
        gpu: &Device,
        format: Format,
        bytes: &[u8],
        shape: [usize; 2],
        bias: Option<&Tensor>,
    ) -> Option<Result<Self>> {
        let dtype = match format {
            Format::F16 => GgmlDType::F16,
            Format::Bf16 => GgmlDType::BF16,
            Format::Q4_0 => GgmlDType::Q4_0,
            Format::Q4_1 => GgmlDType::Q4_1,
            Format::Q5_0 => GgmlDType::Q5_0,
            Format::Q5_1 => GgmlDType::Q5_1,
            Format::Q8_0 => GgmlDType::Q8_0,
            Format::Q2K => GgmlDType::Q2K,
            Format::Q3K => GgmlDType::Q3K,
            Format::Q4K => GgmlDType::Q4K,
            Format::Q5K => GgmlDType::Q5K,
            Format::Q6K => GgmlDType::Q6K,
            _ => return None,
        };
        let weight = QStorage::from_data(Cow::Borrowed(bytes), gpu, dtype)
            .and_then(|storage| QMatMul::from_arc(Arc::new(QTensor::new(storage, (shape[0], shape[1]))?)));
        let bias = bias.map(|bias| bias.to_dtype(DType::F32)?.to_device(gpu)).transpose();
        Some(weight.and_then(|weight| Ok(Self { weight: Matrix::Blocks(weight), bias: bias? })))
    }

    /// Rows of dense weights as the same layer: the table of a model that ties its output to its embedding.
    pub(in super::super) fn tied(table: Tensor) -> Self {
        Self { weight: Matrix::Dense(table), bias: None }
    }

    /// `x · wᵀ + bias` over the last dimension, in the dtype of the weights.
    pub(in super::super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let sums = match &self.weight {
            Matrix::Dense(weight) => {
                let (outputs, inputs) = weight.dims2()?;
                let rows = x.elem_count() / inputs.max(1);
                let mut dims = x.dims().to_vec();
                dims.iter_mut().last().into_iter().for_each(|last| *last = outputs);
                if rows == 0 {
                    return Tensor::zeros(dims, x.dtype(), x.device());
                }
                x.to_dtype(weight.dtype())?.reshape((rows, inputs))?.matmul(&weight.t()?)?.reshape(dims)?
            }
            Matrix::Blocks(weight) => weight.forward(&x.to_dtype(DType::F32)?.contiguous()?)?,
        };
        let sums = match &self.bias {
            Some(bias) => sums.broadcast_add(bias)?,
            None => sums,
        };
        sums.to_dtype(x.dtype())
    }
}
