//! A hash of what decides a model's vectors. Decision 0013 says what is in it and why the weights are sampled.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::repository::{Kind, Repository, StepConfig};
use crate::error::Result;
use crate::local::source::{ModelFiles, OPEN_CLIP_CONFIG};
use crate::local::tokenizer::Cleaning;
use crate::local::weights::Weights;

/// How many bytes of weights are hashed, about; models with fewer are hashed whole.
const WEIGHT_BYTES: usize = 4 << 20;

/// The least that is hashed of a tensor: biases and norms are hashed whole.
const MIN_TENSOR_BYTES: usize = 16 << 10;

/// Fields of configuration files that say where a model came from and how it was saved.
const HISTORY: [&str; 8] = [
    "_name_or_path",
    "cache_dir",
    "dtype",
    "name_or_path",
    "special_tokens_map_file",
    "tokenizer_file",
    "torch_dtype",
    "transformers_version",
];

/// The files of tokenizers without `tokenizer.json`.
const VOCABULARIES: [&str; 7] = [
    "merges.txt",
    "open_clip_vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
];

impl Repository {
    /// A hash of what decides the vectors but their width: configuration, weights, tokenizer, pooling, prompts. The
    /// folder's name and the format of the weight files are not in it.
    ///
    /// # Errors
    /// `model_load` if a file cannot be read or is damaged.
    pub(super) fn fingerprint(&self) -> Result<String> {
        if let Some(found) = self.fingerprint.get() {
            return Ok(found.clone());
        }
        let found = self.compute_fingerprint()?;
        Ok(self.fingerprint.get_or_init(|| found).clone())
    }

    fn compute_fingerprint(&self) -> Result<String> {
        let mut hash = Fields::default();
        hash.json("config", &self.config);
        hash.weights(&self.files)?;
        hash.tokenizer(&self.files)?;
        hash.add("lower case", &[u8::from(self.cleaning == Cleaning::LowerCase)]);
        hash.add("window", self.window.map_or_else(String::new, |window| window.to_string()).as_bytes());
        match self.kind {
            Kind::Text => hash.head(self)?,
            Kind::Dual => {
                hash.file(&self.files, "preprocessor_config.json")?;
                hash.file(&self.files, OPEN_CLIP_CONFIG)?;
            }
        }
        for (name, prompt) in [
            ("query", &self.prompts.query),
            ("document", &self.prompts.document),
            ("no role", &self.prompts.default),
        ] {
            // No prompt and an empty one are the same.
            hash.add(name, prompt.as_deref().unwrap_or_default().as_bytes());
        }
        Ok(hash.finish())
    }
}

/// Named fields in one hash. Lengths are in it, so that no two lists of fields look alike.
#[derive(Default)]
struct Fields(Sha256);

