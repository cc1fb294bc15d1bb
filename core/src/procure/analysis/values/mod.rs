//! What can be checked in a text: amounts, dates, RUTs, codes, percentages, counts, states, links, quotations.

mod amounts;
mod cursor;
mod dates;
mod numbers;
mod states;
mod words;

use cursor::Cursor;

use super::question::Language;
use crate::procure::tables::folded;
use crate::procure::{Currency, Decimal, Rut, TenderState, Timestamp};

/// Something in a text that can be held against a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// An address of a page or a mailbox, as it is written.
    Link(String),
    /// The code of a tender, an order or a quick purchase, in capitals.
    Code(String),
    /// A tax number without dots and dash; not one whose check digit holds, perhaps.
    Rut(String),
    /// A day, or a part of one, and perhaps a time of it.
    Day(Day),
    /// A time of some day.
    Clock(u8, u8),
    /// An amount of money.
    Money(Decimal, Currency),
    /// A percentage.
    Percent(Decimal),
    /// A number.
    Number(Decimal),
    /// A length of time.
    Span(Decimal, Unit),
    /// The number of a line, a lot or a product.
    Ordinal(Decimal),
    /// Letters and digits in one word: `4x4`, `ISO9001`.
    Label(String),
    /// What somebody is said to have written.
    Quotation(String),
    /// The state that the tender is said to have, or not to have.
    State(TenderState, bool),
    /// An amount in words or another form that cannot be read for certain.
    Unclear(String),
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
    Years,
}

/// A day as far as a text names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) year: Option<u16>,
    pub(super) month: u8,
    pub(super) day: Option<u8>,
    pub(super) clock: Option<(u8, u8)>,
    /// The instant, where the text names its zone.
    pub(super) instant: Option<Timestamp>,
}

/// A value and how the text writes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) value: Value,
    pub(super) written: String,
}

/// Everything in `text` that can be checked, in its order.
pub(super) fn scan(text: &str, language: Language) -> Vec<Found> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut cursor = Cursor::new(&chars);
    while !cursor.is_at_end() {
        let start = cursor.at();
        match next(&mut cursor, language, &mut found) {
            Some(value) => found.push(Found { value, written: cursor.since(start) }),
            None => cursor.step(start),
        }
    }
    found.extend(quotations(&chars));
    found.extend(states::scan(text));
    found
}

/// The value that begins here. Whatever is longer or more particular comes first.
fn next(cursor: &mut Cursor<'_>, language: Language, found: &mut [Found]) -> Option<Value> {
    if cursor.is_inside_word() {
        return None;
    }
    let start = cursor.at();
    let mut attempt = |read: &mut dyn FnMut(&mut Cursor<'_>) -> Option<Value>| {
        let value = read(cursor);
        if value.is_none() {
            cursor.go_to(start);
        }
        value
    };
    attempt(&mut link)
        .or_else(|| attempt(&mut code))
        .or_else(|| attempt(&mut rut))
        .or_else(|| attempt(&mut |cursor| dates::read(cursor, language, found)))
        .or_else(|| attempt(&mut |cursor| numbers::read(cursor, language)))
        .or_else(|| attempt(&mut label))
        .or_else(|| attempt(&mut strange_digit))
}

/// A digit of another script, a fraction, a Roman number in one sign: what it stands for is not read.
fn strange_digit(cursor: &mut Cursor<'_>) -> Option<Value> {
    // `m²` is a unit.
    let is_strange = |c: char| c.is_numeric() && !c.is_ascii_digit() && !matches!(c, '¹' | '²' | '³');
    cursor.take(is_strange).map(|digit| Value::Unclear(digit.to_string()))
}

fn link(cursor: &mut Cursor<'_>) -> Option<Value> {
    let chunk = cursor.chunk();
    let lower = chunk.to_lowercase();
    let mailbox = lower.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    let scheme = ["://", "javascript:", "data:", "mailto:"].iter().any(|scheme| lower.contains(scheme));
    let page = scheme || lower.starts_with("www.") || is_host(&lower, chunk == lower);
    let written = chunk.trim_end_matches(['.', ',', ';', ':', ')', ']', '»', '”', '"', '!', '?', '\'']);
    if !(mailbox || page) || written.is_empty() {
        return None;
    }
    cursor.skip(written.chars().count());
    Some(Value::Link(written.to_lowercase()))
}

