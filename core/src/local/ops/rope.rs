//! Rotary position embeddings, and queries, keys and values as heads.

use ayni_kernels::attention::Heads;
use ayni_kernels::norm::rms_norm_heads;
use ayni_kernels::rotary::{self, Layout, Table, TokenHeads};

use super::error::OrFail;
use super::gpu::rope::Tables;
use super::{Device, Norm, Tensor};
use crate::error::{Error, Result};

/// The cosines and sines of every position, made as far as texts reach.
#[derive(Clone, Debug)]
pub struct Rope {
    pairs: usize,
    positions: usize,
    table: OnDevice,
}

#[derive(Clone, Debug)]
enum OnDevice {
    Cpu(Table),
    Gpu(Tables),
}

impl Rope {
    /// For positions below `positions`. A pair of numbers rotates by its frequency times the position; everything is
    /// multiplied by `scale`, which is 1 but for some stretched contexts.
    pub fn new(device: &Device, layout: Layout, frequencies: &[f32], positions: usize, scale: f32) -> Self {
        let table = match device.gpu() {
            None => OnDevice::Cpu(Table::new(layout, frequencies, positions, scale)),
            Some(_) => OnDevice::Gpu(Tables::new(layout, frequencies, positions, scale)),
        };
        Self { pairs: frequencies.len(), positions, table }
    }

    /// The usual frequencies: `base^(-2i / width)` for every pair of `width` numbers.
    pub fn frequencies(width: usize, base: f32) -> Vec<f32> {
        Table::frequencies(width, base)
    }

    /// The same rope with the positions of another after its own, for models that rotate long texts otherwise than
    /// short ones.
    ///
    /// # Errors
    /// `invalid_request` if the two rotate other numbers of a head, or lie on two devices.
    pub fn followed_by(&self, other: &Self) -> Result<Self> {
        let table = match (&self.table, &other.table) {
            (OnDevice::Cpu(first), OnDevice::Cpu(second)) => {
                OnDevice::Cpu(first.followed_by(second).or_fail()?)
            }
            (OnDevice::Gpu(first), OnDevice::Gpu(second)) if self.pairs == other.pairs => {
                OnDevice::Gpu(first.followed_by(second))
            }
            _ => return Err(Error::invalid_request("two ropes that are not alike cannot be one")),
        };
        Ok(Self { pairs: self.pairs, positions: self.positions + other.positions, table })
    }

    fn check(&self, x: &Tensor, positions: &[u32]) -> Result<()> {
        let [tokens, _, size] = x.dims_of()?;
        if tokens != positions.len() {
            let found = positions.len();
            return Err(Error::invalid_request(format!("rope: expected {tokens} positions, found {found}")));
        }
        if 2 * self.pairs > size {
            let pairs = self.pairs;
            return Err(Error::invalid_request(format!(
                "rope: heads of {size} numbers have no {pairs} pairs"
            )));
        }
        match positions.iter().find(|position| **position as usize >= self.positions) {
            Some(position) => {
                let most = self.positions;
                Err(Error::invalid_request(format!("rope: position {position} is past the last of {most}")))
            }
            None => Ok(()),
        }
    }
}

/// What happens to the heads of queries and keys before attention.
#[derive(Clone, Copy, Debug, Default)]
pub struct QkPreparation<'a> {
    /// The norms of queries and of keys, over a head each.
    pub norms: Option<[&'a Norm; 2]>,
    /// The rotation that follows, and the position of every token.
    pub rope: Option<(&'a Rope, &'a [u32])>,
}

