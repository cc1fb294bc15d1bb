//! From the name of a model to its files.

use std::path::Path;

use super::{Hub, ModelFiles, ModelReference, Wanted};
use crate::error::{Error, ErrorKind, Result};

/// Where a model's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Located {
    /// On this machine.
    Here(ModelFiles),
    /// At the Hub: [`Hub::fetch`] brings them.
    ToFetch {
        /// `org/name`.
        id: String,
        /// A branch, tag or commit; the main branch without it.
        revision: Option<String>,
    },
}

/// Finds a model's files without touching the network. What the cache holds of a branch is taken as it is: whoever
/// wants the branch as it is now calls [`Hub::fetch`].
///
/// # Errors
/// `model_load` if there is no such folder or file; `offline` if the Hub may not be asked and the cache lacks
/// something.
pub(crate) fn locate(reference: &ModelReference, hub: &Hub, wanted: &Wanted) -> Result<Located> {
    let ModelReference::Hub { id, revision } = reference else {
        return here(reference)?
            .map(Located::Here)
            .ok_or_else(|| Error::config("the reference names nothing"));
    };
    if let Some(files) = hub.cached(id, revision.as_deref(), wanted)? {
        return Ok(Located::Here(files));
    }
    if hub.is_offline() {
        return Err(hub.not_cached(id, revision.as_deref(), wanted));
    }
    Ok(Located::ToFetch { id: id.clone(), revision: revision.clone() })
}

/// The files of a folder or around a file; `None` for what is named at the Hub.
///
/// # Errors
/// `model_load` if there is no such folder or file.
pub(crate) fn here(reference: &ModelReference) -> Result<Option<ModelFiles>> {
    match reference {
        ModelReference::Folder(folder) => ModelFiles::in_folder(folder).map(Some),
        ModelReference::File(file) => of_file(file).map(Some),
        ModelReference::Hub { .. } => Ok(None),
    }
}

/// The folder around a file, with that file as its weights.
fn of_file(file: &Path) -> Result<ModelFiles> {
    let missing = || Error::new(ErrorKind::ModelLoad, format!("there is no model file {}", file.display()));
    let name = file.file_name().filter(|_| file.is_file()).ok_or_else(missing)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let files = ModelFiles::in_folder(folder.unwrap_or(Path::new(".")))?;
    Ok(files.with_weights(name.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Environment;

    fn hub(pairs: &[(&str, &str)]) -> Hub {
        Hub::from_env(&Environment::from_pairs(pairs.iter().copied())).unwrap()
    }

    fn located(text: &str, hub: &Hub) -> Result<Located> {
        locate(&text.parse()?, hub, &Wanted::Model)
    }

    #[test]
    fn folders_and_files_are_here() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap();
        let hub = hub(&[("HF_HOME", at)]);
        let Located::Here(files) = located(at, &hub).unwrap() else { panic!("a folder is here") };
        assert_eq!(files.weights, None);
        let path = folder.path().join("other.safetensors");
        let error = located(path.to_str().unwrap(), &hub).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        assert!(error.message().contains("other.safetensors"), "{error}");
        std::fs::write(&path, "x").unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let Located::Here(files) = located(path.to_str().unwrap(), &hub).unwrap() else {
            panic!("a file is here")
        };
        assert_eq!(files.weights.as_deref(), Some("other.safetensors"));
        assert!(files.has("config.json"), "the files beside it belong to it");
    }

    #[test]
    fn what_is_not_cached_is_to_fetch_or_offline() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().to_str().unwrap();
        let expected = Located::ToFetch { id: "org/name".to_owned(), revision: Some("v1".to_owned()) };
        assert_eq!(located("org/name@v1", &hub(&[("HF_HOME", at)])).unwrap(), expected);
        let error = located("org/name@v1", &hub(&[("HF_HOME", at), ("HF_HUB_OFFLINE", "1")])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Offline);
        for part in ["'org/name' (revision v1)", at, "never fetched"] {
            assert!(error.message().contains(part), "{error}");
        }
    }
}
