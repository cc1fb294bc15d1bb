//! The weights of layers, as a file holds them, on their way to the kernels: tensors of candle on the CPU.

use ayni_kernels::gemm::Weights;
use candle_core::{DType, Storage, Tensor};
use half::{bf16, f16};

use super::error::OrFail;
use crate::error::{Error, ErrorKind, Result};

/// Checks a shape.
pub(super) fn expect_shape(name: &str, x: &Tensor, expected: &[usize]) -> Result<()> {
    if x.dims() == expected {
        return Ok(());
    }
    Err(Error::invalid_request(format!("{name}: expected {expected:?}, found {:?}", x.dims())))
}

/// The numbers of a small tensor, widened.
pub(super) fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    x.flatten_all().and_then(|x| x.to_dtype(DType::F32)?.to_vec1()).or_fail()
}

/// Calls `work` with weights as they are, or widened where the kernels do not read their dtype.
pub(super) fn with_weights<R>(weight: &Tensor, work: impl FnOnce(Weights<'_>) -> Result<R>) -> Result<R> {
    let weight = match weight.dtype() {
        DType::F32 | DType::F16 | DType::BF16 => weight.contiguous(),
        _ => weight.to_dtype(DType::F32).and_then(|weight| weight.contiguous()),
    };
    let weight = weight.or_fail()?;
    let (storage, layout) = weight.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(Error::invalid_request("weights: expected on the CPU, found on a GPU"));
    };
    let outside = || Error::new(ErrorKind::Unexpected, "weights are outside their memory");
    let (start, end) = layout.contiguous_offsets().ok_or_else(outside)?;
    let weights = match weight.dtype() {
        DType::F16 => Weights::F16(storage.as_slice::<f16>().or_fail()?.get(start..end).ok_or_else(outside)?),
        DType::BF16 => {
            Weights::Bf16(storage.as_slice::<bf16>().or_fail()?.get(start..end).ok_or_else(outside)?)
        }
        _ => Weights::F32(storage.as_slice::<f32>().or_fail()?.get(start..end).ok_or_else(outside)?),
    };
    work(weights)
}
