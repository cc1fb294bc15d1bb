//! The header of a GGUF file: what it says about the model, and where its tensors are.
//!
//! Lengths and counts are never trusted: what they promise is read from the mapped file or is an error, and nothing is
//! allocated by them. candle's reader is not used: it divides by the file's alignment, multiplies shapes without checks,
//! and knows fewer block formats than files may have.

mod metadata;
mod reader;

use std::collections::HashMap;

use candle_core::DType;

pub(crate) use metadata::Metadata;
use reader::{MAX_DEPTH, Reader};

use super::key_map::KeyMap;
use super::mapped::MappedFile;
use super::tensor::{Encoding, StoredTensor, element_count};
use crate::error::{Error, Result};
use crate::local::ops::Format;

/// The first bytes of a file.
pub(super) const MAGIC: &[u8] = b"GGUF";

/// What tensors are aligned to where the file does not say.
const DEFAULT_ALIGNMENT: usize = 32;

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

/// What a file holds.
pub(super) struct GgufFile {
    /// The tensors by name.
    pub(super) tensors: Vec<(String, StoredTensor)>,
    /// How these names differ from those of transformers. A part of a split file has none: the first part says.
    pub(super) names: Option<KeyMap>,
    /// What it says about the model.
    pub(super) metadata: Metadata,
}

/// Reads the header of a file.
///
/// # Errors
/// `model_load` if the file is damaged or cut off; `unsupported` for an architecture whose names are not known.
pub(super) fn read(file: &MappedFile) -> Result<GgufFile> {
    let (tensors, metadata) = header(file).map_err(|error| file.error(&error).with_source(error))?;
    let is_later_part = metadata.whole("split.no").is_some_and(|number| number > 0);
    let architecture = metadata.architecture();
    let names = KeyMap::of_gguf(architecture);
    if names.is_none() && !is_later_part {
        return Err(Error::unsupported(format!(
            "{}: GGUF architecture '{architecture}' is not supported; valid: {}",
            file.path().display(),
            KeyMap::gguf_architectures().collect::<Vec<_>>().join(", ")
        )));
    }
    Ok(GgufFile { tensors, names, metadata })
}

fn header(file: &MappedFile) -> Result<(Vec<(String, StoredTensor)>, Metadata), GgufError> {
    let mut reader = Reader { bytes: file.as_ref(), position: MAGIC.len() };
    let version = reader.u32()?;
    if !matches!(version, 2 | 3) {
        return Err(GgufError::Version(version));
    }
    let (tensors, entries) = (reader.u64()?, reader.u64()?);
    let mut values = HashMap::new();
    for _ in 0..entries {
        let (key, kind) = (reader.text()?, reader.u32()?);
        values.insert(key.to_owned(), (kind, reader.position));
        reader.skip(kind, 0)?;
    }
    let metadata = Metadata::new(file, values);
    let alignment = match metadata.whole("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(bytes) => {
            let found = usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two());
            found.ok_or(GgufError::Alignment(bytes))?
        }
    };
    let mut infos = Vec::new();
    for _ in 0..tensors {
        infos.push(Info::read(&mut reader)?);
    }
    let start = reader.position.checked_next_multiple_of(alignment).ok_or(GgufError::CutOff)?;
    check_order(&infos)?;
    let stored =
        infos.into_iter().map(|info| Ok((info.name.to_owned(), info.stored(file, start, alignment)?)));
    Ok((stored.collect::<Result<_, GgufError>>()?, metadata))
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

#[cfg(test)]
mod tests;
