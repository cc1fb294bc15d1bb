//! A pipeline's parts one by one, for the benchmarks.

use std::path::Path;

use super::loras::LoraGroup;
use super::memory::{Load, Memory};
use super::noise::{Draw, Noise, NoiseKind};
use super::pipeline::{
    Conditioning, DecodeOptions, Latent, MicroConditions, Pipeline, PipelineFiles, Prompt, Row,
};
use crate::error::Result;
use crate::local::ops::Device;
use crate::local::source::ModelFiles;
use crate::local::vision::RgbImage;

/// A loaded pipeline. Sides that are `None` are those that the model was made for. Not covered by semantic versioning.
#[derive(Debug)]
pub struct ImageParts {
    pipeline: Pipeline,
    conditioning: Conditioning,
}

impl ImageParts {
    /// Loads a diffusers folder, and encodes a prompt.
    ///
    /// # Errors
    /// `model_load` if it is none that is supported.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        let model = ModelFiles::in_folder(folder)?;
        let files = PipelineFiles { model, vae: None, unet: None, loras: Vec::new(), safety: None };
        let pipeline = Pipeline::load(&files, device, &mut |_| {})?;
        let conditioning = pipeline.encode(&prompt())?;
        Ok(Self { pipeline, conditioning })
    }

    /// Encodes a prompt, which is padded to 77 tokens.
    ///
    /// # Errors
    /// As the pipeline.
    pub fn text(&self) -> Result<()> {
        self.pipeline.encode(&prompt()).map(drop)
    }

    /// What the denoiser predicts in a step of so many rows, of which the first.
    ///
    /// # Errors
    /// As the pipeline.
    pub fn step(&self, rows: usize, side: Option<usize>) -> Result<Vec<f32>> {
        let (latent, side) = (self.latent(side)?, self.side(side));
        let row = Row {
            latent: &latent,
            timestep: 500.0,
            conditioning: &self.conditioning,
            loras: LoraGroup::NONE,
            sizes: MicroConditions::plain(side, side),
            guidance: self.pipeline.facts().embeds_guidance.then_some(7.5),
            inpaint: None,
        };
        Ok(self.pipeline.denoise(&vec![row; rows])?.swap_remove(0).values)
    }

    /// Decodes a latent, within so many bytes of activations.
    ///
    /// # Errors
    /// As the pipeline.
    pub fn decode(&self, side: Option<usize>, max_bytes: Option<usize>) -> Result<()> {
        self.pipeline.decode(&self.latent(side)?, DecodeOptions { max_bytes }, &|| false).map(drop)
    }

    /// Encodes an image.
    ///
    /// # Errors
    /// As the pipeline.
    pub fn encode(&self, side: Option<usize>) -> Result<()> {
        let side = self.side(side);
        let image = RgbImage::new(side, side, vec![100; side * side * 3])?;
        self.pipeline.encode_image(&image, None, DecodeOptions::default(), &|| false).map(drop)
    }

    /// What the model with one image of so many rows is said to take in memory.
    ///
    /// # Errors
    /// `invalid_request` for a side that the model does not have.
    pub fn estimated_bytes(&self, rows: usize, side: usize) -> Result<u64> {
        let facts = self.pipeline.facts();
        let memory = Memory::new(facts, None)?;
        let load = Load { shape: facts.latent_shape(side, side)?, rows, encodes: false };
        Ok(memory.weights() + memory.expected(&[load]))
    }

    fn side(&self, side: Option<usize>) -> usize {
        side.unwrap_or(self.pipeline.facts().native_size)
    }

    fn latent(&self, side: Option<usize>) -> Result<Latent> {
        let side = self.side(side);
        let shape = self.pipeline.facts().latent_shape(side, side)?;
        Latent::new(shape, Noise::new(1, NoiseKind::Ayni).latent(shape, Draw::Initial))
    }
}

fn prompt() -> Prompt {
    Prompt { text: "a cat on the moon".to_owned(), ..Prompt::default() }
}
