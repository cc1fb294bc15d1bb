//! A weight file, mapped into memory: its pages come from the page cache, are shared by every process that uses the
//! file, and cost nothing before they are read.
#![allow(
    unsafe_code,
    reason = "mapping a file; docs/decisions/0005-weights-are-mapped.md says why it is sound here"
)]

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

use super::load_error;
use crate::error::{Error, ErrorKind, Result};

/// The bytes of a file. Cheap to clone; the file is unmapped with the last clone.
///
/// It is mapped twice: one map is copied from while the model loads, the other is read in place as long as the model
/// lives. Pages count as memory of the process while the map that read them exists, so a loaded model gives back the
/// pages of everything that it copied.
#[derive(Clone, Debug)]
pub(crate) struct MappedFile {
    loading: Arc<Bytes>,
    resident: ResidentBytes,
    path: Arc<PathBuf>,
}

/// The bytes of a file for tensors that stay in it, such as embedding tables.
#[derive(Clone, Debug)]
pub(crate) struct ResidentBytes(Arc<Bytes>);

/// Where the bytes are.
#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    /// In memory of this process: nobody can change them.
    Copied(Vec<u8>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Copied(bytes) => bytes,
        }
    }
}

impl MappedFile {
    /// Maps a file. Nobody may write to it while it is mapped.
    ///
    /// # Errors
    /// `model_load` if it can't be opened or mapped, or is not a regular file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| unreadable(path, &error).with_source(error);
        let (file, _) = open_regular(path)?;
        // SAFETY: the map is read-only and private to us. Weight files appear under their names complete and are
        // replaced, never rewritten in place, so the bytes do not change under the slices given out.
        let map = || unsafe { Mmap::map(&file) }.map(|map| Arc::new(Bytes::Mapped(map))).map_err(failed);
        Ok(Self { loading: map()?, resident: ResidentBytes(map()?), path: Arc::new(path.to_owned()) })
    }

    /// Reads a file into memory, where nobody can change it.
    ///
    /// # Errors
    /// As [`open`](Self::open), and `out_of_memory`.
    pub(crate) fn copy(path: &Path) -> Result<Self> {
        let (file, length) = open_regular(path)?;
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|error| {
            let text = format!("no memory for the {length} bytes of {}", path.display());
            Error::new(ErrorKind::OutOfMemory, text).with_source(error)
        })?;
        // No more than there is room for, if the file grows meanwhile.
        let read = file.take(length).read_to_end(&mut bytes);
        read.map_err(|error| unreadable(path, &error).with_source(error))?;
        let bytes = Arc::new(Bytes::Copied(bytes));
        Ok(Self {
            loading: Arc::clone(&bytes),
            resident: ResidentBytes(bytes),
            path: Arc::new(path.to_owned()),
        })
    }

    /// A file that is nowhere on the disk.
    pub(super) fn in_memory(bytes: Vec<u8>) -> Self {
        let map = Arc::new(Bytes::Copied(bytes));
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

    /// Gives back the pages of bytes that were copied: they count as memory of the process. Who asks again gets them from
    /// the file again.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = &*self.loading {
            // SAFETY: pages of a read-only map hold nothing but the file's bytes, so reading them again gives the same.
            // Where it fails they stay.
            let _ =
                unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        }
    }

    /// An error that names the file.
    pub(crate) fn error(&self, what: impl std::fmt::Display) -> Error {
        load_error(format!("{}: {what}", self.path.display()))
    }
}

/// Opens a file and says how long it is.
fn open_regular(path: &Path) -> Result<(File, u64)> {
    let failed = |error: std::io::Error| unreadable(path, &error).with_source(error);
    // Checked before opening: opening a FIFO waits for a writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(unreadable(path, &"it is not a regular file"));
    }
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok((file, length))
}

/// Mapped files that must not become shorter: reading what was cut off ends the process on most systems.
#[derive(Debug, Default)]
pub(crate) struct FileWatch(Vec<(File, u64, PathBuf)>);

impl FileWatch {
    /// Watches these files.
    ///
    /// # Errors
    /// As [`MappedFile::open`].
    pub(super) fn of(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self> {
        let watched = |path: PathBuf| {
            let (file, length) = open_regular(&path)?;
            Ok((file, length, path))
        };
        paths.into_iter().map(watched).collect::<Result<_>>().map(Self)
    }

    /// Checks that the files are as long as they were.
    ///
    /// # Errors
    /// `model_load` naming one that is shorter.
    pub(crate) fn check(&self) -> Result<()> {
        for (file, length, path) in &self.0 {
            let found = file.metadata().map_or(*length, |found| found.len());
            if found < *length {
                return Err(load_error(format!(
                    "{} was cut from {length} to {found} bytes while the model uses it: write a new file and rename \
                     it, or set `load` to `copy`",
                    path.display()
                )));
            }
        }
        Ok(())
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    load_error(format!("{} cannot be read: {why}", path.display()))
}

/// The bytes, to be copied while loading.
impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.loading.as_slice()
    }
}

impl AsRef<[u8]> for ResidentBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
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
    fn a_copy_stays_whatever_happens_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("model.safetensors");
        std::fs::write(&path, b"weights").unwrap();
        let (copy, watch) = (MappedFile::copy(&path).unwrap(), FileWatch::of([path.clone()]).unwrap());
        assert_eq!(maps(&path), 0);
        watch.check().unwrap();
        std::fs::write(&path, b"w").unwrap();
        assert_eq!((copy.as_ref(), copy.resident().as_ref()), (&b"weights"[..], &b"weights"[..]));
        let error = watch.check().unwrap_err();
        assert!(error.message().contains("was cut from 7 to 1 bytes"), "{error}");
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
