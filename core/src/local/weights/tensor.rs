//! One tensor where a weight file holds it. Nothing is read before it is asked for.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use ayni_kernels::Cpu;
use ayni_kernels::finite::{Float, are_finite};
use candle_core::{DType, Device, Tensor};

use super::load_error;
use super::mapped::MappedFile;
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Format, LayerWeights, SharedBytes, of_candle};

/// Pages of larger tensors are given back once they are copied.
const RELEASED_BYTES: usize = 1 << 18;

/// The most dimensions of a tensor; more are damage or an attack.
pub(crate) const MAX_DIMENSIONS: usize = 8;

/// How the numbers of a tensor are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// One number after another, in a type that models compute with.
    Plain(DType),
    /// Blocks of a GGUF file.
    Blocks(Format),
    /// Something that models do not compute with, by its name: `I64`.
    Other(String),
}

/// A tensor in a mapped file: a view with checked bounds.
#[derive(Clone, Debug)]
pub(crate) struct StoredTensor {
    file: MappedFile,
    /// The bytes from the first element to the last.
    range: Range<usize>,
    shape: Vec<usize>,
    /// How far neighbours of each dimension are apart, in elements. `None` is row-major order.
    strides: Option<Vec<usize>>,
    encoding: Encoding,
}

/// Why a view does not fit its file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ViewError {
    #[error("it has {0} dimensions, {MAX_DIMENSIONS} are supported")]
    Rank(usize),
    #[error("its shape {0:?} is too large")]
    TooLarge(Vec<usize>),
    #[error("it ends at byte {end} of {length}")]
    OutOfFile { end: usize, length: usize },
    #[error("shape {shape:?} and strides {strides:?} do not describe separate elements")]
    Overlap { shape: Vec<usize>, strides: Vec<usize> },
}

/// The number of elements of a shape, if it fits a `usize`.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
}

/// The strides of a shape in row-major order. The shape's count must fit a `usize`.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1_usize; shape.len()];
    for dimension in (1..shape.len()).rev() {
        strides[dimension - 1] = strides[dimension].saturating_mul(shape[dimension]);
    }
    strides
}

impl StoredTensor {
    /// The tensor whose `bytes` bytes begin at `start`, in row-major order. The caller has computed `bytes` from shape
    /// and encoding.
    ///
    /// # Errors
    /// If it has too many dimensions or does not lie inside the file.
    pub(crate) fn contiguous(
        file: &MappedFile,
        start: usize,
        bytes: usize,
        shape: Vec<usize>,
        encoding: Encoding,
    ) -> Result<Self, ViewError> {
        if shape.len() > MAX_DIMENSIONS {
            return Err(ViewError::Rank(shape.len()));
        }
        let range = inside(file, start, bytes)?;
        Ok(Self { file: file.clone(), range, shape, strides: None, encoding })
    }

    /// A tensor of these bytes, in row-major order. The caller has made as many as shape and encoding take.
    pub(super) fn in_memory(bytes: Vec<u8>, shape: Vec<usize>, encoding: Encoding) -> Self {
        let range = 0..bytes.len();
        Self { file: MappedFile::in_memory(bytes), range, shape, strides: None, encoding }
    }

    /// A view with strides: element 0 of `element_bytes` bytes begins at `start`. No two indices may be one element, so
    /// that a copy is never larger than what it is copied from.
    ///
    /// # Errors
    /// As [`contiguous`](Self::contiguous), or if elements overlap.
    pub(crate) fn strided(
        file: &MappedFile,
        start: usize,
        element_bytes: usize,
        (shape, strides): (Vec<usize>, Vec<usize>),
        encoding: Encoding,
    ) -> Result<Self, ViewError> {
        let too_large = || ViewError::TooLarge(shape.clone());
        let bytes =
            element_count(&shape).and_then(|count| count.checked_mul(element_bytes)).ok_or_else(too_large)?;
        if bytes == 0 || is_row_major(&shape, &strides) {
            return Self::contiguous(file, start, bytes, shape, encoding);
        }
        if shape.len() > MAX_DIMENSIONS {
            return Err(ViewError::Rank(shape.len()));
        }
        if !are_separate(&shape, &strides) {
            return Err(ViewError::Overlap { shape, strides });
        }
        let last = shape.iter().zip(&strides).try_fold(0_usize, |sum, (size, stride)| {
            (size - 1).checked_mul(*stride).and_then(|distance| sum.checked_add(distance))
        });
        let span = last.and_then(|last| last.checked_add(1)?.checked_mul(element_bytes));
        let range = inside(file, start, span.ok_or_else(too_large)?)?;
        Ok(Self { file: file.clone(), range, shape, strides: Some(strides), encoding })
    }

