//! A loaded diffusion model on one device, as functions: [`Pipeline::encode`], [`Pipeline::denoise`],
//! [`Pipeline::decode`] and [`Pipeline::encode_image`]. Who wants an image puts them together:
//!
//! ```text
//! let facts = pipeline.facts();
//! let mut schedule = facts.scheduler.schedule(steps, 1.0)?;       // or another SchedulerConfig, by a recipe
//! let noise = Noise::new(seed, NoiseKind::Ayni);
//! let mut latent = Latent::new(facts.latent_shape(height, width)?, noise.latent(shape, Draw::Initial));
//! latent.scale(schedule.init_noise_sigma());
//! let (positive, negative) = (pipeline.encode(&prompt)?, pipeline.encode_negative(negative.as_ref())?);
//! for step in 0..schedule.timesteps().len() {
//!     let input = schedule.scale_input(step, &latent.values);
//!     let rows = [Row { latent: &input, timestep: schedule.timesteps()[step], conditioning: &positive, .. }, ..];
//!     let mut predicted = pipeline.denoise(&rows)?;               // rows of many requests at once, if wanted
//!     let output = guide(negative, positive, guidance);           // u + g · (p - u)
//!     let z = schedule.needs_noise(step).then(|| noise.latent(shape, Draw::Step(step)));
//!     schedule.step(step, &output, &mut latent.values, z.as_deref())?;
//! }
//! let image = pipeline.decode(&latent, DecodeOptions::default(), &should_stop)?;
//! ```
//!
//! Everything here computes and blocks: call it from the worker's thread. Nothing keeps state between calls, and all
//! methods take `&self`. Latents and noise are plain f32 numbers on the CPU whatever the device is: they are small.

use std::sync::Arc;

use super::scheduler::SchedulerConfig;
use crate::error::{Error, Result};
use crate::local::ops::{Device, Tensor};
use crate::local::source::ModelFiles;
use crate::local::vision::RgbImage;

/// A loaded diffusion model.
pub(crate) struct Pipeline {
    facts: Facts,
    // text encoders, tokenizers, Box<dyn Denoiser>, Vae
}

/// What a model is, read from its files (configurations and the shapes of tensors), never from names.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The family, by what the denoiser is conditioned on.
    pub(crate) family: Family,
    /// Height and width that the model was trained for, in pixels: `sample_size` · [`scale`](Self::scale).
    pub(crate) native_size: usize,
    /// Pixels of a side of one latent pixel: 8.
    pub(crate) scale: usize,
    /// Channels of a latent: 4.
    pub(crate) latent_channels: usize,
    /// Sizes in pixels must be multiples of this: [`scale`](Self::scale) · 2^(levels - 1) of the UNet, as odd sizes of a
    /// level are not supported (64 for SD 1.x, 2.x; 32 for SDXL).
    pub(crate) size_multiple: usize,
    /// The repository's own `scheduler_config.json` (a single file's: by family): kind, spacing, prediction and all.
    pub(crate) scheduler: SchedulerConfig,
    /// Whether the UNet takes a mask and the masked image (9 input channels): [`Row::inpaint`] is then needed.
    pub(crate) is_inpaint: bool,
    /// Whether the UNet takes the guidance scale as an input (full LCM models): [`Row::guidance`] is then needed and
    /// classifier-free guidance is not used.
    pub(crate) embeds_guidance: bool,
    /// Whether a missing negative prompt is zeros (SDXL's `force_zeros_for_empty_prompt`).
    pub(crate) zeros_for_no_prompt: bool,
    /// Whether the denoiser of a repository says that it was distilled to few steps: trailing spacing on an Euler or LCM
    /// scheduler in `scheduler_config.json` (SD-Turbo, SDXL-Turbo, LCM). A recipe's hint, never a rule.
    pub(crate) looks_distilled: bool,
    /// Whether the VAE is a TAESD (`AutoencoderTiny`).
    pub(crate) is_tiny_vae: bool,
    /// How the repository names its pipeline (`_class_name` of `model_index.json`), if it does.
    pub(crate) pipeline_class: Option<String>,
    /// The LoRAs that were merged, in order.
    pub(crate) loras: Vec<LoraFacts>,
    /// The files that were read as weights, the denoiser's first: what receipts hash. LoRAs are not among them.
    pub(crate) weight_files: Vec<std::path::PathBuf>,
    /// Bytes of the weights in memory: text encoders, denoiser, VAE.
    pub(crate) weight_bytes: WeightBytes,
    /// The channels of the UNet's levels, and of the VAE's: what memory of activations is estimated by.
    pub(crate) unet_channels: Vec<usize>,
    pub(crate) vae_channels: Vec<usize>,
    /// Heads of attention at the UNet's levels.
    pub(crate) unet_heads: Vec<usize>,
    /// Device and precision, and why that precision.
    pub(crate) device: String,
    pub(crate) precision: &'static str,
    pub(crate) precision_reason: &'static str,
}

