//! Which files of a folder hold a model's weights. Decided once, for what is fetched from the Hub and what is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// The configuration of transformers, and that of open_clip.
pub(super) const CONFIG: &str = "config.json";
pub(crate) const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";

/// Types of models that embed texts and images.
pub(crate) const DUAL_TYPES: [&str; 3] = ["clip", "siglip", "siglip2"];

const SAFETENSORS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];
const OPEN_CLIP: [&str; 3] =
    ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin"];
const PICKLES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// What lists the parts of a diffusers repository.
pub(crate) const MODEL_INDEX: &str = "model_index.json";

/// Weights of the parts of diffusion models, those in 16 bits where there are no others, and LoRAs.
const OF_DIFFUSION: [&str; 4] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
];
const PICKLES_OF_DIFFUSION: [&str; 3] =
    ["diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.bin", "pytorch_lora_weights.bin"];
const LORA: [&str; 1] = ["pytorch_lora_weights.safetensors"];

/// What the name of an index ends with.
pub(super) const INDEX_ENDING: &str = ".index.json";

/// Files of weights that are known by their names, but not read.
const OTHER_ENDINGS: [&str; 6] = [".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack"];

/// The files that hold a model's weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WeightFiles {
    /// The files, each with some of the tensors.
    pub(crate) names: Vec<String>,
    /// The index that lists them, where there are several.
    pub(crate) index: Option<String>,
    /// The names of the tensors, as far as the index lists them.
    pub(crate) tensors: Vec<String>,
}

/// A folder whose files may be elsewhere.
pub(super) trait Folder {
    /// The names of its files.
    fn names(&self) -> BTreeSet<String>;

    /// The bytes of one of its files; `None` if they are not here yet.
    ///
    /// # Errors
    /// `model_load` if it cannot be read.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// What to call a file in a message.
    fn display(&self, name: &str) -> String;
}

/// An index: the file of each tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl WeightFiles {
    /// The weights in one file.
    pub(super) fn one(name: impl Into<String>) -> Self {
        Self { names: vec![name.into()], ..Self::default() }
    }

    /// The weights that begin in a file: it alone, or all parts of a GGUF file that was split.
    pub(in super::super) fn of_file(name: &str) -> Self {
        let parts = split_parts(name).unwrap_or_else(|| vec![name.to_owned()]);
        Self { names: parts, ..Self::default() }
    }

    /// The files with the weights of a folder, safetensors before pickles; `None` if it has none.
    ///
    /// # Errors
    /// `model_load` if an index is damaged, or lists a file that is missing or lies outside of the folder.
    pub(super) fn find(folder: &dyn Folder) -> Result<Option<Self>> {
        let names = folder.names();
        let in_order: Vec<&str> = match is_open_clip_alone(folder, &names)? {
            true => [&OPEN_CLIP[..], &SAFETENSORS, &PICKLES].concat(),
            false => [
                &SAFETENSORS[..],
                &OPEN_CLIP[..2],
                &OF_DIFFUSION,
                &LORA,
                &PICKLES,
                &OPEN_CLIP[2..],
                &PICKLES_OF_DIFFUSION,
            ]
            .concat(),
        };
        let Some(found) = in_order.into_iter().find(|name| names.contains(*name)) else { return Ok(None) };
        match found.ends_with(INDEX_ENDING) {
            true => Self::of_index(folder, &names, found).map(Some),
            false => Ok(Some(Self::one(found))),
        }
    }

    fn of_index(folder: &dyn Folder, names: &BTreeSet<String>, name: &str) -> Result<Self> {
        let index = Some(name.to_owned());
        // An index that is still to be fetched: its files are known afterwards.
        let Some(bytes) = folder.read(name)? else { return Ok(Self { index, ..Self::default() }) };
        let wrong = |what: &dyn std::fmt::Display| {
            Error::new(ErrorKind::ModelLoad, format!("{} {what}", folder.display(name)))
        };
        let Index { weight_map } = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(&format_args!("is not as expected: {error}")).with_source(error))?;
        let shards: BTreeSet<&String> = weight_map.values().collect();
        for shard in &shards {
            if !is_inside(shard) {
                return Err(wrong(&format_args!("lists `{shard}`, which is not a file of this folder")));
            }
            if !names.contains(*shard) {
                return Err(wrong(&format_args!("lists {shard}, which is missing")));
            }
        }
        let names = shards.into_iter().cloned().collect();
        Ok(Self { names, index, tensors: weight_map.into_keys().collect() })
    }
}

