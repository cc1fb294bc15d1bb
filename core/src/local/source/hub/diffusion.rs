//! Which files of a repository an image model needs: a pipeline of diffusers, one of its parts, or a single file.

use serde_json::{Map, Value};

use super::plan::{Contents, MODEL_INDEX, Plan};
use crate::error::{Error, ErrorKind, Result};

/// Parts of a pipeline that draw nothing.
const UNUSED: [&str; 3] = ["feature_extractor", "image_encoder", "safety_checker"];

/// Weights of a part, the best first: diffusers' and transformers' names, whole before half precision, safetensors before
/// pickles.
const WEIGHTS: [&str; 8] = [
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
    "pytorch_model.fp16.bin",
];

/// What diffusers calls a LoRA.
const LORA: &str = "pytorch_lora_weights.safetensors";

impl Contents<'_> {
    /// The files of a pipeline, or of one of its parts.
    ///
    /// # Errors
    /// `model_load` if the repository is neither, or lacks the weights of a part.
    pub(super) fn diffusion_plan(&self) -> Result<Plan> {
        let mut plan = Plan::default();
        if !self.names.contains(MODEL_INDEX) {
            self.take_part("", &mut plan)?;
            return Ok(plan);
        }
        plan.files.push(MODEL_INDEX.to_owned());
        // What it lists is known once it is here.
        let Some(index) = (self.read)(MODEL_INDEX)? else { return Ok(plan) };
        let index: Map<String, Value> = serde_json::from_slice(&index).map_err(|error| {
            let text = format!("{MODEL_INDEX} of the repository is not as expected: {error}");
            Error::new(ErrorKind::ModelLoad, text).with_source(error)
        })?;
        // A part is a library and a class; one that is left out has none.
        let is_part = |value: &Value| value.as_array().is_some_and(|pair| pair.iter().all(Value::is_string));
        let names = index.iter().filter(|(name, value)| !UNUSED.contains(&name.as_str()) && is_part(value));
        for (name, _) in names {
            self.take_part(&format!("{name}/"), &mut plan)?;
        }
        // The weights come last: with them a folder looks like a model.
        plan.files.sort_by_key(|name| is_weights(name));
        Ok(plan)
    }

    /// The files of one folder: configurations, vocabularies, and weights where the part has some.
    fn take_part(&self, folder: &str, plan: &mut Plan) -> Result<()> {
        let here = || {
            let names = self.names.iter().filter_map(|name| name.strip_prefix(folder));
            names.filter(|name| !name.contains('/'))
        };
        let texts = here().filter(|name| [".json", ".txt", ".model"].iter().any(|ending| name.ends_with(ending)));
        plan.files.extend(texts.filter(|name| !name.ends_with(".index.json")).map(|name| format!("{folder}{name}")));
        let needs_weights = folder.is_empty() || !folder.contains("tokenizer") && !folder.contains("scheduler");
        if !needs_weights {
            return Ok(());
        }
        for name in WEIGHTS {
            if here().any(|own| own == name) {
                plan.files.push(format!("{folder}{name}"));
                return Ok(());
            }
            // Half precision is `model.fp16-00001-of-…` and `model.safetensors.index.fp16.json`: read whole only.
            let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
            let index = format!("{name}.index.json");
            if here().any(|own| own == index) {
                let is_shard = |own: &&str| own.starts_with(&format!("{stem}-")) && own.ends_with(ending);
                plan.files.extend(here().filter(is_shard).map(|name| format!("{folder}{name}")));
                plan.files.push(format!("{folder}{index}"));
                return Ok(());
            }
        }
        Err(Error::new(
            ErrorKind::ModelLoad,
            format!("the repository has no weights in `{folder}`: valid are {}; or name a file, `org/name:file`", WEIGHTS.join(", ")),
        ))
    }

    /// One file of weights: the one that is named whole or by a part of its name, else the LoRA, else the only one.
    ///
    /// # Errors
    /// `model_load` listing what there is if there is none, or several.
    pub(super) fn weights_plan(&self, wanted: Option<&str>) -> Result<Plan> {
        let all = || self.names.iter().filter(|name| is_weights(name));
        let low = wanted.unwrap_or_default().to_ascii_lowercase();
        let is_named = |name: &&String| {
            let name = name.to_ascii_lowercase();
            name == low || name.rsplit_once('.').is_some_and(|(stem, _)| stem == low)
        };
        let found: Vec<&String> = match wanted {
            Some(_) if all().any(|name| is_named(&name)) => all().filter(is_named).collect(),
            Some(_) => all().filter(|name| name.to_ascii_lowercase().contains(&low)).collect(),
            None if self.names.contains(LORA) => all().filter(|name| *name == LORA).collect(),
            None => all().collect(),
        };
        // The same weights as a pickle are a copy.
        let safe: Vec<&String> = found.iter().copied().filter(|name| name.ends_with(".safetensors")).collect();
        match (safe.as_slice(), found.as_slice()) {
            ([only], _) | ([], [only]) => Ok(Plan { files: vec![(*only).clone()], absent: Vec::new() }),
            (_, found) => {
                let why = if found.is_empty() { "no file of weights is" } else { "several files are" };
                let names: Vec<&str> = all().take(20).map(String::as_str).collect();
                let text = format!(
                    "{why} what `{}` names; name one of the repository's, `org/name:file`: {}",
                    wanted.unwrap_or_default(),
                    names.join(", ")
                );
                Err(Error::new(ErrorKind::ModelLoad, text))
            }
        }
    }
}

