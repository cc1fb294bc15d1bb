//! Zip archives, read in a stream. What an archive says about itself is checked before and while it is unpacked, and its
//! file names are never used as paths.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use crate::error::{Error, Persistence, Result};

/// The limits of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveLimits {
    /// The most unpacked bytes of all files together.
    pub bytes: u64,
    /// The highest compression ratio of a file. The portal's are up to 20.
    pub ratio: u64,
    /// The most files.
    pub files: usize,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self { bytes: 16 << 30, ratio: 100, files: 64 }
    }
}

trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// A zip archive. Its files are read in bounded memory. Reading blocks.
#[derive(Clone)]
pub struct Archive {
    source: Arc<Mutex<dyn ReadSeek>>,
    files: Vec<PackedFile>,
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackedFile {
    /// The name in the archive.
    pub name: String,
    /// The unpacked bytes.
    pub bytes: u64,
    packed: u64,
    check: u32,
    is_deflated: bool,
    flags: u16,
    at: u64,
}

const END_RECORD: u32 = 0x0605_4b50;
const END_64_RECORD: u32 = 0x0606_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;
const DIRECTORY_ENTRY: u32 = 0x0201_4b50;
const LOCAL_HEADER: u32 = 0x0403_4b50;

/// The longest end of an archive: the end record and a comment.
const MAX_END_BYTES: u64 = 22 + 65_535;
const MAX_DIRECTORY_BYTES: u64 = 1 << 20;
/// The compression ratio of smaller files is not checked.
const MAX_UNCHECKED_BYTES: u64 = 1 << 20;

struct CentralDirectory {
    at: u64,
    length: u64,
    files: u64,
}

fn invalid(what: &str) -> Error {
    Error::response_invalid(format!("the archive {what}"))
}

/// A new download may give the whole archive.
fn cut_off() -> Error {
    invalid("is truncated").with_persistence(Persistence::Temporary).with_context("reason", "broken_off")
}

fn unreadable(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { cut_off() } else { read_failure(error) }
}

/// The error of a failed read: ours, if it was passed through `io`, else the file system's.
pub(super) fn read_failure(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => {
            Error::new(crate::ErrorKind::Unexpected, "the file could not be read").with_source(error)
        }
    }
}

/// A little-endian number of `N` bytes at `at`; missing bytes count as 0.
fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let slice = bytes.get(at..at + N).unwrap_or_default();
    slice.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn signature(bytes: &[u8], at: usize) -> u32 {
    number::<4>(bytes, at) as u32
}

impl Archive {
    /// Opens an archive on disk.
    ///
    /// # Errors
    /// `invalid_request` if the file cannot be opened; otherwise as [`of`](Self::of).
    pub fn open(path: impl AsRef<Path>, limits: ArchiveLimits) -> Result<Self> {
        let path = path.as_ref();
        let file = std::fs::File::open(path).map_err(|error| {
            Error::invalid_request(format!("the archive '{}' cannot be opened", path.display()))
                .with_source(error)
        })?;
        Self::of(file, limits)
    }

    /// Reads the central directory of an archive.
    ///
    /// # Errors
    /// `response_invalid` if the archive is damaged, encrypted, too large or hostile.
    pub fn of(mut source: impl Read + Seek + Send + 'static, limits: ArchiveLimits) -> Result<Self> {
        let length = source.seek(SeekFrom::End(0)).map_err(read_failure)?;
        let list = find_directory(&mut source, length)?;
        if list.files > limits.files as u64 || list.length > MAX_DIRECTORY_BYTES {
            return Err(invalid(&format!("holds more than {} files", limits.files)));
        }
        let bytes = read_at(&mut source, list.at, list.length)?;
        let files = read_directory(&bytes, list.files)?;
        check(&files, list.at, limits)?;
        Ok(Self { source: Arc::new(Mutex::new(source)), files })
    }

    /// The files.
    pub fn files(&self) -> &[PackedFile] {
        &self.files
    }