/// Queries, keys and values of a fused layer as heads, `[token, head, size]` each. On the CPU they are views of one
/// memory, in which queries and keys are prepared in place.
///
/// # Errors
/// `invalid_request` if the width is not that of the heads, a norm not one of root mean squares over a head, or a
/// position past the rope's last.
pub fn split_heads(qkv: impl Into<Tensor>, heads: Heads, prepare: QkPreparation<'_>) -> Result<[Tensor; 3]> {
    let qkv = qkv.into();
    let Heads { queries, keys, size } = heads;
    let (tokens, _) = qkv.rows("queries, keys and values")?;
    let count = queries + 2 * keys;
    let qkv = qkv.reshape([tokens, count, size])?;
    if let Some(norms) = prepare.norms
        && norms.iter().any(|norm| !norm.is_rms_of(size))
    {
        return Err(Error::invalid_request(format!(
            "the norms of queries and keys are not over {size} numbers"
        )));
    }
    if let Some((rope, positions)) = prepare.rope {
        rope.check(&qkv, positions)?;
    }
    if !qkv.device().is_cpu() {
        let [q, k, v] = parts(&qkv, heads)?;
        return Ok([on_gpu(q, prepare, 0)?, on_gpu(k, prepare, 1)?, v]);
    }
    let rows = |heads| TokenHeads { count: heads, size, stride: count * size };
    let norms = prepare.norms.map(|[q, k]| Ok::<_, Error>([q.scaling()?, k.scaling()?])).transpose()?;
    let table = match prepare.rope {
        None => None,
        Some((Rope { table: OnDevice::Cpu(table), .. }, positions)) => Some((table, positions)),
        Some(_) => return Err(Error::invalid_request("a rope: expected on the CPU, found on a GPU")),
    };
    let qkv = if norms.is_none() && table.is_none() {
        qkv
    } else {
        qkv.update_in_place(|cpu, values| {
            if let Some([of_queries, of_keys]) = norms {
                rms_norm_heads(cpu, values, rows(queries), tokens, of_queries)?;
                if let Some(values) = values.get_mut(queries * size..) {
                    rms_norm_heads(cpu, values, rows(keys), tokens, of_keys)?;
                }
            }
            table.map_or(Ok(()), |(table, positions)| {
                rotary::rotate(cpu, values, rows(queries + keys), table, positions)
            })
        })?
    };
    parts(&qkv, heads)
}

fn parts(qkv: &Tensor, Heads { queries, keys, .. }: Heads) -> Result<[Tensor; 3]> {
    Ok([qkv.narrow(1, 0, queries)?, qkv.narrow(1, queries, keys)?, qkv.narrow(1, queries + keys, keys)?])
}

