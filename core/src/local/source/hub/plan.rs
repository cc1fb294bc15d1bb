//! Which files of a repository a model needs.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::local::source::OPEN_CLIP_CONVERSION;

/// What is wanted of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The model: its weights as safetensors, its configuration, its tokenizer, its modules.
    Model,
    /// One file, by its name: a model in GGUF has everything in it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for chat models, which are not here yet"))]
    File(String),
}

/// What says how a model is used. Each is optional, and a model runs without it, but wrongly if there is one: so a
/// cache counts as complete only if it is certain that those that are not there do not exist.
const DECISIVE: [&str; 9] = [
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

/// What else is taken if it is there.
const WELCOME: [&str; 12] = [
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

const CONFIG: &str = "config.json";
const MODULES: &str = "modules.json";
const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Where open_clip's own exports keep weights.
const OTHER_WEIGHTS: [&str; 2] = ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"];

const OPEN_CLIP_PICKLE: &str = "open_clip_pytorch_model.bin";

/// The files whose content names further files: a plan needs to read them.
pub(super) fn naming(names: &BTreeSet<String>) -> impl Iterator<Item = &String> {
    let is_of_open_clip = names.contains(OPEN_CLIP_CONFIG);
    names.iter().filter(move |name| match name.strip_suffix(INDEX) {
        Some(folder) => !names.contains(&format!("{folder}{WEIGHTS}")),
        // Beside open_clip's own config, it says whether the usual weights are the whole model.
        None => *name == MODULES || is_of_open_clip && *name == CONFIG,
    })
}

/// The files of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// What to have, in the order in which to fetch it: the weights, whose presence makes a folder look like a
    /// model, come last.
    pub(super) files: Vec<String>,
    /// What is not there, and must be known not to exist for the plan to be right.
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

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// A repository: the names of its files, and the contents of those that are [`naming`] others.
pub(super) struct Contents<'a> {
    pub(super) names: &'a BTreeSet<String>,
    /// Gives the bytes of a file, if it has it.
    pub(super) read: &'a dyn Fn(&str) -> Result<Option<Vec<u8>>>,
}

impl Contents<'_> {
    /// What to have of this repository.
    ///
    /// # Errors
    /// `model_load` saying what to do if it holds no weights that can be read; `not_found` if it has no such file.
    pub(super) fn plan(&self, wanted: &Wanted) -> Result<Plan> {
        match wanted {
            Wanted::File(name) if self.names.contains(name) => {
                Ok(Plan { files: vec![name.clone()], absent: Vec::new() })
            }
            Wanted::File(name) => {
                Err(Error::new(ErrorKind::NotFound, format!("the repository has no file {name}")))
            }
            Wanted::Model => self.plan_of_model(),
        }
    }

    fn plan_of_model(&self) -> Result<Plan> {
        let modules = self.modules()?;
        let mut plan = Plan::default();
        let mut weights = Vec::new();
        for name in DECISIVE {
            self.take(name.to_owned(), &mut plan);
        }
        self.take_welcome("", &mut plan);
        weights.extend(self.weights_in("")?);
        for module in modules.iter().filter(|module| !module.path.is_empty()) {
            let folder = format!("{}/", module.path.trim_matches('/'));
            let is_dense = module.kind.ends_with("Dense");
            if !module.kind.ends_with("Normalize") {
                self.take(format!("{folder}config.json"), &mut plan);
            }
            for name in DECISIVE.iter().skip(1).filter(|name| **name != MODULES) {
                plan.files.extend(self.existing(format!("{folder}{name}")));
            }
            self.take_welcome(&folder, &mut plan);
            match self.weights_in(&folder)? {
                found if found.is_empty() && is_dense => return Err(self.no_weights(&folder)),
                found => weights.extend(found),
            }
        }
        // Later parts may have weights of their own, and still there is no model without those of the first.
        let encoder = modules.first().map_or("", |module| module.path.trim_matches('/'));
        let encoder = if encoder.is_empty() { String::new() } else { format!("{encoder}/") };
        if self.weights_in(&encoder)?.is_empty() {
            return Err(self.no_weights(&encoder));
        }
        plan.files.extend(weights);
        let mut seen = BTreeSet::new();
        plan.files.retain(|name| seen.insert(name.clone()));
        Ok(plan)
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

    fn take_welcome(&self, folder: &str, plan: &mut Plan) {
        plan.files.extend(WELCOME.iter().filter_map(|name| self.existing(format!("{folder}{name}"))));
    }

    fn json<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>> {
        let Some(bytes) = (self.read)(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Error::new(ErrorKind::ModelLoad, format!("{name} of the repository is not as expected: {error}"))
                .with_source(error)
        })
    }

    fn modules(&self) -> Result<Vec<Module>> {
        if !self.names.contains(MODULES) {
            return Ok(Vec::new());
        }
        Ok(self.json(MODULES)?.unwrap_or_default())
    }

    /// The files with the weights of a folder; none if it has none that can be read.
    fn weights_in(&self, folder: &str) -> Result<Vec<String>> {
        let other = || OTHER_WEIGHTS.iter().find_map(|name| self.existing(format!("{folder}{name}")));
        if folder.is_empty()
            && let Some(other) = other()
            && self.is_of_open_clip_alone()?
        {
            return Ok(vec![other]);
        }
        let whole = format!("{folder}{WEIGHTS}");
        if self.names.contains(&whole) {
            return Ok(vec![whole]);
        }
        let index = format!("{folder}{INDEX}");
        if self.names.contains(&index) {
            let Some(Index { weight_map }) = self.json(&index)? else { return Ok(vec![index]) };
            let shards: BTreeSet<String> =
                weight_map.into_values().map(|shard| format!("{folder}{shard}")).collect();
            if let Some(missing) = shards.iter().find(|shard| !self.names.contains(*shard)) {
                let text = format!("{index} names {missing}, which the repository does not have");
                return Err(Error::new(ErrorKind::ModelLoad, text));
            }
            return Ok(shards.into_iter().chain([index]).collect());
        }
        Ok(other().into_iter().collect())
    }

    /// Whether open_clip's config is the only one of the whole model: timm's beside it, with weights under the usual name,
    /// is of the images' half.
    fn is_of_open_clip_alone(&self) -> Result<bool> {
        if !self.names.contains(OPEN_CLIP_CONFIG) {
            return Ok(false);
        }
        let config = if self.names.contains(CONFIG) { self.json::<Value>(CONFIG)? } else { None };
        Ok(config.is_none_or(|config| config.get("model_type").is_none()))
    }

    /// Why there are no weights, and what to do.
    fn no_weights(&self, folder: &str) -> Error {
        let here = || self.names.iter().filter_map(|name| name.strip_prefix(folder));
        let ends = |name: &str, endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        // In the folders below are copies for other libraries, whose `.bin` is something else.
        let pickle = here().find(|name| !name.contains('/') && ends(name, &[".bin", ".pt", ".pth", ".ckpt"]));
        let gguf = here().find(|name| ends(name, &[".gguf"]));
        let text = if pickle == Some(OPEN_CLIP_PICKLE) {
            format!(
                "the repository keeps its weights in {folder}{OPEN_CLIP_PICKLE}, a pickle, which can run code when it is \
                 read; ayni reads safetensors only: name a revision that has them. {OPEN_CLIP_CONVERSION}, and name \
                 that folder"
            )
        } else if let Some(pickle) = pickle {
            format!(
                "the repository keeps its weights in {folder}{pickle}, a pickle, which can run code when it is read; ayni \
                 reads safetensors only: name a revision that has them (`@refs/pr/N` if somebody has proposed \
                 them), or convert the weights with `save_pretrained` of transformers and name that folder"
            )
        } else if let Some(gguf) = gguf {
            format!("the repository has no safetensors, but GGUF files such as {folder}{gguf}: name the file")
        } else {
            format!(
                "the repository has no weights: there is no {folder}{WEIGHTS} in it, and no {folder}{INDEX}"
            )
        };
        Error::new(ErrorKind::ModelLoad, text)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
