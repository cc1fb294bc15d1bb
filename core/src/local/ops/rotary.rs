//! Rotary position embeddings.

use candle_core::{D, DType, Device, Tensor};

use super::Place;
use super::tensor::{OrFail, filled, with_values};
use crate::error::{Error, Result};
use crate::local::kernels::rotary::{self, Heads, Layout, Table};

/// The turns of every position, computed once a model.
#[derive(Clone, Debug)]
pub struct Rotary {
    layout: Layout,
    pairs: usize,
    positions: usize,
    turns: Turns,
}

#[derive(Clone, Debug)]
enum Turns {
    OnCpu(Table),
    /// Cosines and sines, `[position, pair]` each.
    OnGpu(Tensor, Tensor),
}

impl Rotary {
    /// For positions below `positions`. A pair of numbers turns by its frequency a position; everything is multiplied
    /// with `scale`, which is 1 but for some stretched contexts.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU cannot hold the table.
    pub fn new(
        place: &Place,
        layout: Layout,
        frequencies: &[f32],
        positions: usize,
        scale: f32,
    ) -> Result<Self> {
        let turns = match place.device {
            Device::Cpu => Turns::OnCpu(Table::new(layout, frequencies, positions, scale)),
            _ => {
                let (cosines, sines) = tables(frequencies, positions, scale)?;
                let moved = |x: Tensor| x.to_device(&place.device).or_fail();
                Turns::OnGpu(moved(cosines)?, moved(sines)?)
            }
        };
        Ok(Self { layout, pairs: frequencies.len(), positions, turns })
    }

    /// The usual frequencies: `base^(-2i / width)` for every pair of `width` numbers.
    pub fn frequencies(width: usize, base: f32) -> Vec<f32> {
        Table::frequencies(width, base)
    }

    /// Turns `[token, head, number]`, a token a position. Numbers of a head past those that turn stay.
    ///
    /// # Errors
    /// `invalid_request` if the shape is another, or a position past the table.
    pub fn forward(&self, place: &Place, x: &Tensor, positions: &[u32]) -> Result<Tensor> {
        let &[tokens, heads, size] = x.dims() else {
            return Err(Error::invalid_request(format!("{:?} is not [token, head, number]", x.dims())));
        };
        if tokens != positions.len() || 2 * self.pairs > size {
            let (pairs, found) = (self.pairs, positions.len());
            let dims = x.dims();
            return Err(Error::invalid_request(format!(
                "{found} positions of {pairs} pairs cannot turn {dims:?}"
            )));
        }
        if let Some(past) = positions.iter().find(|position| **position as usize >= self.positions) {
            let most = self.positions;
            return Err(Error::invalid_request(format!("position {past} is past the last of {most}")));
        }
        match &self.turns {
            Turns::OnGpu(cosines, sines) => self.plain(x, cosines, sines, positions).or_fail(),
            Turns::OnCpu(table) => with_values("the input", x, |values| {
                filled(x.shape(), |to| {
                    to.copy_from_slice(values);
                    let heads = Heads { count: heads, size, stride: heads * size };
                    rotary::rotate(&place.cpu, to, heads, table, positions)
                })
            }),
        }
    }

    /// The turns by candle's own operations.
    fn plain(
        &self,
        x: &Tensor,
        cosines: &Tensor,
        sines: &Tensor,
        positions: &[u32],
    ) -> candle_core::Result<Tensor> {
        let (tokens, heads, size) = x.dims3()?;
        let chosen = Tensor::new(positions, x.device())?;
        let of_tokens = |table: &Tensor| table.index_select(&chosen, 0)?.reshape((tokens, 1, self.pairs));
        let (cosines, sines) = (of_tokens(cosines)?, of_tokens(sines)?);
        let width = 2 * self.pairs;
        let turning = x.narrow(D::Minus1, 0, width)?.to_dtype(DType::F32)?;
        let (a, b) = match self.layout {
            Layout::Halves => (
                turning.narrow(D::Minus1, 0, self.pairs)?,
                turning.narrow(D::Minus1, self.pairs, self.pairs)?,
            ),
            Layout::Interleaved => {
                let pairs = turning.reshape((tokens, heads, self.pairs, 2))?;
                (pairs.narrow(3, 0, 1)?.squeeze(3)?, pairs.narrow(3, 1, 1)?.squeeze(3)?)
            }
        };
        let first = (a.broadcast_mul(&cosines)? - b.broadcast_mul(&sines)?)?;
        let second = (b.broadcast_mul(&cosines)? + a.broadcast_mul(&sines)?)?;
        let turned = match self.layout {
            Layout::Halves => Tensor::cat(&[&first, &second], D::Minus1)?,
            Layout::Interleaved => Tensor::stack(&[&first, &second], 3)?.reshape((tokens, heads, width))?,
        };
        let turned = turned.to_dtype(x.dtype())?;
        if width == size {
            return Ok(turned);
        }
        Tensor::cat(&[&turned, &x.narrow(D::Minus1, width, size - width)?], D::Minus1)
    }
}

/// Cosines and sines on the CPU, `[position, pair]`.
fn tables(frequencies: &[f32], positions: usize, scale: f32) -> Result<(Tensor, Tensor)> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "as the kernels' table")]
    let angle = |i: usize| {
        let (position, pair) = (i / frequencies.len().max(1), i % frequencies.len().max(1));
        let (sine, cosine) = f64::from(position as f32 * frequencies[pair]).sin_cos();
        (cosine as f32 * scale, sine as f32 * scale)
    };
    let (cosines, sines): (Vec<f32>, Vec<f32>) = (0..positions * frequencies.len()).map(angle).unzip();
    let table =
        |values: Vec<f32>| Tensor::from_vec(values, (positions, frequencies.len()), &Device::Cpu).or_fail();
    Ok((table(cosines)?, table(sines)?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, noise, places};
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn both_layouts_turn_as_candle_computes() {
        let positions = [0, 7, 3, 99, 100];
        for (width, size) in [(16, 16), (12, 20)] {
            let x = noise(&[5, 3, size]);
            let frequencies = Rotary::frequencies(width, 10_000.0);
            let (cosines, sines) = tables(&frequencies, 101, 1.1).unwrap();
            for layout in [Layout::Interleaved, Layout::Halves] {
                for place in places() {
                    let rotary = Rotary::new(&place, layout, &frequencies, 101, 1.1).unwrap();
                    let truth = rotary.plain(&x, &cosines, &sines, &positions).unwrap();
                    let ours = rotary.forward(&place, &x, &positions).unwrap();
                    assert_near(&ours, &truth, 1e-6, &format!("{layout:?} {width} of {size}"));
                }
            }
        }
    }

    #[test]
    fn positions_past_the_table_and_other_shapes_are_errors() {
        let place = places().remove(0);
        let rotary = Rotary::new(&place, Layout::Halves, &Rotary::frequencies(8, 10_000.0), 4, 1.0).unwrap();
        for (dims, positions) in
            [(&[1, 1, 8][..], &[4][..]), (&[2, 1, 8], &[0]), (&[1, 1, 6], &[0]), (&[1, 8], &[0])]
        {
            let error = rotary.forward(&place, &noise(dims), positions).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        }
    }
}
