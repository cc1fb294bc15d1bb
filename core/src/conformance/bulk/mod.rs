//! Monthly files as the portal writes them, made up: the columns, lengths, characters and oddities are real, the
//! contents are not. The same seed gives the same file.

use std::io::{self, Read};

use crate::backends::mercado_publico::bulk::text::encoded;

mod columns;
mod zip;

pub use zip::{ZipWriter, zip};

use columns::{Column, ORDER_LINES, QUOTES, Shape, TENDER_OFFERS, WORDS};

/// Lines of purchase orders: 78 columns, one to five lines an order.
pub fn order_lines(seed: u64) -> MadeUp {
    MadeUp::new(ORDER_LINES, seed)
}

/// Tenders with offers: 111 columns.
pub fn tender_offers(seed: u64) -> MadeUp {
    MadeUp::new(TENDER_OFFERS, seed)
}

/// Quotes of quick purchases: 34 columns.
pub fn quotes(seed: u64) -> MadeUp {
    MadeUp::new(QUOTES, seed)
}

/// A made-up file: [`Read`] it, or take it whole.
#[derive(Clone, Debug)]
pub struct MadeUp {
    columns: &'static [Column],
    random: Random,
    left: usize,
    /// The fields that the lines of one record share.
    shared: Vec<Vec<u8>>,
    lines_left: u64,
    record: u64,
    ready: Vec<u8>,
    given: usize,
}

/// A small generator of numbers that look random.
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` to `high`.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    fn one<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let at = self.next() % (list.len() as u64).max(1);
        list.get(usize::try_from(at).unwrap_or(0))
    }
}

impl MadeUp {
    fn new(columns: &'static [Column], seed: u64) -> Self {
        let mut ready = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            begin_field(&mut ready, index);
            push(&mut ready, column.name);
        }
        end_row(&mut ready);
        Self {
            columns,
            random: Random(seed),
            left: 1_000,
            shared: vec![Vec::new(); columns.len()],
            lines_left: 0,
            record: 0,
            ready,
            given: 0,
        }
    }

    /// Sets the number of rows.
    pub fn with_rows(mut self, rows: usize) -> Self {
        self.left = rows;
        self
    }

    /// The whole file.
    pub fn csv(mut self) -> Vec<u8> {
        while self.left > 0 {
            self.make_row();
        }
        self.ready
    }

    fn make_row(&mut self) {
        self.left -= 1;
        if self.lines_left == 0 {
            self.record += 1;
            self.lines_left = self.random.between(1, 5);
            for (column, field) in self.columns.iter().zip(&mut self.shared) {
                if !column.is_of_line {
                    field.clear();
                    make_field(column.shape, self.record, &mut self.random, field);
                }
            }
        }
        self.lines_left -= 1;
        for (index, (column, field)) in self.columns.iter().zip(&self.shared).enumerate() {
            begin_field(&mut self.ready, index);
            if column.is_of_line {
                make_field(column.shape, self.record, &mut self.random, &mut self.ready);
            } else {
                self.ready.extend_from_slice(field);
            }
        }
        end_row(&mut self.ready);
    }
}

impl Read for MadeUp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.ready.len() - self.given < buffer.len() && self.left > 0 {
            if self.given > 0 {
                self.ready.drain(..self.given);
                self.given = 0;
            }
            self.make_row();
        }
        let mut rest = self.ready.get(self.given..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.given += read;
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
fn push(field: &mut Vec<u8>, text: &str) {
    for letter in text.chars() {
        field.extend(encoded(letter));
        if letter == '"' {
            field.push(b'"');
        }
    }
}

/// Adds a text that has only digits, letters and marks of ASCII.
macro_rules! push_number {
    ($field:expr, $($format:tt)+) => {{
        use std::io::Write;
        // Writing to memory never fails.
        let _ = write!($field, $($format)+);
    }};
}

fn make_field(shape: Shape, record: u64, random: &mut Random, field: &mut Vec<u8>) {
    match shape {
        Shape::Number(low, high) => push_number!(field, "{}", random.between(low, high)),
        Shape::Id(kind) => {
            push_number!(field, "{}-{}-{kind}26", 1_000 + record % 997, record);
        }
        Shape::Row => push_number!(field, "{}", 122_000_000 + random.next() % 9_000_000),
        Shape::Words(low, high) => words(random, (low, high), field),
        Shape::Long(low, high) => long(random, (low, high), field),
        Shape::Day => push_number!(field, "2026-06-{:02}", random.between(1, 30)),
        Shape::NoDay => field.extend_from_slice(b"1900-01-01"),
        Shape::Amount => amount(random, field),
        Shape::Rut => {
            let number = random.between(5_000_000, 79_999_999);
            let rut = u32::try_from(number).ok().and_then(|number| crate::procure::Rut::new(number).ok());
            push(field, &rut.map(|rut| rut.to_string()).unwrap_or_default());
        }
        Shape::OneOf(texts) => push(field, random.one(texts).copied().unwrap_or_default()),
        Shape::Nothing => {
            field.extend_from_slice(
                random.one(&["NA", "", " ", "NULL", "-"]).copied().unwrap_or_default().as_bytes(),
            );
        }
        Shape::MostlyNothing(texts) => match random.next() % 4 {
            0 => push(field, random.one(texts).copied().unwrap_or_default()),
            _ => field.extend_from_slice(b"NA"),
        },
        Shape::Link => {
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
        push(field, random.one(WORDS).copied().unwrap_or_default());
        field.push(b' ');
    }
}

/// A description as people paste them: with breaks, quotes, separators, and now and then a stray byte.
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
