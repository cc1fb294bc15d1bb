//! A weight file, mapped into memory: its pages come from the system's cache, are shared by all processes that use
//! the same file, and cost nothing before somebody reads them.
#![allow(
    unsafe_code,
    reason = "mapping a file; docs/decisions/0005-weights-are-mapped.md says why it is sound here"
)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use crate::error::{Error, ErrorKind, Result};

/// The bytes of a file. Cheap to clone; the file is unmapped with the last clone.
#[derive(Clone, Debug)]
pub(crate) struct Mapped {
    map: Arc<Mmap>,
    path: Arc<PathBuf>,
}

impl Mapped {
    /// Maps a file that nobody writes to while it is mapped.
    ///
    /// # Errors
    /// `model_load` if it cannot be opened or mapped.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::ModelLoad, format!("{} cannot be read: {error}", path.display()))
                .with_source(error)
        };
        let file = File::open(path).map_err(failed)?;
        // SAFETY: the map is read-only and private to us. Weight files appear under their names complete and are
        // replaced, never rewritten in place, so the bytes do not change under the slices given out.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        Ok(Self { map: Arc::new(map), path: Arc::new(path.to_owned()) })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}
