//! Tables of vectors, one a token.

use std::ops::Range;
use std::sync::Arc;

use ayni_kernels::gemm::Precision;
use ayni_kernels::gguf::{Format, QuantisedWeights};
use candle_core::DType;
use half::{bf16, f16};

use super::error::OrFail;
use super::memory::Memory;
use super::{Device, Linear, Tensor};
use crate::error::{Error, Result};

/// Bytes that somebody else keeps: a mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A table of vectors. On the CPU its rows stay as the file has them, and are widened when they are looked up. Cheap to
/// clone.
#[derive(Clone)]
pub struct Embedding {
    device: Device,
    count: usize,
    width: usize,
    table: Table,
}

#[derive(Clone)]
enum Table {
    /// The file, the table's place in it, and its dtype.
    File(SharedBytes, Range<usize>, DType),
    /// Those of a GGUF file, in the order in which they are multiplied too.
    Blocks(Arc<QuantisedWeights>),
    Gpu(candle_core::Tensor),
}

impl Embedding {
    /// Takes `count` rows of `width` numbers in f32, f16 or bf16, which lie in `range` of `bytes`.
    ///
    /// # Errors
    /// `invalid_request` if there are not so many bytes.
    pub fn new(
        device: &Device,
        bytes: SharedBytes,
        range: Range<usize>,
        dtype: DType,
        [count, width]: [usize; 2],
    ) -> Result<Self> {
        let table = (*bytes).as_ref().get(range.clone()).unwrap_or_default();
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) || width == 0 {
            return Err(Error::invalid_request(format!("a table of {width} columns in {}", dtype.as_str())));
        }
        let expected = count.checked_mul(width).and_then(|all| all.checked_mul(dtype.size_in_bytes()));
        if Some(table.len()) != expected {
            let found = table.len();
            return Err(Error::invalid_request(format!("{found} bytes are not {count} × {width} numbers")));
        }
        let table = match device.gpu() {
            None => Table::File(bytes, range, dtype),
            Some(gpu) => {
                let moved = candle_core::Tensor::from_raw_buffer(table, dtype, &[count, width], gpu);
                Table::Gpu(moved.and_then(|table| table.to_dtype(device.dtype())).or_fail()?)
            }
        };
        Ok(Self { device: device.clone(), count, width, table })
    }

    /// Takes the bytes of a tensor of a GGUF file: `count` rows of `width` numbers.
    ///
    /// # Errors
    /// `invalid_request` if rows are not whole blocks of the format, or there are not so many bytes.
    pub fn blocks(device: &Device, format: Format, bytes: &[u8], [count, width]: [usize; 2]) -> Result<Self> {
        let weights = QuantisedWeights::from_ggml(&device.cpu, format, &[bytes], count, width).or_fail()?;
        let table = match device.gpu() {
            None => Table::Blocks(Arc::new(weights)),
            Some(gpu) => {
                let mut values = vec![0.0; count * width];
                format.dequantise(bytes, &mut values).or_fail()?;
                let table = candle_core::Tensor::from_vec(values, (count, width), gpu);
                Table::Gpu(table.and_then(|table| table.to_dtype(device.dtype())).or_fail()?)
            }
        };
        Ok(Self { device: device.clone(), count, width, table })
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The rows with these numbers: `[token, width]`.
    ///
    /// # Errors
    /// `invalid_request` if there is no such row.
    pub fn forward(&self, rows: &[u32]) -> Result<Tensor> {
        Self::sum(&[(self, rows)])
    }

    /// The sum of a row of each table, `[token, width]`: tokens, their positions and types in one pass.
    ///
    /// # Errors
    /// `invalid_request` if a table has no such row, another width than the first, or not a row for every token.
    pub fn sum(parts: &[(&Self, &[u32])]) -> Result<Tensor> {
        let Some(((first, tokens), others)) = parts.split_first() else {
            return Err(Error::invalid_request("a sum of no tables"));
        };
        first.check(tokens)?;
        for (table, rows) in others {
            table.check(rows)?;
            if table.width != first.width || rows.len() != tokens.len() {
                return Err(Error::invalid_request("the tables of a sum differ in width or count of rows"));
            }
        }
        if !first.device.is_cpu() {
            return others
                .iter()
                .try_fold(first.on_gpu(tokens)?, |sum, (table, rows)| sum + &table.on_gpu(rows)?);
        }
        Tensor::build(&first.device, [tokens.len(), first.width], |to| {
            first.device.cpu.pool.parallel_chunks(to, first.width * TOKENS_AT_ONCE, |number, to| {
                for (i, to) in to.chunks_exact_mut(first.width).enumerate() {
                    let token = number * TOKENS_AT_ONCE + i;
                    first.put(tokens[token], to);
                    others.iter().for_each(|(table, rows)| table.add(rows[token], to));
                }
            });
            Ok(())
        })
    }

    /// The table as the layer that turns states into scores of tokens, in models that tie the two.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn tied_linear(&self) -> Result<Linear> {
        let shape = [self.count, self.width];
        match &self.table {
            Table::Blocks(weights) => Linear::of_blocks(Arc::clone(weights), None),
            Table::Gpu(table) => Ok(Linear::of_gpu_table(table.clone(), shape)),
            Table::File(bytes, range, dtype) => {
                let table = (**bytes).as_ref().get(range.clone()).unwrap_or_default();
                let format = match dtype {
                    DType::F16 => Some(Format::F16),
                    DType::BF16 => Some(Format::Bf16),
                    _ => None,
                };
                // Half the memory to read, and the same numbers.
                if let Some(format) = format.filter(|_| self.device.precision == Precision::F32) {
                    return Linear::blocks(&self.device, format, &[table], shape, None);
                }
                let cpu = candle_core::Device::Cpu;
                let weight = candle_core::Tensor::from_raw_buffer(table, *dtype, &shape, &cpu).or_fail()?;
                Linear::new(&self.device, (weight, None))
            }
        }
    }

    fn check(&self, rows: &[u32]) -> Result<()> {
        match rows.iter().find(|row| **row as usize >= self.count) {
            Some(row) => Err(Error::invalid_request(format!("there is no row {row} of {}", self.count))),
            None => Ok(()),
        }
    }

    fn on_gpu(&self, rows: &[u32]) -> Result<Tensor> {
        let Table::Gpu(table) = &self.table else {
            return Err(Error::invalid_request("the tables of a sum are not on one device"));
        };
        let selected =
            candle_core::Tensor::new(rows, table.device()).and_then(|rows| table.index_select(&rows, 0));
        Tensor::from_gpu(&self.device, selected)
    }

    /// Writes a row that is there.
    fn put(&self, row: u32, to: &mut [f32]) {
        match &self.table {
            Table::Blocks(table) => {
                let done = table.dequantise_row(row as usize, to);
                debug_assert!(done.is_ok(), "rows and their width are checked");
            }
            _ => self.for_each(row, to, |to, value| *to = value),
        }
    }

    /// Adds a row that is there.
    fn add(&self, row: u32, to: &mut [f32]) {
        if matches!(self.table, Table::Blocks(_)) {
            let mut values = Memory::take(to.len());
            self.put(row, &mut values);
            to.iter_mut().zip(values.iter()).for_each(|(to, value)| *to += value);
        } else {
            self.for_each(row, to, |to, value| *to += value);
        }
    }

    /// Calls `take` with the numbers of a row of the file, widened, and their places.
    fn for_each(&self, row: u32, to: &mut [f32], take: impl Fn(&mut f32, f32)) {
        let Table::File(bytes, range, dtype) = &self.table else { return };
        let size = self.width * dtype.size_in_bytes();
        let start = range.start + row as usize * size;
        let bytes = (**bytes).as_ref().get(start..start + size).unwrap_or_default();
        match dtype {
            DType::F16 => {
                let values = pairs(bytes).map(|bits| f16::from_bits(bits).to_f32());
                to.iter_mut().zip(values).for_each(|(to, value)| take(to, value));
            }
            DType::BF16 => {
                let values = pairs(bytes).map(|bits| bf16::from_bits(bits).to_f32());
                to.iter_mut().zip(values).for_each(|(to, value)| take(to, value));
            }
            _ => {
                let (quads, _) = bytes.as_chunks();
                to.iter_mut().zip(quads).for_each(|(to, quad)| take(to, f32::from_le_bytes(*quad)));
            }
        }
    }
}

