//! A file that is still coming.

use std::fs::{File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::error::{Error, ErrorKind, Result};

/// A file that is still coming, under a lock. What has come stays when this is dropped.
#[derive(Debug)]
pub(super) struct Partial {
    /// Where the whole file will be.
    target: PathBuf,
    file: File,
    length: u64,
    /// Which version the bytes are of, where the service gave it a name that can be relied on.
    etag: Option<String>,
}

fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    target.with_file_name(name)
}

impl Partial {
    /// Opens what is here of a file, or begins it.
    ///
    /// # Errors
    /// `config_invalid` if the folder cannot be written, `conflict` if somebody else is at it.
    pub(super) fn open(target: &Path) -> Result<Self> {
        let refuse = |error: io::Error| {
            Error::config(format!(
                "the file '{}' cannot be written: set `bulk_dir` to a folder for it",
                target.display()
            ))
            .with_context("field", "bulk_dir")
            .with_source(error)
        };
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder).map_err(refuse)?;
        }
        let path = beside(target, ".part");
        let file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(refuse)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::Conflict, "another call is fetching this month"));
            }
            Err(TryLockError::Error(error)) => return Err(refuse(error)),
        }
        let length = file.metadata().map_err(refuse)?.len();
        let etag = std::fs::read_to_string(beside(target, ".part.etag")).ok().filter(|etag| !etag.is_empty());
        let partial = Self { target: target.to_owned(), file, length, etag };
        // Bytes of which nobody knows the version are of no use.
        if partial.etag.is_none() && length > 0 { partial.restart(None) } else { Ok(partial) }
    }

    /// How many bytes are here.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// The version to go on with, if there is anything to go on with.
    pub(super) fn etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|_| self.length > 0)
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::new(
            ErrorKind::Unexpected,
            format!("the file '{}' could not be written", self.target.display()),
        )
        .with_source(error)
    }

    /// Begins again, with bytes of another version.
    pub(super) fn restart(mut self, etag: Option<String>) -> Result<Self> {
        self.file.set_len(0).map_err(|error| self.failed(error))?;
        let note = beside(&self.target, ".part.etag");
        std::fs::write(note, etag.as_deref().unwrap_or_default()).map_err(|error| self.failed(error))?;
        (self.length, self.etag) = (0, etag);
        Ok(self)
    }

    /// Writes every piece that comes. What was written is counted, also if the rest could not be.
    pub(super) fn write_all(mut self, mut pieces: mpsc::Receiver<Bytes>) -> (Self, Result<()>) {
        let outcome = self.write_pieces(&mut pieces);
        (self, outcome)
    }

    fn write_pieces(&mut self, pieces: &mut mpsc::Receiver<Bytes>) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.length)).map_err(|error| self.failed(error))?;
        while let Some(piece) = pieces.blocking_recv() {
            self.file.write_all(&piece).map_err(|error| self.failed(error))?;
            self.length += piece.len() as u64;
        }
        Ok(())
    }

    /// Gives the whole file its name.
    pub(super) fn publish(self) -> Result<(PathBuf, u64)> {
        let failed = |error| self.failed(error);
        self.file.sync_all().map_err(failed)?;
        std::fs::rename(beside(&self.target, ".part"), &self.target).map_err(failed)?;
        // Without its file the note says nothing.
        let _ = std::fs::remove_file(beside(&self.target, ".part.etag"));
        Ok((self.target.clone(), self.length))
    }
}
