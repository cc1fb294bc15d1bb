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

use std::sync::{Arc, Mutex};

use super::loading;
use super::loras::LoraGroup;
use super::networks::Network;
use super::prompt;
use super::safety::Safety;
use super::scheduler::SchedulerConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::local::models::diffusion::{Bounds, DenoiserInput, Extra, Vae};
use crate::local::models::{ConceptScores, Tokens};
use crate::local::ops::{Device, Tensor};
use crate::local::source::ModelFiles;
use crate::local::vision::RgbImage;

pub(crate) use super::prompt::Prompt;

/// A loaded diffusion model.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(super) facts: Facts,
    pub(super) device: Device,
    /// What other LoRAs are merged from.
    pub(super) files: PipelineFiles,
    /// The layers with each group of LoRAs that is ready, the one used last at the end.
    pub(super) networks: Mutex<Vec<(LoraGroup, Arc<Network>)>>,
    pub(super) vae: Box<dyn Vae>,
    pub(super) safety: Option<Safety>,
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
    /// Sizes in pixels must be multiples of this: 8. (Multiples of 64 are what models were trained with.)
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
    /// Whether there is a safety checker, loaded or not.
    pub(crate) has_safety_checker: bool,
    /// How the repository names its pipeline (`_class_name` of `model_index.json`), if it does.
    pub(crate) pipeline_class: Option<String>,
    /// The LoRAs that can be merged, in order.
    pub(crate) loras: Vec<LoraFacts>,
    /// The files that were read as weights, the denoiser's first: what receipts hash. LoRAs are not among them.
    pub(crate) weight_files: Vec<std::path::PathBuf>,
    /// Bytes of the weights in memory: text encoders, denoiser, VAE.
    pub(crate) weight_bytes: WeightBytes,
    /// The channels of the UNet's levels, and of the VAE's: what memory of activations is estimated by.
    pub(crate) unet_channels: Vec<usize>,
    pub(crate) vae_channels: Vec<usize>,
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
    pub(crate) safety: usize,
}

/// A LoRA that can be merged into the weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoraFacts {
    /// How the configuration names it.
    pub(crate) reference: String,
    /// Its file's name, without folders.
    pub(crate) name: String,
    /// How strongly it applies where a request does not say; 0 for not at all.
    pub(crate) scale: f32,
    /// How many layers it changed, and its highest rank.
    pub(crate) layers: usize,
    pub(crate) rank: usize,
    /// SHA-256 of the file, in hex, for receipts.
    pub(crate) sha256: String,
}

/// A LoRA's file.
#[derive(Clone, Debug)]
pub(crate) struct LoraFile {
    /// How the configuration names it.
    pub(crate) reference: String,
    /// The folder and the file in it (`files.weights`), found and fetched.
    pub(crate) files: ModelFiles,
    /// Multiplied with its alpha / rank where a request does not say; 1 as it was trained.
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
    /// The safety checker, if images are to be checked.
    pub(crate) safety: Option<ModelFiles>,
}

