//! Keys and values in files, for beginnings of conversations that memory has no room for.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::local::models::TextCache;

/// Bytes in the folder where the configuration does not say.
const DEFAULT_BYTES: u64 = 8 << 30;

/// A folder for them, and what is in it.
#[derive(Debug)]
pub(super) struct Spill {
    folder: PathBuf,
    most: u64,
    used: Arc<AtomicU64>,
}

/// The cache of one text. The file goes with it.
#[derive(Debug)]
pub(super) struct SpilledCache {
    file: File,
    /// Where the file still has a name: elsewhere than on Unix.
    path: Option<PathBuf>,
    bytes: u64,
    used: Arc<AtomicU64>,
}

impl Spill {
    /// Takes a folder, which it makes if it is not there.
    ///
    /// # Errors
    /// `config_invalid` if nothing can be written there.
    pub(super) fn open(folder: &str, most: Option<u64>) -> Result<Self> {
        let spill = Self { folder: folder.into(), most: most.unwrap_or(DEFAULT_BYTES), used: Arc::default() };
        let usable = std::fs::create_dir_all(&spill.folder).and_then(|()| spill.file());
        usable.map(drop).map_err(|error| {
            Error::config(format!("`spill` names {folder}, where no file can be made: {error}"))
                .with_source(error)
        })?;
        Ok(spill)
    }

    /// Writes a cache.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn write(&self, cache: &TextCache) -> std::io::Result<SpilledCache> {
        let mut spilled = self.file()?;
        let mut writer = BufWriter::with_capacity(1 << 20, &spilled.file);
        cache.write(&mut writer)?;
        writer.flush()?;
        drop(writer);
        spilled.bytes = spilled.file.metadata()?.len();
        self.used.fetch_add(spilled.bytes, Ordering::Relaxed);
        Ok(spilled)
    }

    /// Whether there is more than there should be.
    pub(super) fn is_full(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.most
    }

    /// An empty file that nobody else can open, and that is gone when it is closed.
    fn file(&self) -> std::io::Result<SpilledCache> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("ayni-{}-{number}.kv", std::process::id()));
        let file = create(&path)?;
        let path = if cfg!(unix) { std::fs::remove_file(&path).err().map(|_| path) } else { Some(path) };
        Ok(SpilledCache { file, path, bytes: 0, used: Arc::clone(&self.used) })
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl SpilledCache {
    /// Reads `length` tokens into an empty cache.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn read(&self, length: usize, cache: &mut TextCache) -> std::io::Result<()> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0))?;
        cache.read(length, &mut BufReader::with_capacity(1 << 20, file))
    }
}

impl Drop for SpilledCache {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(path) = &self.path {
            // Nothing else can be done about a file that stays.
            let _ = std::fs::remove_file(path);
        }
    }
}
