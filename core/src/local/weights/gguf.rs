//! The header of a GGUF file: what it says about the model, and where its tensors are.
//!
//! Lengths and counts are never trusted: what they promise is read from the mapped file or is an error, and nothing is
//! allocated by them. candle's reader is not used: it divides by the file's alignment, multiplies shapes without checks,
//! and knows fewer block formats than files may have.

use candle_core::DType;

use super::key_map::KeyMap;
use super::mapped::MappedFile;
use super::tensor::{Encoding, StoredTensor, element_count};
use crate::error::{Error, Result};
use crate::local::ops::Format;

/// The first bytes of a file.
pub(super) const MAGIC: &[u8] = b"GGUF";

/// What tensors are aligned to where the file does not say.
const DEFAULT_ALIGNMENT: usize = 32;

/// How deep arrays may lie in arrays.
const MAX_DEPTH: usize = 4;

/// ggml's own limit.
const MAX_DIMENSIONS: u32 = 4;

/// What is wrong with a header.
#[derive(Debug, thiserror::Error)]
enum GgufError {
    #[error("it is cut off")]
    CutOff,
    #[error("version {0} is not supported; 2 and 3 are")]
    Version(u32),
    #[error("metadata value of unknown type {0}")]
    ValueType(u32),
    #[error("arrays in arrays more than {MAX_DEPTH} deep")]
    Depth,
    #[error("a name is not UTF-8")]
    Text,
    #[error("`general.alignment` is {0}, not a power of two")]
    Alignment(u64),
    #[error("tensor `{name}`: {why}")]
    Tensor { name: String, why: String },
    #[error("its tensors overlap")]
    Overlap,
}

/// The tensors of a file by name, and how these names differ from those of transformers.
///
/// # Errors
/// `model_load` if the file is damaged or cut off; `unsupported` for an architecture whose names are not known.
pub(super) fn read(file: &MappedFile) -> Result<(Vec<(String, StoredTensor)>, KeyMap)> {
    let header = Header::read(file).map_err(|error| file.error(&error).with_source(error))?;
    let architecture = header.architecture.unwrap_or_default();
    let names = KeyMap::of_gguf(architecture).ok_or_else(|| {
        Error::unsupported(format!(
            "{}: GGUF architecture '{architecture}' is not supported; valid: {}",
            file.path().display(),
            KeyMap::gguf_architectures().collect::<Vec<_>>().join(", ")
        ))
    })?;
    Ok((header.tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect(), names))
}

struct Header<'a> {
    architecture: Option<&'a str>,
    tensors: Vec<(&'a str, StoredTensor)>,
}

impl<'a> Header<'a> {
    fn read(file: &'a MappedFile) -> Result<Self, GgufError> {
        let bytes: &[u8] = file.as_ref();
        let mut reader = Reader { bytes, position: MAGIC.len() };
        let version = reader.u32()?;
        if !matches!(version, 2 | 3) {
            return Err(GgufError::Version(version));
        }
        let (tensors, entries) = (reader.u64()?, reader.u64()?);
        let (mut architecture, mut alignment) = (None, DEFAULT_ALIGNMENT);
        for _ in 0..entries {
            let (key, value) = (reader.text()?, reader.value(0)?);
            match (key, value) {
                ("general.architecture", Value::Text(name)) => architecture = Some(name),
                ("general.alignment", Value::Whole(bytes)) => {
                    let found = usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two());
                    alignment = found.ok_or(GgufError::Alignment(bytes))?;
                }
                _ => {}
            }
        }
        let mut infos = Vec::new();
        for _ in 0..tensors {
            infos.push(Info::read(&mut reader)?);
        }
        let start = reader.position.checked_next_multiple_of(alignment).ok_or(GgufError::CutOff)?;
        check_order(&infos)?;
        let stored = infos.into_iter().map(|info| Ok((info.name, info.stored(file, start, alignment)?)));
        Ok(Self { architecture, tensors: stored.collect::<Result<_, GgufError>>()? })
    }
}

/// What a header says about one tensor.
struct Info<'a> {
    name: &'a str,
    /// Rows first, as everywhere but in the file.
    shape: Vec<usize>,
    encoding: Encoding,
    /// From the start of the data.
    offset: usize,
    bytes: usize,
}