    /// Its shape.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many bytes a copy of it takes, in the encoding of the file.
    pub(crate) fn size_bytes(&self) -> usize {
        match (&self.strides, &self.encoding) {
            (Some(_), Encoding::Plain(dtype)) => {
                element_count(&self.shape).unwrap_or(0) * dtype.size_in_bytes()
            }
            _ => self.range.len(),
        }
    }

    /// Whether none of its numbers is NaN or an infinity.
    ///
    /// # Errors
    /// As [`to_tensor`](Self::to_tensor).
    pub(crate) fn is_finite(&self, cpu: &Cpu) -> Result<bool> {
        match &self.encoding {
            Encoding::Plain(dtype) => {
                let float = float(*dtype).unwrap_or(Float::F32);
                Ok(are_finite(cpu, float, &self.row_major_bytes(*dtype)?))
            }
            Encoding::Blocks(format) => Ok(format.are_finite(self.stored_bytes())),
            Encoding::Other(_) => Ok(true),
        }
    }

    /// The matrix with rows and columns exchanged; nothing is copied.
    pub(crate) fn transposed(&self) -> Option<Self> {
        let [rows, columns] = *self.shape.as_slice() else { return None };
        if matches!(self.encoding, Encoding::Blocks(_)) {
            return None;
        }
        let strides = self.strides.clone().unwrap_or_else(|| row_major(&self.shape));
        let strides = strides.into_iter().rev().collect();
        Some(Self { shape: vec![columns, rows], strides: Some(strides), ..self.clone() })
    }

    /// Part number `part` of so many equal `parts` of the first dimension; nothing is copied.
    pub(crate) fn part(&self, part: usize, parts: usize) -> Option<Self> {
        let rows = self.shape.first().filter(|rows| rows.is_multiple_of(parts))?.checked_div(parts)?;
        if self.strides.is_some() || part >= parts {
            return None;
        }
        let bytes = self.range.len() / parts;
        let start = self.range.start + part * bytes;
        let mut shape = self.shape.clone();
        shape[0] = rows;
        Some(Self { range: start..start + bytes, shape, ..self.clone() })
    }

    /// Number `number` of the tensors that this one holds one after another; nothing is copied.
    pub(crate) fn one_of_stack(&self, number: usize) -> Option<Self> {
        let count = *self.shape.first()?;
        let one = self.part(number, count)?;
        Some(Self { shape: one.shape[1..].to_vec(), ..one })
    }