fn is_weights(name: &str) -> bool {
    [".safetensors", ".bin", ".ckpt", ".pt", ".pth"].iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents<T>(files: &[(&str, &str)], work: impl FnOnce(&Contents<'_>) -> T) -> T {
        let names = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        let read = |name: &str| {
            let found = files.iter().find(|(known, text)| *known == name && !text.is_empty());
            Ok(found.map(|(_, text)| text.as_bytes().to_vec()))
        };
        work(&Contents { names: &names, read: &read })
    }

    #[test]
    fn a_pipeline_is_its_parts_without_what_draws_nothing() {
        let index = r#"{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"], "tokenizer": ["transformers", "CLIPTokenizer"],
            "text_encoder": ["transformers", "CLIPTextModel"], "text_encoder_2": [null, null],
            "scheduler": ["diffusers", "PNDMScheduler"], "safety_checker": ["sd", "Checker"]}"#;
        let files = [
            ("model_index.json", index),
            ("safety_checker/model.safetensors", ""),
            ("scheduler/scheduler_config.json", ""),
            ("text_encoder/config.json", ""),
            ("text_encoder/model.fp16.safetensors", ""),
            ("text_encoder/pytorch_model.bin", ""),
            ("tokenizer/merges.txt", ""),
            ("tokenizer/vocab.json", ""),
            ("unet/config.json", ""),
            ("unet/diffusion_pytorch_model-00001-of-00002.safetensors", ""),
            ("unet/diffusion_pytorch_model-00002-of-00002.safetensors", ""),
            ("unet/diffusion_pytorch_model.safetensors.index.json", ""),
            ("v1-5-pruned.ckpt", ""),
            ("vae/config.json", ""),
            ("vae/diffusion_pytorch_model.fp16.safetensors", ""),
            ("vae/diffusion_pytorch_model.safetensors", ""),
        ];
        let mut plan = contents(&files, |contents| contents.diffusion_plan()).unwrap().files;
        assert!(plan.last().unwrap().ends_with(".safetensors"));
        plan.sort();
        let expected = files.iter().map(|(name, _)| *name).filter(|name| {
            ![
                "safety_checker/model.safetensors",
                "text_encoder/pytorch_model.bin",
                "v1-5-pruned.ckpt",
                "vae/diffusion_pytorch_model.fp16.safetensors",
            ]
            .contains(name)
        });
        assert_eq!(plan, expected.collect::<Vec<_>>());
        let error = contents(&files[..14], |contents| contents.diffusion_plan()).unwrap_err();
        assert!(error.message().contains("no weights in `vae/`"), "{error}");
    }

    #[test]
    fn one_file_is_found_by_its_name_or_because_it_is_the_only_one() {
        let lightning = [
            ("sdxl_lightning_4step_lora.safetensors", ""),
            ("sdxl_lightning_4step_unet.safetensors", ""),
            ("sdxl_lightning_8step_lora.safetensors", ""),
        ];
        let of = |wanted: Option<&str>| {
            contents(&lightning, |contents| contents.weights_plan(wanted)).map(|plan| plan.files)
        };
        for wanted in ["4step_lora", "sdxl_lightning_4step_lora", "sdxl_lightning_4step_lora.safetensors"] {
            assert_eq!(of(Some(wanted)).unwrap(), [lightning[0].0]);
        }
        for wanted in [None, Some("4step"), Some("2step")] {
            let error = of(wanted).unwrap_err();
            assert!(error.message().contains("sdxl_lightning_8step_lora.safetensors"), "{error}");
        }
        let lora = [("pytorch_lora_weights.safetensors", ""), ("other.safetensors", "")];
        let plan = contents(&lora, |contents| contents.weights_plan(None)).unwrap();
        assert_eq!(plan.files, [lora[0].0]);
    }
}
