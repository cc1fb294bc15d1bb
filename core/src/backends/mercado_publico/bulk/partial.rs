//! A partly downloaded file.

use std::fs::{File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::own_file;
use crate::error::{Error, ErrorKind, Result};

/// A locked, partly downloaded file. It stays on disk when this is dropped.
#[derive(Debug)]
pub(super) struct PartialFile {
    /// The path of the complete file.
    target: PathBuf,
    file: File,
    length: u64,
    /// The ETag of the version that the bytes belong to, if it is strong.
    etag: Option<String>,
}

fn with_suffix(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    target.with_file_name(name)
}

impl PartialFile {
    /// Opens the partial file, or creates it.
    ///
    /// # Errors
    /// `config_invalid` if the folder cannot be written, `conflict` if another call is downloading the file.
    pub(super) fn open(target: &Path) -> Result<Self> {
        let refuse = |error: io::Error| {
            Error::config(format!(
                "the file '{}' cannot be written ({error}): set `bulk_dir` to a folder for it",
                target.display()
            ))
            .with_context("field", "bulk_dir")
            .with_source(error)
        };
        let file = own_file::open(&with_suffix(target, ".part")).map_err(refuse)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::Conflict, "another call is downloading this month"));
            }
            Err(TryLockError::Error(error)) => return Err(refuse(error)),
        }
        let length = file.metadata().map_err(refuse)?.len();
        let etag_path = with_suffix(target, ".part.etag");
        let etag = own_file::is_file(&etag_path).then(|| std::fs::read_to_string(etag_path).ok()).flatten();
        let etag = etag.filter(|etag| !etag.is_empty());
        let partial = Self { target: target.to_owned(), file, length, etag };
        // Without a version, the bytes are of no use.
        if partial.etag.is_none() && length > 0 { partial.restart(None) } else { Ok(partial) }
    }

    /// The number of bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// The ETag with which to resume, if there are any bytes.
    pub(super) fn etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|_| self.length > 0)
    }

    fn write_error(&self, error: io::Error) -> Error {
        Error::new(
            ErrorKind::Unexpected,
            format!("the file '{}' could not be written", self.target.display()),
        )
        .with_source(error)
    }

    /// Starts again with another version.
    pub(super) fn restart(mut self, etag: Option<String>) -> Result<Self> {
        self.file.set_len(0).map_err(|error| self.write_error(error))?;
        let etag_path = with_suffix(&self.target, ".part.etag");
        own_file::write(&etag_path, etag.as_deref().unwrap_or_default())
            .map_err(|error| self.write_error(error))?;
        (self.length, self.etag) = (0, etag);
        Ok(self)
    }

    /// Writes all chunks. What was written counts, also if a later write fails.
    pub(super) fn write_all(mut self, mut chunks: mpsc::Receiver<Bytes>) -> (Self, Result<()>) {
        let outcome = self.write_pieces(&mut chunks);
        (self, outcome)
    }

    fn write_pieces(&mut self, chunks: &mut mpsc::Receiver<Bytes>) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.length)).map_err(|error| self.write_error(error))?;
        while let Some(chunk) = chunks.blocking_recv() {
            self.file.write_all(&chunk).map_err(|error| self.write_error(error))?;
            self.length += chunk.len() as u64;
        }
        Ok(())
    }

    /// Removes the partial file if it is empty.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn discard_if_empty(self) -> Result<()> {
        if self.length > 0 {
            return Ok(());
        }
        for path in [with_suffix(&self.target, ".part"), with_suffix(&self.target, ".part.etag")] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.write_error(error)),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(PathBuf, u64)> {
        let write_error = |error| self.write_error(error);
        self.file.sync_all().map_err(write_error)?;
        std::fs::rename(with_suffix(&self.target, ".part"), &self.target).map_err(write_error)?;
        // The ETag is of no use without the partial file.
        let _ = std::fs::remove_file(with_suffix(&self.target, ".part.etag"));
        Ok((self.target.clone(), self.length))
    }
}
