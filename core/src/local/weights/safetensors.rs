//! The header of a safetensors file. The crate of that name parses it; bounds are checked here, with arithmetic that
//! cannot overflow.

use candle_core::DType;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::mapped::MappedFile;
use super::tensor::{Encoding, StoredTensor, element_count};
use crate::error::Result;

/// The longest header; the format's own limit.
const MAX_HEADER_BYTES: usize = 100_000_000;

/// The tensors of a file by name.
///
/// # Errors
/// `model_load` if the file is damaged or cut off.
pub(super) fn read(file: &MappedFile) -> Result<Vec<(String, StoredTensor)>> {
    let damaged = |why: &dyn std::fmt::Display| file.error(format_args!("damaged safetensors file: {why}"));
    let bytes: &[u8] = file.as_ref();
    let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
    let length =
        length.and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= MAX_HEADER_BYTES);
    let (header, start) = length
        .and_then(|length| Some((bytes.get(8..length + 8)?, length + 8)))
        .ok_or_else(|| damaged(&"it is shorter than its header says"))?;
    let header: Metadata = serde_json::from_slice(header).map_err(|error| damaged(&error))?;
    let mut end = start;
    let mut tensors = Vec::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        let wrong = |why: &dyn std::fmt::Display| damaged(&format_args!("tensor `{name}`: {why}"));
        let size =
            size_of(info).ok_or_else(|| wrong(&format_args!("its shape {:?} is too large", info.shape)))?;
        let (from, to) = info.data_offsets;
        if from.checked_add(start) != Some(end) || to.checked_sub(from) != Some(size) {
            return Err(wrong(&format_args!("bytes {from} to {to} are not its {size} bytes")));
        }
        let stored = StoredTensor::contiguous(file, end, size, info.shape.clone(), encoding(info.dtype));
        tensors.push((name.clone(), stored.map_err(|error| wrong(&error))?));
        end += size;
    }
    match end == bytes.len() {
        true => Ok(tensors),
        false => Err(damaged(&format_args!("its tensors end at byte {end} of {}", bytes.len()))),
    }
}

fn size_of(info: &TensorInfo) -> Option<usize> {
    let bits = element_count(&info.shape)?.checked_mul(info.dtype.bitsize())?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

fn encoding(dtype: Dtype) -> Encoding {
    match dtype {
        Dtype::F32 => Encoding::Plain(DType::F32),
        Dtype::F16 => Encoding::Plain(DType::F16),
        Dtype::BF16 => Encoding::Plain(DType::BF16),
        other => Encoding::Other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Weights;
    use super::*;

    fn open(header: &str, data: usize) -> Result<Weights> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        std::fs::write(&path, bytes).unwrap();
        Weights::open_files(&[path])
    }

    fn header(dtype: &str, shape: &str, offsets: &str) -> String {
        format!(r#"{{"a": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}"#)
    }

    #[test]
    fn offsets_and_shapes_that_lie_are_errors() {
        assert!(open(&header("F32", "[2, 2]", "[0, 16]"), 16).is_ok());
        for (dtype, shape, offsets) in [
            ("F32", "[2, 2]", "[0, 12]"),
            ("F32", "[2, 2]", "[4, 20]"),
            ("F32", "[2, 2]", "[16, 0]"),
            ("U8", "[18446744073709551600]", "[0, 18446744073709551600]"),
            ("F32", "[4611686018427387904, 4]", "[0, 0]"),
            ("F32", "[4611686018427387905]", "[0, 4]"),
            ("F4", "[3]", "[0, 1]"),
            ("F32", "[1,1,1,1,1,1,1,1,4]", "[0, 16]"),
            ("F32", "[-1]", "[0, 16]"),
        ] {
            let error = open(&header(dtype, shape, offsets), 16).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::ModelLoad, "{shape} {offsets}: {error}");
        }
    }

    #[test]
    fn a_header_longer_than_the_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        for length in [3_u64, 1 << 20, 1 << 60, u64::MAX] {
            std::fs::write(&path, [&length.to_le_bytes()[..], b"{}"].concat()).unwrap();
            assert!(Weights::open_files(std::slice::from_ref(&path)).is_err(), "{length}");
        }
    }
}
