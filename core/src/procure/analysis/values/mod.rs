//! Finding the values in a text that can be checked: amounts, dates, RUTs, codes, percentages, counts, states, links,
//! quotations.

mod amounts;
mod cursor;
mod dates;
mod numbers;
mod states;
mod words;

use cursor::TextCursor;

use super::question::Language;
use crate::procure::tables::folded;
use crate::procure::{Currency, Decimal, Rut, TenderState, Timestamp};

/// A value in a text that can be checked against a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A web or mail address, as written.
    Link(String),
    /// The code of a tender, an order or a quick purchase, in capitals.
    Code(String),
    /// A tax number without points and dash. Its check digit may be wrong.
    Rut(String),
    /// A day, possibly without year or with a time.
    Day(Day),
    /// A time of day.
    Clock(u8, u8),
    /// An amount of money.
    Money(Decimal, Currency),
    /// A percentage.
    Percent(Decimal),
    /// A number.
    Number(Decimal),
    /// A duration.
    Span(Decimal, SpanUnit),
    /// The number of a line, a lot or a product.
    Ordinal(Decimal),
    /// A word with letters and digits: `4x4`, `ISO9001`.
    Label(String),
    /// A quotation.
    Quotation(String),
    /// A state, and whether the text says that the tender has it.
    State(TenderState, bool),
    /// An amount in words, or anything else that cannot be read with certainty.
    Unclear(String),
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpanUnit {
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
    Years,
}

/// A day, as far as the text gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) year: Option<u16>,
    pub(super) month: u8,
    pub(super) day: Option<u8>,
    pub(super) clock: Option<(u8, u8)>,
    /// The instant, if the text has a time zone.
    pub(super) instant: Option<Timestamp>,
}

/// A value, and how it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FoundValue {
    pub(super) value: Value,
    pub(super) written: String,
}

/// Finds all values in `text`, in order.
pub(super) fn scan(text: &str, language: Language) -> Vec<FoundValue> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut cursor = TextCursor::new(&chars);
    while !cursor.is_at_end() {
        let start = cursor.at();
        match next(&mut cursor, language, &mut found) {
            Some(value) => found.push(FoundValue { value, written: cursor.since(start) }),
            None => cursor.step(start),
        }
    }
    found.extend(quotations(&chars));
    found.extend(states::scan(text));
    found
}

/// Reads the value that starts here. Longer and more specific kinds are tried first.
fn next(cursor: &mut TextCursor<'_>, language: Language, found: &mut [FoundValue]) -> Option<Value> {
    if cursor.is_inside_word() {
        return None;
    }
    let start = cursor.at();
    let mut attempt = |read: &mut dyn FnMut(&mut TextCursor<'_>) -> Option<Value>| {
        let value = read(cursor);
        if value.is_none() {
            cursor.move_to(start);
        }
        value
    };
    attempt(&mut link)
        .or_else(|| attempt(&mut code))
        .or_else(|| attempt(&mut rut))
        .or_else(|| attempt(&mut |cursor| dates::read(cursor, language, found)))
        .or_else(|| attempt(&mut |cursor| numbers::read(cursor, language)))
        .or_else(|| attempt(&mut label))
        .or_else(|| attempt(&mut unreadable_digit))
}

/// A digit of another script, a fraction, or a Roman numeral character. These are not read.
fn unreadable_digit(cursor: &mut TextCursor<'_>) -> Option<Value> {
    // `m²` is a unit.
    let is_strange = |c: char| c.is_numeric() && !c.is_ascii_digit() && !matches!(c, '¹' | '²' | '³');
    cursor.take(is_strange).map(|digit| Value::Unclear(digit.to_string()))
}

fn link(cursor: &mut TextCursor<'_>) -> Option<Value> {
    let chunk = cursor.rest_of_word();
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

/// Whether a text is `evil.example/x` without a scheme, or the name of a file: words separated by dots, with letters at the
/// end. Two sentences without a blank in between are recognised by the capital letter; well-known endings count anyway.
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

fn code(cursor: &mut TextCursor<'_>) -> Option<Value> {
    let prefix = cursor.digits(15)?;
    cursor.accept('-')?;
    let sequence = cursor.digits(15)?;
    cursor.accept('-')?;
    let rest = cursor.alphanumerics();
    let written = format!("{prefix}-{sequence}-{}", rest.to_uppercase());
    // Codes of orders and tenders have the same form; those of quick purchases have their own letters.
    let is_code = written.parse::<crate::procure::TenderCode>().is_ok()
        || written.parse::<crate::procure::QuickPurchaseCode>().is_ok();
    (is_code && cursor.is_at_boundary()).then_some(Value::Code(written))
}

fn rut(cursor: &mut TextCursor<'_>) -> Option<Value> {
    let start = cursor.at();
    let dotted = dotted_digits(cursor);
    let digits = dotted.or_else(|| {
        cursor.move_to(start);
        cursor.digits(8).filter(|digits| digits.len() >= 7)
    })?;
    cursor.accept('-')?;
    let check = cursor.take(|c| c.is_ascii_digit() || matches!(c, 'k' | 'K'))?;
    let ends = cursor.is_at_boundary() && !cursor.is_before_more_digits();
    ends.then(|| Value::Rut(format!("{digits}{}", check.to_ascii_uppercase())))
}

/// `76.990.011` without its points.
fn dotted_digits(cursor: &mut TextCursor<'_>) -> Option<String> {
    let mut digits = cursor.digits(2)?;
    for _ in 0..2 {
        cursor.accept('.')?;
        digits.push_str(&cursor.digits(3).filter(|group| group.len() == 3)?);
    }
    Some(digits)
}

/// A word with letters and digits.
fn label(cursor: &mut TextCursor<'_>) -> Option<Value> {
    let word = cursor.alphanumerics();
    let is_label = word.chars().any(|c| c.is_ascii_digit()) && word.chars().any(char::is_alphabetic);
    is_label.then(|| Value::Label(folded(&word)))
}

/// The texts in quotation marks, if they are longer than one or two words.
fn quotations(chars: &[char]) -> Vec<FoundValue> {
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
                    found.push(FoundValue { value: Value::Quotation(folded(&written)), written });
                }
                at += length + 2;
            }
            None => at += 1,
        }
    }
    found
}

/// The tax number in a text, without points and dash.
pub(super) fn compact_rut(text: &str) -> Option<String> {
    text.parse::<Rut>().ok().map(Rut::compact)
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