/// A part that was loaded, for progress bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    TextEncoders,
    Denoiser,
    Vae,
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
    /// Which must be [ready](Pipeline::prepare).
    pub(crate) loras: &'a LoraGroup,
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
    pub(crate) fn load(
        files: &PipelineFiles,
        device: &Device,
        progress: &mut dyn FnMut(Part),
    ) -> Result<Self> {
        loading::load(files, device, progress)
    }

    /// What the model is.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The conditioning of a prompt. Prompts of more than 75 tokens are encoded in pieces of 75.
    ///
    /// # Errors
    /// `invalid_request` for more than [`MAX_PROMPT_TOKENS`](super::prompt::MAX_PROMPT_TOKENS) tokens, or a clip-skip of all layers.
    pub(crate) fn encode(&self, prompt: &Prompt) -> Result<Conditioning> {
        let is_xl = self.facts.family == Family::Sdxl;
        // SDXL leaves the last layer out, and the final norm with it.
        let skipped = prompt.clip_skip.saturating_add(usize::from(is_xl));
        let (mut states, mut pooled, mut tokens) = (Vec::new(), None, 0);
        for (encoder, tokenizer) in &self.network(&prompt.loras)?.encoders {
            if skipped >= encoder.layers() {
                return Err(Error::invalid_request(format!(
                    "a clip-skip of {} leaves nothing of the {} layers of a text encoder",
                    prompt.clip_skip,
                    encoder.layers()
                )));
            }
            let found = tokenizer.tokens(prompt)?;
            tokens = found.count;
            let pieces = Tokens::new(found.pieces.iter().map(Vec::as_slice));
            let encoded = encoder.encode(&pieces, skipped, !is_xl)?;
            states.push(match found.weights.as_slice() {
                [] => encoded.states,
                weights => {
                    let mut values = encoded.states.values()?.into_owned();
                    prompt::apply_weights(&mut values, encoder.width(), weights);
                    Tensor::from_vec(&self.device, values, encoded.states.dims())?
                }
            });
            if let Some(of_text) = encoded.pooled.filter(|_| is_xl) {
                // That of the first piece.
                let width = encoder.pooled_width().unwrap_or_default();
                pooled = of_text.values()?.get(..width).map(Arc::from);
            }
        }
        let states = match states.as_slice() {
            [only] => only.clone(),
            several => Tensor::side_by_side(&several.iter().collect::<Vec<_>>())?,
        };
        Ok(Conditioning { states, pooled, tokens })
    }

    /// The conditioning of a negative prompt, or of none: that of the empty text, or zeros where the model says so.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_negative(&self, prompt: Option<&Prompt>, loras: &LoraGroup) -> Result<Conditioning> {
        match prompt {
            Some(prompt) => self.encode(prompt),
            None => {
                let empty = self.encode(&Prompt { loras: loras.clone(), ..Prompt::default() })?;
                if !self.facts.zeros_for_no_prompt {
                    return Ok(empty);
                }
                let pooled = empty.pooled.map(|pooled| vec![0.0; pooled.len()].into());
                Ok(Conditioning { states: (empty.states * 0.0)?, pooled, tokens: 0 })
            }
        }
    }

    /// The model's output for each row, in one pass over the weights. Rows may differ in everything; those of one size
    /// and group of LoRAs are computed together. A row's bits don't depend on the others.
    ///
    /// # Errors
    /// `invalid_request` for a latent of another layout, or a missing guidance or inpainting input; `out_of_memory`.
    pub(crate) fn denoise(&self, rows: &[Row<'_>]) -> Result<Vec<Latent>> {
        let mut results: Vec<Option<Latent>> = rows.iter().map(|_| None).collect();
        while let Some(first) = results.iter().position(Option::is_none) {
            let shape = rows[first].latent.shape;
            let is_alike = |row: &Row<'_>| row.latent.shape == shape && row.loras == rows[first].loras;
            let numbers: Vec<usize> = (first..rows.len()).filter(|number| is_alike(&rows[*number])).collect();
            let of_numbers: Vec<&Row<'_>> = numbers.iter().map(|number| &rows[*number]).collect();
            let predicted = self.denoise_alike(&of_numbers, shape)?;
            let shape = LatentShape {
                channels: predicted.len() / numbers.len() / shape.height / shape.width,
                ..shape
            };
            for (number, values) in numbers.into_iter().zip(predicted.chunks_exact(shape.len().max(1))) {
                results[number] = Some(Latent::new(shape, values.to_vec())?);
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// The output for rows of one size and group of LoRAs, one row after another.
    fn denoise_alike(&self, rows: &[&Row<'_>], shape: LatentShape) -> Result<Vec<f32>> {
        let mut latents = Vec::new();
        for row in rows {
            self.write_input(row, &mut latents)?;
        }
        let channels = latents.len() / (rows.len() * shape.height * shape.width).max(1);
        let mut starts = vec![0];
        for row in rows {
            starts.push(starts.last().copied().unwrap_or(0) + row.conditioning.states.dims()[0]);
        }
        let states = match rows {
            [row] => row.conditioning.states.clone(),
            rows => {
                let width = rows[0].conditioning.states.dims().last().copied().unwrap_or(0);
                let mut all = Vec::with_capacity(starts[rows.len()] * width);
                for row in rows {
                    all.extend_from_slice(&row.conditioning.states.values()?);
                }
                Tensor::from_vec(&self.device, all, [starts[rows.len()], width])?
            }
        };
        let timesteps: Vec<f32> = rows.iter().map(|row| row.timestep).collect();
        let guidance: Option<Vec<f32>> = rows.iter().map(|row| row.guidance).collect();
        let pooled: Option<Vec<(&[f32], [f32; 6])>> = rows
            .iter()
            .map(|row| row.conditioning.pooled.as_deref().map(|pooled| (pooled, row.sizes.numbers())))
            .collect();
        let size = [rows.len(), shape.height, shape.width, channels];
        let network = self.network(rows[0].loras)?;
        let predicted = network.denoiser.predict(&DenoiserInput {
            latents: Tensor::from_vec(&self.device, latents, size)?,
            timesteps: &timesteps,
            states,
            starts: &starts,
            extra: Extra {
                pooled: pooled.as_deref().filter(|_| self.facts.family == Family::Sdxl),
                guidance: guidance.as_deref().filter(|_| self.facts.embeds_guidance),
            },
        })?;
        Ok(predicted.values()?.into_owned())
    }

    /// Appends what the UNet sees of a row.
    fn write_input(&self, row: &Row<'_>, to: &mut Vec<f32>) -> Result<()> {
        let LatentShape { height, width, channels } = row.latent.shape;
        if channels != self.facts.latent_channels || height == 0 || width == 0 {
            return Err(Error::invalid_request(format!(
                "a latent of {:?} does not fit a model of {} channels",
                row.latent.shape, self.facts.latent_channels
            )));
        }
        if !self.facts.is_inpaint {
            to.extend_from_slice(&row.latent.values);
            return Ok(());
        }
        let fits = |input: &&InpaintInput| {
            input.mask.len() == height * width && input.masked_image.shape == row.latent.shape
        };
        let Some(input) = row.inpaint.filter(fits) else {
            return Err(Error::invalid_request(
                "an inpainting model needs a mask and the masked image, of the latent's size",
            ));
        };
        let pixels =
            row.latent.values.chunks_exact(channels).zip(input.masked_image.values.chunks_exact(channels));
        for ((latent, image), mask) in pixels.zip(&input.mask) {
            to.extend_from_slice(latent);
            to.push(*mask);
            to.extend_from_slice(image);
        }
        Ok(())
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
        let LatentShape { height, width, channels } = latent.shape;
        let latent = Tensor::from_vec(&self.device, latent.values.clone(), [1, height, width, channels])?;
        let pixels = self.vae.decode(latent, &Bounds { max_bytes: options.max_bytes, should_stop })?;
        let [_, height, width, _] = pixels.dims_of()?;
        let byte = |x: &f32| ((x / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        RgbImage::new(width, height, pixels.values()?.iter().map(byte).collect())
    }

    /// A small picture of a latent in the middle of denoising, by a linear projection: a pixel of it a pixel.
    ///
    /// # Errors
    /// `unsupported` for latents of other than four channels.
    pub(crate) fn preview(&self, latent: &Latent) -> Result<RgbImage> {
        let LatentShape { height, width, channels: 4 } = latent.shape else {
            return Err(Error::unsupported("previews of latents of other than four channels"));
        };
        // Colours of the channels, as fitted by users of each family's VAE, and what is added.
        let (colours, added) = match self.facts.family {
            Family::Sd1 | Family::Sd2 => (
                [
                    [0.3512, 0.2297, 0.3227],
                    [0.3250, 0.4974, 0.2350],
                    [-0.2829, 0.1762, 0.2721],
                    [-0.2120, -0.2616, -0.7177],
                ],
                [0.0; 3],
            ),
            Family::Sdxl => (
                [
                    [0.3651, 0.4232, 0.4341],
                    [-0.2533, -0.0042, 0.1068],
                    [0.1076, 0.1111, -0.0362],
                    [-0.3165, -0.2492, -0.2188],
                ],
                [0.1084, -0.0175, -0.0011],
            ),
        };
        let colour = |pixel: &[f32]| {
            let pixel: Vec<f32> = pixel.to_vec();
            (0..3).map(move |i| {
                let sum: f32 =
                    added[i] + pixel.iter().zip(&colours).map(|(x, colour)| x * colour[i]).sum::<f32>();
                ((sum + 1.0) / 2.0 * 255.0).clamp(0.0, 255.0) as u8
            })
        };
        RgbImage::new(width, height, latent.values.chunks_exact(4).flat_map(colour).collect())
    }

    /// The latent of an image whose sides are multiples of [`Facts::scale`]; `noise` draws from its distribution as
    /// diffusers does, without it the mean is taken.
    ///
    /// # Errors
    /// `invalid_request` for other sides; `cancelled`.
    pub(crate) fn encode_image(
        &self,
        image: &RgbImage,
        noise: Option<&[f32]>,
        options: DecodeOptions,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Latent> {
        let (height, width, scale) = (image.height(), image.width(), self.facts.scale);
        if !height.is_multiple_of(scale) || !width.is_multiple_of(scale) {
            return Err(Error::invalid_request(format!(
                "{width}×{height}: sides must be multiples of {scale}"
            )));
        }
        let pixels = image.rgb().iter().map(|byte| f32::from(*byte) / 255.0 * 2.0 - 1.0).collect();
        let pixels = Tensor::from_vec(&self.device, pixels, [1, height, width, 3])?;
        let (mean, deviation) =
            self.vae.encode(pixels, &Bounds { max_bytes: options.max_bytes, should_stop })?;
        let [_, height, width, channels] = mean.dims_of()?;
        let mut values = mean.values()?.into_owned();
        if let (Some(noise), Some(deviation)) = (noise, deviation) {
            if noise.len() != values.len() {
                return Err(Error::new(ErrorKind::Unexpected, "the noise has another size than the latent"));
            }
            let deviation = deviation.values()?;
            for ((value, deviation), noise) in values.iter_mut().zip(deviation.iter()).zip(noise) {
                *value += deviation * noise;
            }
        }
        Latent::new(LatentShape { height, width, channels }, values)
    }

    /// What an image shows, if there is a safety checker and it is on.
    ///
    /// # Errors
    /// `response_invalid` if its numbers overflow.
    pub(crate) fn safety_scores(&self, image: &RgbImage) -> Result<Option<ConceptScores>> {
        self.safety.as_ref().map(|safety| safety.scores(image)).transpose()
    }
}

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
            return Err(Error::invalid_request(format!(
                "{} numbers are not a latent of {shape:?}",
                values.len()
            )));
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

    fn numbers(self) -> [f32; 6] {
        let Self { original, crop, target } = self;
        [original[0], original[1], crop[0], crop[1], target[0], target[1]].map(|size| size as f32)
    }
}
