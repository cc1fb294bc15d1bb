//! The files of a model in a folder on this machine.

use std::collections::BTreeSet;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::weight_files::{Folder, WeightFiles, no_weights};
use crate::error::{Error, ErrorKind, Result};

/// A folder with a model's files, and which model that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelFiles {
    folder: PathBuf,
    /// What to call the model: as its publisher does, or by the folder's own name.
    pub(crate) model: String,
    /// Whether `model` is the publisher's name. A folder's says nothing about what is in it.
    pub(crate) is_published: bool,
    /// The commit that the files are from, if known.
    pub(crate) revision: Option<String>,
    /// The file of weights that the user named, where it was not the folder.
    pub(crate) weights: Option<String>,
    /// Whether weights are read into memory rather than mapped.
    pub(crate) copies_weights: bool,
}

impl ModelFiles {
    /// The files of a folder.
    ///
    /// # Errors
    /// `model_load` if there is no such folder.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            let text = format!("there is no model folder {}", folder.display());
            return Err(Error::new(ErrorKind::ModelLoad, text));
        }
        let name = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let model = name.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let files = Self {
            folder: folder.to_owned(),
            model,
            is_published: false,
            revision: None,
            weights: None,
            copies_weights: false,
        };
        Ok(match of_hub_cache(&name) {
            Some((id, revision)) => files.named(id, Some(revision)),
            None => files,
        })
    }

    /// The same files under the publisher's name of the model.
    pub(crate) fn named(mut self, model: impl Into<String>, revision: Option<String>) -> Self {
        (self.model, self.revision, self.is_published) = (model.into(), revision, true);
        self
    }

    /// The files of one of its folders; `""` is the folder itself.
    pub(crate) fn within(&self, path: &str) -> Self {
        match path {
            "" => self.clone(),
            _ => Self { folder: self.folder.join(path), weights: None, ..self.clone() },
        }
    }

    /// The same files with the weights that the user named.
    pub(crate) fn with_weights(mut self, name: impl Into<String>) -> Self {
        self.weights = Some(name.into());
        self
    }

    /// The same files, of which the weights are read into memory or mapped.
    pub(crate) fn with_copied_weights(mut self, copies: bool) -> Self {
        self.copies_weights = copies;
        self
    }

    /// Where a file would be.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// The files that hold the weights: the one that the user named, else those in the folder.
    ///
    /// # Errors
    /// `model_load` if there are none, or an index lists what is not in the folder.
    pub(crate) fn weight_files(&self) -> Result<WeightFiles> {
        match &self.weights {
            Some(name) => Ok(WeightFiles::of_file(name)),
            None => WeightFiles::find(self)?.ok_or_else(|| no_weights(self)),
        }
    }

    /// A file's bytes; `None` if there is no such file.
    ///
    /// # Errors
    /// `model_load` if it cannot be read, or is a pipe or a device.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(name);
        // Opening a pipe would wait for a writer.
        let found = std::fs::metadata(&path);
        if found.is_ok_and(|found| !found.is_file()) {
            let text = format!("{} cannot be read: it is not a regular file", path.display());
            return Err(Error::new(ErrorKind::ModelLoad, text));
        }
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == Io::NotFound => Ok(None),
            Err(error) => {
                let text = format!("{} cannot be read: {error}", self.path(name).display());
                Err(Error::new(ErrorKind::ModelLoad, text).with_source(error))
            }
        }
    }

    /// A JSON file; `None` if there is no such file.
    ///
    /// # Errors
    /// `model_load` if it cannot be read or is not what is expected.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let text = format!("{} is not as expected: {error}", self.path(name).display());
            Error::new(ErrorKind::ModelLoad, text).with_source(error)
        })
    }

    /// A JSON file that every model has.
    ///
    /// # Errors
    /// As [`json`](Self::json), and `model_load` if there is no such file.
    pub(crate) fn needed_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        self.json(name)?.ok_or_else(|| {
            let advice = match self.weights.as_deref().filter(|weights| weights.ends_with(".gguf")) {
                Some(gguf) => format!("put the one there that belongs to the model that {gguf} was made of"),
                None => "is it a model's folder?".to_owned(),
            };
            Error::new(ErrorKind::ModelLoad, format!("{} has no {name}; {advice}", self.folder.display()))
        })
    }
}

/// The id and the commit of a folder in the Hub's cache: `…/models--org--name/snapshots/<commit>`.
fn of_hub_cache(folder: &Path) -> Option<(String, String)> {
    let mut names = folder.iter().rev().map(|name| name.to_str());
    let (commit, snapshots, repository) = (names.next()??, names.next()??, names.next()??);
    let id = repository.strip_prefix("models--").filter(|_| snapshots == "snapshots")?;
    Some((id.replacen("--", "/", 1), commit.to_owned()))
}

impl Folder for ModelFiles {
    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.path().is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Self::read(self, name)
    }

    fn display(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_and_a_missing_file_are_named() {
        let error = ModelFiles::in_folder(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        assert!(error.message().contains("/nowhere/at/all"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let files = ModelFiles::in_folder(folder.path()).unwrap();
        let error = files.needed_json::<serde_json::Value>("config.json").unwrap_err();
        assert!(error.message().contains("has no config.json"), "{error}");
    }

    #[test]
    fn a_folder_of_the_hub_s_cache_is_the_published_model() {
        let home = tempfile::tempdir().unwrap();
        let named = |path: &str| {
            let folder = home.path().join(path);
            std::fs::create_dir_all(&folder).unwrap();
            let files = ModelFiles::in_folder(&folder).unwrap();
            (files.model, files.is_published, files.revision)
        };
        assert_eq!(
            named("models--org--a--b/snapshots/abc"),
            ("org/a--b".to_owned(), true, Some("abc".to_owned()))
        );
        for path in ["models--org--a/abc", "e5-small", "org--a/snapshots/abc"] {
            assert!(!named(path).1, "{path}");
        }
    }

    #[test]
    fn a_damaged_json_file_says_where() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{\"a\": ").unwrap();
        let files = ModelFiles::in_folder(folder.path()).unwrap();
        let error = files.json::<serde_json::Value>("config.json").unwrap_err();
        assert!(error.message().contains("config.json is not as expected: EOF"), "{error}");
        assert_eq!(files.json::<serde_json::Value>("other.json").unwrap(), None);
    }
}
