//! Models that put texts and images into one space. `towers.rs` and `pre_norm.rs` are what they share; `clip.rs`,
//! `open_clip.rs` and `siglip.rs` read the configurations and weights of each; `prompt.rs` and `safety.rs` are the halves of CLIP
//! that diffusion models use.

mod clip;
mod config;
mod open_clip;
mod pre_norm;
mod prompt;
mod safety;
mod siglip;
mod towers;

use serde_json::Value;

use super::DualEncoder;
use crate::error::Result;
use crate::local::ops::Device;
use crate::local::source::{ModelFiles, OPEN_CLIP_CONFIG};
use crate::local::weights::Weights;
use config::load_error;
pub(crate) use prompt::PromptEncoder;
pub(crate) use safety::{ConceptScores, SafetyChecker};
pub(super) use siglip::images as siglip_images;
pub(super) use towers::ImageTower;

/// The dual encoder of a model's folder. Its weights say which configuration is theirs: that of open_clip where their names
/// are open_clip's, else that of transformers.
///
/// # Errors
/// `model_load` if there are no weights or no configuration, and as [`dual_encoder`].
pub(crate) fn open_dual_encoder(files: &ModelFiles, device: &Device) -> Result<Box<dyn DualEncoder>> {
    let weights = Weights::open(files)?;
    let native: Option<Value> = files.json(OPEN_CLIP_CONFIG)?;
    match native.filter(|_| weights.names().any(|name| name.starts_with(open_clip::IMAGE_PREFIX))) {
        Some(config) => dual_encoder(&config, &weights, device),
        None => dual_encoder(&files.needed_json("config.json")?, &weights, device),
    }
}

/// The dual encoder that a config describes: `config.json` of transformers, or `open_clip_config.json`.
///
/// # Errors
/// `model_load` for an architecture that is none of them, one of their variants that is not supported, or a tensor
/// that is missing or has another shape.
pub(crate) fn dual_encoder(
    config: &Value,
    weights: &Weights,
    device: &Device,
) -> Result<Box<dyn DualEncoder>> {
    super::config::check(config, weights)?;
    let encoder = open(config, weights, device)?;
    weights.check_no_layer_is_left()?;
    Ok(encoder)
}

fn open(config: &Value, weights: &Weights, device: &Device) -> Result<Box<dyn DualEncoder>> {
    if let Some(config) = config.get("model_cfg") {
        return Ok(Box::new(open_clip::load(config, weights, device)?));
    }
    match config.get("model_type").and_then(Value::as_str) {
        Some("clip") => Ok(Box::new(clip::load(config, weights, device)?)),
        Some("siglip") => Ok(Box::new(siglip::load(config, weights, device)?)),
        Some("siglip2") => Err(load_error(
            "`model_type` 'siglip2' is a SigLIP 2 for images of any shape, which is not supported; those with a fixed \
             resolution are"
                .to_owned(),
        )),
        Some(other) => Err(load_error(format!(
            "`model_type` '{other}' is no model of texts and images; valid: clip, siglip, or a config of open_clip"
        ))),
        None => Err(load_error(
            "the config has neither `model_type` nor `model_cfg`, so it is not known what the model is".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;
