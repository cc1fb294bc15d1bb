//! Reading CSV rows from any reader, in bounded memory.
//!
//! Fields are separated by `;` and mostly quoted. A quoted field may contain line breaks, separators and doubled quotes.
//! Quotes and separators are searched for with SIMD; a field is decoded only when it is used.

use std::borrow::Cow;
use std::io::Read;

use memchr::{memchr, memchr2, memmem};

use super::archive::read_failure;
use super::text::decoded;
use crate::error::{Error, Persistence, Result};

/// How many bytes to read at once.
const READ_SIZE: usize = 256 << 10;
/// The most fields of a row.
const MAX_FIELDS: usize = 2048;

pub(super) struct CsvReader<R> {
    input: R,
    buffer: Vec<u8>,
    /// The unread part of the buffer.
    start: usize,
    end: usize,
    at_end: bool,
    fields: Vec<FieldSpan>,
    max_row_bytes: usize,
    /// The number of rows and bytes before `start`.
    rows: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct FieldSpan {
    start: u32,
    end: u32,
    has_doubled_quotes: bool,
}

/// A row. It is valid until the next one is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct CsvRow<'a> {
    bytes: &'a [u8],
    fields: &'a [FieldSpan],
}

enum RowSearch {
    /// A row of this many bytes.
    CsvRow(usize),
    /// An empty line of this many bytes.
    EmptyLine(usize),
    /// More bytes are needed.
    More,
    /// The row is invalid, for this reason.
    Invalid(&'static str),
}

impl<R: Read> CsvReader<R> {
    /// Reads rows of at most `max_row_bytes` each.
    pub(super) fn new(input: R, max_row_bytes: usize) -> Self {
        Self::with_read_size(input, max_row_bytes, READ_SIZE)
    }

    /// The same with a first read of `read_size` bytes, for tests.
    pub(super) fn with_read_size(input: R, max_row_bytes: usize, read_size: usize) -> Self {
        Self {
            input,
            buffer: vec![0; read_size.min(max_row_bytes).max(1)],
            start: 0,
            end: 0,
            at_end: false,
            fields: Vec::new(),
            max_row_bytes,
            rows: 0,
            bytes: 0,
        }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The number of bytes read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next row, or `None` at the end.
    ///
    /// # Errors
    /// `response_invalid` naming the invalid row, and errors of reading.
    pub(super) fn next(&mut self) -> Result<Option<CsvRow<'_>>> {
        let row_start = loop {
            if self.start == self.end && self.at_end {
                return Ok(None);
            }
            let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
            match find_row(bytes, self.at_end, &mut self.fields) {
                RowSearch::CsvRow(length) => {
                    let row_start = self.start;
                    self.advance(length);
                    self.rows += 1;
                    break row_start;
                }
                RowSearch::EmptyLine(length) => self.advance(length),
                RowSearch::More => self.fill()?,
                RowSearch::Invalid(what) => return Err(self.row_error(what)),
            }
        };
        let bytes = self.buffer.get(row_start..self.start).unwrap_or_default();
        Ok(Some(CsvRow { bytes, fields: &self.fields }))
    }

    /// Reads to the end without parsing.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn drain(&mut self) -> Result<()> {
        std::io::copy(&mut self.input, &mut std::io::sink()).map(drop).map_err(read_failure)
    }

    fn advance(&mut self, length: usize) {
        self.start += length;
        self.bytes += length as u64;
    }

    /// Reads more. If a row fills the buffer, the buffer doubles, so that a long row is searched again only a few times.
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            if self.end >= self.max_row_bytes {
                return Err(
                    self.row_error("is longer than the limit for a row; perhaps a quote is not closed")
                );
            }
            self.buffer.resize((self.end * 2).min(self.max_row_bytes), 0);
        }
        while self.end < self.buffer.len() {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.input.read(room) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_failure(error)),
            }
        }
        Ok(())
    }

    fn row_error(&self, what: &str) -> Error {
        let error = Error::response_invalid(format!("row {} {what}", self.rows + 1))
            .with_context("byte", self.bytes.to_string());
        // A file that was cut off can be fetched again.
        if self.at_end { error.with_persistence(Persistence::Temporary) } else { error }
    }
}

impl<R> std::fmt::Debug for CsvReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("rows", &self.rows).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// Searches for the end of the row at the start of `bytes`, and records its fields.
fn find_row(bytes: &[u8], at_end: bool, fields: &mut Vec<FieldSpan>) -> RowSearch {
    fields.clear();
    let mut at = 0;
    loop {
        if fields.len() >= MAX_FIELDS {
            return RowSearch::Invalid("has more fields than any file of the portal");
        }
        let (field, after) = match bytes.get(at) {
            None if !at_end => return RowSearch::More,
            Some(b'"') => match find_quoted(bytes, at + 1, at_end) {
                Ok(found) => found,
                Err(other) => return other,
            },
            _ => match find_plain(bytes, at, at_end) {
                Some(found) => found,
                None => return RowSearch::More,
            },
        };
        let is_nothing = fields.is_empty() && field.start == field.end && field.start == 0;
        fields.push(field);
        match after {
            After::FieldSpan(next) => at = next,
            After::CsvRow(length) if is_nothing => return RowSearch::EmptyLine(length),
            After::CsvRow(length) => return RowSearch::CsvRow(length),
        }
    }
}

