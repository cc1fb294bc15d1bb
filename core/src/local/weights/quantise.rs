//! Plain numbers of a weight file in the blocks of GGUF, made while a model is loaded.

use std::sync::{Mutex, PoisonError};

use ayni_kernels::Cpu;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use super::load_error;
use super::tensor::StoredTensor;
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Format, OrFail, of_candle};

/// Numbers that a thread widens and quantises at once: whole blocks of every format.
const CHUNK: usize = 1 << 16;

/// The format for rows of so many numbers where `wanted` is wanted: Q8_0 if they are not whole blocks of it, and none if they
/// are not whole blocks of that either.
pub(super) fn format_of_rows(wanted: Format, inputs: usize) -> Option<Format> {
    [wanted, Format::Q8_0]
        .into_iter()
        .find(|format| inputs > 0 && inputs.is_multiple_of(format.block_length()))
}

/// The blocks nearest to a tensor's numbers. No more than a few chunks are ever widened at once.
///
/// # Errors
/// `model_load` if they are no plain numbers, or not whole blocks.
pub(super) fn quantise(stored: &StoredTensor, format: Format, cpu: &Cpu) -> Result<Vec<u8>> {
    let Some((dtype, bytes)) = stored.plain_bytes() else {
        return Err(load_error(format!("{} cannot be quantised", stored.description())));
    };
    let size = dtype.size_in_bytes();
    let length = format.bytes(1, bytes.len() / size).or_fail()?;
    let mut blocks = Vec::new();
    blocks.try_reserve_exact(length).map_err(|error| {
        Error::new(ErrorKind::OutOfMemory, format!("no memory for {length} bytes of weights"))
            .with_source(error)
    })?;
    blocks.resize(length, 0);
    let failed = Mutex::new(None);
    let chunk_bytes = CHUNK / format.block_length() * format.block_bytes();
    cpu.pool.parallel_chunks(&mut blocks, chunk_bytes, |number, to| {
        let from = &bytes[number * CHUNK * size..];
        let from = &from[..from.len().min(CHUNK * size)];
        match blocks_of(&widened(dtype, from), format) {
            Ok(made) if made.len() == to.len() && format.are_finite(&made) => to.copy_from_slice(&made),
            found => {
                let too_large =
                    || load_error(format!("weights are too large for the scales of {}", format.name()));
                *failed.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(found.err().unwrap_or_else(too_large));
            }
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok(blocks),
        Some(error) => Err(error),
    }
}

fn widened(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let pairs = || bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair));
    match dtype {
        DType::F16 => pairs().map(|bits| f16::from_bits(bits).to_f32()).collect(),
        DType::BF16 => pairs().map(|bits| bf16::from_bits(bits).to_f32()).collect(),
        _ => bytes.as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect(),
    }
}

/// Blocks by the kernels where they make some, else by candle, which has those of 256.
fn blocks_of(numbers: &[f32], format: Format) -> Result<Vec<u8>> {
    if format != Format::Q4K {
        return format.quantise(numbers).or_fail();
    }
    let tensor = Tensor::from_slice(numbers, numbers.len(), &Device::Cpu).map_err(of_candle)?;
    let made = QTensor::quantize(&tensor, GgmlDType::Q4K).map_err(of_candle)?;
    Ok(made.data().map_err(of_candle)?.into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use ayni_kernels::Isa;

    use super::super::Weights;
    use super::*;
    use crate::error::ErrorKind;

    fn stored(numbers: Vec<f32>, dtype: DType) -> (Weights, Tensor) {
        let rows = numbers.len() / 256;
        let tensor = Tensor::from_vec(numbers, (rows, 256), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        candle_core::safetensors::save(&HashMap::from([("x", tensor.clone())]), &path).unwrap();
        (Weights::open_files(&[path]).unwrap(), tensor)
    }

    #[test]
    fn blocks_are_those_of_ggml_over_several_chunks() {
        let cpu = Cpu::new(Isa::PORTABLE, 2);
        let numbers: Vec<f32> =
            (0..600 * 256_u32).map(|at| (at as f32 * 0.37).sin() * (at % 91) as f32).collect();
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let (weights, tensor) = stored(numbers.clone(), dtype);
            for (format, of_candle) in [(Format::Q8_0, GgmlDType::Q8_0), (Format::Q4K, GgmlDType::Q4K)] {
                let found = quantise(weights.get("x").unwrap(), format, &cpu).unwrap();
                let whole = QTensor::quantize(&tensor.to_dtype(DType::F32).unwrap(), of_candle).unwrap();
                assert!(found == *whole.data().unwrap(), "{format:?} of {dtype:?}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_a_scale_is_an_error() {
        let (weights, _) = stored(vec![1e30; 256], DType::F32);
        let cpu = Cpu::new(Isa::PORTABLE, 1);
        for format in [Format::Q8_0, Format::Q4K] {
            let error = quantise(weights.get("x").unwrap(), format, &cpu).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
        }
        assert_eq!(format_of_rows(Format::Q4K, 512), Some(Format::Q4K));
        assert_eq!(format_of_rows(Format::Q4K, 320), Some(Format::Q8_0));
        assert_eq!([format_of_rows(Format::Q4K, 48), format_of_rows(Format::Q8_0, 0)], [None, None]);
    }
}
