//! Rows of separated fields, out of anything that can be read, at bounded memory.
//!
//! Fields are separated by `;` and mostly quoted; a quoted field may hold line breaks, separators and doubled
//! quotes. Quotes and separators are searched for many bytes at a time; a field's bytes are looked at again only
//! when somebody asks for it.

use std::borrow::Cow;
use std::io::Read;

use memchr::{memchr, memchr2, memmem};

use super::archive::read_failure;
use super::text::{decoded, push_decoded};
use crate::error::{Error, Persistence, Result};

/// How much is read at once.
const PIECE: usize = 256 << 10;
/// The most fields of one row.
const MOST_FIELDS: usize = 2048;

/// Reads rows.
pub(super) struct Table<R> {
    source: R,
    buffer: Vec<u8>,
    /// What of the buffer is not given yet.
    start: usize,
    end: usize,
    is_ended: bool,
    fields: Vec<Field>,
    most_bytes: usize,
    /// How many rows and bytes came before `start`.
    rows: u64,
    bytes: u64,
}

/// Where a field is in its row.
#[derive(Clone, Copy, Debug)]
struct Field {
    start: u32,
    end: u32,
    has_doubled_quotes: bool,
}

/// A row, until the next one is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    bytes: &'a [u8],
    fields: &'a [Field],
}

/// What a search for the end of a row found.
enum Found {
    /// A row of so many bytes.
    Row(usize),
    /// An empty line of so many bytes.
    Nothing(usize),
    /// More bytes are needed.
    More,
    /// Something else.
    Broken(&'static str),
}

impl<R: Read> Table<R> {
    /// Rows of at most `most_bytes` each.
    pub(super) fn new(source: R, most_bytes: usize) -> Self {
        Self::with_piece(source, most_bytes, PIECE)
    }

    /// The same with the first `piece` bytes read at once: for tests.
    pub(super) fn with_piece(source: R, most_bytes: usize, piece: usize) -> Self {
        Self {
            source,
            buffer: vec![0; piece.min(most_bytes).max(1)],
            start: 0,
            end: 0,
            is_ended: false,
            fields: Vec::new(),
            most_bytes,
            rows: 0,
            bytes: 0,
        }
    }

    /// How many rows were given.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// How many bytes they were.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next row, or `None` at the end.
    ///
    /// # Errors
    /// `response_invalid` naming the row that is none, and whatever reading says.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>> {
        let begins = loop {
            if self.start == self.end && self.is_ended {
                return Ok(None);
            }
            let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
            match find_row(bytes, self.is_ended, &mut self.fields) {
                Found::Row(length) => {
                    let begins = self.start;
                    self.pass(length);
                    self.rows += 1;
                    break begins;
                }
                Found::Nothing(length) => self.pass(length),
                Found::More => self.fill()?,
                Found::Broken(what) => return Err(self.broken(what)),
            }
        };
        let bytes = self.buffer.get(begins..self.start).unwrap_or_default();
        Ok(Some(Row { bytes, fields: &self.fields }))
    }

    /// Reads to the end without looking at what comes.
    ///
    /// # Errors
    /// What reading says.
    pub(super) fn drain(&mut self) -> Result<()> {
        std::io::copy(&mut self.source, &mut std::io::sink()).map(drop).map_err(read_failure)
    }

    fn pass(&mut self, length: usize) {
        self.start += length;
        self.bytes += length as u64;
    }

    /// Reads on, with more room if a row has filled what there was: then twice as much, so that a long row is
    /// searched anew a few times only.
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            if self.end >= self.most_bytes {
                return Err(self.broken("is longer than the limit for a row; a quote may not be closed"));
            }
            self.buffer.resize((self.end * 2).min(self.most_bytes), 0);
        }
        while self.end < self.buffer.len() {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.source.read(room) {
                Ok(0) => {
                    self.is_ended = true;
                    break;
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_failure(error)),
            }
        }
        Ok(())
    }

    /// The error of the row that comes next.
    fn broken(&self, what: &str) -> Error {
        let error = Error::response_invalid(format!("row {} {what}", self.rows + 1))
            .with_context("byte", self.bytes.to_string());
        // A file that was cut in the middle of a field can be fetched again.
        if self.is_ended { error.with_persistence(Persistence::Temporary) } else { error }
    }
}

impl<R> std::fmt::Debug for Table<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("rows", &self.rows).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Searches for the end of the row that `bytes` begins with, and notes its fields.
fn find_row(bytes: &[u8], is_ended: bool, fields: &mut Vec<Field>) -> Found {
    fields.clear();
    let mut at = 0;
    loop {
        if fields.len() >= MOST_FIELDS {
            return Found::Broken("has more fields than any file of the portal");
        }
        let (field, after) = match bytes.get(at) {
            None if !is_ended => return Found::More,
            Some(b'"') => match find_quoted(bytes, at + 1, is_ended) {
                Ok(found) => found,
                Err(other) => return other,
            },
            _ => match find_plain(bytes, at, is_ended) {
                Some(found) => found,
                None => return Found::More,
            },
        };
        let is_nothing = fields.is_empty() && field.start == field.end && field.start == 0;
        fields.push(field);
        match after {
            After::Field(next) => at = next,
            After::Row(length) if is_nothing => return Found::Nothing(length),
            After::Row(length) => return Found::Row(length),
        }
    }
}

