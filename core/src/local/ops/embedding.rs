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
        if let Some(token) = tokens.iter().find(|token| **token as usize >= self.count) {
            return Err(Error::invalid_request(format!("there is no row {token} of {}", self.count)));
        }
        match &self.rows {
            Rows::InFile(bytes, range, dtype) => {
                let table = (**bytes).as_ref().get(range.clone()).unwrap_or_default();
                let size = self.width * dtype.size_in_bytes();
                filled((tokens.len(), self.width), |to| {
                    for (to, token) in to.chunks_exact_mut(self.width).zip(tokens) {
                        let start = *token as usize * size;
                        widen(table.get(start..start + size).unwrap_or_default(), *dtype, to);
                    }
                    Ok(())
                })
            }
            Rows::OnGpu(table) => Tensor::new(tokens, table.device())
                .and_then(|tokens| table.index_select(&tokens, 0))
                .or_fail(),
        }
    }
}

/// Numbers of a file as f32.
fn widen(bytes: &[u8], dtype: DType, to: &mut [f32]) {
    match dtype {
        DType::F16 => {
            to.iter_mut().zip(pairs(bytes)).for_each(|(to, from)| *to = f16::from_bits(from).to_f32())
        }
        DType::BF16 => {
            to.iter_mut().zip(pairs(bytes)).for_each(|(to, from)| *to = bf16::from_bits(from).to_f32())
        }
        _ => {
            let (quads, _) = bytes.as_chunks();
            to.iter_mut().zip(quads).for_each(|(to, quad)| *to = f32::from_le_bytes(*quad));
        }
    }
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
            let short = Embedding::new(&place, Arc::new(f32s.clone()), 0..40, DType::F32, [3, 4]);
            assert_eq!(short.unwrap_err().kind(), ErrorKind::InvalidRequest);
        }
    }
}