enum After {
    FieldSpan(usize),
    CsvRow(usize),
}

fn field(start: usize, end: usize, has_doubled_quotes: bool) -> FieldSpan {
    // Rows are far shorter than 4 GiB, because of `max_row_bytes`.
    let narrow = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    FieldSpan { start: narrow(start), end: narrow(end), has_doubled_quotes }
}

/// Finds the end of a field without quotes.
fn find_plain(bytes: &[u8], at: usize, at_end: bool) -> Option<(FieldSpan, After)> {
    let rest = bytes.get(at..).unwrap_or_default();
    let without_return = |end: usize| {
        let ends_in_return = end > at && bytes.get(end - 1) == Some(&b'\r');
        field(at, if ends_in_return { end - 1 } else { end }, false)
    };
    match memchr2(b';', b'\n', rest).map(|place| at + place) {
        Some(end) if bytes.get(end) == Some(&b';') => {
            Some((field(at, end, false), After::FieldSpan(end + 1)))
        }
        Some(end) => Some((without_return(end), After::CsvRow(end + 1))),
        None if at_end => Some((without_return(bytes.len()), After::CsvRow(bytes.len()))),
        None => None,
    }
}

/// Finds the end of a quoted field that starts at `start`.
fn find_quoted(bytes: &[u8], start: usize, at_end: bool) -> Result<(FieldSpan, After), RowSearch> {
    let mut search = start;
    let mut has_doubled_quotes = false;
    let more = |unless: RowSearch| if at_end { unless } else { RowSearch::More };
    loop {
        let rest = bytes.get(search..).unwrap_or_default();
        let Some(place) = memchr(b'"', rest) else {
            return Err(more(RowSearch::Invalid(
                "ends in the middle of a quoted field: the file is truncated",
            )));
        };
        let quote = search + place;
        let ends = |after: After| Ok((field(start, quote, has_doubled_quotes), after));
        match (bytes.get(quote + 1), bytes.get(quote + 2)) {
            (Some(b'"'), _) => {
                has_doubled_quotes = true;
                search = quote + 2;
            }
            (Some(b';'), _) => return ends(After::FieldSpan(quote + 2)),
            (Some(b'\n'), _) => return ends(After::CsvRow(quote + 2)),
            (Some(b'\r'), Some(b'\n')) => return ends(After::CsvRow(quote + 3)),
            (None, _) if at_end => return ends(After::CsvRow(quote + 1)),
            (Some(b'\r'), None) if at_end => return ends(After::CsvRow(quote + 2)),
            (None, _) | (Some(b'\r'), None) => return Err(RowSearch::More),
            _ => return Err(RowSearch::Invalid("has text after a closing quote")),
        }
    }
}

impl<'a> CsvRow<'a> {
    pub(super) fn len(self) -> usize {
        self.fields.len()
    }

    /// The bytes of a field as written, with doubled quotes; empty if there is no such field.
    pub(super) fn bytes(self, index: usize) -> &'a [u8] {
        let field = self.fields.get(index);
        field.and_then(|field| self.bytes.get(field.start as usize..field.end as usize)).unwrap_or_default()
    }

    pub(super) fn has_doubled_quotes(self, index: usize) -> bool {
        self.fields.get(index).is_some_and(|field| field.has_doubled_quotes)
    }

    pub(super) fn push_json(self, index: usize, json: &mut Vec<u8>) {
        let bytes = self.bytes(index);
        if !self.has_doubled_quotes(index) && is_plain_json(bytes) {
            return json.extend_from_slice(decoded(bytes).as_bytes());
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

    pub(super) fn text(self, index: usize) -> Cow<'a, str> {
        let text = decoded(self.bytes(index));
        match self.has_doubled_quotes(index) {
            true => Cow::Owned(text.replace("\"\"", "\"")),
            false => text,
        }
    }
}

/// Whether a field needs no escapes in JSON.
fn is_plain_json(bytes: &[u8]) -> bool {
    // Branch-free, so that it is vectorised.
    !bytes.iter().fold(false, |found, byte| found | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\'))
}

/// Whether a field is HTML or XML, which a storage service may send instead of a file.
pub(super) fn is_markup(bytes: &[u8]) -> bool {
    let begin = bytes.get(..bytes.len().min(512)).unwrap_or_default().trim_ascii_start();
    begin.starts_with(b"<") && memmem::find(begin, b">").is_some()
}