/// The error of a folder without weights: what is there instead, and what to do.
pub(super) fn no_weights(folder: &dyn Folder) -> Error {
    let names = folder.names();
    let ends = |name: &&String, endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    // The folders below hold copies for other libraries, whose `.bin` is something else.
    let other = names.iter().filter(|name| !name.contains('/')).find(|name| ends(name, &OTHER_ENDINGS));
    let gguf = names.iter().find(|name| ends(name, &[".gguf"]));
    let why = match (gguf, other) {
        (Some(gguf), _) => format!(
            "there are GGUF files, such as {}: name the file, or which one (`org/name:Q4_K_M`)",
            folder.display(gguf)
        ),
        (None, Some(other)) => format!(
            "{} is not read under this name. Name the file if it is a state dict of PyTorch, else name a revision with \
             safetensors (`@refs/pr/N` if a conversion was proposed), or convert it with `save_pretrained` of transformers",
            folder.display(other)
        ),
        (None, None) => format!("{} does not exist", folder.display(SAFETENSORS[0])),
    };
    let text = format!(
        "there are no weights: valid are {} and {}; {why}",
        SAFETENSORS.join(", "),
        PICKLES.join(", ")
    );
    Error::new(ErrorKind::ModelLoad, text)
}

/// Whether open_clip's configuration is the only one of the whole model. timm puts one of its own beside it, without
/// `model_type`, whose `model.safetensors` is the image tower alone.
fn is_open_clip_alone(folder: &dyn Folder, names: &BTreeSet<String>) -> Result<bool> {
    if !names.contains(OPEN_CLIP_CONFIG) {
        return Ok(false);
    }
    let Some(bytes) = folder.read(CONFIG)? else { return Ok(!names.contains(CONFIG)) };
    let config: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let text = format!("{} is not as expected: {error}", folder.display(CONFIG));
        Error::new(ErrorKind::ModelLoad, text).with_source(error)
    })?;
    Ok(config.get("model_type").is_none())
}

/// The names of all parts of a split GGUF file, `name-00001-of-00003.gguf`, by that of one.
fn split_parts(name: &str) -> Option<Vec<String>> {
    const DIGITS: usize = 5;
    let number = |text: &str| {
        let is_number = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u32>().ok()).flatten()
    };
    let (start, of) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, part) = start.rsplit_once('-')?;
    let (part, of) = (number(part)?, number(of)?);
    (1..=of)
        .contains(&part)
        .then(|| (1..=of).map(|part| format!("{stem}-{part:05}-of-{of:05}.gguf")).collect())
}

/// Whether a name from outside stays inside the folder that it is joined to.
pub(super) fn is_inside(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', ':', '\0'])
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_gguf_file_is_all_of_its_parts() {
        let parts = WeightFiles::of_file("m-q4-00002-of-00003.gguf").names;
        assert_eq!(
            parts,
            ["m-q4-00001-of-00003.gguf", "m-q4-00002-of-00003.gguf", "m-q4-00003-of-00003.gguf"]
        );
        for name in ["m.gguf", "m-00004-of-00003.gguf", "m-1-of-2.gguf", "m-00001-of-00002.safetensors"] {
            assert_eq!(WeightFiles::of_file(name).names, [name]);
        }
    }

    #[test]
    fn names_from_outside_stay_inside() {
        for name in ["config.json", "1_Pooling/config.json", "a b/ü.json"] {
            assert!(is_inside(name), "{name}");
        }
        for name in ["", "/etc/passwd", "../x", "a/../../x", "./x", "a\\b", "c:x", "a\0b"] {
            assert!(!is_inside(name), "{name}");
        }
    }
}