/// The family of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// CLIP-L, 768 wide.
    Sd1,
    /// OpenCLIP-H, 1024 wide.
    Sd2,
    /// CLIP-L and OpenCLIP-G, 2048 wide, with size conditioning.
    Sdxl,
}

/// Bytes in memory of each part's weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WeightBytes {
    pub(crate) text: usize,
    pub(crate) denoiser: usize,
    pub(crate) vae: usize,
}

/// A LoRA that was merged into the weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoraFacts {
    /// Its file's name, without folders.
    pub(crate) name: String,
    pub(crate) scale: f32,
    /// How many layers it changed, and its highest rank.
    pub(crate) layers: usize,
    pub(crate) rank: usize,
    /// SHA-256 of the file, in hex, for receipts.
    pub(crate) sha256: String,
}

/// A LoRA to be merged at load.
#[derive(Clone, Debug)]
pub(crate) struct LoraFile {
    /// The folder and the file in it (`files.weights`), found and fetched.
    pub(crate) files: ModelFiles,
    /// Multiplied with its alpha / rank; 1 as it was trained.
    pub(crate) scale: f32,
}

/// What a pipeline is loaded of.
#[derive(Clone, Debug)]
pub(crate) struct PipelineFiles {
    /// A diffusers folder (`model_index.json`), or a folder with the single-file checkpoint that `weights` names.
    pub(crate) model: ModelFiles,
    /// Another VAE: a folder with `config.json` of an AutoencoderKL or AutoencoderTiny (fp16-fix, TAESD).
    pub(crate) vae: Option<ModelFiles>,
    /// Another UNet: a file of its weights (SDXL-Lightning), for the layout of the model's own.
    pub(crate) unet: Option<ModelFiles>,
    pub(crate) loras: Vec<LoraFile>,
}

/// A part that was loaded, for progress bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    TextEncoders,
    Denoiser,
    Vae,
}

/// A prompt to be encoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    /// Whether `(word:1.2)`, `(word)` and `[word]` are weights; else they are text.
    pub(crate) weighted: bool,
    /// How many of the last layers of the text encoder are left out: 0 is diffusers' default for the family.
    pub(crate) clip_skip: usize,
}

/// What the denoiser is conditioned on. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Conditioning {
    /// `[token, width]`: 77 tokens, or a multiple for longer prompts.
    pub(crate) states: Tensor,
    /// The pooled state (SDXL).
    pub(crate) pooled: Option<Arc<[f32]>>,
    /// How many tokens the prompt has without start, end and padding.
    pub(crate) tokens: usize,
}

/// Rows, columns and channels of a latent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LatentShape {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

/// A latent image: `[row, column, channel]`, channels last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Latent {
    pub(crate) shape: LatentShape,
    pub(crate) values: Vec<f32>,
}

/// The sizes that SDXL is conditioned on, in pixels, height before width; ignored by other families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MicroConditions {
    pub(crate) original: [usize; 2],
    pub(crate) crop: [usize; 2],
    pub(crate) target: [usize; 2],
}

/// What an inpainting UNet sees beside the latent.
#[derive(Clone, Debug)]
pub(crate) struct InpaintInput {
    /// One number per latent pixel: 1 where the image is made anew.
    pub(crate) mask: Vec<f32>,
    /// The latent of the image with what is masked grey (0 after normalisation).
    pub(crate) masked_image: Latent,
}

/// One row of a denoising batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// Scaled by the scheduler's `scale_input`.
    pub(crate) latent: &'a Latent,
    /// As the scheduler's `timesteps` has it; not always whole.
    pub(crate) timestep: f32,
    pub(crate) conditioning: &'a Conditioning,
    pub(crate) sizes: MicroConditions,
    /// The guidance scale, for models that [embed](Facts::embeds_guidance) it.
    pub(crate) guidance: Option<f32>,
    pub(crate) inpaint: Option<&'a InpaintInput>,
}

/// How a latent becomes an image.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DecodeOptions {
    /// The most bytes that activations may take; `None` for no bound. A smaller bound makes more and smaller strips;
    /// norms are exact in any case, and the image is the whole one's within 1/255.
    pub(crate) max_bytes: Option<usize>,
}

impl Pipeline {
    /// Loads a model. `progress` is told each part that is there.
    ///
    /// # Errors
    /// `model_load` for a part that is missing, damaged, or does not fit the others, and for a LoRA of another base;
    /// `unsupported` for another kind of model, and for DoRA and LoHa.
    pub(crate) fn load(files: &PipelineFiles, device: &Device, progress: &mut dyn FnMut(Part)) -> Result<Self> {
        let _ = (files, device, progress);
        Err(Error::unsupported("being written"))
    }

