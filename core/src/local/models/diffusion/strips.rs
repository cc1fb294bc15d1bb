//! The last levels of a decoder in strips of rows, so that no whole image of theirs is ever in memory.
//!
//! Norms are exact: before a strip can be normed, the sums of the whole image at that place are needed. So the strips are
//! computed from the start once for each norm, each time up to the next one. That costs time, and no memory.

use super::Bounds;
use super::resnet::{Resnet, Upsample};
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Activation, ChannelSums, Conv2d, Epilogue, Geometry, Norm, Tensor};

/// Rows that a strip has at least.
const MIN_ROWS: usize = 8;

/// One part of the levels.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage<'a> {
    Resnet(&'a Resnet),
    Upsample(&'a Upsample),
}

/// The levels over an image that is in memory.
pub(super) struct Strips<'a> {
    base: Tensor,
    stages: Vec<Stage<'a>>,
    out: (&'a Norm, &'a Conv2d),
    bounds: &'a Bounds<'a>,
    /// Height and width after each stage; the first is that of the base.
    sizes: Vec<[usize; 2]>,
    /// Sums before each stage's first norm (and at the end before the last norm), and before its second.
    sums: Vec<[ChannelSums; 2]>,
    /// Rows of a strip at full size.
    rows: usize,
}

impl<'a> Strips<'a> {
    /// # Errors
    /// `out_of_memory` if not even the smallest strips fit the bounds.
    pub(super) fn new(
        base: Tensor,
        stages: Vec<Stage<'a>>,
        out: (&'a Norm, &'a Conv2d),
        bounds: &'a Bounds<'a>,
    ) -> Result<Self> {
        let [_, height, width, channels] = base.dims_of()?;
        let mut sizes = vec![[height, width]];
        for stage in &stages {
            let [height, width] = sizes[sizes.len() - 1];
            sizes.push(match stage {
                Stage::Resnet(_) => [height, width],
                Stage::Upsample(_) => [2 * height, 2 * width],
            });
        }
        let [full, width] = sizes[sizes.len() - 1];
        // A strip of the widest stage with the one before it and what lies between: four rows of it, and as many rows
        // above and below as later stages look at.
        let row_bytes = 4 * width * channels * size_of::<f32>();
        let around = 4 * stages.len();
        let base_bytes = base.dims().iter().product::<usize>() * size_of::<f32>();
        let room = bounds.max_bytes.unwrap_or(usize::MAX).saturating_sub(base_bytes) / row_bytes.max(1);
        let rows = room.saturating_sub(around).min(full);
        if rows < MIN_ROWS.min(full) {
            let needed = base_bytes + (around + MIN_ROWS) * row_bytes;
            return Err(Error::new(
                ErrorKind::OutOfMemory,
                format!(
                    "decoding in strips needs {needed} bytes; {} are allowed",
                    bounds.max_bytes.unwrap_or(0)
                ),
            ));
        }
        let sums = vec![Default::default(); stages.len() + 1];
        Ok(Self { base, stages, out, bounds, sizes, sums, rows })
    }

    pub(super) fn forward(mut self) -> Result<Tensor> {
        for number in 0..=self.stages.len() {
            let has_norm = self.stages.get(number).is_none_or(|stage| matches!(stage, Stage::Resnet(_)));
            if !has_norm {
                continue;
            }
            let mut sums = ChannelSums::default();
            self.each_strip(number, |strips, from, to| sums.add(&strips.before(number, from, to)?))?;
            self.sums[number][0] = sums;
            if let Some(Stage::Resnet(resnet)) = self.stages.get(number).copied() {
                let mut sums = ChannelSums::default();
                self.each_strip(number, |strips, from, to| {
                    sums.add(&strips.hidden(number, resnet, from, to)?.0)
                })?;
                self.sums[number][1] = sums;
            }
        }
        let last = self.stages.len();
        let [height, width] = self.sizes[last];
        let mut image = Vec::new();
        self.each_strip(last, |strips, from, to| {
            let (norm, conv) = strips.out;
            let (first, end) = (from.saturating_sub(1), (to + 1).min(height));
            let x = strips.before(last, first, end)?;
            let x = norm.forward_with_sums(x, &strips.sums[last][0], Activation::Silu)?;
            image.extend_from_slice(&windowed(conv, x, [from, to], height, Epilogue::default())?.values()?);
            Ok(())
        })?;
        let channels = image.len() / (height * width).max(1);
        Tensor::from_vec(self.base.device(), image, [1, height, width, channels])
    }

    /// Calls `work` with the rows of each strip before a stage.
    fn each_strip(
        &self,
        stage: usize,
        mut work: impl FnMut(&Self, usize, usize) -> Result<()>,
    ) -> Result<()> {
        let [height, _] = self.sizes[stage];
        // Smaller images are not as wide either.
        let rows = self.rows * self.sizes[self.stages.len()][1] / self.sizes[stage][1].max(1);
        for from in (0..height).step_by(rows.max(1)) {
            self.bounds.check()?;
            work(self, from, (from + rows).min(height))?;
        }
        Ok(())
    }

    /// Some rows of what goes into a stage.
    fn before(&self, stage: usize, from: usize, to: usize) -> Result<Tensor> {
        let Some(last) = stage.checked_sub(1) else { return self.base.narrow(1, from, to - from) };
        let [height, width] = self.sizes[stage];
        match self.stages[last] {
            Stage::Upsample(upsample) => {
                let (first, end) = (from.saturating_sub(1), (to + 1).min(height));
                let (first_half, end_half) = (first / 2, end.div_ceil(2));
                let half = self.before(last, first_half, end_half)?;
                let doubled = half.doubled_to(2 * (end_half - first_half), width)?;
                let rows = doubled.narrow(1, first - 2 * first_half, end - first)?;
                windowed(&upsample.plain, rows, [from, to], height, Epilogue::default())
            }
            Stage::Resnet(resnet) => {
                let (first, end) = (from.saturating_sub(1), (to + 1).min(height));
                let (hidden, x, first_of_x) = self.hidden(last, resnet, first, end)?;
                let hidden = resnet.norm2.forward_with_sums(hidden, &self.sums[last][1], Activation::Silu)?;
                let x = x.narrow(1, from - first_of_x, to - from)?;
                let x = match &resnet.shortcut {
                    Some(shortcut) => shortcut.forward(x)?,
                    None => x,
                };
                windowed(&resnet.conv2, hidden, [from, to], height, Epilogue::residual(x))
            }
        }
    }

    /// Some rows between the two halves of a residual block; and the rows of its input that it looked at, from which on.
    fn hidden(
        &self,
        stage: usize,
        resnet: &Resnet,
        from: usize,
        to: usize,
    ) -> Result<(Tensor, Tensor, usize)> {
        let [height, _] = self.sizes[stage];
        let (first, end) = (from.saturating_sub(1), (to + 1).min(height));
        let x = self.before(stage, first, end)?;
        let normal = resnet.norm1.forward_with_sums(x.clone(), &self.sums[stage][0], Activation::Silu)?;
        Ok((windowed(&resnet.conv1, normal, [from, to], height, Epilogue::default())?, x, first))
    }
}

/// A convolution with windows of three rows, of a strip with one row more above and below: there is padding only where the
/// image ends.
fn windowed(
    conv: &Conv2d,
    x: Tensor,
    [from, to]: [usize; 2],
    height: usize,
    epilogue: Epilogue,
) -> Result<Tensor> {
    let padding = [usize::from(from == 0), usize::from(to == height), 1, 1];
    conv.with_geometry(Geometry { padding, ..Geometry::default() }).forward_with(x, epilogue, None)
}