/// `evil.example/x` without a scheme, or the name of a file: labels with dots between them, and letters at the end.
/// Sentences without a blank between them begin with a capital; well-known endings count in any case.
fn is_host(text: &str, in_small_letters: bool) -> bool {
    const ENDINGS: [&str; 6] = ["cl", "com", "org", "net", "info", "gob"];
    let host = text.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let host = host.trim_end_matches(['.', ',', ';', ')', '»', '”', '"', '!']);
    let (name, ending) = host.rsplit_once('.').unwrap_or_default();
    let is_ending = (2..=12).contains(&ending.len()) && ending.chars().all(|c| c.is_ascii_lowercase());
    let is_label = |label: &str| label.len() >= 2 && label.chars().all(|c| c.is_alphanumeric() || c == '-');
    name.split('.').all(is_label)
        && name.chars().any(char::is_alphabetic)
        && is_ending
        && (in_small_letters || ENDINGS.contains(&ending))
}

fn code(cursor: &mut Cursor<'_>) -> Option<Value> {
    let prefix = cursor.digits(15)?;
    cursor.eat('-')?;
    let sequence = cursor.digits(15)?;
    cursor.eat('-')?;
    let rest = cursor.alphanumerics();
    let written = format!("{prefix}-{sequence}-{}", rest.to_uppercase());
    // An order and a tender have the same form; a quick purchase has letters of its own.
    let is_code = written.parse::<crate::procure::TenderCode>().is_ok()
        || written.parse::<crate::procure::QuickPurchaseCode>().is_ok();
    (is_code && cursor.is_at_boundary()).then_some(Value::Code(written))
}

fn rut(cursor: &mut Cursor<'_>) -> Option<Value> {
    let start = cursor.at();
    let dotted = dotted_digits(cursor);
    let digits = dotted.or_else(|| {
        cursor.go_to(start);
        cursor.digits(8).filter(|digits| digits.len() >= 7)
    })?;
    cursor.eat('-')?;
    let check = cursor.take(|c| c.is_ascii_digit() || matches!(c, 'k' | 'K'))?;
    let ends = cursor.is_at_boundary() && !cursor.is_before_more_digits();
    ends.then(|| Value::Rut(format!("{digits}{}", check.to_ascii_uppercase())))
}

/// `76.990.011` without its dots.
fn dotted_digits(cursor: &mut Cursor<'_>) -> Option<String> {
    let mut digits = cursor.digits(2)?;
    for _ in 0..2 {
        cursor.eat('.')?;
        digits.push_str(&cursor.digits(3).filter(|group| group.len() == 3)?);
    }
    Some(digits)
}

/// A word with letters and digits.
fn label(cursor: &mut Cursor<'_>) -> Option<Value> {
    let word = cursor.alphanumerics();
    let is_label = word.chars().any(|c| c.is_ascii_digit()) && word.chars().any(char::is_alphabetic);
    is_label.then(|| Value::Label(folded(&word)))
}

/// What stands between quotation marks, if it is more than a word or two of emphasis.
fn quotations(chars: &[char]) -> Vec<Found> {
    const MARKS: [(char, char); 3] = [('«', '»'), ('“', '”'), ('"', '"')];
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = chars.get(at) {
        let close = MARKS.iter().find(|(own, _)| own == open).map(|(_, close)| *close);
        let length = close.and_then(|close| chars.get(at + 1..)?.iter().position(|c| *c == close));
        match length {
            Some(length) => {
                let written: String = chars.get(at + 1..at + 1 + length).unwrap_or_default().iter().collect();
                if folded(&written).len() >= 3 {
                    found.push(Found { value: Value::Quotation(folded(&written)), written });
                }
                at += length + 2;
            }
            None => at += 1,
        }
    }
    found
}

/// The tax number that a text is, without dots and dash.
pub(super) fn compact_rut(text: &str) -> Option<String> {
    text.parse::<Rut>().ok().map(Rut::compact)
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
