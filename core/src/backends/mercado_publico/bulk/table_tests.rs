//! Rows read back whatever stands in them and wherever the pieces end.

use std::io::Cursor;

use proptest::prelude::*;

use super::table::CsvReader;
use super::text::encoded;
use crate::error::{Error, Persistence};

fn rows_in(bytes: &[u8], piece: usize) -> Result<Vec<Vec<String>>, Error> {
    let mut table = CsvReader::with_read_size(Cursor::new(bytes.to_vec()), 1 << 20, piece);
    let mut rows = Vec::new();
    while let Some(row) = table.next()? {
        rows.push((0..row.len()).map(|index| row.text(index).into_owned()).collect());
    }
    assert_eq!(table.rows(), rows.len() as u64);
    Ok(rows)
}

/// A table as the portal writes it.
fn written(rows: &[Vec<String>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        for (index, field) in row.iter().enumerate() {
            bytes.extend_from_slice(if index == 0 { b"\"" } else { b";\"" });
            let field = field.replace('"', "\"\"");
            bytes.extend(field.chars().map(|letter| encoded(letter).expect("in Windows-1252")));
            bytes.push(b'"');
        }
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

const TABLE: &str = "\"ID\";\"Texto\";\"N\"\r\n\"1\";\"dos\r\nlíneas; y \"\"comillas\"\"\";\"3,5\"\r\n\"2\";\"\";plain\n\
                     \"\"\"\";\"a\"\"\";NA\r\n\r\n\"fin\";;\"\"";

fn expected() -> Vec<Vec<String>> {
    let row = |fields: [&str; 3]| fields.map(str::to_owned).to_vec();
    vec![
        row(["ID", "Texto", "N"]),
        row(["1", "dos\r\nlíneas; y \"comillas\"", "3,5"]),
        row(["2", "", "plain"]),
        row(["\"", "a\"", "NA"]),
        row(["fin", "", ""]),
    ]
}

#[test]
fn rows_are_the_same_wherever_a_piece_ends() {
    for piece in 1..=TABLE.len() + 1 {
        assert_eq!(rows_in(TABLE.as_bytes(), piece).expect("rows"), expected(), "{piece}");
    }
}

/// Gives a few bytes at a time.
struct Dribble<'a>(&'a [u8], usize);

impl std::io::Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.1.min(buffer.len()).min(self.0.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

#[test]
fn a_source_that_gives_a_byte_at_a_time_gives_the_same_rows() {
    for step in 1..5 {
        let mut table = CsvReader::new(Dribble(TABLE.as_bytes(), step), 1 << 20);
        let mut seen = 0;
        while let Some(row) = table.next().expect("a row") {
            assert_eq!(row.text(1), expected()[seen][1]);
            seen += 1;
        }
        assert_eq!((seen, table.bytes()), (5, TABLE.len() as u64));
    }
}

#[test]
fn a_table_that_breaks_off_anywhere_gives_the_rows_before_it_or_says_so() {
    let whole = expected();
    for end in 0..TABLE.len() {
        let mut table = CsvReader::with_read_size(Cursor::new(TABLE.as_bytes()[..end].to_vec()), 1 << 20, 8);
        let mut seen = 0;
        let outcome = loop {
            match table.next() {
                Ok(Some(row)) => {
                    // The last row before the cut may be the start of the real one.
                    assert!(whole[seen][0].starts_with(&*row.text(0)), "{end}");
                    seen += 1;
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = outcome {
            assert!(
                error.message().contains("truncated") || error.message().contains("after a closing quote"),
                "{error}"
            );
            assert!(error.message().starts_with(&format!("row {}", seen + 1)), "{error}");
            assert_eq!(error.persistence(), Persistence::Temporary);
        }
    }
}

#[test]
fn what_is_no_row_is_refused_and_named() {
    for (text, says) in [
        ("\"a\";\"b\"\r\n\"c\"x;\"d\"\r\n", "row 2 has text after"),
        ("\"a\"\rb\r\n", "row 1 has text after"),
        ("\"a\";\"b", "row 1 ends in the middle"),
    ] {
        let error = rows_in(text.as_bytes(), 4).expect_err(text);
        assert!(error.message().starts_with(says), "{error}");
    }
    let many = ";".repeat(10_000);
    assert!(rows_in(many.as_bytes(), 64).expect_err("too many").message().contains("more fields"));
}

#[test]
fn a_field_beyond_the_limit_is_refused_and_never_held() {
    // 100 MB behind a quote that is never closed.
    let endless = std::io::Read::take(std::io::repeat(b'x'), 100_000_000);
    let source = std::io::Read::chain(&b"\"a\"\r\n\""[..], endless);
    let mut table = CsvReader::new(source, 1 << 20);
    assert_eq!(table.next().expect("a row").expect("a row").text(0), "a");
    let error = table.next().map(drop).expect_err("too long");
    assert!(error.message().contains("row 2 is longer than the limit"), "{error}");
}

#[test]
fn a_field_of_many_bytes_within_the_limit_is_read() {
    let long = "á\"".repeat(200_000);
    let rows = vec![vec![long, "b".to_owned()]];
    assert_eq!(rows_in(&written(&rows), 16).expect("rows"), rows);
}

/// A text of Windows-1252 that is not UTF-8 by chance: that is read as UTF-8, on purpose.
fn text() -> impl Strategy<Value = String> {
    let letter = prop_oneof![
        4 => proptest::char::range('\u{1}', '\u{7F}'),
        2 => proptest::char::range('\u{A0}', '\u{FF}'),
        1 => prop_oneof![Just('€'), Just('“'), Just('–'), Just('\u{81}'), Just('Ÿ')],
        3 => prop_oneof![Just('"'), Just(';'), Just('\r'), Just('\n'), Just(','), Just(' ')],
    ];
    let text =
        proptest::collection::vec(letter, 0..24).prop_map(|letters| letters.into_iter().collect::<String>());
    text.prop_filter("UTF-8 by chance", |text| {
        let bytes: Vec<u8> = text.chars().filter_map(encoded).collect();
        text.is_ascii() || std::str::from_utf8(&bytes).is_err()
    })
}

proptest! {
    #[test]
    fn any_table_written_in_the_format_reads_back(
        rows in (1_usize..6).prop_flat_map(|columns| {
            proptest::collection::vec(proptest::collection::vec(text(), columns), 0..8)
        }),
        piece in 1_usize..64,
    ) {
        prop_assert_eq!(rows_in(&written(&rows), piece).expect("rows"), rows);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(prop_oneof![
        Just(b'"'), Just(b';'), Just(b'\r'), Just(b'\n'), any::<u8>()
    ], 0..200), piece in 1_usize..32) {
        let whole = rows_in(&bytes, 1 << 10);
        let pieces = rows_in(&bytes, piece);
        match (whole, pieces) {
            (Ok(whole), Ok(pieces)) => prop_assert_eq!(whole, pieces),
            (Err(whole), Err(pieces)) => prop_assert_eq!(whole.message(), pieces.message()),
            (whole, pieces) => prop_assert!(false, "{whole:?} {pieces:?}"),
        }
    }
}
