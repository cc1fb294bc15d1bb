//! What the engine asks of a loaded model.

use std::fmt;

use super::loras::LoraGroup;
use super::pipeline::{Conditioning, DecodeOptions, Facts, Latent, Pipeline, Prompt, Row};
use crate::error::Result;
use crate::local::models::ConceptScores;
use crate::local::vision::RgbImage;

/// A loaded diffusion model, as the engine uses it: [`Pipeline`], whose methods say what each does. Tests put a model in
/// between that fails.
pub(crate) trait ImageModel: Send + Sync + fmt::Debug {
    fn facts(&self) -> &Facts;
    fn prepare(&self, loras: &LoraGroup, in_use: &[&LoraGroup], most: usize) -> Result<Option<usize>>;
    fn encode(&self, prompt: &Prompt) -> Result<Conditioning>;
    fn encode_negative(&self, prompt: Option<&Prompt>, loras: &LoraGroup) -> Result<Conditioning>;
    fn denoise(&self, rows: &[Row<'_>]) -> Result<Vec<Latent>>;
    fn decode(
        &self,
        latent: &Latent,
        options: DecodeOptions,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<RgbImage>;
    fn preview(&self, latent: &Latent) -> Result<RgbImage>;
    fn encode_image(
        &self,
        image: &RgbImage,
        noise: Option<&[f32]>,
        options: DecodeOptions,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Latent>;
    fn safety_scores(&self, image: &RgbImage) -> Result<Option<ConceptScores>>;
}

#[deny(clippy::missing_trait_methods)]
impl ImageModel for Pipeline {
    fn facts(&self) -> &Facts {
        self.facts()
    }

    fn prepare(&self, loras: &LoraGroup, in_use: &[&LoraGroup], most: usize) -> Result<Option<usize>> {
        self.prepare(loras, in_use, most)
    }

    fn encode(&self, prompt: &Prompt) -> Result<Conditioning> {
        self.encode(prompt)
    }

    fn encode_negative(&self, prompt: Option<&Prompt>, loras: &LoraGroup) -> Result<Conditioning> {
        self.encode_negative(prompt, loras)
    }

    fn denoise(&self, rows: &[Row<'_>]) -> Result<Vec<Latent>> {
        self.denoise(rows)
    }

    fn decode(
        &self,
        latent: &Latent,
        options: DecodeOptions,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<RgbImage> {
        self.decode(latent, options, should_stop)
    }

    fn preview(&self, latent: &Latent) -> Result<RgbImage> {
        self.preview(latent)
    }

    fn encode_image(
        &self,
        image: &RgbImage,
        noise: Option<&[f32]>,
        options: DecodeOptions,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Latent> {
        self.encode_image(image, noise, options, should_stop)
    }

    fn safety_scores(&self, image: &RgbImage) -> Result<Option<ConceptScores>> {
        self.safety_scores(image)
    }
}
