//! The zip archive that torch.save writes: `NAME/data.pkl` and a storage each in `NAME/data/KEY`, all uncompressed.

use std::collections::HashMap;
use std::ops::Range;

use super::machine::{MAX_BYTES, Machine};
use super::{MappedFile, PickleError, StorageStarts, StoredTensor, state_dict, views};

/// The most entries of an archive.
const MAX_ENTRIES: usize = 1 << 20;

/// The longest end record: 22 bytes and a comment of at most 64 KiB.
const MAX_END_RECORD: usize = 22 + 0xffff;

const LOCAL_HEADER_BYTES: usize = 30;

/// A field with this value has its true value in the zip64 extension.
const IN_EXTENSION: u64 = 0xffff_ffff;

/// Entries by name, with the bytes of each.
type Entries<'a> = HashMap<&'a str, Range<usize>>;

pub(super) fn read(file: &MappedFile) -> Result<Vec<(String, StoredTensor)>, PickleError> {
    let bytes: &[u8] = file.as_ref();
    let entries = entries(bytes)?;
    let of = |name: &str| entries.get(name).and_then(|range| bytes.get(range.clone()));
    let mut pickles = entries.keys().filter_map(|name| name.strip_suffix("/data.pkl"));
    let (Some(folder), None) = (pickles.next(), pickles.next()) else {
        return Err(PickleError::Archive("there is not one `data.pkl` in it".to_owned()));
    };
    if of(&format!("{folder}/byteorder")).is_some_and(|order| order != b"little") {
        return Err(PickleError::Unsupported("its numbers are big-endian, which is not supported"));
    }
    if entries.contains_key(&*format!("{folder}/constants.pkl")) {
        return Err(PickleError::Unsupported("it is a TorchScript program, not a state dict"));
    }
    let pickle = of(&format!("{folder}/data.pkl")).unwrap_or_default();
    if pickle.len() > MAX_BYTES {
        return Err(PickleError::TooLong(pickle.len()));
    }
    let (machine, root, _) = Machine::run(pickle)?;
    let tensors = state_dict::tensors(&machine, root)?;
    let mut starts = StorageStarts::new();
    for (name, view) in &tensors {
        let storage = view.storage;
        let wrong = |why: String| PickleError::Tensor { name: (*name).to_owned(), why };
        let path = format!("{folder}/data/{}", storage.key);
        let entry = entries.get(&*path).ok_or_else(|| wrong(format!("there is no entry {path}")))?;
        if storage.count.checked_mul(storage.element.bytes) != Some(entry.len()) {
            let (count, found) = (storage.count, entry.len());
            return Err(wrong(format!("its storage of {count} numbers is an entry of {found} bytes")));
        }
        starts.insert(storage.key.to_owned(), entry.start);
    }
    views(file, tensors, &starts)
}

/// Reads the central directory. Entries must lie one after another without sharing bytes.
fn entries(bytes: &[u8]) -> Result<Entries<'_>, PickleError> {
    let wrong = |what: &str| PickleError::Archive(what.to_owned());
    let (count, mut at) =
        directory(bytes).ok_or_else(|| wrong("it is cut off: there is no directory at its end"))?;
    if count > MAX_ENTRIES {
        return Err(PickleError::Archive(format!("it has {count} entries, {MAX_ENTRIES} are supported")));
    }
    let mut entries = Entries::new();
    for _ in 0..count {
        let entry = DirectoryEntry::read(bytes, at).ok_or_else(|| wrong("its directory is damaged"))?;
        let name = entry.name;
        let refused = |why: &str| PickleError::Archive(format!("entry {name} {why}"));
        if entry.method != 0 || entry.size != entry.packed_size {
            return Err(refused("is compressed; torch.save does not compress"));
        }
        if entry.flags & 1 != 0 {
            return Err(refused("is encrypted"));
        }
        let range = entry.content(bytes).ok_or_else(|| refused("does not lie inside the file"))?;
        if entries.insert(name, range).is_some() {
            return Err(refused("is there twice"));
        }
        at = entry.next;
    }
    let mut ranges: Vec<_> = entries.values().filter(|range| !range.is_empty()).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    match ranges.windows(2).any(|pair| pair[0].end > pair[1].start) {
        true => Err(wrong("its entries overlap")),
        false => Ok(entries),
    }
}

