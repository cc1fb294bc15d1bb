//! Errors of the disk that say what to do.

use std::io::{self, ErrorKind as Io};
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// The error of a failed write into the cache.
pub(super) fn unwritable(cache: &Path, error: io::Error) -> Error {
    let why = match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => return full(cache, "a file", None, error),
        Io::PermissionDenied => "this user may not write there".to_owned(),
        Io::ReadOnlyFilesystem => "it is on a read-only file system".to_owned(),
        Io::NotADirectory | Io::AlreadyExists => "a part of that path is a file, not a folder".to_owned(),
        _ => error.to_string(),
    };
    let text = format!(
        "the model cache {} cannot be written: {why}; fix that, or set HF_HUB_CACHE to another folder",
        cache.display()
    );
    Error::new(ErrorKind::ModelLoad, text).with_source(error)
}

/// The error of a failed write of a download with `missing` bytes to go.
pub(super) fn unwritable_download(cache: &Path, file: &str, missing: Option<u64>, error: io::Error) -> Error {
    match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => full(cache, file, missing, error),
        _ => unwritable(cache, error),
    }
}

fn full(cache: &Path, file: &str, missing: Option<u64>, error: io::Error) -> Error {
    let needs = missing.map_or_else(|| "more space".to_owned(), |bytes| format!("{bytes} more bytes"));
    let text = format!(
        "no space is left for the model cache {}: {file} needs {needs}; free that much and try again (what has \
         come is kept), or set HF_HUB_CACHE to a folder on another disk",
        cache.display()
    );
    let error = Error::new(ErrorKind::ModelLoad, text).with_source(error);
    match missing {
        Some(bytes) => error.with_context("missing_bytes", bytes.to_string()),
        None => error,
    }
}
