//! A weight file, mapped into memory: its pages come from the page cache, are shared by every process that uses the
//! file, and cost nothing before they are read.
#![allow(
    unsafe_code,
    reason = "mapping a file; docs/decisions/0005-weights-are-mapped.md says why it is sound here"
)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::load_error;
use crate::error::{Error, Result};

/// The bytes of a file. Cheap to clone; the file is unmapped with the last clone.
///
/// It is mapped twice: one map is copied from while the model loads, the other is read in place as long as the model
/// lives. Pages count as memory of the process while the map that read them exists, so a loaded model gives back the
/// pages of everything that it copied.
#[derive(Clone, Debug)]
pub(crate) struct MappedFile {
    loading: Arc<Mmap>,
    resident: ResidentBytes,
    path: Arc<PathBuf>,
}

/// The bytes of a file for tensors that stay in it, such as embedding tables.
#[derive(Clone, Debug)]
pub(crate) struct ResidentBytes(Arc<Mmap>);

impl MappedFile {
    /// Maps a file. Nobody may write to it while it is mapped.
    ///
    /// # Errors
    /// `model_load` if it can't be opened or mapped, or is not a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| unreadable(path, &error).with_source(error);
        // Checked before opening: opening a FIFO waits for a writer.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(unreadable(path, &"it is not a regular file"));
        }
        let file = File::open(path).map_err(failed)?;
        // SAFETY: the map is read-only and private to us. Weight files appear under their names complete and are
        // replaced, never rewritten in place, so the bytes do not change under the slices given out.
        let map = || unsafe { Mmap::map(&file) }.map(Arc::new).map_err(failed);
        Ok(Self { loading: map()?, resident: ResidentBytes(map()?), path: Arc::new(path.to_owned()) })
    }

    /// A file that is nowhere on the disk.
    #[cfg(test)]
    pub(super) fn in_memory(bytes: &[u8]) -> Self {
        let mut map = memmap2::MmapMut::map_anon(bytes.len()).unwrap();
        map.copy_from_slice(bytes);
        let map = Arc::new(map.make_read_only().unwrap());
        let path = Arc::new(PathBuf::from("in memory"));
        Self { loading: Arc::clone(&map), resident: ResidentBytes(map), path }
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes, to be read in place.
    pub(crate) fn resident(&self) -> ResidentBytes {
        self.resident.clone()
    }

    /// An error that names the file.
    pub(crate) fn error(&self, what: impl std::fmt::Display) -> Error {
        load_error(format!("{}: {what}", self.path.display()))
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    load_error(format!("{} cannot be read: {why}", path.display()))
}

/// The bytes, to be copied while loading.
impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.loading
    }
}

impl AsRef<[u8]> for ResidentBytes {
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
    fn the_map_for_loading_goes_and_the_resident_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("model.safetensors");
        std::fs::write(&path, b"weights").unwrap();
        let file = MappedFile::open(&path).unwrap();
        assert_eq!((file.as_ref(), maps(&path)), (&b"weights"[..], 2));
        let resident = file.resident();
        drop(file);
        assert_eq!((resident.as_ref(), maps(&path)), (&b"weights"[..], 1));
        drop(resident);
        assert_eq!(maps(&path), 0);
    }

    #[test]
    fn devices_and_pipes_are_refused_without_opening_them() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("model.safetensors");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [pipe.as_path(), Path::new("/dev/zero"), folder.path()] {
            let error = MappedFile::open(path).unwrap_err();
            assert!(error.message().ends_with("it is not a regular file"), "{error}");
        }
    }
}
