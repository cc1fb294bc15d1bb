//! Monthly files as the portal writes them: columns, lengths, characters and oddities are real, the contents are
//! invented. The same seed gives the same file.
//!
//! ```
//! let file = ayni_testkit::bulk::order_lines(1).with_rows(3).csv();
//! assert!(file.starts_with(b"\"ID\";"));
//! let archive = ayni_testkit::bulk::zip(&[("2026-6.csv", &file)]);
//! assert!(archive.starts_with(b"PK"));
//! ```

use std::io::{self, Read};

use ayni::procure::Rut;

use crate::random::Random;

mod columns;
mod zip;

pub use zip::{ZipWriter, zip};

use columns::{Column, Content, ORDER_LINES, QUOTES, TENDER_OFFERS, WORDS};

/// Lines of purchase orders: 78 columns, one to five lines an order.
pub fn order_lines(seed: u64) -> MonthlyFile {
    MonthlyFile::new(ORDER_LINES, seed)
}

/// Tenders with offers: 111 columns.
pub fn tender_offers(seed: u64) -> MonthlyFile {
    MonthlyFile::new(TENDER_OFFERS, seed)
}

/// Quotes of quick purchases: 34 columns.
pub fn quotes(seed: u64) -> MonthlyFile {
    MonthlyFile::new(QUOTES, seed)
}

/// A monthly file: [`Read`] it piece by piece, or take all of it with [`csv`](Self::csv).
#[derive(Clone, Debug)]
pub struct MonthlyFile {
    columns: &'static [Column],
    random: Random,
    rows_left: usize,
    /// The fields that the lines of one record share.
    shared: Vec<Vec<u8>>,
    lines_left: u64,
    record: u64,
    buffer: Vec<u8>,
    /// How many bytes of `buffer` were read.
    bytes_read: usize,
}

impl MonthlyFile {
    fn new(columns: &'static [Column], seed: u64) -> Self {
        let mut buffer = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            begin_field(&mut buffer, index);
            push_text(&mut buffer, column.name);
        }
        end_row(&mut buffer);
        Self {
            columns,
            random: Random::new(seed),
            rows_left: 1_000,
            shared: vec![Vec::new(); columns.len()],
            lines_left: 0,
            record: 0,
            buffer,
            bytes_read: 0,
        }
    }

    /// Sets the number of rows.
    pub fn with_rows(mut self, rows: usize) -> Self {
        self.rows_left = rows;
        self
    }

    /// The whole file.
    pub fn csv(mut self) -> Vec<u8> {
        while self.rows_left > 0 {
            self.make_row();
        }
        self.buffer
    }

    fn make_row(&mut self) {
        self.rows_left -= 1;
        if self.lines_left == 0 {
            self.record += 1;
            self.lines_left = self.random.between(1, 5);
            for (column, field) in self.columns.iter().zip(&mut self.shared) {
                if !column.is_of_line {
                    field.clear();
                    make_field(column.content, self.record, &mut self.random, field);
                }
            }
        }
        self.lines_left -= 1;
        for (index, (column, field)) in self.columns.iter().zip(&self.shared).enumerate() {
            begin_field(&mut self.buffer, index);
            if column.is_of_line {
                make_field(column.content, self.record, &mut self.random, &mut self.buffer);
            } else {
                self.buffer.extend_from_slice(field);
            }
        }
        end_row(&mut self.buffer);
    }
}

impl Read for MonthlyFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.buffer.len() - self.bytes_read < buffer.len() && self.rows_left > 0 {
            if self.bytes_read > 0 {
                self.buffer.drain(..self.bytes_read);
                self.bytes_read = 0;
            }
            self.make_row();
        }
        let mut rest = self.buffer.get(self.bytes_read..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.bytes_read += read;
        Ok(read)
    }
}

fn begin_field(row: &mut Vec<u8>, index: usize) {
    row.extend_from_slice(if index == 0 { b"\"" } else { b"\";\"" });
}

fn end_row(row: &mut Vec<u8>) {
    row.extend_from_slice(b"\"\r\n");
}

/// Adds a text in Windows-1252, quotes doubled.
fn push_text(field: &mut Vec<u8>, text: &str) {
    for letter in text.chars() {
        field.push(windows_1252(letter));
        if letter == '"' {
            field.push(b'"');
        }
    }
}

