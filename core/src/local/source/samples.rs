//! The sample models, `tiny:NAME`: files that come with the package and are unpacked into a cache once, and names for models
//! that have to be fetched.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Serialize;

use super::ModelFiles;
use super::hub::cache_home;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};

/// What the name of a sample begins with.
pub(super) const PREFIX: &str = "tiny:";

/// A sample model: small enough to come with the package, or a name for a model on the Hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SampleModel {
    /// The model reference.
    pub reference: &'static str,
    /// What it does, in a sentence.
    pub what: &'static str,
    /// How large its files are, where they come with this build: by the feature `samples` or [`use_samples_in`].
    pub bytes: Option<usize>,
    /// The model on the Hub that it stands for, if it does not come with the package.
    pub fetched_from: Option<&'static str>,
}

/// Reference, what it is, and the model on the Hub that it stands for.
const SAMPLES: [(&str, &str, Option<&str>); 3] = [
    (
        "tiny:clip",
        "embeds texts and drawings of things into one space; captions in English and Spanish",
        None,
    ),
    ("tiny:text", "embeds texts: words and sentences in English and Spanish", None),
    ("tiny:chat", "a small chat model, which is fetched", Some("HuggingFaceTB/SmolLM2-135M-Instruct")),
];

/// The folder of [`use_samples_in`].
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Takes the sample models from `folder`, which has a folder for each (`text` for `tiny:text`), instead of from the binary. For
/// packages that ship them once, beside binaries for several platforms, as npm's does. Only the first call in a process counts.
pub fn use_samples_in(folder: impl Into<PathBuf>) {
    let _ = FOLDER.set(folder.into());
}

/// The sample models, those that this build does not have among them.
pub fn sample_models() -> Vec<SampleModel> {
    let sample = |(reference, what, fetched_from)| {
        let bytes = match folder_of(reference) {
            Some(folder) => Some(bytes_in(&folder)),
            None => files_of(reference).map(|files| files.iter().map(|(_, bytes)| bytes.len()).sum()),
        };
        SampleModel { reference, what, bytes, fetched_from }
    };
    SAMPLES.into_iter().map(sample).collect()
}

/// The sample with this reference.
///
/// # Errors
/// `config_invalid` naming the samples there are.
pub(super) fn find(reference: &str) -> Result<SampleModel> {
    let samples = sample_models();
    samples.iter().find(|sample| sample.reference == reference).copied().ok_or_else(|| {
        let valid: Vec<&str> = samples.iter().map(|sample| sample.reference).collect();
        Error::config(format!("there is no sample model '{reference}'; valid: {}", valid.join(", ")))
    })
}

/// What works without a network, to be said where something else does not; empty where this build has no samples.
pub(super) fn advice() -> String {
    let here = sample_models().into_iter().filter(|sample| sample.bytes.is_some());
    match here.map(|sample| sample.reference).collect::<Vec<_>>() {
        names if names.is_empty() => String::new(),
        names => {
            format!("; without a network these sample models work now: {} (embeddings)", names.join(", "))
        }
    }
}

/// The files of a sample that comes with the package: where it has them, or unpacked into the cache of ayni if they are not there.
///
/// # Errors
/// `unsupported` saying how to get it, where neither the feature `samples` nor [`use_samples_in`] brought it; `model_load` if the cache can't be written.
pub(super) fn open(sample: &SampleModel, env: &Environment) -> Result<ModelFiles> {
    if let Some(folder) = folder_of(sample.reference) {
        return Ok(ModelFiles::in_folder(&folder)?.named(sample.reference, None));
    }
    let files = files_of(sample.reference).ok_or_else(|| {
        Error::unsupported(format!(
            "{} is not in this build: build the crate `ayni` with the feature `samples`; the Python and npm packages have it",
            sample.reference
        ))
    })?;
    let folder = cache_home(env)?.join("samples").join(folder_name(sample.reference, files));
    unpack(files, &folder).map_err(|error| {
        let text = format!(
            "{} can't be unpacked into {}: {error}; set AYNI_CACHE to a folder that can be written",
            sample.reference,
            folder.display()
        );
        Error::new(ErrorKind::ModelLoad, text).with_source(error)
    })?;
    Ok(ModelFiles::in_folder(&folder)?.named(sample.reference, None))
}

