//! Rotary position embeddings.

use std::sync::{Arc, Mutex, PoisonError};

use ayni_kernels::rotary::Layout;
use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::rotary_emb::{rope_i, rope_thd};

/// Positions of the first table.
const MIN_POSITIONS: usize = 512;

/// The cosines and sines of positions: a table on a GPU that grows with the texts. A model may claim a window of millions.
#[derive(Clone, Debug)]
pub(in super::super) struct Tables {
    layout: Layout,
    frequencies: Arc<[f32]>,
    /// The most positions.
    positions: usize,
    scale: f32,
    /// The frequencies and the scale from a position on, where the counting starts again.
    then: Option<(usize, Arc<[f32]>, f32)>,
    made: Arc<Mutex<Option<Made>>>,
}

/// Cosines and sines, `[position, pair]` each, in f32.
#[derive(Clone, Debug)]
struct Made {
    cosines: Tensor,
    sines: Tensor,
}

impl Tables {
    /// As the kernels' table.
    pub(in super::super) fn new(layout: Layout, frequencies: &[f32], positions: usize, scale: f32) -> Self {
        Self { layout, frequencies: frequencies.into(), positions, scale, then: None, made: Arc::default() }
    }

    /// The tables with at least so many positions.
    fn up_to(&self, gpu: &Device, positions: usize) -> Result<Made> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*made
            && made.cosines.dim(0)? >= positions
        {
            return Ok(made.clone());
        }
        let longer = positions.next_power_of_two().max(MIN_POSITIONS).min(self.positions);
        Ok(made.insert(self.make(gpu, longer)?).clone())
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "as the kernels' table")]
    fn make(&self, gpu: &Device, positions: usize) -> Result<Made> {
        let pairs = self.frequencies.len();
        let angle = |index: usize| {
            let (position, pair) = (index / pairs.max(1), index % pairs.max(1));
            let (frequencies, scale, counted) = match &self.then {
                Some((first, frequencies, scale)) if position >= *first => {
                    (frequencies, *scale, position - first)
                }
                _ => (&self.frequencies, self.scale, position),
            };
            let (sine, cosine) = f64::from(counted as f32 * frequencies[pair]).sin_cos();
            (cosine as f32 * scale, sine as f32 * scale)
        };
        let (cosines, sines): (Vec<f32>, Vec<f32>) = (0..positions * pairs).map(angle).unzip();
        let table = |values: Vec<f32>| Tensor::from_vec(values, (positions, pairs), gpu);
        Ok(Made { cosines: table(cosines)?, sines: table(sines)? })
    }

    /// The same tables with the positions of others, which have as many pairs, after their own.
    pub(in super::super) fn followed_by(&self, other: &Self) -> Self {
        Self {
            positions: self.positions + other.positions,
            then: Some((self.positions, Arc::clone(&other.frequencies), other.scale)),
            made: Arc::default(),
            ..self.clone()
        }
    }

    /// Rotates `[token, head, size]`, a position a token. The numbers of a head past the table's pairs stay.
    pub(in super::super) fn rotate(&self, x: &Tensor, positions: &[u32]) -> Result<Tensor> {
        if x.elem_count() == 0 {
            return Ok(x.clone());
        }
        let size = x.dim(D::Minus1)?;
        let width = 2 * self.frequencies.len();
        let last = positions.iter().max().map_or(0, |position| *position as usize);
        let made = self.up_to(x.device(), last + 1)?;
        let positions = Tensor::new(positions, x.device())?;
        let (cosines, sines) =
            (made.cosines.index_select(&positions, 0)?, made.sines.index_select(&positions, 0)?);
        let rotating = x.narrow(D::Minus1, 0, width)?.to_dtype(DType::F32)?.contiguous()?;
        let rotated = match self.layout {
            // One batch of `[token, head, size]`.
            Layout::Halves => rope_thd(&rotating.unsqueeze(0)?, &cosines, &sines)?.squeeze(0)?,
            // A batch for each token, with its own cosines: `[token, head, 1, size]`.
            Layout::Interleaved => {
                rope_i(&rotating.unsqueeze(2)?, &cosines.unsqueeze(1)?, &sines.unsqueeze(1)?)?.squeeze(2)?
            }
        };
        let rotated = rotated.to_dtype(x.dtype())?;
        if width == size {
            return Ok(rotated);
        }
        Tensor::cat(&[&rotated, &x.narrow(D::Minus1, width, size - width)?], D::Minus1)
    }
}