    /// A copy on a device: in the type that is stored, f32 for blocks.
    ///
    /// # Errors
    /// `model_load` for numbers that models don't compute with, `out_of_memory`.
    pub(crate) fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        match &self.encoding {
            Encoding::Plain(dtype) => {
                let copy =
                    Tensor::from_raw_buffer(&self.row_major_bytes(*dtype)?, *dtype, &self.shape, device);
                self.release();
                copy
            }
            Encoding::Blocks(format) => {
                let values = self.dequantised(*format)?;
                Tensor::from_vec(values, self.shape.as_slice(), device)
            }
            Encoding::Other(name) => return Err(unsupported(name)),
        }
        .map_err(of_candle)
    }

    /// Gives back the pages of what was read.
    pub(super) fn release(&self) {
        if self.range.len() >= RELEASED_BYTES {
            self.file.release(self.range.clone());
        }
    }

    /// The numbers as layers are packed of them, if they are plain ones in row-major order.
    pub(super) fn layer_weights(&self) -> Option<LayerWeights<'_>> {
        let (dtype, bytes) = self.plain_bytes()?;
        Some(LayerWeights::Bytes(float(dtype)?, bytes))
    }

    /// Bytes that can be kept and read in place, where the tensor is in them, and the type of its numbers: the file's own
    /// for plain numbers in row-major order, else a copy.
    ///
    /// # Errors
    /// As [`to_tensor`](Self::to_tensor).
    pub(crate) fn resident(&self) -> Result<(SharedBytes, Range<usize>, DType)> {
        let copied = |bytes: Vec<u8>, dtype| {
            let range = 0..bytes.len();
            Ok((Arc::new(bytes) as SharedBytes, range, dtype))
        };
        match &self.encoding {
            Encoding::Plain(dtype) if self.strides.is_none() => {
                Ok((Arc::new(self.file.resident()), self.range.clone(), *dtype))
            }
            Encoding::Plain(dtype) => copied(self.row_major_bytes(*dtype)?.into_owned(), *dtype),
            Encoding::Blocks(format) => {
                let values = self.dequantised(*format)?;
                copied(values.iter().flat_map(|value| value.to_le_bytes()).collect(), DType::F32)
            }
            Encoding::Other(name) => Err(unsupported(name)),
        }
    }

    /// The bytes of rows that a matrix product can use as they are, and their format: blocks of a GGUF file, or numbers
    /// of 16 bits in row-major order.
    pub(crate) fn blocks(&self) -> Option<(Format, &[u8])> {
        let format = match &self.encoding {
            Encoding::Blocks(format) => *format,
            Encoding::Plain(DType::F16) if self.strides.is_none() => Format::F16,
            Encoding::Plain(DType::BF16) if self.strides.is_none() => Format::Bf16,
            _ => return None,
        };
        Some((format, self.stored_bytes()))
    }

    /// The dtype and the bytes of plain numbers in row-major order, if it has such.
    pub(super) fn plain_bytes(&self) -> Option<(DType, &[u8])> {
        match self.encoding {
            Encoding::Plain(dtype) if self.strides.is_none() => Some((dtype, self.stored_bytes())),
            _ => None,
        }
    }

    /// Whether it holds bytes that are no numbers by themselves.
    pub(super) fn is_u8(&self) -> bool {
        self.encoding == Encoding::Other("U8".to_owned()) && self.strides.is_none()
    }

    /// Whether it is in blocks.
    pub(super) fn is_quantised(&self) -> bool {
        matches!(self.encoding, Encoding::Blocks(_))
    }

    /// Shape, strides and encoding as text.
    pub(super) fn description(&self) -> String {
        let encoding = match &self.encoding {
            Encoding::Plain(dtype) => dtype.as_str(),
            Encoding::Blocks(format) => format.name(),
            Encoding::Other(name) => name,
        };
        format!("{:?} {:?} {encoding}", self.shape, self.strides)
    }

    /// All bytes in pieces, or pieces at even distances where there are more than `limit`; the first and the last ones are
    /// always among them.
    pub(super) fn samples(&self, limit: usize) -> impl Iterator<Item = &[u8]> {
        const PIECE_BYTES: usize = 1024;
        let bytes = self.stored_bytes();
        let pieces = bytes.len().div_ceil(PIECE_BYTES);
        let taken = if bytes.len() <= limit { pieces } else { (limit / PIECE_BYTES).clamp(2, pieces) };
        let last = taken.saturating_sub(1).max(1);
        (0..taken).map(move |index| {
            // In u128, because a piece's number times the number of samples may not fit.
            let piece = index as u128 * (pieces - 1) as u128 / last as u128;
            let start = piece as usize * PIECE_BYTES;
            &bytes[start..bytes.len().min(start + PIECE_BYTES)]
        })
    }

    pub(super) fn stored_bytes(&self) -> &[u8] {
        self.file.as_ref().get(self.range.clone()).unwrap_or_default()
    }

    /// The elements in row-major order.
    fn row_major_bytes(&self, dtype: DType) -> Result<Cow<'_, [u8]>> {
        let Some(strides) = &self.strides else { return Ok(Cow::Borrowed(self.stored_bytes())) };
        let mut copy = reserved(self.size_bytes())?;
        let size = dtype.size_in_bytes();
        gather(self.stored_bytes(), size, &self.shape, strides, &mut copy);
        match copy.len() == self.size_bytes() {
            true => Ok(Cow::Owned(copy)),
            false => Err(load_error("a tensor does not fit its file")),
        }
    }

    fn dequantised(&self, format: Format) -> Result<Vec<f32>> {
        let count = element_count(&self.shape).unwrap_or(0);
        let mut values = reserved(count)?;
        values.resize(count, 0.0);
        format.dequantise(self.stored_bytes(), &mut values).map_err(load_error)?;
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(load_error("a tensor holds NaN or infinity")),
        }
    }
}

/// The numbers that kernels read.
fn float(dtype: DType) -> Option<Float> {
    match dtype {
        DType::F32 => Some(Float::F32),
        DType::F16 => Some(Float::F16),
        DType::BF16 => Some(Float::Bf16),
        _ => None,
    }
}

fn inside(file: &MappedFile, start: usize, bytes: usize) -> Result<Range<usize>, ViewError> {
    let length = file.as_ref().len();
    match start.checked_add(bytes) {
        Some(end) if end <= length => Ok(start..end),
        end => Err(ViewError::OutOfFile { end: end.unwrap_or(usize::MAX), length }),
    }
}

/// Whether strides mean row-major order. The strides of dimensions with one element mean nothing.
fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let expected = row_major(shape);
    shape.len() == strides.len()
        && shape
            .iter()
            .zip(strides)
            .zip(expected)
            .all(|((size, stride), expected)| *size == 1 || *stride == expected)
}