    /// Unpacks one of [`files`](Self::files) while it is read. The last read fails if the file is damaged.
    ///
    /// # Errors
    /// `response_invalid` if its local header does not match the central directory.
    pub fn unpack(&self, file: &PackedFile) -> Result<impl Read + Send + use<>> {
        let begins = {
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            check_local_header(&mut *source, file)?
        };
        let packed = SourceRange { source: Arc::clone(&self.source), at: begins, end: begins + file.packed };
        let packed = BufReader::with_capacity(64 << 10, packed);
        let bytes = match file.is_deflated {
            true => Decoder::Deflated(DeflateDecoder::new(packed)),
            false => Decoder::Stored(packed),
        };
        Ok(UnpackedFile { bytes, file: file.clone(), check: Crc::new(), given: 0 })
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read_at(source: &mut dyn ReadSeek, at: u64, length: u64) -> Result<Vec<u8>> {
    source.seek(SeekFrom::Start(at)).map_err(read_failure)?;
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| cut_off())?];
    source.read_exact(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Finds the central directory by the end record, which may be followed by a comment.
fn find_directory(source: &mut dyn ReadSeek, length: u64) -> Result<CentralDirectory> {
    let tail = read_at(source, length.saturating_sub(MAX_END_BYTES), length.min(MAX_END_BYTES))?;
    let place = (0..tail.len().saturating_sub(21)).rev().find(|at| {
        signature(&tail, *at) == END_RECORD && number::<2>(&tail, at + 20) == (tail.len() - at - 22) as u64
    });
    let Some(place) = place else {
        let begin = read_at(source, 0, length.min(4))?;
        return Err(match signature(&begin, 0) == LOCAL_HEADER || b"PK\x03\x04".starts_with(&begin) {
            true => cut_off(),
            false => Error::response_invalid("this is not a zip archive"),
        });
    };
    let end = tail.get(place..).unwrap_or_default();
    if number::<2>(end, 4) != number::<2>(end, 6) || number::<2>(end, 8) != number::<2>(end, 10) {
        return Err(invalid("is split into several parts, which is not supported"));
    }
    let list = CentralDirectory {
        files: number::<2>(end, 10),
        length: number::<4>(end, 12),
        at: number::<4>(end, 16),
    };
    let end_at = length - (tail.len() - place) as u64;
    let is_large = list.files == 0xFFFF || list.length == 0xFFFF_FFFF || list.at == 0xFFFF_FFFF;
    let list = if is_large { find_directory_64(source, end_at)?.unwrap_or(list) } else { list };
    if list.at.checked_add(list.length).is_none_or(|end| end > end_at) {
        return Err(invalid("has an invalid position of its central directory"));
    }
    Ok(list)
}

/// Finds the central directory by the zip64 end record, which archives above 4 GiB have.
fn find_directory_64(source: &mut dyn ReadSeek, end_at: u64) -> Result<Option<CentralDirectory>> {
    let Some(at) = end_at.checked_sub(20) else { return Ok(None) };
    let place = read_at(source, at, 20)?;
    if signature(&place, 0) != END_64_LOCATOR {
        return Ok(None);
    }
    let record_at = number::<8>(&place, 8);
    if record_at.checked_add(56).is_none_or(|end| end > end_at) {
        return Err(invalid("has an invalid position of its central directory"));
    }
    let record = read_at(source, record_at, 56)?;
    if signature(&record, 0) != END_64_RECORD {
        return Err(invalid("has an invalid position of its central directory"));
    }
    let (files, length, at) = (number::<8>(&record, 32), number::<8>(&record, 40), number::<8>(&record, 48));
    Ok(Some(CentralDirectory { at, length, files }))
}

fn read_directory(bytes: &[u8], count: u64) -> Result<Vec<PackedFile>> {
    let mut files = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        let entry = bytes.get(at..).unwrap_or_default();
        if entry.len() < 46 || signature(entry, 0) != DIRECTORY_ENTRY {
            return Err(invalid("has a damaged central directory"));
        }
        let lengths = [28, 30, 32].map(|place| number::<2>(entry, place) as usize);
        let [name_length, extra_length, comment_length] = lengths;
        let name = entry.get(46..46 + name_length).ok_or_else(cut_off)?;
        let extra = entry.get(46 + name_length..46 + name_length + extra_length).ok_or_else(cut_off)?;
        at += 46 + name_length + extra_length + comment_length;
        files.push(read_entry(entry, name, extra)?);
    }
    Ok(files)
}

fn read_entry(entry: &[u8], name: &[u8], extra: &[u8]) -> Result<PackedFile> {
    let name = super::text::decoded(name).into_owned();
    if !is_safe_name(&name) {
        return Err(invalid("has an unsafe file name"));
    }
    let flags = number::<2>(entry, 8) as u16;
    if flags & 0x2041 != 0 {
        return Err(invalid("is encrypted"));
    }
    let is_deflated = match number::<2>(entry, 10) {
        0 => false,
        8 => true,
        99 => return Err(invalid("is encrypted")),
        other => {
            return Err(invalid(&format!(
                "uses compression method {other}, which is not supported (stored and deflate are)"
            )));
        }
    };
    let mut large = zip64_sizes(extra);
    let mut sized = |place: usize| match number::<4>(entry, place) {
        0xFFFF_FFFF => large.next().ok_or_else(|| invalid("has a damaged central directory")),
        small => Ok(small),
    };
    let (bytes, packed, at) = (sized(24)?, sized(20)?, sized(42)?);
    let check = number::<4>(entry, 16) as u32;
    Ok(PackedFile { name, bytes, packed, check, is_deflated, flags, at })
}

/// The zip64 numbers, in the order in which the entry refers to them.
fn zip64_sizes(mut extra: &[u8]) -> impl Iterator<Item = u64> {
    let mut found: &[u8] = &[];
    while extra.len() >= 4 {
        let length = number::<2>(extra, 2) as usize;
        if number::<2>(extra, 0) == 1 {
            found = extra.get(4..4 + length).unwrap_or_default();
        }
        extra = extra.get(4 + length..).unwrap_or_default();
    }
    found.chunks_exact(8).map(|bytes| number::<8>(bytes, 0))
}

/// Whether a name stays inside the archive and can be displayed.
fn is_safe_name(name: &str) -> bool {
    let parts = || name.split(['/', '\\']);
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['/', '\\'])
        && !name.contains(':')
        && parts().all(|part| part != "..")
        && !name.chars().any(char::is_control)
}

