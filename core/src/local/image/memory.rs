//! What an image takes in memory, before it is begun.
//!
//! Weights stay as they are loaded. Beside them, each image in progress holds its latents and conditioning; a step holds
//! the activations of all rows of one size, and the VAE those of one image at full size.

use std::sync::atomic::{AtomicU64, Ordering};

use super::pipeline::{Facts, LatentShape};
use crate::error::{Error, ErrorKind, Result};
use crate::local::runtime::available_memory;

/// Bytes of a number.
const NUMBER: u64 = 4;

/// What is kept by threads for their next tensors, whatever the size.
const BASE_BYTES: u64 = 48 << 20;

/// Tensors of a level's size that live at the same time in its largest layer: the gated feed-forward of a transformer
/// has eight times the channels, beside its input, its output and the residual.
const UNET_TENSORS: u64 = 14;

/// Latents, noise and what the scheduler keeps of earlier steps; and the conditioning, in numbers.
const LATENTS: u64 = 8;
const CONDITIONING: u64 = 2 * 77 * 2048;

/// Tensors of the VAE's widest layer at full size that live at the same time: its input, that after a norm, and two of
/// half as many channels.
const VAE_TENSORS: u64 = 3;

/// An image in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) shape: LatentShape,
    /// How often a step asks the model about it: twice with guidance.
    pub(crate) rows: usize,
}

/// The memory of a model and its images.
#[derive(Debug)]
pub(crate) struct Memory {
    weights: u64,
    unet_channels: Vec<u64>,
    /// The widest channels of the VAE at full size.
    vae_channels: u64,
    /// Pixels of a side of one latent pixel.
    scale: u64,
    /// What the configuration allows for all.
    configured: Option<u64>,
    /// What the machine had for images when it was asked last.
    machine: AtomicU64,
}

impl Memory {
    /// # Errors
    /// `out_of_memory` if the weights alone are more than the configuration allows.
    pub(crate) fn new(facts: &Facts, configured: Option<u64>) -> Result<Self> {
        let numbers = |values: &[usize]| values.iter().map(|value| *value as u64).collect::<Vec<_>>();
        let bytes = facts.weight_bytes;
        let vae_channels = numbers(&facts.vae_channels);
        let memory = Self {
            weights: (bytes.text + bytes.denoiser + bytes.vae) as u64,
            unet_channels: numbers(&facts.unet_channels),
            // The second level's channels are still there when an upsampling has given it full size.
            vae_channels: vae_channels.iter().take(2).max().copied().unwrap_or(128),
            scale: facts.scale as u64,
            configured,
            machine: AtomicU64::new(u64::MAX),
        };
        if let Some(bound) = configured
            && bound < memory.weights
        {
            let text = format!(
                "the weights take {} and `memory_bytes` allows {}: raise it, or lower `precision`",
                megabytes(memory.weights),
                megabytes(bound)
            );
            return Err(Error::new(ErrorKind::OutOfMemory, text));
        }
        memory.look();
        Ok(memory)
    }

    /// Asks the machine what it has, while no image is in progress.
    pub(crate) fn look(&self) {
        // What is left over is not all for images.
        let available = available_memory().map_or(u64::MAX, |bytes| bytes / 10 * 9);
        self.machine.store(available, Ordering::Relaxed);
    }

    /// Bytes of the weights.
    pub(crate) fn weights(&self) -> u64 {
        self.weights
    }

    /// What images may take beside the weights.
    pub(crate) fn room(&self) -> u64 {
        let machine = self.machine.load(Ordering::Relaxed);
        self.configured.map_or(machine, |bound| machine.min(bound.saturating_sub(self.weights)))
    }

    /// Whether images may be in progress together.
    ///
    /// # Errors
    /// `out_of_memory` with what they take and what there is.
    pub(crate) fn check(&self, loads: &[Load]) -> Result<()> {
        let (need, room) = (self.need(loads), self.room());
        if need <= room {
            return Ok(());
        }
        let sides = loads
            .iter()
            .map(|load| (load.shape.width as u64 * self.scale, load.shape.height as u64 * self.scale));
        let size = sides.max().map_or_else(String::new, |(width, height)| format!("{width}×{height} "));
        let text = format!(
            "an image of {size}pixels takes {} beside the weights, and there are {}",
            megabytes(need),
            megabytes(room)
        );
        Err(Error::new(ErrorKind::OutOfMemory, text))
    }

    /// What images in progress take together, at the moment when it is most.
    pub(crate) fn need(&self, loads: &[Load]) -> u64 {
        let kept: u64 = loads.iter().map(|load| self.kept(*load)).sum();
        let step = loads.iter().map(|load| {
            let rows: u64 =
                loads.iter().filter(|other| other.shape == load.shape).map(|other| other.rows as u64).sum();
            self.row(load.shape).saturating_mul(rows)
        });
        let decoding = loads.iter().map(|load| self.vae(load.shape));
        BASE_BYTES + kept + step.chain(decoding).max().unwrap_or(0)
    }

    /// What the VAE may take while these images are in progress.
    pub(crate) fn for_vae(&self, loads: &[Load]) -> Option<usize> {
        let kept: u64 = loads.iter().map(|load| self.kept(*load)).sum();
        let room = self.room();
        (room < u64::MAX)
            .then(|| usize::try_from(room.saturating_sub(BASE_BYTES + kept)).unwrap_or(usize::MAX))
    }

    fn kept(&self, load: Load) -> u64 {
        (LATENTS * load.shape.len() as u64 + load.rows as u64 * CONDITIONING) * NUMBER
    }

    /// The activations of one row of a step.
    fn row(&self, shape: LatentShape) -> u64 {
        let area = shape.height as u64 * shape.width as u64;
        let (mut skips, mut widest) = (0_u64, 0_u64);
        let mut below = self.unet_channels.first().copied().unwrap_or(320);
        for (level, channels) in self.unet_channels.iter().enumerate() {
            let area = (area >> (2 * level)).max(1);
            // What came down to this level, and two blocks in it.
            skips = skips.saturating_add(area.saturating_mul(below + 2 * channels));
            widest = widest.max(area.saturating_mul(channels * UNET_TENSORS));
            below = *channels;
        }
        skips.saturating_add(widest).saturating_mul(NUMBER)
    }

    /// The activations of the VAE for an image, and its pixels.
    fn vae(&self, shape: LatentShape) -> u64 {
        let (height, width) = (shape.height as u64 * self.scale, shape.width as u64 * self.scale);
        let pixels = height.saturating_mul(width);
        pixels.saturating_mul((self.vae_channels * VAE_TENSORS + 2 * 3) * NUMBER)
    }
}

/// For people.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1 << 20))
}
