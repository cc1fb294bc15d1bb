//! Rotary position embeddings.

use ayni_kernels::rotary::Layout;
use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::rotary_emb::{rope_i, rope_thd};

/// The cosines and sines of every position, `[position, pair]` each, in f32.
#[derive(Clone, Debug)]
pub(in super::super) struct Tables {
    layout: Layout,
    cosines: Tensor,
    sines: Tensor,
}

impl Tables {
    /// As the kernels' table, moved to a GPU.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "as the kernels' table")]
    pub(in super::super) fn new(
        gpu: &Device,
        layout: Layout,
        frequencies: &[f32],
        positions: usize,
        scale: f32,
    ) -> Result<Self> {
        let pairs = frequencies.len();
        let angle = |index: usize| {
            let (position, pair) = (index / pairs.max(1), index % pairs.max(1));
            let (sine, cosine) = f64::from(position as f32 * frequencies[pair]).sin_cos();
            (cosine as f32 * scale, sine as f32 * scale)
        };
        let (cosines, sines): (Vec<f32>, Vec<f32>) = (0..positions * pairs).map(angle).unzip();
        let table = |values: Vec<f32>| Tensor::from_vec(values, (positions, pairs), gpu);
        Ok(Self { layout, cosines: table(cosines)?, sines: table(sines)? })
    }

    /// The same tables with the positions of others after their own.
    pub(in super::super) fn followed_by(&self, other: &Self) -> Result<Self> {
        let joined = |first, second| Tensor::cat(&[first, second], 0);
        Ok(Self {
            layout: self.layout,
            cosines: joined(&self.cosines, &other.cosines)?,
            sines: joined(&self.sines, &other.sines)?,
        })
    }

    /// Rotates `[token, head, size]`, a position a token. The numbers of a head past the table's pairs stay.
    pub(in super::super) fn rotate(&self, x: &Tensor, positions: &[u32]) -> Result<Tensor> {
        if x.elem_count() == 0 {
            return Ok(x.clone());
        }
        let size = x.dim(D::Minus1)?;
        let width = 2 * self.cosines.dim(D::Minus1)?;
        let positions = Tensor::new(positions, x.device())?;
        let (cosines, sines) =
            (self.cosines.index_select(&positions, 0)?, self.sines.index_select(&positions, 0)?);
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
