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
///
/// It is mapped twice: once for what is copied out of it, once for what is read where it lies as long as the model is
/// there. A page counts as memory of the process while it is mapped where it was read, so that a model that is loaded
/// lets go of all that it has copies of.
#[derive(Clone, Debug)]
pub(crate) struct Mapped {
    copied: Arc<Mmap>,
    kept: Kept,
    path: Arc<PathBuf>,
}

/// The same bytes, for what stays in the file.
#[derive(Clone, Debug)]
pub(crate) struct Kept(Arc<Mmap>);

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
        let map = || unsafe { Mmap::map(&file) }.map(Arc::new).map_err(failed);
        Ok(Self { copied: map()?, kept: Kept(map()?), path: Arc::new(path.to_owned()) })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes to be read where they lie.
    pub(crate) fn kept(&self) -> Kept {
        self.kept.clone()
    }
}

/// The bytes to be copied.
impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.copied
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn maps(path: &Path) -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.ends_with(path.to_str().unwrap())).count()
    }

    #[test]
    fn what_was_copied_from_goes_and_what_is_read_in_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("model.safetensors");
        std::fs::write(&path, b"weights").unwrap();
        let file = Mapped::open(&path).unwrap();
        assert_eq!((file.as_ref(), maps(&path)), (&b"weights"[..], 2));
        let kept = file.kept();
        drop(file);
        assert_eq!((kept.as_ref(), maps(&path)), (&b"weights"[..], 1));
        drop(kept);
        assert_eq!(maps(&path), 0);
    }
}
