//! Which files of a repository a model needs.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::local::source::weight_files::{
    CONFIG, DUAL_TYPES, Folder, INDEX_ENDING, MODEL_INDEX, OPEN_CLIP_CONFIG, WeightFiles, no_weights,
};

/// Files that change how a model is used. A model runs without them, but wrongly if they exist: a cache counts as
/// complete only if it is certain that those that it lacks do not exist.
const DEFINING: [&str; 9] = [
    CONFIG,
    "config_sentence_transformers.json",
    "generation_config.json",
    MODULES,
    OPEN_CLIP_CONFIG,
    "preprocessor_config.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// Files that are taken if they exist.
const OPTIONAL: [&str; 12] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "open_clip_vocab.json",
];

const MODULES: &str = "modules.json";

/// The parts of a diffusers repository that are used, those of them that have weights, and those that check images.
const DIFFUSION_PARTS: [&str; 9] = [
    "scheduler",
    "tokenizer",
    "tokenizer_2",
    "text_encoder",
    "text_encoder_2",
    "unet",
    "vae",
    "feature_extractor",
    "safety_checker",
];
const WEIGHTED_PARTS: [&str; 5] = ["text_encoder", "text_encoder_2", "unet", "vae", "safety_checker"];
const SAFETY_PARTS: [&str; 2] = ["feature_extractor", "safety_checker"];

/// Files of these parts besides weights.
const DIFFUSION_FILES: [&str; 8] = [
    CONFIG,
    "preprocessor_config.json",
    "scheduler_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
];

/// The files that name further files; a plan needs to read them.
pub(super) fn naming(names: &BTreeSet<String>) -> impl Iterator<Item = &String> {
    let is_of_open_clip = names.contains(OPEN_CLIP_CONFIG);
    names.iter().filter(move |name| match name.strip_suffix(INDEX_ENDING) {
        Some(whole) => {
            let is_read = whole.ends_with("model.safetensors") || whole.ends_with("pytorch_model.bin");
            is_read && !names.contains(whole)
        }
        // Beside open_clip's configuration, it says whether `model.safetensors` is the whole model.
        None => *name == MODULES || *name == MODEL_INDEX || is_of_open_clip && *name == CONFIG,
    })
}

/// What a model is: it decides which of the files of [`DEFINING`] would be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ModelKind {
    Text,
    /// Of texts and images.
    Dual,
    Language,
    Unknown,
}

impl ModelKind {
    /// Whether a file of this name would be read if it were there. Other tools do not ask the Hub for what they do not
    /// read either, and so do not know that it is absent.
    fn reads(self, name: &str) -> bool {
        match (self, name) {
            (Self::Unknown, _) => true,
            (Self::Text, "generation_config.json") => false,
            (Self::Text | Self::Language, "preprocessor_config.json" | OPEN_CLIP_CONFIG) => false,
            (
                Self::Dual,
                MODULES
                | OPEN_CLIP_CONFIG
                | "config_sentence_transformers.json"
                | "generation_config.json"
                | "sentence_bert_config.json",
            ) => false,
            _ => true,
        }
    }
}

/// The files of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The files, in the order in which to fetch them. The weights come last: with them a folder looks like a model.
    pub(super) files: Vec<String>,
    /// Files that must not exist for the plan to be right.
    pub(super) absent: Vec<String>,
}

/// One step of a sentence-transformers model.
#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type", default)]
    kind: String,
}

/// A repository: the names of its files, and the contents of those that are [`naming`] others.
pub(super) struct Contents<'a> {
    pub(super) names: &'a BTreeSet<String>,
    /// Gives the bytes of a file, if it is here.
    pub(super) read: &'a dyn Fn(&str) -> Result<Option<Vec<u8>>>,
}

/// One folder of a repository; `path` is empty or ends with `/`.
struct RepositoryFolder<'a> {
    contents: &'a Contents<'a>,
    path: String,
}