impl<'a> Info<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, GgufError> {
        let name = reader.text()?;
        let wrong = |why: String| GgufError::Tensor { name: name.to_owned(), why };
        let dimensions = reader.u32()?;
        if dimensions > MAX_DIMENSIONS {
            return Err(wrong(format!("it has {dimensions} dimensions, {MAX_DIMENSIONS} are supported")));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(reader.length()?);
        }
        shape.reverse();
        let (number, offset) = (reader.u32()?, reader.length()?);
        let (encoding, bytes) = encoding(number, &shape)
            .ok_or_else(|| wrong(format!("its shape {shape:?} is too large, or not of whole blocks")))?;
        Ok(Self { name, shape, encoding, offset, bytes })
    }

    fn stored(self, file: &MappedFile, start: usize, alignment: usize) -> Result<StoredTensor, GgufError> {
        let Self { name, shape, encoding, offset, bytes } = self;
        let wrong = |why: String| GgufError::Tensor { name: name.to_owned(), why };
        if !offset.is_multiple_of(alignment) {
            return Err(wrong(format!("its offset {offset} is not a multiple of {alignment}")));
        }
        let start = start.checked_add(offset).ok_or(GgufError::CutOff)?;
        StoredTensor::contiguous(file, start, bytes, shape, encoding)
            .map_err(|error| wrong(error.to_string()))
    }
}

/// How the numbers of a ggml type are stored, and how many bytes a tensor of them takes; nothing where that is too much.
/// Types that no model here computes with take none: they are refused when they are asked for.
fn encoding(number: u32, shape: &[usize]) -> Option<(Encoding, usize)> {
    const F32: u32 = 0;
    let plain = |dtype: DType| {
        Some((Encoding::Plain(dtype), element_count(shape)?.checked_mul(dtype.size_in_bytes())?))
    };
    match (number, Format::from_number(number)) {
        (F32, _) => plain(DType::F32),
        (_, Some(Format::F16)) => plain(DType::F16),
        (_, Some(Format::Bf16)) => plain(DType::BF16),
        (_, Some(format)) => {
            let (width, rows) = shape.split_last()?;
            Some((Encoding::Blocks(format), format.bytes(element_count(rows)?, *width).ok()?))
        }
        (_, None) => Some((Encoding::Other(format!("ggml type {number}")), 0)),
    }
}

fn check_order(infos: &[Info<'_>]) -> Result<(), GgufError> {
    let mut ranges: Vec<_> =
        infos.iter().filter(|info| info.bytes > 0).map(|info| (info.offset, info.bytes)).collect();
    ranges.sort_unstable();
    let overlap =
        |pair: &[(usize, usize)]| pair[0].0.checked_add(pair[0].1).is_none_or(|end| end > pair[1].0);
    if ranges.windows(2).any(overlap) { Err(GgufError::Overlap) } else { Ok(()) }
}

/// A metadata value, as far as it is of use here.
enum Value<'a> {
    Text(&'a str),
    Whole(u64),
    Other,
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], GgufError> {
        let end = self.position.checked_add(length).ok_or(GgufError::CutOff)?;
        let taken = self.bytes.get(self.position..end).ok_or(GgufError::CutOff)?;
        self.position = end;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        self.take(4)?.try_into().map(u32::from_le_bytes).map_err(|_| GgufError::CutOff)
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        self.take(8)?.try_into().map(u64::from_le_bytes).map_err(|_| GgufError::CutOff)
    }

    fn length(&mut self) -> Result<usize, GgufError> {
        usize::try_from(self.u64()?).map_err(|_| GgufError::CutOff)
    }

    fn text(&mut self) -> Result<&'a str, GgufError> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| GgufError::Text)
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, GgufError> {
        let kind = self.u32()?;
        self.value_of(kind, depth)
    }

    fn value_of(&mut self, kind: u32, depth: usize) -> Result<Value<'a>, GgufError> {
        const U32: u32 = 4;
        const TEXT: u32 = 8;
        const ARRAY: u32 = 9;
        const U64: u32 = 10;
        Ok(match kind {
            U32 => Value::Whole(self.u32()?.into()),
            U64 => Value::Whole(self.u64()?),
            // Vocabularies may hold texts that are not UTF-8.
            TEXT => {
                let length = self.length()?;
                std::str::from_utf8(self.take(length)?).map_or(Value::Other, Value::Text)
            }
            ARRAY if depth >= MAX_DEPTH => return Err(GgufError::Depth),
            ARRAY => {
                let (kind, count) = (self.u32()?, self.length()?);
                if let Some(size) = size_of(kind) {
                    self.take(count.checked_mul(size).ok_or(GgufError::CutOff)?)?;
                } else {
                    for _ in 0..count {
                        self.value_of(kind, depth + 1)?;
                    }
                }
                Value::Other
            }
            _ => {
                self.take(size_of(kind).ok_or(GgufError::ValueType(kind))?)?;
                Value::Other
            }
        })
    }
}

/// The bytes of a value whose type has a fixed size.
fn size_of(kind: u32) -> Option<usize> {
    match kind {
        // u8, i8, bool
        0 | 1 | 7 => Some(1),
        // u16, i16
        2 | 3 => Some(2),
        // u32, i32, f32
        4..=6 => Some(4),
        // u64, i64, f64
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
#[path = "gguf_tests.rs"]
mod tests;