/// The byte of a letter. Of those beyond Latin-1 only quotation marks occur in the files.
fn windows_1252(letter: char) -> u8 {
    match letter {
        '“' => 0x93,
        '”' => 0x94,
        _ => u8::try_from(letter).unwrap_or(b'?'),
    }
}

/// Adds a text of ASCII letters, digits and signs.
macro_rules! push_number {
    ($field:expr, $($format:tt)+) => {{
        use std::io::Write;
        // Writing to memory never fails.
        let _ = write!($field, $($format)+);
    }};
}

fn make_field(content: Content, record: u64, random: &mut Random, field: &mut Vec<u8>) {
    match content {
        Content::Number(low, high) => push_number!(field, "{}", random.between(low, high)),
        Content::Id(kind) => {
            push_number!(field, "{}-{}-{kind}26", 1_000 + record % 997, record);
        }
        Content::Row => push_number!(field, "{}", 122_000_000 + random.next() % 9_000_000),
        Content::Words(low, high) => words(random, (low, high), field),
        Content::Long(low, high) => long(random, (low, high), field),
        Content::Day => push_number!(field, "2026-06-{:02}", random.between(1, 30)),
        Content::NoDay => field.extend_from_slice(b"1900-01-01"),
        Content::Amount => amount(random, field),
        Content::Rut => {
            let number = random.between(5_000_000, 79_999_999);
            let rut = u32::try_from(number).ok().and_then(|number| Rut::new(number).ok());
            push_text(field, &rut.map(|rut| rut.to_string()).unwrap_or_default());
        }
        Content::OneOf(texts) => push_text(field, random.choose(texts).copied().unwrap_or_default()),
        Content::Nothing => {
            field.extend_from_slice(
                random.choose(&["NA", "", " ", "NULL", "-"]).copied().unwrap_or_default().as_bytes(),
            );
        }
        Content::MostlyNothing(texts) => match random.next() % 4 {
            0 => push_text(field, random.choose(texts).copied().unwrap_or_default()),
            _ => field.extend_from_slice(b"NA"),
        },
        Content::Link => {
            field.extend_from_slice(
                b"http://www.mercadopublico.cl/PurchaseOrder/Modules/PO/DetailsPurchaseOrder.aspx?codigoOC=",
            );
            push_number!(field, "{}-{}-SE26", 1_000 + record % 997, record);
        }
    }
}

fn words(random: &mut Random, (low, high): (u64, u64), field: &mut Vec<u8>) {
    let until = field.len() + usize::try_from(random.between(low, high)).unwrap_or(0);
    while field.len() < until {
        push_text(field, random.choose(WORDS).copied().unwrap_or_default());
        field.push(b' ');
    }
}

/// A description as people paste them: with line breaks, quotes, separators, and now and then a stray byte.
fn long(random: &mut Random, (low, high): (u64, u64), field: &mut Vec<u8>) {
    let until = field.len() + usize::try_from(random.between(low, high)).unwrap_or(0);
    while field.len() < until {
        words(random, (20, 90), field);
        match random.next() % 10 {
            0 => field.extend_from_slice(b"\r\n"),
            1 => field.extend_from_slice(b"\n- "),
            2 => field.extend_from_slice(b"\"\"urgente\"\"; "),
            3 => field.extend_from_slice(b"; "),
            4 => field.extend_from_slice(b"\x96 "),
            5 if random.next().is_multiple_of(64) => field.push(0x81),
            _ => field.extend_from_slice(b", "),
        }
    }
}

fn amount(random: &mut Random, field: &mut Vec<u8>) {
    match random.next() % 20 {
        0 => push_number!(field, "{},{}e+08", random.between(1, 9), random.between(0, 9)),
        1..4 => push_number!(field, "{},{:02}", random.between(1, 9_999_999), random.between(1, 99)),
        _ => push_number!(field, "{}", random.between(100, 99_999_999)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_file_whole_or_in_pieces() {
        for made in [order_lines(7), tender_offers(7), quotes(7)] {
            let made = made.with_rows(50);
            let mut pieces = Vec::new();
            made.clone().take(u64::MAX).read_to_end(&mut pieces).expect("read");
            assert_eq!(pieces, made.csv());
        }
        assert_ne!(order_lines(1).csv(), order_lines(2).csv());
    }

    #[test]
    fn the_columns_are_as_many_as_the_portals() {
        assert_eq!([ORDER_LINES.len(), TENDER_OFFERS.len(), QUOTES.len()], [78, 111, 34]);
    }
}