    /// What the model is.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The conditioning of a prompt. Prompts of more than 75 tokens are encoded in pieces of 75.
    ///
    /// # Errors
    /// `invalid_request` for more than [`MAX_PROMPT_TOKENS`] tokens, unbalanced weights, or a clip-skip of all layers.
    pub(crate) fn encode(&self, prompt: &Prompt) -> Result<Conditioning> {
        let _ = prompt;
        Err(Error::unsupported("being written"))
    }

    /// The conditioning of a negative prompt, or of none: that of the empty text, or zeros where the model says so.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_negative(&self, prompt: Option<&Prompt>) -> Result<Conditioning> {
        let _ = prompt;
        Err(Error::unsupported("being written"))
    }

    /// The model's output for each row, in one pass over the weights. Rows may differ in everything; those of one size
    /// are computed together. A row's bits don't depend on the others.
    ///
    /// # Errors
    /// `invalid_request` for a latent of another layout, or a missing guidance or inpainting input; `out_of_memory`.
    pub(crate) fn denoise(&self, rows: &[Row<'_>]) -> Result<Vec<Latent>> {
        let _ = rows;
        Err(Error::unsupported("being written"))
    }

    /// The image of a latent. `should_stop` is asked between strips and layers.
    ///
    /// # Errors
    /// `cancelled` if `should_stop` says so; `out_of_memory` if not even the smallest strips fit `max_bytes`.
    pub(crate) fn decode(
        &self,
        latent: &Latent,
        options: DecodeOptions,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<RgbImage> {
        let _ = (latent, options, should_stop);
        Err(Error::unsupported("being written"))
    }

    /// A small picture of a latent in the middle of denoising, by a linear projection: an eighth of the size.
    pub(crate) fn preview(&self, latent: &Latent) -> Result<RgbImage> {
        let _ = latent;
        Err(Error::unsupported("being written"))
    }

    /// The latent of an image whose sides are multiples of [`Facts::scale`]; `noise` draws from its distribution as
    /// diffusers does, without it the mean is taken.
    ///
    /// # Errors
    /// `invalid_request` for other sides; `cancelled`; `unsupported` for a VAE without an encoder.
    pub(crate) fn encode_image(
        &self,
        image: &RgbImage,
        noise: Option<&[f32]>,
        options: DecodeOptions,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Latent> {
        let _ = (image, noise, options, should_stop);
        Err(Error::unsupported("being written"))
    }
}

/// The most tokens of a prompt.
pub(crate) const MAX_PROMPT_TOKENS: usize = 75 * 8;

impl Facts {
    /// The latent's shape for an image of this size.
    ///
    /// # Errors
    /// `invalid_request` naming the nearest valid size if a side is not a multiple of
    /// [`size_multiple`](Self::size_multiple).
    pub(crate) fn latent_shape(&self, height: usize, width: usize) -> Result<LatentShape> {
        let multiple = self.size_multiple;
        if height == 0 || width == 0 || !height.is_multiple_of(multiple) || !width.is_multiple_of(multiple) {
            let nearest = |side: usize| (side + multiple / 2).max(multiple) / multiple * multiple;
            return Err(Error::invalid_request(format!(
                "{width}×{height} is not a size of this model: sides are multiples of {multiple}; {}×{} is near",
                nearest(width),
                nearest(height)
            )));
        }
        let (height, width) = (height / self.scale, width / self.scale);
        Ok(LatentShape { height, width, channels: self.latent_channels })
    }
}

impl LatentShape {
    /// How many numbers a latent has.
    pub(crate) fn len(self) -> usize {
        self.height * self.width * self.channels
    }
}

impl Latent {
    /// A latent of these numbers.
    ///
    /// # Errors
    /// `invalid_request` if there are more or fewer than the shape says.
    pub(crate) fn new(shape: LatentShape, values: Vec<f32>) -> Result<Self> {
        if values.len() != shape.len() {
            return Err(Error::invalid_request(format!("{} numbers are not a latent of {shape:?}", values.len())));
        }
        Ok(Self { shape, values })
    }

    /// The same with every number multiplied.
    pub(crate) fn scaled(mut self, factor: f32) -> Self {
        self.values.iter_mut().for_each(|value| *value *= factor);
        self
    }
}

impl MicroConditions {
    /// Those of an image that was neither cropped nor scaled: what diffusers takes by default.
    pub(crate) fn plain(height: usize, width: usize) -> Self {
        Self { original: [height, width], crop: [0, 0], target: [height, width] }
    }
}
