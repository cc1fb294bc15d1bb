//! Zip archives, read a piece at a time: whatever an archive says of itself is checked before and while it is
//! unpacked, and nothing is ever written by a name that it gives.

use std::fmt;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use crate::error::{Error, Persistence, Result};

/// What an archive may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveLimits {
    /// The most bytes of all its files together, unpacked.
    pub bytes: u64,
    /// How many times as large as packed a file may be. The portal's are up to 20 times as large.
    pub ratio: u64,
    /// The most files.
    pub files: usize,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self { bytes: 16 << 30, ratio: 100, files: 64 }
    }
}

/// Bytes that an archive can be read from.
trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

/// A zip archive. Its files are read one after another, at bounded memory. Reading blocks.
#[derive(Clone)]
pub struct Archive {
    source: Arc<Mutex<dyn Source>>,
    files: Vec<PackedFile>,
}

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackedFile {
    /// Its name in the archive.
    pub name: String,
    /// Its bytes, unpacked.
    pub bytes: u64,
    packed: u64,
    check: u32,
    is_deflated: bool,
    flags: u16,
    at: u64,
}

const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const END_64_PLACE: u32 = 0x0706_4b50;
const ENTRY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;

/// The longest end of an archive: its record, and a comment.
const LONGEST_END: u64 = 22 + 65_535;
/// The longest list of files that is read.
const LONGEST_LIST: u64 = 1 << 20;
/// Below this a file may shrink as much as it wants.
const SMALL: u64 = 1 << 20;

/// Where the list of files is.
struct List {
    at: u64,
    length: u64,
    files: u64,
}

fn broken(what: &str) -> Error {
    Error::response_invalid(format!("the archive {what}"))
}

/// Downloading it again may give all of it.
fn broken_off() -> Error {
    broken("breaks off before its end")
        .with_persistence(Persistence::Temporary)
        .with_context("reason", "broken_off")
}

fn unreadable(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { broken_off() } else { read_failure(error) }
}

/// What a failed read means: our own error, carried through `io`, or the file system's.
pub(super) fn read_failure(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => {
            Error::new(crate::ErrorKind::Unexpected, "the file could not be read").with_source(error)
        }
    }
}

/// A number of `N` bytes at `at`, least first; 0 beyond the end.
fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let slice = bytes.get(at..at + N).unwrap_or_default();
    slice.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn signature(bytes: &[u8], at: usize) -> u32 {
    number::<4>(bytes, at) as u32
}

impl Archive {
    /// Opens an archive on the disk.
    ///
    /// # Errors
    /// `invalid_request` if there is no such file; otherwise as [`of`](Self::of).
    pub fn open(path: impl AsRef<Path>, limits: ArchiveLimits) -> Result<Self> {
        let path = path.as_ref();
        let file = std::fs::File::open(path).map_err(|error| {
            Error::invalid_request(format!("the archive '{}' cannot be opened", path.display()))
                .with_source(error)
        })?;
        Self::of(file, limits)
    }

    /// Reads an archive's list of files.
    ///
    /// # Errors
    /// `response_invalid` saying what of it is broken, encrypted, too large or hostile.
    pub fn of(mut source: impl Read + Seek + Send + 'static, limits: ArchiveLimits) -> Result<Self> {
        let length = source.seek(SeekFrom::End(0)).map_err(read_failure)?;
        let list = find_list(&mut source, length)?;
        if list.files > limits.files as u64 || list.length > LONGEST_LIST {
            return Err(broken(&format!("holds more than {} files", limits.files)));
        }
        let bytes = read_at(&mut source, list.at, list.length)?;
        let files = read_list(&bytes, list.files)?;
        check(&files, list.at, limits)?;
        Ok(Self { source: Arc::new(Mutex::new(source)), files })
    }

    /// Its files.
    pub fn files(&self) -> &[PackedFile] {
        &self.files
    }