/// The number of entries and where the central directory begins.
fn directory(bytes: &[u8]) -> Option<(usize, usize)> {
    let tail = bytes.len().saturating_sub(MAX_END_RECORD);
    let end = tail + memchr::memmem::rfind(bytes.get(tail..)?, b"PK\x05\x06")?;
    let comment = usize::from(u16_at(bytes, end + 20)?);
    (end + 22 + comment == bytes.len()).then_some(())?;
    let (mut count, mut start) = (u64::from(u16_at(bytes, end + 10)?), u64::from(u32_at(bytes, end + 16)?));
    // An archive of more than 4 GB says it in a zip64 record, which a locator before the end record points to.
    if count == 0xffff || start == IN_EXTENSION {
        let locator = end
            .checked_sub(20)
            .filter(|at| bytes.get(*at..).is_some_and(|rest| rest.starts_with(b"PK\x06\x07")))?;
        let record = usize::try_from(u64_at(bytes, locator + 8)?).ok()?;
        bytes.get(record..)?.starts_with(b"PK\x06\x06").then_some(())?;
        (count, start) = (u64_at(bytes, record.checked_add(32)?)?, u64_at(bytes, record.checked_add(48)?)?);
    }
    Some((usize::try_from(count).ok()?, usize::try_from(start).ok()?))
}

/// An entry of the central directory.
struct DirectoryEntry<'a> {
    name: &'a str,
    flags: u16,
    method: u16,
    packed_size: u64,
    size: u64,
    local_header: u64,
    /// Where the next entry of the directory begins.
    next: usize,
}

impl<'a> DirectoryEntry<'a> {
    fn read(bytes: &'a [u8], at: usize) -> Option<Self> {
        bytes.get(at..)?.starts_with(b"PK\x01\x02").then_some(())?;
        let length = |offset| u16_at(bytes, at + offset).map(usize::from);
        let name_at = at + 46;
        let extra_at = name_at + length(28)?;
        let comment_at = extra_at + length(30)?;
        let mut entry = Self {
            name: std::str::from_utf8(bytes.get(name_at..extra_at)?).ok()?,
            flags: u16_at(bytes, at + 8)?,
            method: u16_at(bytes, at + 10)?,
            packed_size: u32_at(bytes, at + 20)?.into(),
            size: u32_at(bytes, at + 24)?.into(),
            local_header: u32_at(bytes, at + 42)?.into(),
            next: comment_at + length(32)?,
        };
        entry.read_extension(bytes.get(extra_at..comment_at)?)?;
        Some(entry)
    }

    /// Takes the sizes that don't fit 32 bits from the zip64 extension.
    fn read_extension(&mut self, mut extra: &[u8]) -> Option<()> {
        const ZIP64: u16 = 1;
        let fields = [&mut self.size, &mut self.packed_size, &mut self.local_header];
        let mut missing = fields.into_iter().filter(|field| **field == IN_EXTENSION).peekable();
        while missing.peek().is_some() {
            let (kind, length) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
            let mut content = extra.get(4..4 + length)?;
            extra = extra.get(4 + length..)?;
            if kind == ZIP64 {
                for field in missing.by_ref() {
                    *field = u64_at(content, 0)?;
                    content = content.get(8..)?;
                }
            }
        }
        Some(())
    }

    /// The bytes of the entry, which lie behind its local header.
    fn content(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let header = usize::try_from(self.local_header).ok()?;
        bytes.get(header..)?.starts_with(super::ARCHIVE_MAGIC).then_some(())?;
        let length = |offset: usize| u16_at(bytes, header + offset).map(usize::from);
        let start = header + LOCAL_HEADER_BYTES + length(26)? + length(28)?;
        let end = start.checked_add(usize::try_from(self.size).ok()?)?;
        (end <= bytes.len()).then_some(start..end)
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}
