//! The files of a model in a folder on this machine.

use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};

/// A folder with a model's files, and which model that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelFiles {
    folder: PathBuf,
    /// The model, as its publisher names it; the folder's own name where nobody said.
    pub(crate) model: String,
    /// The commit that the files are from, where that is known.
    pub(crate) revision: Option<String>,
    /// The one file that the user named, where it was not the folder: its weights are these and no others.
    pub(crate) weights: Option<String>,
}

impl ModelFiles {
    /// The files of a folder that somebody filled by hand.
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
        Ok(Self { folder: folder.to_owned(), model, revision: None, weights: None })
    }

    /// The same files under the publisher's name of the model.
    pub(crate) fn named(mut self, model: impl Into<String>, revision: Option<String>) -> Self {
        (self.model, self.revision) = (model.into(), revision);
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

    /// Where a file would be.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// A file's bytes; `None` if there is no such file.
    ///
    /// # Errors
    /// `model_load` if it cannot be read.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match std::fs::read(self.path(name)) {
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

    /// A JSON file that a model cannot be without.
    ///
    /// # Errors
    /// As [`json`](Self::json), and `model_load` if there is no such file.
    pub(crate) fn needed_json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        self.json(name)?.ok_or_else(|| {
            let text = format!("{} has no {name}; is it a model's folder?", self.folder.display());
            Error::new(ErrorKind::ModelLoad, text)
        })
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
    fn a_json_file_that_is_none_says_where_it_breaks() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{\"a\": ").unwrap();
        let files = ModelFiles::in_folder(folder.path()).unwrap();
        let error = files.json::<serde_json::Value>("config.json").unwrap_err();
        assert!(error.message().contains("config.json is not as expected: EOF"), "{error}");
        assert_eq!(files.json::<serde_json::Value>("other.json").unwrap(), None);
    }
}
