//! The fields of a row, parsed.

use crate::procure::tables::folded;
use crate::procure::{Currency, Date, Decimal, Money, Timestamp, ZoneMark};

use super::columns::Columns;
use super::table::CsvRow;
use super::text::decoded;
use crate::procure::json::{is_tidy, tidied};

/// The fields of a row, parsed by column.
#[derive(Debug)]
pub struct Cells<'a> {
    row: CsvRow<'a>,
    columns: &'a Columns,
    /// The columns whose content could not be parsed and is not a mark for "empty".
    pub(super) unread: Vec<&'static str>,
}

/// Whether a field is empty or has a mark for "empty".
fn is_empty_mark(bytes: &[u8]) -> bool {
    match bytes {
        [] | b"NA" | b"-" | b"NULL" => true,
        // The date that stands for "none" also appears in addresses.
        b"1900-01-01" => true,
        [first, ..] if bytes.len() <= 4 => {
            first.eq_ignore_ascii_case(&b'n') && bytes.eq_ignore_ascii_case(b"null")
        }
        _ => false,
    }
}

impl<'a> Cells<'a> {
    pub(super) fn new(row: CsvRow<'a>, columns: &'a Columns) -> Self {
        Self { row, columns, unread: Vec::new() }
    }

    /// The bytes of a field, unless it is empty or personal data to be dropped.
    fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        let position = self.columns.position(column)?;
        let bytes = self.row.bytes(position).trim_ascii();
        (!is_empty_mark(bytes) && !self.columns.is_personal(position)).then_some(bytes)
    }

    fn read<T>(&mut self, column: usize, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let value = read(self.bytes(column)?);
        if value.is_none() {
            self.unread.push(self.columns.name(column));
        }
        value
    }

    pub(super) fn text(&self, column: usize) -> Option<String> {
        let bytes = self.bytes(column)?;
        let text = match self.row.has_doubled_quotes(self.columns.position(column)?) {
            false => decoded(bytes).into_owned(),
            true => decoded(bytes).replace("\"\"", "\""),
        };
        // Also removes blanks outside ASCII, and NULs.
        if is_tidy(&text) { Some(text) } else { Some(tidied(&text)).filter(|text| !text.is_empty()) }
    }

    pub(super) fn text_or_empty(&self, column: usize) -> String {
        self.text(column).unwrap_or_default()
    }

    /// A code that is written as a number; `-1` and `0` mean none.
    pub(super) fn code(&self, column: usize) -> Option<String> {
        let bytes = self.bytes(column)?;
        if matches!(bytes, b"-1" | b"0") { None } else { self.text(column) }
    }

    /// A whole number; `-1` means none.
    pub(super) fn integer(&mut self, column: usize) -> Option<i64> {
        self.read(column, |bytes| {
            let number = decimal(bytes)?;
            if number.scale() == 0 { i64::try_from(number.digits()).ok() } else { None }
        })
        .filter(|number| *number != -1)
    }

    pub(super) fn decimal(&mut self, column: usize) -> Option<Decimal> {
        self.read(column, decimal)
    }

    /// An amount; `None` without a currency.
    pub(super) fn money(&mut self, column: usize, currency: Option<&Currency>) -> Option<Money> {
        let amount = self.decimal(column)?;
        Some(Money::new(amount, currency?.clone()))
    }

    /// A time, or the midnight at the start of a day.
    pub(super) fn time(&mut self, column: usize) -> Option<Timestamp> {
        self.read(column, time).filter(|time| time.is_given())
    }

    /// Yes or no.
    pub(super) fn boolean(&mut self, column: usize) -> Option<bool> {
        self.read(column, |bytes| {
            let is = |words: &[&[u8]]| words.iter().any(|word| bytes.eq_ignore_ascii_case(word));
            match (is(&[b"si", b"1", b"s\xED", "sí".as_bytes()]), is(&[b"no", b"0"])) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            }
        })
    }

    /// A currency by its code, or by its name as offers write it.
    pub(super) fn currency(&self, column: usize) -> Option<Currency> {
        let bytes = self.bytes(column)?;
        // These numbers are not currencies.
        if matches!(bytes, b"1" | b"-1") {
            return None;
        }
        Some(match bytes {
            b"CLP" => Currency::Clp,
            _ => currency_of(&self.text(column)?),
        })
    }
}