impl Contents<'_> {
    /// The files that a model needs of this repository.
    ///
    /// # Errors
    /// `model_load` saying what to do if it holds no weights that can be read.
    pub(super) fn plan(&self) -> Result<Plan> {
        let modules = self.modules()?;
        let mut plan = Plan::default();
        let mut weights = Vec::new();
        let kind = self.kind()?;
        for name in DEFINING {
            match self.existing(name.to_owned()) {
                Some(name) => plan.files.push(name),
                None if kind.reads(name) => plan.absent.push(name.to_owned()),
                None => {}
            }
        }
        self.take_optional("", &mut plan);
        weights.extend(self.folder("").weights()?.unwrap_or_default());
        for module in modules.iter().filter(|module| !["", "."].contains(&module.path.as_str())) {
            let folder = self.folder(&module.path);
            let path = &folder.path;
            if !["Normalize", "StaticEmbedding"].iter().any(|kind| module.kind.ends_with(kind)) {
                self.take(format!("{path}config.json"), &mut plan);
            }
            for name in DEFINING.iter().skip(1).filter(|name| **name != MODULES) {
                plan.files.extend(self.existing(format!("{path}{name}")));
            }
            self.take_optional(path, &mut plan);
            match folder.weights()? {
                Some(found) => weights.extend(found),
                None if module.kind.ends_with("Dense") => return Err(no_weights(&folder)),
                None => {}
            }
        }
        // Later modules may have weights of their own; the model needs those of the first.
        let encoder = self.folder(modules.first().map_or("", |module| &module.path));
        if encoder.weights()?.is_none() {
            return Err(no_weights(&encoder));
        }
        plan.files.extend(weights);
        let mut seen = BTreeSet::new();
        plan.files.retain(|name| seen.insert(name.clone()));
        Ok(plan)
    }

    /// The files of a diffusers repository: of each part that is used, its configuration and weights. `variant` is that of
    /// the weights (`fp16`); a single-file checkpoint or LoRA beside the parts may be named instead. The safety checker is not
    /// always wanted.
    ///
    /// # Errors
    /// `model_load` if `model_index.json` is damaged, or a part has no weights of that variant.
    pub(super) fn diffusion_plan(&self, variant: Option<&str>, has_safety: bool) -> Result<Plan> {
        if let Some(name) = variant.filter(|name| self.names.contains(*name)) {
            return Ok(Plan { files: vec![name.to_owned()], absent: Vec::new() });
        }
        // Not here yet: its parts are known afterwards.
        let Some(bytes) = (self.read)(MODEL_INDEX)? else {
            return Ok(Plan { files: vec![MODEL_INDEX.to_owned()], absent: Vec::new() });
        };
        let index: Value = serde_json::from_slice(&bytes).map_err(|error| {
            let text = format!("{MODEL_INDEX} of the repository is not as expected: {error}");
            Error::new(ErrorKind::ModelLoad, text).with_source(error)
        })?;
        let has = |part: &str| index.get(part).is_some_and(|part| part.get(0).is_some_and(Value::is_string));
        let mut files = vec![MODEL_INDEX.to_owned()];
        let is_wanted = |part: &&str| has(part) && (has_safety || !SAFETY_PARTS.contains(part));
        let parts = DIFFUSION_PARTS.into_iter().filter(is_wanted);
        for part in parts.clone() {
            files.extend(DIFFUSION_FILES.iter().filter_map(|name| self.existing(format!("{part}/{name}"))));
        }
        for part in parts.filter(|part| WEIGHTED_PARTS.contains(part)) {
            let folder = self.folder(part);
            let found = match variant {
                None => folder.weights()?.ok_or_else(|| no_weights(&folder))?,
                Some(variant) => {
                    let start = format!("{part}/");
                    let is_wanted = |name: &&String| {
                        name.strip_prefix(&start).is_some_and(|name| {
                            name.contains("model") && name.ends_with(&format!(".{variant}.safetensors"))
                        })
                    };
                    let found: Vec<String> = self.names.iter().filter(is_wanted).cloned().collect();
                    if found.is_empty() {
                        let text =
                            format!("{part} of the repository has no weights of the variant '{variant}'");
                        return Err(Error::new(ErrorKind::ModelLoad, text));
                    }
                    found
                }
            };
            files.extend(found);
        }
        Ok(Plan { files, absent: Vec::new() })
    }

    /// The files of a model in GGUF: the one whose name has `wanted` in it, with all its parts.
    ///
    /// # Errors
    /// `model_load` listing what there is if there is none, or several.
    pub(super) fn gguf_plan(&self, wanted: &str) -> Result<Plan> {
        // A single-file checkpoint, or a LoRA.
        if wanted.ends_with(".safetensors") && self.names.contains(wanted) {
            return Ok(Plan { files: vec![wanted.to_owned()], absent: Vec::new() });
        }
        let all = || self.names.iter().filter(|name| name.ends_with(".gguf"));
        let low = wanted.to_ascii_lowercase();
        let stem = |name: &str| name.trim_end_matches(".gguf").to_ascii_lowercase();
        let fits = |name: &&String| stem(name).contains(&low);
        // `Q4_K` must not find `Q4_K_M` where there is a file of its own.
        let is_whole = |name: &&String| {
            let stem = stem(name);
            stem.split_once("-of-")
                .map_or(stem.as_str(), |(start, _)| start.rsplit_once('-').map_or(start, |(start, _)| start))
                .strip_suffix(&low)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with(['-', '.', '_', '/']))
        };
        let parts = |name: &String| WeightFiles::of_file(name).names;
        let mut found: BTreeSet<Vec<String>> = all().filter(is_whole).map(parts).collect();
        if found.is_empty() {
            found = all().filter(fits).map(parts).collect();
        }
        match (found.pop_first(), found.is_empty()) {
            (Some(files), true) => Ok(Plan { files, absent: Vec::new() }),
            (found, _) => {
                let why = if found.is_some() { "several GGUF files" } else { "no GGUF file" };
                let names: Vec<&str> = all().take(20).map(String::as_str).collect();
                Err(Error::new(
                    ErrorKind::ModelLoad,
                    format!(
                        "{why} of the repository have '{wanted}' in their names; there are: {}",
                        names.join(", ")
                    ),
                ))
            }
        }
    }

    /// What the model is, as far as its configuration is here.
    fn kind(&self) -> Result<ModelKind> {
        let bytes = if self.names.contains(CONFIG) { (self.read)(CONFIG)? } else { None };
        let config = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let Some(config) = config else { return Ok(ModelKind::Unknown) };
        let model_type = config.get("model_type").and_then(Value::as_str);
        let classes = config.get("architectures").and_then(Value::as_array);
        let class = classes.and_then(|classes| classes.first()).and_then(Value::as_str).unwrap_or_default();
        Ok(match model_type {
            None => ModelKind::Unknown,
            Some(name) if DUAL_TYPES.contains(&name) => ModelKind::Dual,
            Some(_) if class.ends_with("ForCausalLM") => ModelKind::Language,
            Some(_) => ModelKind::Text,
        })
    }

    fn folder(&self, path: &str) -> RepositoryFolder<'_> {
        let path = path.trim_matches('/');
        // Model2vec writes `.` for the folder itself.
        let path = if path.is_empty() || path == "." { String::new() } else { format!("{path}/") };
        RepositoryFolder { contents: self, path }
    }

    fn existing(&self, name: String) -> Option<String> {
        self.names.contains(&name).then_some(name)
    }

    fn take(&self, name: String, plan: &mut Plan) {
        match self.existing(name.clone()) {
            Some(name) => plan.files.push(name),
            None => plan.absent.push(name),
        }
    }

    fn take_optional(&self, folder: &str, plan: &mut Plan) {
        plan.files.extend(OPTIONAL.iter().filter_map(|name| self.existing(format!("{folder}{name}"))));
    }

    fn modules(&self) -> Result<Vec<Module>> {
        let bytes = if self.names.contains(MODULES) { (self.read)(MODULES)? } else { None };
        let Some(bytes) = bytes else { return Ok(Vec::new()) };
        serde_json::from_slice(&bytes).map_err(|error| {
            let text = format!("{MODULES} of the repository is not as expected: {error}");
            Error::new(ErrorKind::ModelLoad, text).with_source(error)
        })
    }
}

impl RepositoryFolder<'_> {
    /// The files with the weights, their index last; `None` if there are none that can be read.
    fn weights(&self) -> Result<Option<Vec<String>>> {
        let found = WeightFiles::find(self)?;
        let files = |found: WeightFiles| found.names.into_iter().chain(found.index);
        Ok(found.map(|found| files(found).map(|name| format!("{}{name}", self.path)).collect()))
    }
}

impl Folder for RepositoryFolder<'_> {
    fn names(&self) -> BTreeSet<String> {
        self.contents
            .names
            .iter()
            .filter_map(|name| name.strip_prefix(&self.path))
            .map(str::to_owned)
            .collect()
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        (self.contents.read)(&format!("{}{name}", self.path))
    }

    fn display(&self, name: &str) -> String {
        format!("{}{name} of the repository", self.path)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
