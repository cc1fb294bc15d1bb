//! The experts of gpt-oss as its safetensors hold them: each tensor has those of all experts, gates and what they gate in
//! turn, in plain numbers with rows and columns exchanged, or in MXFP4 with blocks and scales apart.

use candle_core::DType;

use super::parameters::Parameters;
use super::tensor::{Encoding, StoredTensor};
use super::{Weights, load_error};
use crate::error::Result;
use crate::local::ops::Format;

/// Numbers of a block of MXFP4.
const BLOCK: usize = 32;

/// One expert's `gate_proj`, `up_proj` and `down_proj`, each with its bias, in the order in which layers are multiplied. The
/// expert is number [`Parameters::of_stack`]; it is copied.
///
/// # Errors
/// `model_load` if a tensor is missing, or has another shape or type.
pub(crate) fn gpt_oss_expert(experts: &Parameters<'_>, [hidden, inner]: [usize; 2]) -> Result<Weights> {
    // Which of the rows in the file: all, or every other one.
    let layers = [
        ("gate_proj", "gate_up_proj", [2 * inner, hidden], (0, 2)),
        ("up_proj", "gate_up_proj", [2 * inner, hidden], (1, 2)),
        ("down_proj", "down_proj", [hidden, inner], (0, 1)),
    ];
    let mut weights = Weights::default();
    for (name, stored, [outputs, inputs], rows) in layers {
        let chosen = (rows.0..outputs).step_by(rows.1);
        let shape = vec![chosen.len(), inputs];
        let (bytes, encoding) = match experts.has(&format!("{stored}_blocks")) {
            true => (mxfp4(experts, stored, [outputs, inputs], chosen)?, Encoding::Blocks(Format::Mxfp4)),
            false => transposed(experts, stored, [outputs, inputs], chosen)?,
        };
        weights.tensors.insert(format!("{name}.weight"), StoredTensor::in_memory(bytes, shape, encoding));
        let bias = experts.find(&format!("{stored}_bias"), &[outputs])?;
        let (dtype, bytes) = plain(&bias)?;
        let size = dtype.size_in_bytes();
        let bytes: Vec<u8> =
            bytes.chunks_exact(size).skip(rows.0).step_by(rows.1).flatten().copied().collect();
        let shape = vec![bytes.len() / size];
        let bias = StoredTensor::in_memory(bytes, shape, Encoding::Plain(dtype));
        weights.tensors.insert(format!("{name}.bias"), bias);
    }
    Ok(weights)
}

/// The dtype and the bytes of plain numbers in order.
fn plain(stored: &StoredTensor) -> Result<(DType, &[u8])> {
    match (stored.plain_bytes(), stored.description()) {
        (Some(found), _) => Ok(found),
        (None, description) => Err(load_error(format!("experts stored as {description} are not supported"))),
    }
}

/// Some rows of a matrix that is stored column after column.
fn transposed(
    experts: &Parameters<'_>,
    name: &str,
    [outputs, inputs]: [usize; 2],
    rows: impl Iterator<Item = usize>,
) -> Result<(Vec<u8>, Encoding)> {
    let stored = experts.find(name, &[inputs, outputs])?;
    let (dtype, bytes) = plain(&stored)?;
    let size = dtype.size_in_bytes();
    let mut matrix = Vec::with_capacity(bytes.len());
    for row in rows {
        let numbers = bytes.chunks_exact(size).skip(row).step_by(outputs);
        matrix.extend(numbers.flatten());
    }
    Ok((matrix, Encoding::Plain(dtype)))
}

/// Some rows of a matrix in MXFP4, as GGUF has them: a block's scale is before it, and a byte has two numbers that are half
/// a block apart, not neighbours.
fn mxfp4(
    experts: &Parameters<'_>,
    name: &str,
    [outputs, inputs]: [usize; 2],
    rows: impl Iterator<Item = usize>,
) -> Result<Vec<u8>> {
    let count = inputs / BLOCK;
    let blocks = experts.find(&format!("{name}_blocks"), &[outputs, count, BLOCK / 2])?;
    let scales = experts.find(&format!("{name}_scales"), &[outputs, count])?;
    if !inputs.is_multiple_of(BLOCK) || !blocks.is_u8() || !scales.is_u8() {
        return Err(load_error(format!("`{name}_blocks` and `{name}_scales` are no MXFP4")));
    }
    let (blocks, scales) = (blocks.stored_bytes(), scales.stored_bytes());
    let mut found = Vec::new();
    for row in rows {
        let numbers = row * count..(row + 1) * count;
        for (block, scale) in blocks.chunks_exact(BLOCK / 2).zip(scales).take(numbers.end).skip(numbers.start)
        {
            found.push(*scale);
            found.extend(regrouped(block));
        }
    }
    Ok(found)
}

/// A block whose bytes have neighbours, as one whose bytes have numbers that are half a block apart.
fn regrouped(block: &[u8]) -> impl Iterator<Item = u8> {
    let number = |at: usize| (block[at / 2] >> (4 * (at % 2))) & 15;
    (0..BLOCK / 2).map(move |at| number(at) | number(at + BLOCK / 2) << 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_moved_half_a_block_apart() {
        let numbers: Vec<u8> = (0..32).map(|number| number * 7 % 16).collect();
        let neighbours: Vec<u8> = numbers.chunks_exact(2).map(|pair| pair[0] | pair[1] << 4).collect();
        let regrouped: Vec<u8> = regrouped(&neighbours).collect();
        let (first, second): (Vec<u8>, Vec<u8>) = regrouped.iter().map(|byte| (byte & 15, byte >> 4)).unzip();
        assert_eq!([first, second].concat(), numbers);
    }
}
