//! The lock between the processes of a machine: an exclusive lock on a file named after the account.
//!
//! The operating system releases it when a process dies. The file holds the time at which the last request ended, so
//! that the gap is kept between processes too.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::own_file;
use crate::error::{Error, ErrorKind, Result};

#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
}

#[derive(Debug)]
pub(crate) struct LockedFile {
    file: File,
    /// When the last request of any process ended, if the file says so.
    pub(crate) last_end: Option<SystemTime>,
}

impl LockFile {
    pub(crate) fn new(folder: &Path, account: &str) -> Self {
        Self { path: folder.join(format!("mercado-publico-{account}.lock")) }
    }

    /// Locks the file unless another process holds it. Blocks the thread as long as the file system does.
    ///
    /// # Errors
    /// `config_invalid` if the file cannot be created.
    pub(crate) fn try_lock(&self) -> Result<Option<LockedFile>> {
        let refuse = |error: std::io::Error| {
            let path = self.path.display();
            Error::config(format!(
                "the lock file '{path}' cannot be used ({error}): set `lock_dir` to a folder for it"
            ))
            .with_context("field", "lock_dir")
            .with_source(error)
        };
        let mut file = own_file::open(&self.path).map_err(refuse)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(refuse(error)),
        }
        let mut text = String::new();
        // Anything but a number was not written by ayni: then the time of the last request is unknown.
        let read = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u64>().ok());
        Ok(Some(LockedFile { file, last_end: read.map(|millis| UNIX_EPOCH + Duration::from_millis(millis)) }))
    }
}

impl LockedFile {
    /// Writes when the request ended and releases the lock.
    ///
    /// # Errors
    /// `unexpected` if the file cannot be written. The lock is released all the same.
    pub(crate) fn release(mut self, ended: SystemTime) -> Result<()> {
        let millis = ended.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let written =
            self.file.rewind().and_then(|()| self.file.write_all(format!("{millis:<20}").as_bytes()));
        written.and_then(|()| self.file.unlock()).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the lock file could not be written").with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_process_holds_the_lock_and_the_next_knows_when_the_last_request_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = LockFile::new(&folder.path().join("deeper"), "abc");
        let locked = lock.try_lock().expect("usable").expect("free");
        assert_eq!(locked.last_end, None);
        assert!(lock.try_lock().expect("usable").is_none());
        let ended = UNIX_EPOCH + Duration::from_millis(1_792_000_000_123);
        locked.release(ended).expect("released");
        assert_eq!(lock.try_lock().expect("usable").expect("free").last_end, Some(ended));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_lock_file_is_refused_and_overwrites_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let stranger = folder.path().join("stranger");
        std::fs::write(&stranger, "private").expect("written");
        let lock = LockFile::new(folder.path(), "abc");
        std::os::unix::fs::symlink(&stranger, &lock.path).expect("linked");
        let error = lock.try_lock().expect_err("a link");
        assert!(error.message().contains("it is a link"), "{error}");
        assert_eq!(std::fs::read_to_string(&stranger).expect("read"), "private");
    }

    #[test]
    fn the_error_names_a_folder_that_cannot_be_created() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "x").expect("written");
        let error = LockFile::new(&file, "abc").try_lock().expect_err("no folder");
        assert!(error.message().contains("lock_dir"), "{error}");
    }
}