impl Fields {
    fn add(&mut self, name: &str, bytes: &[u8]) {
        for part in [name.as_bytes(), bytes] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// JSON whatever the order of its fields, without those of the model's history.
    fn json(&mut self, name: &str, value: &Value) {
        self.add(name, canonical(value).to_string().as_bytes());
    }

    fn json_file(&mut self, files: &ModelFiles, name: &str) -> Result<()> {
        let value: Option<Value> = files.json(name)?;
        self.json(name, &value.unwrap_or_default());
        Ok(())
    }

    fn file(&mut self, files: &ModelFiles, name: &str) -> Result<()> {
        self.add(name, &files.read(name)?.unwrap_or_default());
        Ok(())
    }

    fn weights(&mut self, files: &ModelFiles) -> Result<()> {
        let weights = Weights::open(files)?;
        let limit = MIN_TENSOR_BYTES.max(WEIGHT_BYTES / weights.len().max(1));
        weights.sample(limit, |bytes| self.add("", bytes));
        Ok(())
    }

    fn tokenizer(&mut self, files: &ModelFiles) -> Result<()> {
        self.json_file(files, "tokenizer_config.json")?;
        if files.has("tokenizer.json") {
            return self.file(files, "tokenizer.json");
        }
        VOCABULARIES.iter().try_for_each(|name| self.file(files, name))
    }

    /// What follows the encoder: pooling, dense layers, unit length.
    fn head(&mut self, repository: &Repository) -> Result<()> {
        for name in repository.pooler.mode_names() {
            self.add("pooling", name.as_bytes());
        }
        self.add("prompt is pooled", &[u8::from(repository.pooler.includes_prompt)]);
        for step in &repository.steps {
            match step {
                StepConfig::Normalise => self.add("unit length", &[]),
                StepConfig::Dense(files, _) => {
                    self.json_file(files, "config.json")?;
                    self.weights(files)?;
                }
            }
        }
        Ok(())
    }

    /// The first 128 bits: enough that no two models have the same.
    fn finish(self) -> String {
        self.0.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.iter().filter(|(name, _)| !HISTORY.contains(&name.as_str())).collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            fields.into_iter().map(|(name, field)| (name.clone(), canonical(field))).collect()
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn golden(path: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
    }

    fn fingerprint(folder: &Path) -> String {
        Repository::read(&ModelFiles::in_folder(folder).unwrap(), None, None).unwrap().fingerprint().unwrap()
    }

    /// The golden repository as `change` leaves it.
    fn changed(change: impl FnOnce(&Path)) -> String {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(golden("repositories/base")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        change(folder.path());
        fingerprint(folder.path())
    }

    fn edit(folder: &Path, name: &str, change: impl FnOnce(&mut Value)) {
        let path = folder.join(name);
        let mut value: Value =
            std::fs::read(&path).map_or_else(|_| json!({}), |bytes| serde_json::from_slice(&bytes).unwrap());
        change(&mut value);
        std::fs::write(path, value.to_string()).unwrap();
    }

    #[test]
    fn a_copy_in_another_folder_and_what_only_tells_its_history_change_nothing() {
        let whole = changed(|_| {});
        assert_eq!(whole, changed(|_| {}));
        assert_eq!(whole.len(), 32);
        let history = changed(|folder| {
            edit(folder, "config.json", |config| {
                config["_name_or_path"] = json!("elsewhere");
                config["torch_dtype"] = json!("bfloat16");
            });
        });
        assert_eq!(history, whole);
        assert_eq!(changed(|folder| std::fs::write(folder.join("README.md"), "x").unwrap()), whole);
    }

    #[test]
    fn everything_that_decides_the_vectors_is_in_it() {
        let mut found = vec![changed(|_| {})];
        found.push(changed(|folder| {
            let path = folder.join("model.safetensors");
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }));
        found.push(changed(|folder| {
            edit(folder, "config.json", |config| config["layer_norm_eps"] = json!(0.5));
        }));
        found.push(changed(|folder| {
            edit(folder, "tokenizer.json", |tokenizer| tokenizer["normalizer"] = Value::Null);
        }));
        found.push(changed(|folder| {
            edit(folder, "config_sentence_transformers.json", |config| {
                config["prompts"] = json!({ "query": "q: " });
            });
        }));
        found.push(changed(|folder| {
            edit(folder, "sentence_bert_config.json", |config| config["max_seq_length"] = json!(7));
        }));
        found.push(changed(|folder| {
            let modules = json!([
                { "path": "", "type": "sentence_transformers.models.Transformer" },
                { "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
                { "path": "2_Normalize", "type": "sentence_transformers.models.Normalize" }
            ]);
            std::fs::write(folder.join("modules.json"), modules.to_string()).unwrap();
            std::fs::create_dir_all(folder.join("1_Pooling")).unwrap();
            edit(folder, "1_Pooling/config.json", |config| config["pooling_mode"] = json!("cls"));
        }));
        let count = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), count, "{found:?}");
    }
}