/// Whether each index is an element of its own: from the smallest stride to the largest, each steps over all that the
/// smaller ones reach.
fn are_separate(shape: &[usize], strides: &[usize]) -> bool {
    let mut dimensions: Vec<(usize, usize)> =
        strides.iter().copied().zip(shape.iter().copied()).filter(|(_, size)| *size > 1).collect();
    dimensions.sort_unstable();
    let mut reached = 1_usize;
    shape.len() == strides.len()
        && dimensions.into_iter().all(|(stride, size)| {
            let is_separate = stride >= reached;
            reached = reached.saturating_add((size - 1).saturating_mul(stride));
            is_separate
        })
}

/// Appends the elements of a view, the last dimension fastest. Recursion is bounded by [`MAX_DIMENSIONS`].
fn gather(bytes: &[u8], size: usize, shape: &[usize], strides: &[usize], to: &mut Vec<u8>) {
    let ([count, shape @ ..], [stride, strides @ ..]) = (shape, strides) else {
        to.extend_from_slice(bytes.get(..size).unwrap_or_default());
        return;
    };
    for index in 0..*count {
        gather(bytes.get(index * stride * size..).unwrap_or_default(), size, shape, strides, to);
    }
}

/// An empty vector with room, or an error where there is no memory.
fn reserved<T>(count: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|error| {
        Error::new(ErrorKind::OutOfMemory, format!("no memory for {count} numbers of a tensor"))
            .with_source(error)
    })?;
    Ok(values)
}

fn unsupported(name: &str) -> Error {
    load_error(format!("weights in {name} are not supported; f32, f16, bf16 and the blocks of GGUF are"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> MappedFile {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        std::fs::write(&path, bytes).unwrap();
        MappedFile::open(&path).unwrap()
    }

    fn numbers(count: u16) -> MappedFile {
        file(&(0..count).flat_map(|number| f32::from(number).to_le_bytes()).collect::<Vec<_>>())
    }

    fn view(file: &MappedFile, shape: &[usize], strides: &[usize]) -> Result<StoredTensor, ViewError> {
        let dims = (shape.to_vec(), strides.to_vec());
        StoredTensor::strided(file, 4, 4, dims, Encoding::Plain(DType::F32))
    }

    #[test]
    fn views_are_read_as_torch_reads_them() {
        let file = numbers(13);
        let rows = view(&file, &[2, 3], &[3, 1]).unwrap();
        assert_eq!(
            rows.to_tensor(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap(),
            [[1., 2., 3.], [4., 5., 6.]]
        );
        let columns = view(&file, &[2, 3], &[1, 2]).unwrap();
        let found = columns.to_tensor(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found, [[1., 3., 5.], [2., 4., 6.]]);
        let (bytes, range, dtype) = columns.resident().unwrap();
        assert_eq!(((*bytes).as_ref().len(), range, dtype), (24, 0..24, DType::F32));
        let every_other = view(&file, &[2, 2], &[6, 2]).unwrap();
        let found = every_other.to_tensor(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found, [[1., 3.], [7., 9.]]);
        assert_eq!((every_other.size_bytes(), rows.size_bytes()), (16, 24));
        let turned = rows.transposed().unwrap().to_tensor(&Device::Cpu).unwrap();
        assert_eq!(turned.to_vec2::<f32>().unwrap(), [[1., 4.], [2., 5.], [3., 6.]]);
        let last = view(&file, &[4, 3], &[3, 1]).unwrap().part(1, 2).unwrap();
        let found = last.to_tensor(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found, [[7., 8., 9.], [10., 11., 12.]]);
        assert!(rows.part(0, 4).is_none() && rows.part(2, 2).is_none() && columns.part(0, 2).is_none());
    }

    #[test]
    fn views_outside_of_the_file_and_overlapping_ones_are_errors() {
        let file = numbers(13);
        const MAX: usize = usize::MAX;
        for (shape, strides) in [
            (&[4, 4][..], &[4, 1][..]),
            (&[2, 3], &[MAX, 1]),
            (&[2, 3], &[12, 1]),
            (&[MAX, MAX], &[1, 1]),
            (&[1 << 60], &[1]),
            (&[2; 9], &[1; 9]),
            (&[2, 3], &[1, 1]),
            (&[1 << 40], &[0]),
            (&[3, 3], &[2, 1]),
            (&[2, 2], &[2]),
        ] {
            assert!(view(&file, shape, strides).is_err(), "{shape:?} {strides:?}");
        }
        assert!(view(&file, &[0, 5], &[1, 7]).is_ok(), "without elements there is nothing to check");
        assert!(view(&file, &[1, 3], &[MAX, 1]).is_ok(), "a stride over one element is never taken");
    }
}