/// Queries or keys on a GPU, each with its own norm.
fn on_gpu(x: Tensor, prepare: QkPreparation<'_>, which: usize) -> Result<Tensor> {
    let x = match prepare.norms {
        Some(norms) => norms[which].forward(x)?,
        None => x,
    };
    match prepare.rope {
        None => Ok(x),
        Some((Rope { table: OnDevice::Gpu(tables), .. }, positions)) => {
            Tensor::from_gpu(x.device(), tables.rotate(x.expect_gpu("a head")?, positions))
        }
        Some(_) => Err(Error::invalid_request("a rope: expected on the GPU, found on the CPU")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, devices, noise, on_gpu};
    use super::*;
    use crate::error::ErrorKind;

    const POSITIONS: [u32; 5] = [0, 7, 3, 99, 100];

    fn heads(size: usize) -> Heads {
        Heads { queries: 4, keys: 2, size }
    }

    #[test]
    fn both_layouts_rotate_as_candle_does() {
        for (width, size) in [(16, 16), (12, 20)] {
            let qkv = noise(&[5, 8 * size], 1.0);
            let frequencies = Rope::frequencies(width, 10_000.0);
            for layout in [Layout::Interleaved, Layout::Halves] {
                let of = |device: &Device| {
                    let rope = Rope::new(device, layout, &frequencies, 101, 1.1);
                    let prepare = QkPreparation { norms: None, rope: Some((&rope, &POSITIONS)) };
                    split_heads(qkv.tensor(device), heads(size), prepare).unwrap()
                };
                for device in devices() {
                    for (ours, truth) in of(&device).iter().zip(of(&on_gpu())) {
                        assert_near(ours, &truth, 1e-6, &format!("{layout:?} {width} of {size}"));
                    }
                }
            }
        }
    }

    #[test]
    fn heads_are_normed_and_rotated_in_place_as_apart() {
        let (qkv, weights) = (noise(&[5, 8 * 16], 1.0), [noise(&[16], 1.0), noise(&[16], 2.0)]);
        let frequencies = Rope::frequencies(16, 10_000.0);
        for device in devices().into_iter().chain([on_gpu()]) {
            let rope = Rope::new(&device, Layout::Halves, &frequencies, 101, 1.0);
            let [of_queries, of_keys] =
                weights.clone().map(|weight| Norm::rms(&device, &weight.weight(), 1e-6).unwrap());
            let all = QkPreparation { norms: Some([&of_queries, &of_keys]), rope: Some((&rope, &POSITIONS)) };
            let found = split_heads(qkv.tensor(&device), heads(16), all).unwrap();
            // The same one after the other.
            let [q, k, v] = split_heads(qkv.tensor(&device), heads(16), QkPreparation::default()).unwrap();
            let alone = |x: Tensor, count| {
                let flat = x.reshape([5, count * 16]).unwrap();
                let only = Heads { queries: count, keys: 0, size: 16 };
                let rotate = QkPreparation { norms: None, rope: Some((&rope, &POSITIONS)) };
                let [rotated, ..] = split_heads(flat, only, rotate).unwrap();
                rotated
            };
            let truth = [alone(of_queries.forward(q).unwrap(), 4), alone(of_keys.forward(k).unwrap(), 2), v];
            for (found, truth) in found.iter().zip(&truth) {
                assert_near(found, truth, 0.0, "prepared");
            }
            let narrow = Norm::rms(&device, &noise(&[8], 1.0).weight(), 1e-6).unwrap();
            let wrong = QkPreparation { norms: Some([&narrow, &narrow]), rope: None };
            assert!(split_heads(qkv.tensor(&device), heads(16), wrong).is_err());
            let held = qkv.tensor(&device);
            split_heads(&held, heads(16), all).unwrap();
            assert_near(&held, &qkv.tensor(&device), 0.0, "a tensor that is lent stays as it is");
        }
    }

    #[test]
    fn a_rope_after_another_rotates_by_its_own_frequencies() {
        let qkv = noise(&[5, 8 * 16], 1.0);
        for device in [devices().remove(0), on_gpu()] {
            let rope = |base| Rope::new(&device, Layout::Halves, &Rope::frequencies(16, base), 101, 1.0);
            let both = rope(1e4).followed_by(&rope(100.0)).unwrap();
            let rotated = |rope: &Rope, first: u32| {
                let positions = POSITIONS.map(|position| first + position);
                let prepare = QkPreparation { norms: None, rope: Some((rope, &positions)) };
                split_heads(qkv.tensor(&device), heads(16), prepare).unwrap()
            };
            for (first, base) in [(0, 1e4), (101, 100.0)] {
                for (found, truth) in rotated(&both, first).iter().zip(&rotated(&rope(base), 0)) {
                    assert_near(found, truth, 0.0, "one after another");
                }
            }
            let narrow = Rope::new(&device, Layout::Halves, &Rope::frequencies(8, 1e4), 4, 1.0);
            assert!(both.followed_by(&narrow).is_err());
        }
    }

    #[test]
    fn positions_past_the_table_and_other_shapes_are_errors() {
        for device in [devices().remove(0), on_gpu()] {
            let rope = Rope::new(&device, Layout::Halves, &Rope::frequencies(8, 10_000.0), 4, 1.0);
            for (tokens, width, size, positions) in
                [(1, 24, 8, &[4][..]), (2, 24, 8, &[0]), (1, 18, 6, &[0]), (1, 25, 8, &[0])]
            {
                let heads = Heads { queries: 1, keys: 1, size };
                let prepare = QkPreparation { norms: None, rope: Some((&rope, positions)) };
                let error =
                    split_heads(noise(&[tokens, width], 1.0).tensor(&device), heads, prepare).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
            }
        }
    }
}