/// Tokens that a thread takes at once.
const TOKENS_AT_ONCE: usize = 64;

fn pairs(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair))
}

impl std::fmt::Debug for Embedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Embedding({} × {})", self.count, self.width)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor};

    use super::super::testing::{assert_near, devices, noise, on_gpu};
    use super::*;
    use crate::error::ErrorKind;

    fn rows_of(x: &Tensor) -> Vec<f32> {
        x.values().unwrap().into_owned()
    }

    #[test]
    fn rows_of_every_dtype_are_what_the_file_says() {
        let values: Vec<f32> = (0..12_u8).map(|value| f32::from(value) * 0.25 - 1.0).collect();
        let f32s: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let f16s: Vec<u8> = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        let bf16s: Vec<u8> = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
        for device in devices().into_iter().chain([on_gpu()]) {
            let table = |bytes: &Vec<u8>, dtype, shape| {
                Embedding::new(&device, Arc::new(bytes.clone()), 0..bytes.len(), dtype, shape).unwrap()
            };
            for (dtype, bytes) in [(DType::F32, &f32s), (DType::F16, &f16s), (DType::BF16, &bf16s)] {
                let table = table(bytes, dtype, [3, 4]);
                assert_eq!(rows_of(&table.forward(&[2, 0]).unwrap()), [&values[8..], &values[..4]].concat());
                assert_eq!(table.forward(&[3]).unwrap_err().kind(), ErrorKind::InvalidRequest);
                let x = noise(&[2, 4], 1.0);
                let tied = table.tied_linear().unwrap().forward(x.tensor(&device)).unwrap();
                let weight =
                    candle_core::Tensor::from_slice(&values, (3, 4), &candle_core::Device::Cpu).unwrap();
                let layer = Linear::new(&device, (weight, None)).unwrap();
                assert_near(&tied, &layer.forward(x.tensor(&device)).unwrap(), 1e-6, "tied");
            }
            let (tokens, positions) = (table(&f32s, DType::F32, [3, 4]), table(&bf16s, DType::BF16, [3, 4]));
            let rows: Vec<u32> = (0..200).map(|token| token % 3).collect();
            let sum = rows_of(&Embedding::sum(&[(&tokens, &rows), (&positions, &[1; 200])]).unwrap());
            for (sum, row) in sum.chunks_exact(4).zip(&rows) {
                let row = &values[*row as usize * 4..][..4];
                let truth: Vec<f32> = row.iter().zip(&values[4..8]).map(|(a, b)| a + b).collect();
                assert_eq!(*sum, truth);
            }
            let narrow = table(&f32s, DType::F32, [4, 3]);
            for (other, rows) in [(&tokens, &[3, 0][..]), (&tokens, &[0]), (&narrow, &[0, 0])] {
                let error = Embedding::sum(&[(&positions, &[1, 2]), (other, rows)]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            }
            let short = Embedding::new(&device, Arc::new(f32s.clone()), 0..40, DType::F32, [3, 4]);
            assert_eq!(short.unwrap_err().kind(), ErrorKind::InvalidRequest);
        }
    }

    #[test]
    fn rows_of_blocks_are_exactly_what_the_file_says() {
        for (format, dtype) in [(Format::Q4_0, GgmlDType::Q4_0), (Format::Q6K, GgmlDType::Q6K)] {
            let quantised = QTensor::quantize(&noise(&[40, 256], 1.0).weight(), dtype).unwrap();
            let bytes = quantised.data().unwrap().to_vec();
            let widened = quantised.dequantize(&candle_core::Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
            for device in devices().into_iter().chain([on_gpu()]) {
                let table = Embedding::blocks(&device, format, &bytes, [40, 256]).unwrap();
                let truth = [&*widened[39], &*widened[0]].concat();
                assert_eq!(rows_of(&table.forward(&[39, 0]).unwrap()), truth, "{format:?}");
                let twice = Embedding::sum(&[(&table, &[39, 0]), (&table, &[39, 0])]).unwrap();
                assert_eq!(rows_of(&twice), truth.iter().map(|x| 2.0 * x).collect::<Vec<_>>());
                assert_eq!(table.forward(&[40]).unwrap_err().kind(), ErrorKind::InvalidRequest);
                let x = noise(&[2, 256], 1.0);
                let layer = Linear::blocks(&device, format, &[&bytes], [40, 256], None).unwrap();
                let tied = table.tied_linear().unwrap().forward(x.tensor(&device)).unwrap();
                // On a GPU the table is widened, and candle's blocks round their activations.
                let error = if device.is_cpu() { 0.0 } else { 0.15 };
                assert_near(&tied, &layer.forward(x.tensor(&device)).unwrap(), error, "tied");
                assert!(Embedding::blocks(&device, format, &bytes, [40, 255]).is_err());
            }
        }
    }
}
