//! The parts of diffusion models: what denoises ([`Denoiser`], of which [`UNet`] is one), and what makes pixels of latents
//! ([`Vae`]). Images are channels last throughout: `[image, row, column, channel]`.
//!
//! Architectures are built from diffusers' `config.json` and checked against the tensors of the file. `resnet.rs` and
//! `transformer.rs` hold the blocks that they share.

mod autoencoder;
mod config;
mod resnet;
mod strips;
mod taesd;
mod transformer;
mod unet;

use std::fmt;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::local::ops::{Device, Tensor};
use crate::local::weights::Weights;

pub(crate) use autoencoder::{Autoencoder, Bounds, decoder_bytes, with_today_s_names};
pub(crate) use config::{UNetConfig, unet_of_tensors, vae_of_tensors};
pub(crate) use taesd::TinyAutoencoder;
pub(crate) use unet::UNet;

/// What a denoiser is given: rows of one size, each with its own timestep and conditioning.
#[derive(Clone, Debug)]
pub(crate) struct DenoiserInput<'a> {
    /// `[row, height, width, channel]`.
    pub(crate) latents: Tensor,
    /// One a row.
    pub(crate) timesteps: &'a [f32],
    /// The conditioning's states, those of all rows one after another: `[token, width]`.
    pub(crate) states: Tensor,
    /// Where each row's states start, and where the last's end.
    pub(crate) starts: &'a [usize],
    /// What else the model is conditioned on.
    pub(crate) extra: Extra<'a>,
}

/// Conditions that only some models have.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extra<'a> {
    /// For each row its pooled text, and the sizes that follow it (SDXL).
    pub(crate) pooled: Option<&'a [(&'a [f32], [f32; 6])]>,
    /// The guidance scale of each row (full LCM models).
    pub(crate) guidance: Option<&'a [f32]>,
}

/// A model that predicts noise, velocity or the image of noisy latents.
pub(crate) trait Denoiser: Send + Sync + fmt::Debug {
    /// The prediction for each row: `[row, height, width, channel]`. A row's bits don't depend on the others.
    fn predict(&self, input: &DenoiserInput<'_>) -> Result<Tensor>;
}

/// What makes pixels of latents, and latents of pixels.
pub(crate) trait Vae: Send + Sync + fmt::Debug {
    /// Pixels from -1 to 1, `[1, height, width, 3]`, of a latent as the denoiser has it.
    fn decode(&self, latent: Tensor, bounds: &Bounds<'_>) -> Result<Tensor>;

    /// Mean and deviation of the latent of pixels from -1 to 1, as the denoiser has it.
    fn encode(&self, pixels: Tensor, bounds: &Bounds<'_>) -> Result<(Tensor, Option<Tensor>)>;

    /// Channels of each level.
    fn channels(&self) -> &[usize];

    /// Channels of a latent.
    fn latent_channels(&self) -> usize;

    /// Pixels of a side of one latent pixel.
    fn scale(&self) -> usize;
}

/// The VAE of a `config.json` of diffusers.
///
/// # Errors
/// `unsupported` for another class or variant; `model_load` if a tensor is missing or has another shape.
pub(crate) fn open_vae(config: &Value, weights: &Weights, device: &Device) -> Result<Box<dyn Vae>> {
    match config.get("_class_name").and_then(Value::as_str) {
        Some("AutoencoderKL") | None => Ok(Box::new(Autoencoder::new(config, weights, device)?)),
        Some("AutoencoderTiny") => Ok(Box::new(TinyAutoencoder::new(config, weights, device)?)),
        Some(other) => Err(Error::unsupported(format!(
            "the VAE '{other}' is not supported; valid: AutoencoderKL, AutoencoderTiny"
        ))),
    }
}