fn folder_of(reference: &str) -> Option<PathBuf> {
    let folder = FOLDER.get()?.join(reference.strip_prefix(PREFIX)?);
    folder.is_dir().then_some(folder)
}

fn bytes_in(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| usize::try_from(file.metadata().ok()?.len()).ok()).sum()
}

type File = (&'static str, &'static [u8]);

#[cfg(feature = "samples")]
fn files_of(reference: &str) -> Option<&'static [File]> {
    let name = reference.strip_prefix(PREFIX)?;
    ayni_samples::SAMPLES.iter().find(|sample| sample.name == name).map(|sample| sample.files)
}

#[cfg(not(feature = "samples"))]
fn files_of(_: &str) -> Option<&'static [File]> {
    None
}

/// A name that no other content has: several versions of ayni share a cache.
fn folder_name(reference: &str, files: &[File]) -> String {
    use std::hash::Hasher;
    let mut hash = std::hash::DefaultHasher::new();
    for (name, bytes) in files {
        hash.write(name.as_bytes());
        hash.write_usize(bytes.len());
        hash.write(bytes);
    }
    format!("{}-{:016x}", reference.replace(':', "-"), hash.finish())
}

/// Writes the files into a folder that appears under its name when they are complete.
fn unpack(files: &[File], folder: &Path) -> std::io::Result<()> {
    let is_there = |(name, bytes): &File| {
        std::fs::metadata(folder.join(name)).is_ok_and(|found| found.len() == bytes.len() as u64)
    };
    if files.iter().all(is_there) {
        return Ok(());
    }
    let fresh = beside(folder);
    std::fs::create_dir_all(&fresh)?;
    let written = files.iter().try_for_each(|(name, bytes)| std::fs::write(fresh.join(name), bytes));
    let moved = written.and_then(|()| {
        // A folder that lost a file, by a cleaner of caches perhaps.
        if folder.exists() && !files.iter().all(is_there) {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::rename(&fresh, folder)
    });
    if moved.is_err() {
        // Another process may have been quicker; what is left of ours is in nobody's way.
        let _ = std::fs::remove_dir_all(&fresh);
    }
    if files.iter().all(is_there) { Ok(()) } else { moved }
}

/// A folder of this thread's own beside another.
fn beside(folder: &Path) -> PathBuf {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    folder.with_extension(format!("{}-{count}.part", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[File] = &[("config.json", b"{}"), ("model.safetensors", b"weights")];

    #[test]
    fn files_are_written_once_and_again_where_one_is_gone() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("samples").join(folder_name("tiny:text", FILES));
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        unpack(FILES, &folder).unwrap();
        assert_eq!((read("config.json"), read("model.safetensors")), (b"{}".to_vec(), b"weights".to_vec()));
        let before = std::fs::metadata(folder.join("config.json")).unwrap().modified().unwrap();
        unpack(FILES, &folder).unwrap();
        let after = std::fs::metadata(folder.join("config.json")).unwrap().modified().unwrap();
        assert_eq!(before, after);
        std::fs::write(folder.join("model.safetensors"), "cut").unwrap();
        unpack(FILES, &folder).unwrap();
        assert_eq!(read("model.safetensors"), b"weights");
        let names = std::fs::read_dir(folder.parent().unwrap()).unwrap();
        assert_eq!(names.count(), 1, "nothing is left over");
    }

    #[test]
    fn several_threads_may_unpack_the_same() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("samples/one");
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| unpack(FILES, &folder))).collect();
            all.into_iter().for_each(|one| one.join().unwrap().unwrap());
        });
        assert_eq!(std::fs::read_dir(folder.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn other_contents_have_another_folder() {
        let other: &[File] = &[("config.json", b"{}"), ("model.safetensors", b"Weights")];
        assert_ne!(folder_name("tiny:text", FILES), folder_name("tiny:text", other));
    }

    #[test]
    fn an_unknown_sample_is_an_error_that_names_the_others() {
        let error = find("tiny:video").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().ends_with("valid: tiny:clip, tiny:text, tiny:chat"), "{error}");
    }

    #[cfg(not(feature = "samples"))]
    #[test]
    fn without_the_feature_the_error_says_how_to_get_it() {
        let error = open(&find("tiny:text").unwrap(), &Environment::empty()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("the feature `samples`"), "{error}");
        assert_eq!(advice(), "");
    }
}