fn currency_of(name: &str) -> Currency {
    match folded(name).as_str() {
        "pesochileno" | "pesoschilenos" | "pesos" | "peso" => Currency::Clp,
        "unidaddefomento" | "unidadesdefomento" => Currency::Clf,
        "unidadtributariamensual" | "unidadestributariasmensuales" => Currency::Utm,
        "dolar" | "dolaramericano" | "dolarestadounidense" | "dolaresamericanos" => Currency::Usd,
        "euro" | "euros" => Currency::Eur,
        _ => Currency::from(name),
    }
}

/// Parses `19977,72`, `3,3e+08`, `-5`; a point is the same as a comma.
pub(super) fn decimal(bytes: &[u8]) -> Option<Decimal> {
    let (is_negative, digits) = match bytes {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, bytes),
    };
    // 18 digits fit into an i64, and hardly any amount has more.
    if digits.is_empty() || digits.len() > 18 {
        return long_decimal(bytes);
    }
    let (mut number, mut scale, mut after_point) = (0_i64, 0_u8, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                number = number * 10 + i64::from(byte - b'0');
                scale += u8::from(after_point);
            }
            b',' | b'.' if !after_point => after_point = true,
            _ => return long_decimal(bytes),
        }
    }
    if digits.len() == usize::from(after_point) {
        return None;
    }
    Some(Decimal::new(i128::from(if is_negative { -number } else { number }), scale))
}

fn long_decimal(bytes: &[u8]) -> Option<Decimal> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= 64)?;
    text.replacen(',', ".", 1).parse().ok()
}

fn time(bytes: &[u8]) -> Option<Timestamp> {
    let digits = |from: usize, to: usize| {
        bytes.get(from..to)?.iter().try_fold(0_u16, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + u16::from(byte - b'0'))
        })
    };
    if bytes.len() == 10 && bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-') {
        let (month, day) = (u8::try_from(digits(5, 7)?).ok()?, u8::try_from(digits(8, 10)?).ok()?);
        return Date::new(digits(0, 4)?, month, day).ok().map(Timestamp::start_of);
    }
    Timestamp::read(std::str::from_utf8(bytes).ok()?, ZoneMark::WallClock).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_the_files_write_them() {
        for (text, expected) in [
            ("19977,72", "19977.72"),
            ("3,3e+08", "330000000"),
            ("1e+10", "10000000000"),
            ("618646465,493438", "618646465.493438"),
            ("-5", "-5"),
            ("0", "0"),
            (",5", "0.5"),
            ("279.8", "279.8"),
            ("3,9333333333333331", "3.9333333333333331"),
            ("12345678901234567890,12", "12345678901234567890.12"),
        ] {
            assert_eq!(decimal(text.as_bytes()).expect(text).to_string(), expected);
        }
        for text in ["", ",", "-", "1,2,3", "1.234.567", "x", "1e", "e5", "Moneda revisar", "1 000"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn currencies_are_known_by_code_and_by_name() {
        for (name, currency) in [
            ("Peso Chileno", Currency::Clp),
            ("Unidad de Fomento", Currency::Clf),
            ("UTM", Currency::Utm),
            ("Dólar Americano", Currency::Usd),
            ("Moneda revisar", Currency::Other("Moneda revisar".to_owned())),
        ] {
            assert_eq!(currency_of(name), currency);
        }
    }

    proptest! {
        #[test]
        fn every_exact_number_reads_back(digits in -(10_i128.pow(30))..10_i128.pow(30), scale in 0_u8..12) {
            let number = Decimal::new(digits, scale);
            let text = number.to_string().replace('.', ",");
            prop_assert_eq!(decimal(text.as_bytes()), Some(number));
        }

        #[test]
        fn any_bytes_are_a_number_a_moment_or_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = (decimal(&bytes), time(&bytes));
        }
    }
}
