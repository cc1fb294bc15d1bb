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

/// How much of a block's largest number its numbers may be off by; ordinary ones are off by a tenth of that.
const TOLERANCE: f32 = 0.25;

/// The formats for rows of so many numbers where `wanted` is wanted, the preferred one first: Q8_0 if they are not whole blocks
/// of it or it cannot hold them, and none if they are not whole blocks of that either.
pub(super) fn formats_of_rows(wanted: Format, inputs: usize) -> impl Iterator<Item = Format> {
    let formats = if wanted == Format::Q8_0 { vec![wanted] } else { vec![wanted, Format::Q8_0] };
    formats.into_iter().filter(move |format| inputs > 0 && inputs.is_multiple_of(format.block_length()))
}

/// The blocks nearest to a tensor's numbers; `None` if those cannot hold them: numbers too large for a scale, and blocks of
/// one number, of which the usual way to Q4_K makes zeros. No more than a few chunks are ever widened at once.
///
/// # Errors
/// `model_load` if they are no plain numbers, or not whole blocks; `out_of_memory`.
pub(super) fn quantise(stored: &StoredTensor, format: Format, cpu: &Cpu) -> Result<Option<Vec<u8>>> {
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
    let outcome = Mutex::new(Ok(true));
    let chunk_bytes = CHUNK / format.block_length() * format.block_bytes();
    cpu.pool.parallel_chunks(&mut blocks, chunk_bytes, |number, to| {
        let from = &bytes[number * CHUNK * size..];
        let numbers = widened(dtype, &from[..from.len().min(CHUNK * size)]);
        let made = blocks_of(&numbers, format).and_then(|made| {
            to.copy_from_slice(&made);
            holds(format, to, &numbers)
        });
        if !matches!(made, Ok(true)) {
            *outcome.lock().unwrap_or_else(PoisonError::into_inner) = made;
        }
    });
    let is_held = outcome.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    Ok(is_held.then_some(blocks))
}

/// Whether blocks stand for about these numbers.
fn holds(format: Format, blocks: &[u8], numbers: &[f32]) -> Result<bool> {
    let mut found = vec![0.0; numbers.len()];
    format.dequantise(blocks, &mut found).or_fail()?;
    let length = format.block_length();
    Ok(numbers.chunks_exact(length).zip(found.chunks_exact(length)).all(|(truth, found)| {
        let most = truth.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
        // Written so that NaN is too far.
        truth.iter().zip(found).all(|(truth, found)| (truth - found).abs() <= TOLERANCE * most)
    }))
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
                let found = quantise(weights.get("x").unwrap(), format, &cpu).unwrap().unwrap();
                let whole = QTensor::quantize(&tensor.to_dtype(DType::F32).unwrap(), of_candle).unwrap();
                assert!(found == *whole.data().unwrap(), "{format:?} of {dtype:?}");
            }
        }
    }

    #[test]
    fn what_blocks_cannot_hold_is_told() {
        let cpu = Cpu::new(Isa::PORTABLE, 1);
        let is_held = |number: f32, format| {
            let (weights, _) = stored(vec![number; 256], DType::F32);
            quantise(weights.get("x").unwrap(), format, &cpu).unwrap().is_some()
        };
        assert_eq!([is_held(1e30, Format::Q8_0), is_held(1e30, Format::Q4K)], [false, false]);
        assert_eq!([is_held(0.5, Format::Q8_0), is_held(0.5, Format::Q4K)], [true, false]);
        assert_eq!([is_held(0.0, Format::Q8_0), is_held(0.0, Format::Q4K)], [true, true]);
        let formats = |wanted, inputs| formats_of_rows(wanted, inputs).collect::<Vec<_>>();
        assert_eq!(formats(Format::Q4K, 512), [Format::Q4K, Format::Q8_0]);
        assert_eq!([formats(Format::Q4K, 320), formats(Format::Q8_0, 320)], [[Format::Q8_0], [Format::Q8_0]]);
        assert!(formats(Format::Q4K, 48).is_empty() && formats(Format::Q8_0, 0).is_empty());
    }
}
