//! Amounts of money and lengths of time: what stands before and behind a number.

use super::{Cursor, Unit, Value};
use crate::procure::tables::folded;
use crate::procure::{Currency, Decimal};

/// A sign or a name of a currency before a number.
pub(super) struct Prefix {
    currency: Currency,
    /// How many zeros it stands for: `M$` are thousands, `MM$` millions.
    zeros: u8,
}

pub(super) fn prefix(cursor: &mut Cursor<'_>) -> Option<Prefix> {
    const SIGNS: [(&str, Currency, u8); 9] = [
        ("MM$", Currency::Clp, 6),
        ("M$", Currency::Clp, 3),
        ("US$", Currency::Usd, 0),
        ("USD$", Currency::Usd, 0),
        ("CLP$", Currency::Clp, 0),
        ("U$", Currency::Usd, 0),
        ("$", Currency::Clp, 0),
        ("€", Currency::Eur, 0),
        ("U.F.", Currency::Clf, 0),
    ];
    for (sign, currency, zeros) in SIGNS {
        if cursor.eat_text(sign).is_some() {
            cursor.blanks();
            return Some(Prefix { currency, zeros });
        }
    }
    let start = cursor.at();
    let word = cursor.alphanumerics();
    let currency = currency_code(&word);
    cursor.blanks();
    cursor.eat('$');
    cursor.blanks();
    match currency.filter(|_| cursor.peek().is_some_and(|c| c.is_ascii_digit())) {
        Some(currency) => Some(Prefix { currency, zeros: 0 }),
        None => {
            cursor.go_to(start);
            None
        }
    }
}

/// A currency by its code in capitals.
fn currency_code(word: &str) -> Option<Currency> {
    const OTHERS: [&str; 12] =
        ["GBP", "JPY", "CNY", "CAD", "AUD", "CHF", "BRL", "ARS", "PEN", "MXN", "COP", "UYU"];
    match word {
        "CLP" => Some(Currency::Clp),
        "UF" | "CLF" => Some(Currency::Clf),
        "UTM" => Some(Currency::Utm),
        "USD" => Some(Currency::Usd),
        "EUR" => Some(Currency::Eur),
        other => OTHERS.contains(&other).then(|| Currency::Other(other.to_owned())),
    }
}

/// What follows a number: a scale, a currency, or nothing.
pub(super) fn amount(cursor: &mut Cursor<'_>, number: Decimal, prefix: Option<Prefix>) -> Value {
    let zeros = scale(cursor).unwrap_or(0) + prefix.as_ref().map_or(0, |prefix| prefix.zeros);
    let Some(number) = times_ten_to(number, zeros) else { return Value::Unclear(number.to_string()) };
    let suffix = suffix(cursor);
    match suffix.or(prefix.map(|prefix| prefix.currency)) {
        Some(currency) => Value::Money(number, currency),
        None => span_or_number(cursor, number),
    }
}

/// A number, or a length of time if a unit of time follows.
pub(super) fn span_or_number(cursor: &mut Cursor<'_>, number: Decimal) -> Value {
    const UNITS: [(Unit, &[&str]); 6] = [
        (Unit::Minutes, &["minuto", "minutos", "minute", "minutes", "min"]),
        (Unit::Hours, &["hora", "horas", "hour", "hours", "hrs", "hr"]),
        (Unit::Days, &["dia", "dias", "day", "days"]),
        (Unit::Weeks, &["semana", "semanas", "week", "weeks"]),
        (Unit::Months, &["mes", "meses", "month", "months"]),
        (Unit::Years, &["ano", "anos", "year", "years"]),
    ];
    // `30-day term`
    let start = cursor.at();
    if cursor.peek() == Some('-') && cursor.peek_at(1).is_some_and(char::is_alphabetic) {
        cursor.skip(1);
    }
    let unit = UNITS.iter().find(|(_, names)| cursor.word_of(names).is_some());
    if unit.is_none() {
        cursor.go_to(start);
    }
    unit.map_or(Value::Number(number), |(unit, _)| Value::Span(number, *unit))
}

/// How many zeros a word stands for: `mil`, `millones`, `MM`.
fn scale(cursor: &mut Cursor<'_>) -> Option<u8> {
    let start = cursor.at();
    cursor.blanks();
    if cursor.eat_text("MM").is_some() && cursor.is_at_boundary() {
        return Some(6);
    }
    cursor.go_to(start);
    let mut zeros = None;
    while let Some(word) = cursor.word_of(&SCALES) {
        zeros = Some(zeros.unwrap_or(0) + zeros_of(&word));
    }
    zeros
}

pub(super) const SCALES: [&str; 9] =
    ["mil", "miles", "millon", "millones", "thousand", "million", "millions", "billion", "billones"];

fn zeros_of(scale: &str) -> u8 {
    match scale {
        "mil" | "miles" | "thousand" => 3,
        "billion" => 9,
        "billones" => 12,
        _ => 6,
    }
}

fn times_ten_to(number: Decimal, zeros: u8) -> Option<Decimal> {
    let taken = zeros.min(number.scale());
    let digits = number.digits().checked_mul(10_i128.checked_pow(u32::from(zeros - taken))?)?;
    Some(Decimal::new(digits, number.scale() - taken))
}

/// A currency behind a number: `pesos`, `UF`, `de dólares`, `€`.
pub(super) fn suffix(cursor: &mut Cursor<'_>) -> Option<Currency> {
    let start = cursor.at();
    let currency = suffix_here(cursor);
    if currency.is_none() {
        cursor.go_to(start);
    }
    currency
}

fn suffix_here(cursor: &mut Cursor<'_>) -> Option<Currency> {
    cursor.word_of(&["de", "of"]);
    cursor.blanks();
    for (sign, currency) in [("US$", Currency::Usd), ("€", Currency::Eur), ("U.F.", Currency::Clf)] {
        if cursor.eat_text(sign).is_some() {
            return Some(currency);
        }
    }
    let word_at = cursor.at();
    let word = cursor.alphanumerics();
    if let Some(currency) = currency_code(&word) {
        return Some(currency);
    }
    cursor.go_to(word_at);
    if cursor.word_of(&["chilean"]).is_some() {
        return cursor.word_of(&["peso", "pesos"]).map(|_| Currency::Clp);
    }
    match folded(&word).as_str() {
        "peso" | "pesos" => after(cursor, Currency::Clp),
        "dolar" | "dolares" | "dollar" | "dollars" => after(cursor, Currency::Usd),
        "euro" | "euros" => after(cursor, Currency::Eur),
        "uf" | "ufs" => after(cursor, Currency::Clf),
        "utm" => after(cursor, Currency::Utm),
        "unidad" | "unidades" => {
            cursor.alphanumerics();
            match cursor.word_of(&["de", "tributarias", "tributaria"])?.as_str() {
                "de" => cursor.word_of(&["fomento"]).map(|_| Currency::Clf),
                _ => cursor.word_of(&["mensual", "mensuales"]).map(|_| Currency::Utm),
            }
        }
        _ => None,
    }
}

/// Past the word of a currency.
fn after(cursor: &mut Cursor<'_>, currency: Currency) -> Option<Currency> {
    cursor.alphanumerics();
    Some(currency)
}
