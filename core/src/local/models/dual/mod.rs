//! Models that put texts and images into one space. `towers.rs` and `pre_norm.rs` are what they share; `clip.rs`,
//! `open_clip.rs` and `siglip.rs` read the configurations and weights of each.

mod clip;
mod config;
mod open_clip;
mod pre_norm;
mod siglip;
mod towers;

use serde_json::Value;

use super::DualEncoder;
use crate::error::Result;
use crate::local::ops::Device;
use crate::local::source::ModelFiles;
use crate::local::source::OPEN_CLIP_CONVERSION;
use crate::local::weights::Tensors;
use config::load_error;

/// Where open_clip describes a model, and where it may keep its weights.
const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
const OPEN_CLIP_WEIGHTS: [&str; 3] =
    ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors"];
const OPEN_CLIP_PICKLE: &str = "open_clip_pytorch_model.bin";

/// Where transformers keeps weights.
const OF_TRANSFORMERS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];

/// The dual encoder in a model's folder: with the config of transformers where it has one for such a model, else with
/// that of open_clip. Where the user named the weights, the names of their tensors say which.
///
/// # Errors
/// `model_load` if there is none, and as [`dual_encoder`].
pub(crate) fn open_dual_encoder(files: &ModelFiles, device: &Device) -> Result<Box<dyn DualEncoder>> {
    let config: Option<Value> = files.json("config.json")?;
    let Some(native) = files.json::<Value>(OPEN_CLIP_CONFIG)? else {
        let config = config.map_or_else(|| files.needed_json("config.json"), Ok)?;
        return dual_encoder(&config, &Tensors::of_model(files)?, device);
    };
    // timm puts a config of its own beside open_clip's, and some repositories have only the weights of one of the two.
    let config = config.filter(|config| config.get("model_type").is_some());
    let is_there = |name: &&&str| files.has(name);
    if files.weights.is_some() {
        let tensors = Tensors::of_model(files)?;
        let is_native = tensors.names().any(|name| name.starts_with("visual."));
        return dual_encoder(config.as_ref().filter(|_| !is_native).unwrap_or(&native), &tensors, device);
    }
    match (config, OPEN_CLIP_WEIGHTS.iter().find(is_there)) {
        (Some(config), _) if OF_TRANSFORMERS.iter().any(|name| files.has(name)) => {
            dual_encoder(&config, &Tensors::of_model(files)?, device)
        }
        (_, Some(name)) => dual_encoder(&native, &Tensors::open(&[files.path(name)])?, device),
        (_, None) => Err(load_error(no_weights(files))),
    }
}

/// Says what is there instead, and what to do.
fn no_weights(files: &ModelFiles) -> String {
    match files.has(OPEN_CLIP_PICKLE) {
        true => format!(
            "the model has only {OPEN_CLIP_PICKLE}, a pickle that can run code when it is loaded: ayni does not open \
             it. {OPEN_CLIP_CONVERSION}"
        ),
        false => format!("there are no weights; valid: {}", OPEN_CLIP_WEIGHTS.join(", ")),
    }
}

/// The dual encoder that a config describes: `config.json` of transformers, or `open_clip_config.json`.
///
/// # Errors
/// `model_load` for an architecture that is none of them, one of their variants that is not supported, or a tensor
/// that is missing or has another shape.
pub(crate) fn dual_encoder(
    config: &Value,
    weights: &Tensors,
    device: &Device,
) -> Result<Box<dyn DualEncoder>> {
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