/// What comes after a field, and where.
enum After {
    Field(usize),
    Row(usize),
}

fn field(start: usize, end: usize, has_doubled_quotes: bool) -> Field {
    // Rows are far shorter than 4 GiB: `most_bytes` sees to it.
    let narrow = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    Field { start: narrow(start), end: narrow(end), has_doubled_quotes }
}

/// A field without quotes.
fn find_plain(bytes: &[u8], at: usize, is_ended: bool) -> Option<(Field, After)> {
    let rest = bytes.get(at..).unwrap_or_default();
    let without_return = |end: usize| {
        let ends_in_return = end > at && bytes.get(end - 1) == Some(&b'\r');
        field(at, if ends_in_return { end - 1 } else { end }, false)
    };
    match memchr2(b';', b'\n', rest).map(|place| at + place) {
        Some(end) if bytes.get(end) == Some(&b';') => Some((field(at, end, false), After::Field(end + 1))),
        Some(end) => Some((without_return(end), After::Row(end + 1))),
        None if is_ended => Some((without_return(bytes.len()), After::Row(bytes.len()))),
        None => None,
    }
}

/// A field whose quote was opened before `start`.
fn find_quoted(bytes: &[u8], start: usize, is_ended: bool) -> Result<(Field, After), Found> {
    let mut search = start;
    let mut has_doubled_quotes = false;
    let more = |unless: Found| if is_ended { unless } else { Found::More };
    loop {
        let rest = bytes.get(search..).unwrap_or_default();
        let Some(place) = memchr(b'"', rest) else {
            return Err(more(Found::Broken("ends in the middle of a quoted field: the file breaks off")));
        };
        let quote = search + place;
        let ends = |after: After| Ok((field(start, quote, has_doubled_quotes), after));
        match (bytes.get(quote + 1), bytes.get(quote + 2)) {
            (Some(b'"'), _) => {
                has_doubled_quotes = true;
                search = quote + 2;
            }
            (Some(b';'), _) => return ends(After::Field(quote + 2)),
            (Some(b'\n'), _) => return ends(After::Row(quote + 2)),
            (Some(b'\r'), Some(b'\n')) => return ends(After::Row(quote + 3)),
            (None, _) if is_ended => return ends(After::Row(quote + 1)),
            (Some(b'\r'), None) if is_ended => return ends(After::Row(quote + 2)),
            (None, _) | (Some(b'\r'), None) => return Err(Found::More),
            _ => return Err(Found::Broken("has text behind a closing quote")),
        }
    }
}

impl<'a> Row<'a> {
    /// How many fields it has.
    pub(super) fn len(self) -> usize {
        self.fields.len()
    }

    /// A field's bytes as they are written, doubled quotes included; nothing if there is no such field.
    pub(super) fn bytes(self, index: usize) -> &'a [u8] {
        let field = self.fields.get(index);
        field.and_then(|field| self.bytes.get(field.start as usize..field.end as usize)).unwrap_or_default()
    }

    /// Whether a field's bytes have two quotes for each of its text.
    pub(super) fn has_doubled_quotes(self, index: usize) -> bool {
        self.fields.get(index).is_some_and(|field| field.has_doubled_quotes)
    }

    /// Adds a field's text as the inside of a JSON string.
    pub(super) fn push_json(self, index: usize, json: &mut Vec<u8>) {
        let bytes = self.bytes(index);
        if !self.has_doubled_quotes(index) && is_plain_json(bytes) {
            return push_decoded(bytes, json);
        }
        let text = self.text(index);
        let mut rest = text.as_bytes();
        while let Some(place) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
            json.extend_from_slice(rest.get(..place).unwrap_or_default());
            match rest.get(place) {
                Some(b'\n') => json.extend_from_slice(b"\\n"),
                Some(b'\r') => json.extend_from_slice(b"\\r"),
                Some(b'\t') => json.extend_from_slice(b"\\t"),
                Some(byte @ (b'"' | b'\\')) => json.extend_from_slice(&[b'\\', *byte]),
                Some(byte) => json.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                None => {}
            }
            rest = rest.get(place + 1..).unwrap_or_default();
        }
        json.extend_from_slice(rest);
    }

    /// A field's text.
    pub(super) fn text(self, index: usize) -> Cow<'a, str> {
        let text = decoded(self.bytes(index));
        match self.has_doubled_quotes(index) {
            true => Cow::Owned(text.replace("\"\"", "\"")),
            false => text,
        }
    }
}

/// Whether a field can be put into JSON as it is.
fn is_plain_json(bytes: &[u8]) -> bool {
    // Without a branch, so that it is done many bytes at a time.
    !bytes.iter().fold(false, |found, byte| found | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\'))
}

/// Whether a field is HTML or XML: what a storage service answers instead of a file.
pub(super) fn is_markup(bytes: &[u8]) -> bool {
    let begin = bytes.get(..bytes.len().min(512)).unwrap_or_default().trim_ascii_start();
    begin.starts_with(b"<") && memmem::find(begin, b">").is_some()
}
