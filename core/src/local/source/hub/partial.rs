//! A content while it is downloaded.

use std::fs::{self, File};
use std::io::{self, ErrorKind as Io, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::cache::{CachedRepository, Lock};
use super::disk;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};

/// How many bytes are read at a time.
const READ_BYTES: usize = 1 << 20;

/// A content while it is downloaded, under its lock. What has arrived stays on the disk when this is dropped, so that a
/// later call can resume.
pub(super) struct Partial<'a> {
    repository: &'a CachedRepository,
    file: File,
    path: PathBuf,
    name: &'a str,
    etag: &'a str,
    size: Option<u64>,
    len: u64,
    /// The hash of what has arrived, if the ETag is one.
    hash: Option<Sha256>,
    /// Whether an earlier call has left a part of it.
    is_old: bool,
    _lock: &'a Lock,
}

impl<'a> Partial<'a> {
    /// Opens what an earlier call left, or begins.
    ///
    /// # Errors
    /// `model_load` if the cache cannot be written; `cancelled` or `timeout`.
    pub(super) fn open(
        cx: &Context,
        (repository, lock): (&'a CachedRepository, &'a Lock),
        (name, etag): (&'a str, &'a str),
        size: Option<u64>,
    ) -> Result<Self> {
        let path = repository.partial(etag);
        let failed = |error| disk::unwritable(repository.cache(), error);
        let too_long = |found: &fs::Metadata| size.is_some_and(|size| found.len() > size);
        if fs::metadata(&path).is_ok_and(|found| too_long(&found)) {
            fs::remove_file(&path).map_err(failed)?;
        }
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut partial = Self {
            repository,
            file: opened.map_err(failed)?,
            path,
            name,
            etag,
            size,
            len: 0,
            hash: is_sha256(etag).then(Sha256::new),
            is_old: false,
            _lock: lock,
        };
        partial.read_what_is_here(cx)?;
        Ok(partial)
    }

    fn read_what_is_here(&mut self, cx: &Context) -> Result<()> {
        let mut left = self.file.metadata().map_err(|error| self.failed(error))?.len();
        let mut buffer = vec![0; READ_BYTES];
        while left > 0 {
            cx.check()?;
            let read = self.file.read(&mut buffer).map_err(|error| self.failed(error))?;
            left = left.saturating_sub(read as u64);
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            if let Some(hash) = &mut self.hash {
                hash.update(bytes);
            }
            self.len += read as u64;
        }
        self.is_old = self.len > 0;
        Ok(())
    }

    /// How many bytes have arrived.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The size of the complete content, if known.
    pub(super) fn size(&self) -> Option<u64> {
        self.size
    }

    /// Whether nothing is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.size == Some(self.len)
    }

    /// Whether an earlier call has left a part of it.
    pub(super) fn is_old(&self) -> bool {
        self.is_old
    }

    /// Whether this is the content with this ETag.
    pub(super) fn is_named(&self, etag: &str) -> bool {
        self.etag == etag
    }

    /// Takes the size from a response if it was unknown.
    pub(super) fn learn_size(&mut self, size: Option<u64>) {
        self.size = self.size.or(size);
    }

    /// Goes back to the beginning. Old bytes are overwritten, not truncated: on a disk without locks another process may have
    /// published this very file meanwhile.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).map_err(|error| self.failed(error))?;
        self.hash = self.hash.is_some().then(Sha256::new);
        (self.len, self.is_old) = (0, false);
        Ok(())
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// `model_load` if they cannot be written, or are more than there should be.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.size.is_some_and(|size| self.len + bytes.len() as u64 > size) {
            return Err(self.damaged("it is longer than the Hub says"));
        }
        self.file.write_all(bytes).map_err(|error| self.failed(error))?;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Verifies the checksum and moves the content to its place in the cache.
    ///
    /// # Errors
    /// `model_load` if the checksum is wrong, after which the content is deleted, or if the cache cannot be written.
    pub(super) fn publish(mut self) -> Result<()> {
        let len = self.file.metadata().map_err(|error| self.failed(error))?.len();
        if len > self.len {
            // Before a restart there may have been more bytes.
            self.file.set_len(self.len).map_err(|error| self.failed(error))?;
        }
        self.verify()?;
        // On the disk before it is renamed, so that the file is complete even after a power cut.
        self.file.sync_all().map_err(|error| self.failed(error))?;
        match fs::rename(&self.path, self.repository.blob(self.etag)) {
            // Without locks another process may have been faster.
            Err(error) if error.kind() == Io::NotFound && self.repository.has_blob(self.etag, self.size) => {
                Ok(())
            }
            outcome => outcome.map_err(|error| self.failed(error)),
        }
    }

    fn verify(&mut self) -> Result<()> {
        let found = match self.hash.take() {
            Some(hash) => hex(&hash.finalize()),
            None if is_sha1(self.etag) => self.git_hash().map_err(|error| self.failed(error))?,
            // A Hub with ETags of another kind: the size has to do.
            None => return Ok(()),
        };
        match found.eq_ignore_ascii_case(self.etag) {
            true => Ok(()),
            false => Err(self.damaged("its checksum is not the one that the Hub says")),
        }
    }

    /// Git's hash of the content.
    fn git_hash(&mut self) -> io::Result<String> {
        let mut hash = Sha1::new();
        hash.update(format!("blob {}\0", self.len));
        self.file.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(hex(&hash.finalize())),
                read => hash.update(buffer.get(..read).unwrap_or_default()),
            }
        }
    }

    /// Removes a damaged content.
    fn damaged(&self, why: &str) -> Error {
        let removed = match fs::remove_file(&self.path) {
            Ok(()) => "it was deleted".to_owned(),
            Err(_) => format!("delete {}", self.path.display()),
        };
        let text = format!(
            "{} arrived damaged: {why}; {removed}. Try again; if it happens again, a proxy or mirror changes files",
            self.name
        );
        Error::new(ErrorKind::ModelLoad, text).with_context("damaged", self.name)
    }

    fn failed(&self, error: io::Error) -> Error {
        let missing = self.size.map(|size| size - self.len.min(size));
        disk::unwritable_download(self.repository.cache(), self.name, missing, error)
    }
}

/// Whether an error says that a content arrived damaged.
pub(super) fn is_damage(error: &Error) -> bool {
    error.context().iter().any(|(name, _)| *name == "damaged")
}

fn is_sha256(etag: &str) -> bool {
    etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_sha1(etag: &str) -> bool {
    etag.len() == 40 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
