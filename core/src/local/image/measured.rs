//! A pipeline's parts one by one, for the benchmarks.

use std::path::Path;

use super::noise::{Draw, Noise, NoiseKind};
use super::pipeline::{
    DecodeOptions, Latent, LatentShape, MicroConditions, Pipeline, PipelineFiles, Prompt, Row,
};
use crate::error::Result;
use crate::local::ops::Device;
use crate::local::source::ModelFiles;
use crate::local::vision::RgbImage;

/// A loaded pipeline. Not covered by semantic versioning.
#[derive(Debug)]
pub struct ImageParts(Pipeline);

impl ImageParts {
    /// Loads a diffusers folder.
    ///
    /// # Errors
    /// `model_load` if it is none that is supported.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        let model = ModelFiles::in_folder(folder)?;
        let files = PipelineFiles { model, vae: None, unet: None, loras: Vec::new() };
        Pipeline::load(&files, device, &mut |_| {}).map(Self)
    }

    /// Encodes a prompt, which is padded to 77 tokens.
    ///
    /// # Errors
    /// As the pipeline.
    pub fn text(&self) -> Result<()> {
        self.0.encode(&Prompt { text: "a cat on the moon".to_owned(), ..Prompt::default() }).map(drop)
    }

    /// One step of the denoiser for so many rows of an image with such a side.
    ///
    /// # Errors
    /// As the pipeline.
    pub fn step(&self, rows: usize, side: usize) -> Result<()> {
        let conditioning = self.0.encode_negative(Some(&Prompt::default()))?;
        let latent = self.latent(side)?;
        let row = Row {
            latent: &latent,
            timestep: 500.0,
            conditioning: &conditioning,
            sizes: MicroConditions::plain(side, side),
            guidance: self.0.facts().embeds_guidance.then_some(7.5),
            inpaint: None,
        };
        self.0.denoise(&vec![row; rows]).map(drop)
    }

    /// Decodes a latent of an image with such a side, within so many bytes of activations.
    ///
    /// # Errors
    /// As the pipeline.
    pub fn decode(&self, side: usize, max_bytes: Option<usize>) -> Result<()> {
        self.0.decode(&self.latent(side)?, DecodeOptions { max_bytes }, &|| false).map(drop)
    }

    /// Encodes an image with such a side.
    ///
    /// # Errors
    /// As the pipeline.
    pub fn encode(&self, side: usize) -> Result<()> {
        let image = RgbImage::new(side, side, vec![100; side * side * 3])?;
        self.0.encode_image(&image, None, DecodeOptions::default(), &|| false).map(drop)
    }

    fn latent(&self, side: usize) -> Result<Latent> {
        let LatentShape { height, width, channels } = self.0.facts().latent_shape(side, side)?;
        let shape = LatentShape { height, width, channels };
        Latent::new(shape, Noise::new(1, NoiseKind::Ayni).latent(shape, Draw::Initial))
    }
}
