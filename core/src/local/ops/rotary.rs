//! Rotary position embeddings.

use candle_core::{D, DType, Device, Tensor};

use super::Place;
use super::norm::Norm;
use super::tensor::{OrFail, changed, filled, with_values};
use crate::error::{Error, Result};
use ayni_kernels::norm::rms_norm_heads;
use ayni_kernels::rotary::{self, Heads, Layout, Table};

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
        let (heads, size) = self.check(x, positions)?;
        match &self.turns {
            Turns::OnGpu(cosines, sines) => self.plain(x, cosines, sines, positions).or_fail(),
            Turns::OnCpu(table) => with_values("the input", x, |values| {
                filled(x.shape(), |to| {
                    to.copy_from_slice(values);
                    let heads = Heads { count: heads, size, stride: heads * size };
                    rotary::rotate(&place.cpu, to, heads, table, positions).or_fail()
                })
            }),
        }
    }

    /// Prepares the heads of queries and keys that a joined layer has just made, `[token, head, number]`, first
    /// `queries`, then `keys` heads, then those of values, which stay. Each may have a norm of its own before it turns.
    /// This happens where they lie: clones and views change too.
    ///
    /// # Errors
    /// `invalid_request` if the shape is another, a norm not one of root mean squares over a head, or a position past
    /// the table.
    pub fn turn_joined(
        &self,
        place: &Place,
        joined: Tensor,
        [queries, keys]: [usize; 2],
        norms: Option<[&Norm; 2]>,
        positions: &[u32],
    ) -> Result<Tensor> {
        let (heads, size) = self.check(&joined, positions)?;
        if queries + keys > heads || norms.is_some_and(|norms| norms.iter().any(|norm| !norm.is_rms_of(size)))
        {
            return Err(Error::invalid_request(format!(
                "{queries} and {keys} heads with their norms do not belong to {:?}",
                joined.dims()
            )));
        }
        let table = match &self.turns {
            Turns::OnCpu(table) => table,
            Turns::OnGpu(cosines, sines) => {
                let part = |first, count| joined.narrow(1, first, count).or_fail();
                let (mut first, mut second) = (part(0, queries)?, part(queries, keys)?);
                if let Some([of_queries, of_keys]) = norms {
                    (first, second) = (of_queries.plain(&first)?, of_keys.plain(&second)?);
                }
                let turned = Tensor::cat(&[first, second], 1).or_fail()?;
                let turned = self.plain(&turned, cosines, sines, positions).or_fail()?;
                return Tensor::cat(&[turned, part(queries + keys, heads - queries - keys)?], 1).or_fail();
            }
        };
        let of = |count| Heads { count, size, stride: heads * size };
        changed("the joined heads", joined, |values| {
            if let Some([of_queries, of_keys]) = norms {
                let rows = positions.len();
                of_queries
                    .with_scaling(|by| rms_norm_heads(&place.cpu, values, of(queries), rows, by).or_fail())?;
                if let Some(values) = values.get_mut(queries * size..) {
                    of_keys.with_scaling(|by| {
                        rms_norm_heads(&place.cpu, values, of(keys), rows, by).or_fail()
                    })?;
                }
            }
            rotary::rotate(&place.cpu, values, of(queries + keys), table, positions).or_fail()
        })
    }

    /// Checks what is turned; says how many heads there are and how long.
    fn check(&self, x: &Tensor, positions: &[u32]) -> Result<(usize, usize)> {
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
        Ok((heads, size))
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
    fn joined_heads_are_prepared_where_they_lie() {
        let positions = [0, 7, 3, 99, 100];
        let (x, weights) = (noise(&[5, 7, 16]), [noise(&[16]), (noise(&[16]) + 1.0).unwrap()]);
        let frequencies = Rotary::frequencies(16, 10_000.0);
        for place in places() {
            let rotary = Rotary::new(&place, Layout::Halves, &frequencies, 101, 1.0).unwrap();
            let norms = weights.clone().map(|weight| Norm::rms(&place, weight, 1e-6).unwrap());
            for norms in [None, Some([&norms[0], &norms[1]])] {
                let part = |first, count| x.narrow(1, first, count).unwrap().contiguous().unwrap();
                let turned = |part: Tensor, which: usize| {
                    let normal = norms.map(|norms| norms[which].forward(&place, &part).unwrap());
                    rotary.forward(&place, &normal.unwrap_or(part), &positions).unwrap()
                };
                let truth =
                    Tensor::cat(&[turned(part(0, 4), 0), turned(part(4, 2), 1), part(6, 1)], 1).unwrap();
                let ours = rotary.turn_joined(&place, x.copy().unwrap(), [4, 2], norms, &positions).unwrap();
                assert_near(&ours, &truth, 0.0, "joined");
            }
            let other = Norm::rms(&place, noise(&[8]), 1e-6).unwrap();
            for (heads, norms) in [([4, 4], None), ([4, 2], Some([&other, &other]))] {
                assert!(rotary.turn_joined(&place, x.copy().unwrap(), heads, norms, &positions).is_err());
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
