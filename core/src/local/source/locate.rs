//! From a model's configuration to its files.

use std::path::Path;

use super::hub::{Hub, is_commit};
use super::{ModelFiles, ModelReference, samples};
use crate::context::Context;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::local::ModelSource;

/// Where a model's files are.
#[derive(Clone, Debug)]
pub(crate) enum Located {
    /// On this machine.
    Local(ModelFiles),
    /// At the Hub, and not in the cache.
    Remote(RemoteModel),
}

/// A model that has yet to be fetched from the Hub.
#[derive(Clone, Debug)]
pub(crate) struct RemoteModel {
    hub: Hub,
    /// `org/name`.
    pub(crate) id: String,
    /// A branch, tag, commit or pull request; the main branch without it.
    revision: Option<String>,
}

/// Finds a model's files without using the network. For a branch or tag that is in the cache, these are the files that
/// were fetched last.
///
/// # Errors
/// `config_invalid` for a reference that is misspelt; `model_load` if there is no such folder or file; `offline` if
/// `HF_HUB_OFFLINE` is set and the cache lacks something; `unsupported` for a sample that this build does not have.
pub(crate) fn locate(source: &ModelSource, env: &Environment) -> Result<Located> {
    locate_with(source, env, false)
}

/// The same, with the safety checker of a diffusers repository if it is wanted.
///
/// # Errors
/// As [`locate`].
pub(crate) fn locate_with(source: &ModelSource, env: &Environment, has_safety: bool) -> Result<Located> {
    source.check()?;
    let hub = |file| Ok::<_, Error>(Hub::from_env(env)?.with_gguf(file).with_safety(has_safety));
    match source.model.parse()? {
        ModelReference::Folder(folder) => ModelFiles::in_folder(&folder).map(Located::Local),
        ModelReference::File(file) => files_around(&file).map(Located::Local),
        ModelReference::Hub { id, revision, file } => on_hub(hub(file)?, id, revision),
        ModelReference::Sample(reference) => {
            let sample = samples::find(reference)?;
            match sample.fetched_from {
                Some(id) => on_hub(hub(None)?, id.to_owned(), None).map_err(|error| {
                    error.map_message(|why| {
                        format!("{reference} is fetched, it is no part of the package: {why}")
                    })
                }),
                None => samples::open(&sample, env).map(Located::Local),
            }
        }
    }
}

fn on_hub(hub: Hub, id: String, revision: Option<String>) -> Result<Located> {
    if let Some(files) = hub.cached(&id, revision.as_deref()) {
        return Ok(Located::Local(files));
    }
    if hub.is_offline() {
        return Err(hub.not_cached(&id, revision.as_deref()));
    }
    Ok(Located::Remote(RemoteModel { hub, id, revision }))
}

impl Located {
    /// The files, fetched if they are not here. The context reports progress and may cancel.
    ///
    /// Blocks while it downloads: call it on the thread that loads the model.
    ///
    /// # Errors
    /// Those of the download; see [`Hub::fetch`].
    pub(crate) fn files(&self, cx: &Context) -> Result<ModelFiles> {
        match self {
            Self::Local(files) => Ok(files.clone()),
            Self::Remote(model) => model.fetch(cx),
        }
    }
}

impl RemoteModel {
    /// The revision as far as it is known before the download: a branch or tag may be any commit until it is fetched.
    pub(crate) fn expected_revision(&self) -> String {
        match self.revision.as_deref().unwrap_or("main") {
            commit if is_commit(commit) => commit.to_owned(),
            name => format!("{name}, not fetched yet"),
        }
    }

    fn fetch(&self, cx: &Context) -> Result<ModelFiles> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                Error::new(ErrorKind::Unavailable, format!("no runtime for the download: {error}"))
                    .with_source(error)
            })?;
        let fetched = runtime.block_on(self.hub.fetch(cx, &self.id, self.revision.as_deref()));
        fetched.map_err(|error| match error.kind() {
            // The Hub never answered: there may be no network.
            ErrorKind::Unavailable if error.http_status().is_none() => {
                error.map_message(|why| format!("{why}{}", samples::advice()))
            }
            _ => error,
        })
    }
}

/// The folder around a file, with that file as its weights.
fn files_around(file: &Path) -> Result<ModelFiles> {
    let missing = || Error::new(ErrorKind::ModelLoad, format!("there is no model file {}", file.display()));
    let name = file.file_name().filter(|_| file.is_file()).ok_or_else(missing)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let files = ModelFiles::in_folder(folder.unwrap_or(Path::new(".")))?;
    Ok(files.with_weights(name.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(model: &str, env: &[(&str, &str)]) -> Result<Located> {
        locate(&ModelSource::new(model), &Environment::from_pairs(env.iter().copied()))
    }

    fn local(model: &Path) -> ModelFiles {
        match located(model.to_str().unwrap(), &[]).unwrap() {
            Located::Local(files) => files,
            Located::Remote(model) => panic!("{model:?} is on this machine"),
        }
    }

    #[test]
    fn folders_and_files_are_local() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(local(folder.path()).weights, None);
        let path = folder.path().join("other.safetensors");
        let error = located(path.to_str().unwrap(), &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        assert!(error.message().contains("other.safetensors"), "{error}");
        std::fs::write(&path, "x").unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        let files = local(&path);
        assert_eq!(files.weights.as_deref(), Some("other.safetensors"));
        assert!(files.has("config.json"), "the files beside it belong to it");
    }

    #[test]
    fn a_sample_that_is_fetched_says_so_where_it_can_t_be() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().to_str().unwrap();
        let Located::Remote(model) = located("tiny:chat", &[("HF_HOME", at)]).unwrap() else {
            panic!("the cache is empty")
        };
        assert_eq!(model.id, "HuggingFaceTB/SmolLM2-135M-Instruct");
        let error = located("tiny:chat", &[("HF_HOME", at), ("HF_HUB_OFFLINE", "1")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Offline);
        assert!(error.message().starts_with("tiny:chat is fetched, it is no part of the package"), "{error}");
    }

    #[cfg(feature = "samples")]
    #[test]
    fn offline_the_error_names_the_samples_that_work_now() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().to_str().unwrap();
        let env = [("HF_HOME", at), ("HF_HUB_OFFLINE", "1"), ("AYNI_CACHE", at)];
        let error = located("org/name", &env).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Offline);
        assert!(error.message().contains("these sample models work now: tiny:clip, tiny:text"), "{error}");
        let Located::Local(files) = located("tiny:text", &env).unwrap() else {
            panic!("it comes with the package")
        };
        assert_eq!((files.model.as_str(), files.has("model.safetensors")), ("tiny:text", true));
        assert!(files.path("").starts_with(home.path().join("samples")));
    }

    #[test]
    fn what_is_not_cached_is_remote_or_offline() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().to_str().unwrap();
        let Located::Remote(model) = located("org/name@v1", &[("HF_HOME", at)]).unwrap() else {
            panic!("the cache is empty")
        };
        assert_eq!(
            (model.id.as_str(), model.expected_revision()),
            ("org/name", "v1, not fetched yet".to_owned())
        );
        let error = located("org/name@v1", &[("HF_HOME", at), ("HF_HUB_OFFLINE", "1")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Offline);
        for part in ["'org/name' (revision v1)", at, "never fetched"] {
            assert!(error.message().contains(part), "{error}");
        }
    }
}
