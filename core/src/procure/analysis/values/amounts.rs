//! Amounts of money and durations: what comes before and after a number.

use super::{SpanUnit, TextCursor, Value};
use crate::procure::tables::folded;
use crate::procure::{Currency, Decimal};

/// A currency before a number.
pub(super) struct CurrencyPrefix {
    currency: Currency,
    /// The power of ten: `M$` means thousands, `MM$` millions.
    zeros: u8,
}

pub(super) fn prefix(cursor: &mut TextCursor<'_>) -> Option<CurrencyPrefix> {
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
        if cursor.accept_text(sign).is_some() {
            cursor.blanks();
            return Some(CurrencyPrefix { currency, zeros });
        }
    }
    let start = cursor.at();
    let word = cursor.alphanumerics();
    let currency = currency_code(&word);
    cursor.blanks();
    cursor.accept('$');
    cursor.blanks();
    match currency.filter(|_| cursor.peek().is_some_and(|c| c.is_ascii_digit())) {
        Some(currency) => Some(CurrencyPrefix { currency, zeros: 0 }),
        None => {
            cursor.move_to(start);
            None
        }
    }
}

/// The currency of a code in capitals.
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

/// Reads what follows a number: a scale, a currency, or nothing.
pub(super) fn amount(cursor: &mut TextCursor<'_>, number: Decimal, prefix: Option<CurrencyPrefix>) -> Value {
    let zeros = scale(cursor).unwrap_or(0) + prefix.as_ref().map_or(0, |prefix| prefix.zeros);
    let Some(number) = times_ten_to(number, zeros) else { return Value::Unclear(number.to_string()) };
    let suffix = suffix(cursor);
    match suffix.or(prefix.map(|prefix| prefix.currency)) {
        Some(currency) => Value::Money(number, currency),
        None => span_or_number(cursor, number),
    }
}

/// A number, or a duration if a unit of time follows.
pub(super) fn span_or_number(cursor: &mut TextCursor<'_>, number: Decimal) -> Value {
    const UNITS: [(SpanUnit, &[&str]); 6] = [
        (SpanUnit::Minutes, &["minuto", "minutos", "minute", "minutes", "min"]),
        (SpanUnit::Hours, &["hora", "horas", "hour", "hours", "hrs", "hr"]),
        (SpanUnit::Days, &["dia", "dias", "day", "days"]),
        (SpanUnit::Weeks, &["semana", "semanas", "week", "weeks"]),
        (SpanUnit::Months, &["mes", "meses", "month", "months"]),
        (SpanUnit::Years, &["ano", "anos", "year", "years"]),
    ];
    // `30-day term`
    let start = cursor.at();
    if cursor.peek() == Some('-') && cursor.peek_at(1).is_some_and(char::is_alphabetic) {
        cursor.skip(1);
    }
    let unit = UNITS.iter().find(|(_, names)| cursor.word_of(names).is_some());
    if unit.is_none() {
        cursor.move_to(start);
    }
    unit.map_or(Value::Number(number), |(unit, _)| Value::Span(number, *unit))
}

/// Reads a word for a power of ten: `mil`, `millones`, `MM`.
fn scale(cursor: &mut TextCursor<'_>) -> Option<u8> {
    let start = cursor.at();
    cursor.blanks();
    if cursor.accept_text("MM").is_some() && cursor.is_at_boundary() {
        return Some(6);
    }
    cursor.move_to(start);
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

/// Reads a currency after a number: `pesos`, `UF`, `de dólares`, `€`.
pub(super) fn suffix(cursor: &mut TextCursor<'_>) -> Option<Currency> {
    let start = cursor.at();
    let currency = suffix_here(cursor);
    if currency.is_none() {
        cursor.move_to(start);
    }
    currency
}

fn suffix_here(cursor: &mut TextCursor<'_>) -> Option<Currency> {
    cursor.word_of(&["de", "of"]);
    cursor.blanks();
    for (sign, currency) in [("US$", Currency::Usd), ("€", Currency::Eur), ("U.F.", Currency::Clf)] {
        if cursor.accept_text(sign).is_some() {
            return Some(currency);
        }
    }
    let word_at = cursor.at();
    let word = cursor.alphanumerics();
    if let Some(currency) = currency_code(&word) {
        return Some(currency);
    }
    cursor.move_to(word_at);
    if cursor.word_of(&["chilean"]).is_some() {
        return cursor.word_of(&["peso", "pesos"]).map(|_| Currency::Clp);
    }
    match folded(&word).as_str() {
        "peso" | "pesos" => with_currency(cursor, Currency::Clp),
        "dolar" | "dolares" | "dollar" | "dollars" => with_currency(cursor, Currency::Usd),
        "euro" | "euros" => with_currency(cursor, Currency::Eur),
        "uf" | "ufs" => with_currency(cursor, Currency::Clf),
        "utm" => with_currency(cursor, Currency::Utm),
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

/// The currency, if its word ends here.
fn with_currency(cursor: &mut TextCursor<'_>, currency: Currency) -> Option<Currency> {
    cursor.alphanumerics();
    Some(currency)
}