/// Refuses archives that would unpack to more than their limits, files that overlap, and two files of one name: readers
/// differ in which of them they take.
fn check(files: &[PackedFile], list_at: u64, limits: ArchiveLimits) -> Result<()> {
    let mut all = 0_u64;
    let mut names = HashSet::new();
    for file in files {
        if !names.insert(file.name.to_lowercase()) {
            return Err(invalid("has two files of the same name"));
        }
        all = all.saturating_add(file.bytes);
        let is_small = file.bytes <= MAX_UNCHECKED_BYTES;
        if all > limits.bytes || (!is_small && file.bytes / file.packed.max(1) > limits.ratio) {
            return Err(
                invalid("would unpack to more than the limits allow").with_context("bytes", all.to_string())
            );
        }
    }
    let mut places: Vec<(u64, u64)> = files.iter().map(|file| (file.at, file.packed)).collect();
    places.sort_unstable();
    let next = places.iter().skip(1).map(|(at, _)| *at).chain([list_at]);
    let overlaps = |((at, packed), next): (&(u64, u64), u64)| {
        at.checked_add(30).and_then(|end| end.checked_add(*packed)).is_none_or(|end| end > next)
    };
    if places.iter().zip(next).any(overlaps) {
        return Err(invalid("has overlapping files"));
    }
    Ok(())
}

/// Checks a file's local header, and returns where its bytes begin.
fn check_local_header(source: &mut dyn ReadSeek, file: &PackedFile) -> Result<u64> {
    let local = read_at(source, file.at, 30)?;
    let method = if file.is_deflated { 8 } else { 0 };
    let is_same = signature(&local, 0) == LOCAL_HEADER
        && number::<2>(&local, 6) as u16 == file.flags
        && number::<2>(&local, 8) == method;
    if !is_same {
        return Err(invalid("has a local header that does not match its central directory"));
    }
    Ok(file.at + 30 + number::<2>(&local, 26) + number::<2>(&local, 28))
}

struct SourceRange {
    source: Arc<Mutex<dyn ReadSeek>>,
    at: u64,
    end: u64,
}

impl Read for SourceRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..left).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.seek(SeekFrom::Start(self.at))?;
        let read = source.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Reads a file's packed bytes.
enum Decoder {
    Stored(BufReader<SourceRange>),
    Deflated(DeflateDecoder<BufReader<SourceRange>>),
}

struct UnpackedFile {
    bytes: Decoder,
    file: PackedFile,
    check: Crc,
    given: u64,
}

impl UnpackedFile {
    fn damaged(&self) -> io::Error {
        let error = invalid(&format!("is damaged: '{}' fails its checksum or size", self.file.name));
        io::Error::new(io::ErrorKind::InvalidData, error.with_persistence(Persistence::Temporary))
    }
}

impl Read for UnpackedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.bytes {
            Decoder::Stored(bytes) => bytes.read(buffer)?,
            Decoder::Deflated(bytes) => match bytes.read(buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(_) => return Err(self.damaged()),
            },
        };
        self.check.update(buffer.get(..read).unwrap_or_default());
        self.given += read as u64;
        let is_end = read == 0 && !buffer.is_empty();
        let used = match &self.bytes {
            Decoder::Stored(_) => self.given,
            Decoder::Deflated(bytes) => bytes.total_in(),
        };
        let is_whole =
            self.given == self.file.bytes && self.check.sum() == self.file.check && used == self.file.packed;
        match self.given > self.file.bytes || (is_end && !is_whole) {
            true => Err(self.damaged()),
            false => Ok(read),
        }
    }
}
