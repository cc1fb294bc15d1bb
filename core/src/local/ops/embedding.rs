//! Tables of vectors, one a token, as a file holds them.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use half::{bf16, f16};

use super::Place;
use super::tensor::{OrFail, filled};
use crate::error::{Error, Result};

/// Bytes that somebody else keeps: a mapped file.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A table of vectors. On the CPU its rows stay where they are, and are widened when they are asked for. Cheap to
/// clone.
#[derive(Clone)]
pub struct Embedding {
    count: usize,
    width: usize,
    rows: Rows,
}

#[derive(Clone)]
enum Rows {
    /// The file, where the table lies in it, and its numbers.
    InFile(SharedBytes, Range<usize>, DType),
    OnGpu(Tensor),
}

impl Embedding {
    /// Takes `count` rows of `width` numbers in f32, f16 or bf16, which lie in `range` of `bytes`.
    ///
    /// # Errors
    /// `invalid_request` if there are not so many bytes.
    pub fn new(
        place: &Place,
        bytes: SharedBytes,
        range: Range<usize>,
        dtype: DType,
        [count, width]: [usize; 2],
    ) -> Result<Self> {
        let table = (*bytes).as_ref().get(range.clone()).unwrap_or_default();
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) || width == 0 {
            return Err(Error::invalid_request(format!("a table of {width} columns in {}", dtype.as_str())));
        }
        if Some(table.len())
            != count.checked_mul(width).and_then(|all| all.checked_mul(dtype.size_in_bytes()))
        {
            return Err(Error::invalid_request(format!(
                "{} bytes are not {count} × {width} numbers",
                table.len()
            )));
        }
        let rows = if matches!(place.device, Device::Cpu) {
            Rows::InFile(bytes, range, dtype)
        } else {
            let moved = Tensor::from_raw_buffer(table, dtype, &[count, width], &place.device);
            Rows::OnGpu(moved.and_then(|table| table.to_dtype(place.dtype())).or_fail()?)
        };
        Ok(Self { count, width, rows })
    }

    /// The rows with these numbers: `[token, width]`.
    ///
    /// # Errors
    /// `invalid_request` if there is no such row.
    pub fn forward(&self, tokens: &[u32]) -> Result<Tensor> {
        self.check(tokens)?;
        match &self.rows {
            Rows::OnGpu(table) => select(table, tokens).or_fail(),
            Rows::InFile(..) => filled((tokens.len(), self.width), |to| {
                to.chunks_exact_mut(self.width).zip(tokens).for_each(|(to, token)| self.put(*token, to));
                Ok(())
            }),
        }
    }

    /// The sum of a row of each table, `[token, width]`: words, their positions and types in one pass.
    ///
    /// # Errors
    /// `invalid_request` if a table has no such row, another width than the first, or not a row for every token.
    pub fn sum(place: &Place, parts: &[(&Self, &[u32])]) -> Result<Tensor> {
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
        if let Rows::OnGpu(table) = &first.rows {
            let mut sum = select(table, tokens).or_fail()?;
            for (table, rows) in others {
                let Rows::OnGpu(table) = &table.rows else {
                    return Err(Error::invalid_request("the tables of a sum are not on one device"));
                };
                sum = select(table, rows).and_then(|rows| sum.add(&rows)).or_fail()?;
            }
            return Ok(sum);
        }
        filled((tokens.len(), first.width), |to| {
            place.cpu.pool.parallel_chunks(to, first.width * TOKENS_AT_ONCE, |number, to| {
                for (i, to) in to.chunks_exact_mut(first.width).enumerate() {
                    let token = number * TOKENS_AT_ONCE + i;
                    first.put(tokens[token], to);
                    others.iter().for_each(|(table, rows)| table.add(rows[token], to));
                }
            });
            Ok(())
        })
    }

    fn check(&self, tokens: &[u32]) -> Result<()> {
        match tokens.iter().find(|token| **token as usize >= self.count) {
            Some(token) => Err(Error::invalid_request(format!("there is no row {token} of {}", self.count))),
            None => Ok(()),
        }
    }

    /// Writes a row.
    fn put(&self, row: u32, to: &mut [f32]) {
        self.each(row, to, |to, value| *to = value);
    }

    /// Adds a row.
    fn add(&self, row: u32, to: &mut [f32]) {
        self.each(row, to, |to, value| *to += value);
    }

    /// Takes the numbers of a row, as f32, to their places.
    fn each(&self, row: u32, to: &mut [f32], take: impl Fn(&mut f32, f32)) {
        let Rows::InFile(bytes, range, dtype) = &self.rows else { return };
        let size = self.width * dtype.size_in_bytes();
        let start = range.start + row as usize * size;
        let bytes = (**bytes).as_ref().get(start..start + size).unwrap_or_default();
        match dtype {
            DType::F16 => {
                to.iter_mut()
                    .zip(pairs(bytes))
                    .for_each(|(to, from)| take(to, f16::from_bits(from).to_f32()));
            }
            DType::BF16 => {
                to.iter_mut()
                    .zip(pairs(bytes))
                    .for_each(|(to, from)| take(to, bf16::from_bits(from).to_f32()));
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

fn select(table: &Tensor, rows: &[u32]) -> candle_core::Result<Tensor> {
    table.index_select(&Tensor::new(rows, table.device())?, 0)
}

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
    use super::super::testing::places;
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn rows_of_every_kind_of_number_are_what_the_file_says() {
        let values: Vec<f32> = (0..12_u8).map(|value| f32::from(value) * 0.25 - 1.0).collect();
        let f32s: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let f16s: Vec<u8> = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        let bf16s: Vec<u8> = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
        for place in places() {
            for (dtype, bytes) in [(DType::F32, &f32s), (DType::F16, &f16s), (DType::BF16, &bf16s)] {
                let table =
                    Embedding::new(&place, Arc::new(bytes.clone()), 0..bytes.len(), dtype, [3, 4]).unwrap();
                let rows = table.forward(&[2, 0]).unwrap().to_vec2::<f32>().unwrap();
                assert_eq!(rows, [&values[8..], &values[..4]], "{dtype:?}");
                assert_eq!(table.forward(&[3]).unwrap_err().kind(), ErrorKind::InvalidRequest);
            }
            let table = |bytes: &Vec<u8>, dtype, shape| {
                Embedding::new(&place, Arc::new(bytes.clone()), 0..bytes.len(), dtype, shape).unwrap()
            };
            let (words, places) = (table(&f32s, DType::F32, [3, 4]), table(&bf16s, DType::BF16, [3, 4]));
            let rows: Vec<u32> = (0..200).map(|token| token % 3).collect();
            let sum = Embedding::sum(&place, &[(&words, &rows), (&places, &[1; 200])]).unwrap();
            for (sum, row) in sum.to_vec2::<f32>().unwrap().iter().zip(&rows) {
                let row = &values[*row as usize * 4..][..4];
                let truth: Vec<f32> = row.iter().zip(&values[4..8]).map(|(a, b)| a + b).collect();
                assert_eq!(*sum, truth);
            }
            let narrow = table(&f32s, DType::F32, [4, 3]);
            for (other, rows) in [(&words, &[3, 0][..]), (&words, &[0]), (&narrow, &[0, 0])] {
                let error = Embedding::sum(&place, &[(&places, &[1, 2]), (other, rows)]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            }
            let short = Embedding::new(&place, Arc::new(f32s.clone()), 0..40, DType::F32, [3, 4]);
            assert_eq!(short.unwrap_err().kind(), ErrorKind::InvalidRequest);
        }
    }
}