    /// Unpacks a file of [`files`](Self::files) as it is read. The last read fails if it is damaged.
    ///
    /// # Errors
    /// `response_invalid` if what stands before its bytes is not what the list says.
    pub fn unpack(&self, file: &PackedFile) -> Result<impl Read + Send + use<>> {
        let begins = {
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            check_local(&mut *source, file)?
        };
        let packed = Slice { source: Arc::clone(&self.source), at: begins, end: begins + file.packed };
        let packed = BufReader::with_capacity(64 << 10, packed);
        let bytes = match file.is_deflated {
            true => Bytes::Deflated(DeflateDecoder::new(packed)),
            false => Bytes::Stored(packed),
        };
        Ok(Unpacked { bytes, file: file.clone(), check: Crc::new(), given: 0 })
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read_at(source: &mut dyn Source, at: u64, length: u64) -> Result<Vec<u8>> {
    source.seek(SeekFrom::Start(at)).map_err(read_failure)?;
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| broken_off())?];
    source.read_exact(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Finds the record at the end, behind which there may be a comment.
fn find_list(source: &mut dyn Source, length: u64) -> Result<List> {
    let tail = read_at(source, length.saturating_sub(LONGEST_END), length.min(LONGEST_END))?;
    let place = (0..tail.len().saturating_sub(21)).rev().find(|at| {
        signature(&tail, *at) == END && number::<2>(&tail, at + 20) == (tail.len() - at - 22) as u64
    });
    let Some(place) = place else {
        let begin = read_at(source, 0, length.min(4))?;
        return Err(match signature(&begin, 0) == LOCAL || b"PK\x03\x04".starts_with(&begin) {
            true => broken_off(),
            false => Error::response_invalid("what came is no zip archive"),
        });
    };
    let end = tail.get(place..).unwrap_or_default();
    if number::<2>(end, 4) != number::<2>(end, 6) || number::<2>(end, 8) != number::<2>(end, 10) {
        return Err(broken("is one of several parts, which ayni does not read"));
    }
    let list = List { files: number::<2>(end, 10), length: number::<4>(end, 12), at: number::<4>(end, 16) };
    let end_at = length - (tail.len() - place) as u64;
    let is_large = list.files == 0xFFFF || list.length == 0xFFFF_FFFF || list.at == 0xFFFF_FFFF;
    let list = if is_large { find_large_list(source, end_at)?.unwrap_or(list) } else { list };
    if list.at.checked_add(list.length).is_none_or(|end| end > end_at) {
        return Err(broken("lists its files where they cannot be"));
    }
    Ok(list)
}

/// The list's place as archives of more than 4 GiB write it.
fn find_large_list(source: &mut dyn Source, end_at: u64) -> Result<Option<List>> {
    let Some(at) = end_at.checked_sub(20) else { return Ok(None) };
    let place = read_at(source, at, 20)?;
    if signature(&place, 0) != END_64_PLACE {
        return Ok(None);
    }
    let record_at = number::<8>(&place, 8);
    if record_at.checked_add(56).is_none_or(|end| end > end_at) {
        return Err(broken("lists its files where they cannot be"));
    }
    let record = read_at(source, record_at, 56)?;
    if signature(&record, 0) != END_64 {
        return Err(broken("lists its files where they cannot be"));
    }
    let (files, length, at) = (number::<8>(&record, 32), number::<8>(&record, 40), number::<8>(&record, 48));
    Ok(Some(List { at, length, files }))
}

fn read_list(bytes: &[u8], count: u64) -> Result<Vec<PackedFile>> {
    let mut files = Vec::new();
    let mut at = 0;
    for _ in 0..count {
        let entry = bytes.get(at..).unwrap_or_default();
        if entry.len() < 46 || signature(entry, 0) != ENTRY {
            return Err(broken("has a damaged list of files"));
        }
        let lengths = [28, 30, 32].map(|place| number::<2>(entry, place) as usize);
        let [name_length, extra_length, comment_length] = lengths;
        let name = entry.get(46..46 + name_length).ok_or_else(broken_off)?;
        let extra = entry.get(46 + name_length..46 + name_length + extra_length).ok_or_else(broken_off)?;
        at += 46 + name_length + extra_length + comment_length;
        files.push(read_entry(entry, name, extra)?);
    }
    Ok(files)
}

fn read_entry(entry: &[u8], name: &[u8], extra: &[u8]) -> Result<PackedFile> {
    let name = super::text::decoded(name).into_owned();
    if !is_plain(&name) {
        return Err(broken("names a file outside of itself"));
    }
    let flags = number::<2>(entry, 8) as u16;
    if flags & 0x2041 != 0 {
        return Err(broken("is encrypted"));
    }
    let is_deflated = match number::<2>(entry, 10) {
        0 => false,
        8 => true,
        99 => return Err(broken("is encrypted")),
        other => return Err(broken(&format!("is packed by method {other}, which ayni does not read"))),
    };
    let mut large = large_numbers(extra);
    let mut sized = |place: usize| match number::<4>(entry, place) {
        0xFFFF_FFFF => large.next().ok_or_else(|| broken("has a damaged list of files")),
        small => Ok(small),
    };
    let (bytes, packed, at) = (sized(24)?, sized(20)?, sized(42)?);
    let check = number::<4>(entry, 16) as u32;
    Ok(PackedFile { name, bytes, packed, check, is_deflated, flags, at })
}

/// The numbers above 4 GiB, in the order in which they are missed elsewhere.
fn large_numbers(mut extra: &[u8]) -> impl Iterator<Item = u64> {
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

/// Whether a name stays inside of the archive and can be shown.
fn is_plain(name: &str) -> bool {
    let parts = || name.split(['/', '\\']);
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['/', '\\'])
        && !name.contains(':')
        && parts().all(|part| part != "..")
        && !name.chars().any(char::is_control)
}

/// Refuses what would unpack to more than it should, and files that share their bytes.
fn check(files: &[PackedFile], list_at: u64, limits: ArchiveLimits) -> Result<()> {
    let mut all = 0_u64;
    for file in files {
        all = all.saturating_add(file.bytes);
        let is_small = file.bytes <= SMALL;
        if all > limits.bytes || (!is_small && file.bytes / file.packed.max(1) > limits.ratio) {
            return Err(
                broken("would unpack to more than its limits allow").with_context("bytes", all.to_string())
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
        return Err(broken("has files that share their bytes"));
    }
    Ok(())
}

/// Checks what stands before a file's bytes, and says where they begin.
fn check_local(source: &mut dyn Source, file: &PackedFile) -> Result<u64> {
    let local = read_at(source, file.at, 30)?;
    let method = if file.is_deflated { 8 } else { 0 };
    let is_same = signature(&local, 0) == LOCAL
        && number::<2>(&local, 6) as u16 == file.flags
        && number::<2>(&local, 8) == method;
    if !is_same {
        return Err(broken("says one thing of a file in its list and another before its bytes"));
    }
    Ok(file.at + 30 + number::<2>(&local, 26) + number::<2>(&local, 28))
}

/// A part of the source, read as if it were alone.
struct Slice {
    source: Arc<Mutex<dyn Source>>,
    at: u64,
    end: u64,
}

impl Read for Slice {
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

enum Bytes {
    Stored(BufReader<Slice>),
    Deflated(DeflateDecoder<BufReader<Slice>>),
}

/// A file while it is unpacked.
struct Unpacked {
    bytes: Bytes,
    file: PackedFile,
    check: Crc,
    given: u64,
}

impl Unpacked {
    fn damaged(&self) -> io::Error {
        let error = broken(&format!("is damaged: '{}' does not unpack to what it should", self.file.name));
        io::Error::new(io::ErrorKind::InvalidData, error.with_persistence(Persistence::Temporary))
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.bytes {
            Bytes::Stored(bytes) => bytes.read(buffer)?,
            Bytes::Deflated(bytes) => match bytes.read(buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(_) => return Err(self.damaged()),
            },
        };
        self.check.update(buffer.get(..read).unwrap_or_default());
        self.given += read as u64;
        let is_end = read == 0 && !buffer.is_empty();
        let used = match &self.bytes {
            Bytes::Stored(_) => self.given,
            Bytes::Deflated(bytes) => bytes.total_in(),
        };
        let is_whole =
            self.given == self.file.bytes && self.check.sum() == self.file.check && used == self.file.packed;
        match self.given > self.file.bytes || (is_end && !is_whole) {
            true => Err(self.damaged()),
            false => Ok(read),
        }
    }
}
