//! What UNets and VAEs share: residual blocks, and convolutions that halve or double an image.

use crate::error::Result;
use crate::local::ops::{Activation, Conv2d, Epilogue, Geometry, Linear, Norm, Tensor};
use crate::local::weights::Parameters;

/// Groups of channels of norms, and their epsilon.
#[derive(Clone, Copy, Debug)]
pub(super) struct Groups {
    pub(super) count: usize,
    pub(super) epsilon: f64,
}

/// Two convolutions with norms before them, added to their input.
#[derive(Debug)]
pub(super) struct Resnet {
    pub(super) norm1: Norm,
    pub(super) conv1: Conv2d,
    /// What the embedding of the timestep adds after the first convolution.
    time: Option<Linear>,
    pub(super) norm2: Norm,
    pub(super) conv2: Conv2d,
    pub(super) shortcut: Option<Conv2d>,
}

impl Resnet {
    /// A block from so many channels to so many; `time` is the width of the timestep's embedding.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn new(
        weights: &Parameters<'_>,
        [inputs, outputs]: [usize; 2],
        time: Option<usize>,
        groups: Groups,
    ) -> Result<Self> {
        let Groups { count, epsilon } = groups;
        let padded = Geometry::padded(1);
        let time = time.map(|width| {
            let here = weights.at("time_emb_proj");
            let bias = here.tensor("bias", &[outputs])?;
            here.linear_in(
                weights.device.precision_above_int8(),
                (here.tensor("weight", &[outputs, width])?, Some(bias)),
            )
        });
        let has_shortcut = inputs != outputs;
        let shortcut = has_shortcut
            .then(|| weights.conv("conv_shortcut", [inputs, outputs], 1, Geometry::default()))
            .transpose()?;
        Ok(Self {
            norm1: weights.group_norm("norm1", inputs, count, epsilon)?,
            conv1: weights.conv("conv1", [inputs, outputs], 3, padded)?,
            time: time.transpose()?,
            norm2: weights.group_norm("norm2", outputs, count, epsilon)?,
            conv2: weights.conv("conv2", [outputs, outputs], 3, padded)?,
            shortcut,
        })
    }

    /// `time` is the activated embedding of the timestep, a row an image.
    pub(super) fn forward(&self, x: Tensor, time: Option<&Tensor>) -> Result<Tensor> {
        let of_time = self.time.as_ref().zip(time).map(|(layer, time)| layer.forward(time)).transpose()?;
        // The shortcut first, so that the norm may take the memory of `x`.
        let (residual, x) = match &self.shortcut {
            Some(shortcut) => (shortcut.forward(&x)?, x),
            None => (x.clone(), x),
        };
        let hidden = self.norm1.forward_with(x, Activation::Silu)?;
        let hidden = self.conv1.forward_with(hidden, Epilogue::default(), of_time.as_ref())?;
        let hidden = self.norm2.forward_with(hidden, Activation::Silu)?;
        self.conv2.forward_with(hidden, Epilogue::residual(residual), None)
    }
}

/// Half the size: a convolution with stride two. VAEs pad below and right only.
pub(super) fn downsample(weights: &Parameters<'_>, channels: usize, padding: [usize; 4]) -> Result<Conv2d> {
    let geometry = Geometry { stride: 2, padding, doubled: false };
    weights.conv("downsamplers.0.conv", [channels; 2], 3, geometry)
}

/// Twice the size: each pixel four times, and a convolution.
#[derive(Debug)]
pub(super) struct Upsample {
    conv: Conv2d,
    /// The same convolution for an image that was doubled before.
    pub(super) plain: Conv2d,
}

impl Upsample {
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn new(weights: &Parameters<'_>, channels: usize) -> Result<Self> {
        let conv = weights.conv(
            "upsamplers.0.conv",
            [channels; 2],
            3,
            Geometry { doubled: true, ..Geometry::padded(1) },
        )?;
        let plain = conv.with_geometry(Geometry::padded(1));
        Ok(Self { conv, plain })
    }

    /// To the given height and width, which are the double or one less.
    pub(super) fn forward(&self, x: Tensor, size: Option<[usize; 2]>) -> Result<Tensor> {
        let [_, height, width, _] = x.dims_of()?;
        match size {
            Some([rows, columns]) if [rows, columns] != [2 * height, 2 * width] => {
                self.plain.forward(x.doubled_to(rows, columns)?)
            }
            _ => self.conv.forward(x),
        }
    }
}
