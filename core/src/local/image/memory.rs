//! What an image takes in memory, before it is begun.
//!
//! Weights stay as they are loaded. Beside them, each image in progress holds its latents and conditioning; a step holds
//! the activations of all rows of one size, and the VAE those of one image, in strips where there is less room.

use std::sync::atomic::{AtomicU64, Ordering};

use super::pipeline::{Facts, LatentShape};
use crate::error::{Error, ErrorKind, Result};
use crate::local::models::diffusion::decoder_bytes;
use crate::local::runtime::available_memory;

/// Bytes of a number.
const NUMBER: u64 = 4;

/// What kernels keep for their next call, whatever the size.
const BASE_BYTES: u64 = 16 << 20;

/// The most that the model's thread keeps for its next tensors while images are in progress, and which part of the memory at
/// most.
const MAX_KEPT: u64 = 512 << 20;
const KEPT_PART: u64 = 8;

/// Tensors of a level's size that live at the same time in its largest layer: the gated feed-forward of a transformer
/// has eight times the channels, beside its input, its output and the residual.
const UNET_TENSORS: u64 = 14;

/// Latents, noise and what the scheduler keeps of earlier steps; and the conditioning, in numbers.
const LATENTS: u64 = 8;
const CONDITIONING: u64 = 2 * 77 * 2048;

/// Rows of a decoder's smallest strip, and how many each layer after it adds above and below.
const STRIP_ROWS: u64 = 8;
const ROWS_A_LAYER: u64 = 4;

/// Layers of a decoder's level: three blocks, and what doubles the size.
const LAYERS: u64 = 4;

/// The most groups of LoRAs that are ready.
const MAX_GROUPS: usize = 4;

/// An image in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) shape: LatentShape,
    /// How often a step asks the model about it: twice with guidance.
    pub(crate) rows: usize,
    /// Whether latents have to be made of an image first.
    pub(crate) encodes: bool,
}

/// The memory of a model and its images.
#[derive(Debug)]
pub(crate) struct Memory {
    weights: u64,
    unet_channels: Vec<u64>,
    vae_channels: Vec<usize>,
    /// Pixels of a side of one latent pixel.
    scale: u64,
    /// What the configuration allows for all.
    configured: Option<u64>,
    /// What the machine had for images, and weights of other groups of LoRAs, when it was asked last.
    machine: AtomicU64,
    /// Bytes of the layers that LoRAs change, and what those of further groups take.
    group: u64,
    further: AtomicU64,
}

impl Memory {
    /// # Errors
    /// `out_of_memory` if the weights alone are more than the configuration allows.
    pub(crate) fn new(facts: &Facts, configured: Option<u64>) -> Result<Self> {
        let numbers = |values: &[usize]| values.iter().map(|value| *value as u64).collect::<Vec<_>>();
        let bytes = facts.weight_bytes;
        let memory = Self {
            weights: (bytes.text + bytes.denoiser + bytes.vae + bytes.safety) as u64,
            unet_channels: numbers(&facts.unet_channels),
            vae_channels: facts.vae_channels.clone(),
            scale: facts.scale as u64,
            configured,
            machine: AtomicU64::new(u64::MAX),
            group: (bytes.text + bytes.denoiser) as u64,
            further: AtomicU64::new(0),
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
        self.machine.store(available.saturating_add(self.further.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// How many groups of LoRAs may be ready: further ones take at most half of the room.
    pub(crate) fn most_groups(&self) -> usize {
        let room = self.all() / 2;
        usize::try_from(1 + room / self.group.max(1)).unwrap_or(MAX_GROUPS).min(MAX_GROUPS)
    }

    /// Says how many are ready.
    pub(crate) fn set_groups(&self, groups: usize) {
        self.further.store(self.group * groups.saturating_sub(1) as u64, Ordering::Relaxed);
    }

    /// Bytes of the weights.
    pub(crate) fn weights(&self) -> u64 {
        self.weights
    }

    /// What the thread may keep for its next tensors.
    pub(crate) fn kept_bytes(&self) -> usize {
        usize::try_from((self.all() / KEPT_PART).min(MAX_KEPT)).unwrap_or(0)
    }

    /// What images may take beside the weights.
    pub(crate) fn room(&self) -> u64 {
        match self.all() {
            u64::MAX => u64::MAX,
            all => all.saturating_sub(self.further.load(Ordering::Relaxed) + self.kept_bytes() as u64),
        }
    }

    /// The same with the weights of further groups of LoRAs.
    fn all(&self) -> u64 {
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
        let decoding = loads.iter().map(|load| self.vae(*load));
        BASE_BYTES + kept + step.chain(decoding).max().unwrap_or(0)
    }

    /// The same where there is room for the VAE in whole.
    pub(crate) fn expected(&self, loads: &[Load]) -> u64 {
        let whole = loads.iter().map(|load| {
            let LatentShape { height, width, .. } = load.shape;
            decoder_bytes(&self.vae_channels, [height, width]).into_iter().max().unwrap_or(0) as u64
        });
        let kept: u64 = loads.iter().map(|load| self.kept(*load)).sum();
        let room = self.for_vae(loads).map_or(u64::MAX, |bytes| bytes as u64);
        self.need(loads).max(BASE_BYTES + kept + whole.max().unwrap_or(0).min(room))
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

    /// The least that the VAE takes for an image, and the pixels.
    fn vae(&self, load: Load) -> u64 {
        let LatentShape { height, width, .. } = load.shape;
        let needed = decoder_bytes(&self.vae_channels, [height, width]);
        let (first, whole) =
            (needed.first().copied().unwrap_or(0) as u64, needed.into_iter().max().unwrap_or(0) as u64);
        let widest = self.vae_channels.iter().max().copied().unwrap_or(0) as u64;
        let (rows, columns) = (height as u64 * self.scale, width as u64 * self.scale);
        let layers = LAYERS * (self.vae_channels.len() as u64).saturating_sub(1);
        let strip = (ROWS_A_LAYER * layers + STRIP_ROWS).min(rows);
        let base = (height * width) as u64 * widest * NUMBER;
        let strips = first.max(base + strip * columns * widest * ROWS_A_LAYER * NUMBER);
        let narrow = self.vae_channels.first().copied().unwrap_or(0) as u64;
        let encoding = if load.encodes { rows * columns * 3 * narrow * NUMBER } else { 0 };
        strips.min(whole).max(encoding) + 2 * 3 * rows * columns * NUMBER
    }
}

/// For people.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1 << 20))
}
