//! Products with weights in the formats of GGUF files, without widening them.
//!
//! `format.rs` names the formats; `simple.rs` and `super_blocks.rs` parse their blocks into codes and scales
//! (`block.rs`), `quantise.rs` writes some; `tile.rs` is the packed order for multiplying. `activations.rs` quantises
//! the other operand; `quantised.rs` is the inner loop over blocks, `wide.rs` that over f16 and bf16; `multiply.rs` is
//! what both share, and `matmul.rs` cuts the work. `amx.rs` multiplies many rows in tiles, with the same bits.
//!
//! Weights are used exactly as the file has them. With block formats, activations are rounded to 8 bits with a scale
//! for every 32 (see [`QuantisedWeights::matmul`]). Products of 32 (16, where the format has scales for 16) are summed
//! exactly in integers; these sums are scaled and added in f32 in the order of the row, whatever the number of rows and
//! threads.

mod activations;
#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) mod amx;
mod block;
mod format;
mod matmul;
mod multiply;
mod quantise;
mod quantised;
mod simple;
mod super_blocks;
mod tile;
mod wide;

#[cfg(test)]
mod tests;

use std::fmt;

use super::Cpu;
use super::buffer::Aligned;
use super::pool::SharedStart;
use crate::error::{KernelError, Result};
use block::{Block, Shape};
use quantised::{BlockFormat, with_kind};

pub use format::Format;

/// A matrix of weights from a GGUF file, packed for multiplying. It replaces the file's bytes, which need not be kept.
/// Packed the same way for every instruction set.
#[derive(Clone)]
pub struct QuantisedWeights {
    format: Format,
    outputs: usize,
    inputs: usize,
    data: Aligned<u8>,
}

impl QuantisedWeights {
    /// Packs `n` rows of `k` weights, given row after row as in the file; several tensors give theirs one after another.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if rows are not whole blocks of the format, or `tensors` have another size.
    pub fn from_ggml(cpu: &Cpu, format: Format, tensors: &[&[u8]], n: usize, k: usize) -> Result<Self> {
        let (wanted, row_bytes) = (format.bytes(n, k)?, format.bytes(1, k)?.max(1));
        let found: usize = tensors.iter().map(|bytes| bytes.len()).sum();
        if found != wanted || tensors.iter().any(|bytes| !bytes.len().is_multiple_of(row_bytes)) {
            let name = format.name();
            return Err(KernelError::shape(format!(
                "{n} rows of {k} weights in {name}: expected {wanted} bytes, found {found}"
            )));
        }
        let mut weights = Self { format, outputs: n, inputs: k, data: Aligned::EMPTY };
        let panel_bytes = weights.panel_bytes();
        let total = n.div_ceil(tile::ROWS).checked_mul(panel_bytes);
        let total = total.ok_or_else(|| KernelError::shape("the weights do not fit memory"))?;
        weights.data = Aligned::zeroed(total)?;
        let rows: Vec<&[u8]> = tensors.iter().flat_map(|bytes| bytes.chunks_exact(row_bytes)).collect();
        cpu.pool.parallel_chunks(&mut weights.data, panel_bytes, |panel, to| {
            for (row, bytes) in rows.iter().skip(panel * tile::ROWS).take(tile::ROWS).enumerate() {
                with_kind!(
                    format, K => write_row::<K>(bytes, row, to),
                    Format::F16 | Format::Bf16 => wide::write(to, row, bytes)
                );
            }
        });
        Ok(weights)
    }

    /// Multiplies `m` rows of [`inputs`](Self::inputs) numbers by the weights, into rows of [`outputs`](Self::outputs)
    /// numbers.
    ///
    /// With block formats, `x` is rounded to 8 bits first: a number is off by at most 1/254 of the largest absolute
    /// value among the 32 of its unit (positions 0 to 31, 32 to 63, …), and a row of `y` is NaN where its row of `x`
    /// has a number that is not finite. F16 and BF16 multiply `x` as it is.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if `x` or `y` has another size.
    pub fn matmul(&self, cpu: &Cpu, x: &[f32], m: usize, y: &mut [f32]) -> Result<()> {
        let check = |name: &str, found: usize, width: usize| {
            if m.checked_mul(width) == Some(found) {
                return Ok(());
            }
            Err(KernelError::shape(format!(
                "{name}: expected {m} rows of {width} numbers, found {found} numbers"
            )))
        };
        check("`x`", x.len(), self.inputs)?;
        check("`y`", y.len(), self.outputs)?;
        let (rows, outputs, k, y) = (m, self.outputs, self.inputs, SharedStart(y.as_mut_ptr()));
        matmul::BlockMatmul { weights: &self.data, x, rows, outputs, k, y }.run(cpu, self.format);
        Ok(())
    }

    /// Writes the numbers of a row, exactly those of the file's blocks: the lookup of an embedding table.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if there is no such row or `to` has another length than a row.
    pub fn dequantise_row(&self, row: usize, to: &mut [f32]) -> Result<()> {
        if row >= self.outputs || to.len() != self.inputs {
            let (rows, length, found) = (self.outputs, self.inputs, to.len());
            return Err(KernelError::shape(format!(
                "row {row} of {rows}: expected {length} numbers, found {found}"
            )));
        }
        let panel_bytes = self.panel_bytes();
        let start = row / tile::ROWS * panel_bytes;
        let (panel, row) = (&self.data[start..start + panel_bytes], row % tile::ROWS);
        match self.format.shape() {
            None => {
                let bits = wide::read(panel, row);
                to.iter_mut().zip(bits).for_each(|(to, bits)| *to = self.format.half(bits));
            }
            Some(shape) => {
                let tiles = panel.chunks_exact(shape.tile_bytes()).zip(to.chunks_exact_mut(shape.length()));
                tiles.for_each(|(tile, to)| tile::read(&shape, tile, row).dequantise(&shape, to));
            }
        }
        Ok(())
    }

    /// The format of the file.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Output features.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Input features.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Memory of the weights in bytes.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    fn panel_bytes(&self) -> usize {
        let tiles = self.inputs / self.format.block_length();
        tiles * self.format.shape().as_ref().map_or(tile::HALVES, Shape::tile_bytes)
    }
}

/// Writes the blocks of a row to its panel.
fn write_row<K: BlockFormat>(bytes: &[u8], row: usize, panel: &mut [u8]) {
    let mut block = Block::default();
    let blocks = bytes.chunks_exact(K::FORMAT.block_bytes());
    for (tile, bytes) in panel.chunks_exact_mut(K::SHAPE.tile_bytes()).zip(blocks) {
        K::parse(&mut block, bytes);
        tile::write(&K::SHAPE, tile, row, &block);
    }
}

impl fmt::Debug for QuantisedWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuantisedWeights({} × {}, {})", self.outputs, self.inputs, self.format.name())
    }
}
