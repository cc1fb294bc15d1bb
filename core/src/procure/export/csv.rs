//! CSV for spreadsheets.

use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize};

use super::tables::{Cell, Table};
use super::{RecordWriter, chunks};
use crate::error::Result;
use crate::procure::analysis::Language;

/// Options for CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CsvFormat {
    /// The separator. With semicolons numbers have a decimal comma, as spreadsheets in Chile expect; with commas they have a
    /// point.
    pub separator: Separator,
    /// Whether the file starts with a byte order mark, by which Excel recognises UTF-8.
    pub byte_order_mark: bool,
    /// The language of the header.
    pub language: Language,
}

/// The separator between cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Separator {
    /// `;`
    #[default]
    Semicolon,
    /// `,`
    Comma,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { separator: Separator::default(), byte_order_mark: true, language: Language::default() }
    }
}

impl CsvFormat {
    /// For Excel in Chile: semicolons, decimal commas, a byte order mark and a header in Spanish.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Sets the separator.
        with_separator: separator = Separator;
        /// Sets whether the file starts with a byte order mark.
        with_byte_order_mark: byte_order_mark = bool;
        /// Sets the language of the header.
        with_language: language = Language;
    }
}

/// Writes records as CSV, with CR LF at the end of lines. Times are Santiago's local time: `2026-10-26 15:30:00`. A text
/// that a spreadsheet could take for a formula (starting with `=`, `+`, `-` or `@`) gets a `'` before it, also within a
/// cell after a character at which a reader with another separator would split it.
pub fn csv<'a, T: Table + Send + 'a>(
    records: impl Stream<Item = Result<T>> + Send + 'a,
    format: CsvFormat,
) -> impl Stream<Item = Result<Bytes>> + Send + 'a {
    chunks(records, format)
}

impl<T: Table> RecordWriter<T> for CsvFormat {
    fn head(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.byte_order_mark {
            out.extend_from_slice("\u{FEFF}".as_bytes());
        }
        let column = match self.language {
            Language::Spanish => 0,
            Language::English => 1,
        };
        self.line(out, T::COLUMNS.iter().map(|names| names[column].to_owned()));
        Ok(())
    }

    fn record(&mut self, out: &mut Vec<u8>, record: T) -> Result<()> {
        let cell_text = record.cells().into_iter().map(|cell| self.cell_text(cell));
        self.line(out, cell_text);
        Ok(())
    }

    fn tail(&mut self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

impl CsvFormat {
    fn mark(self) -> char {
        match self.separator {
            Separator::Semicolon => ';',
            Separator::Comma => ',',
        }
    }

    fn line(self, out: &mut Vec<u8>, cells: impl Iterator<Item = String>) {
        for (at, cell) in cells.enumerate() {
            if at > 0 {
                out.push(self.mark() as u8);
            }
            let needs_quotes =
                cell.contains(SEPARATORS) || cell.contains(['"', '\r', '\n']) || cell.trim() != cell;
            if needs_quotes {
                out.push(b'"');
                out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
                out.push(b'"');
            } else {
                out.extend_from_slice(cell.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn cell_text(self, cell: Cell) -> String {
        match cell {
            Cell::Empty => String::new(),
            Cell::Text(text) => without_formula(text),
            Cell::Number(number) => match self.separator {
                Separator::Semicolon => number.to_string().replace('.', ","),
                Separator::Comma => number.to_string(),
            },
            Cell::Moment(moment) => {
                let (hour, minute, second) = moment.clock();
                format!("{} {hour:02}:{minute:02}:{second:02}", moment.date())
            }
        }
    }
}

const SEPARATORS: [char; 4] = [';', ',', '\t', '|'];

/// Prefixes a text that a spreadsheet could take for a formula, and the parts of it into which a reader with another
/// separator would split it.
fn without_formula(text: String) -> String {
    let text = if text.contains('\0') { text.replace('\0', "") } else { text };
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    let is_formula = |part: &str| {
        part.trim_start_matches(is_blank).starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
    };
    let mut safe = String::with_capacity(text.len() + 1);
    if is_formula(&text) || text.starts_with(['\t', '\r', '\n']) {
        safe.push('\'');
    }
    for (at, part) in text.split_inclusive(SEPARATORS).enumerate() {
        if at > 0 && is_formula(part) {
            safe.push('\'');
        }
        safe.push_str(part);
    }
    safe
}
