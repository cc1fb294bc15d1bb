//! Numbers and percentages.

use super::amounts::{amount, prefix, span_or_number};
use super::dates::hour_alone;
use super::words::in_words;
use super::{TextCursor, Value};
use crate::procure::Decimal;
use crate::procure::analysis::question::Language;

/// Reads a number, with its unit or currency.
pub(super) fn read(cursor: &mut TextCursor<'_>, language: Language) -> Option<Value> {
    let start = cursor.at();
    if let Some(prefix) = prefix(cursor) {
        let number = digits(cursor, language)?;
        return Some(amount(cursor, number, Some(prefix)));
    }
    cursor.move_to(start);
    let is_word = cursor.peek().is_some_and(char::is_alphabetic);
    if is_word {
        return in_words(cursor, language).map(|value| match value {
            Value::Number(number) => span_or_number(cursor, number),
            other => other,
        });
    }
    let negative = is_sign(cursor);
    if negative {
        cursor.skip(1);
    }
    let number = digits(cursor, language)?;
    let number = if negative { Decimal::new(-number.digits(), number.scale()) } else { number };
    if !cursor.is_at_boundary() && !is_unit(cursor) {
        return None;
    }
    if is_percent(cursor) {
        return Some(Value::Percent(number));
    }
    let before = cursor.words_before(start, 2);
    let after_las = before.first().is_some_and(|word| word == "las");
    if after_las && number.scale() == 0 {
        let end = cursor.at();
        cursor.move_to(start);
        if let Some((hour, minute)) = hour_alone(cursor) {
            return Some(Value::Clock(hour, minute));
        }
        cursor.move_to(end);
    }
    match amount(cursor, number, None) {
        Value::Number(number) if is_ordinal(&before) => Some(Value::Ordinal(number)),
        value => Some(value),
    }
}

/// Whether this is a minus sign, and not a dash between words or a list bullet.
fn is_sign(cursor: &TextCursor<'_>) -> bool {
    let begins = cursor.before().is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '$'));
    cursor.peek() == Some('-') && begins && cursor.peek_at(1).is_some_and(|c| c.is_ascii_digit())
}

/// Whether the letters after a number are a unit: `5kg`, but not `4x4`.
fn is_unit(cursor: &TextCursor<'_>) -> bool {
    let word: String = cursor.rest_of_word().chars().take_while(|c| c.is_alphanumeric()).collect();
    word.chars().all(char::is_alphabetic)
}

fn is_ordinal(before: &[String]) -> bool {
    const NAMES: [&str; 14] = [
        "linea", "lineas", "item", "items", "lote", "lotes", "producto", "line", "lines", "lot", "n", "nº",
        "no", "numero",
    ];
    before.first().is_some_and(|word| NAMES.contains(&word.as_str()))
}

/// Reads digits with separators. A separator before groups of three digits separates thousands if there are several groups
/// or if the language uses it for that; otherwise it is the decimal separator.
fn digits(cursor: &mut TextCursor<'_>, language: Language) -> Option<Decimal> {
    let mut written = String::new();
    loop {
        written.push_str(&cursor.digits(30)?);
        match cursor.peek() {
            Some(mark @ ('.' | ',' | '\'')) if cursor.peek_at(1).is_some_and(|c| c.is_ascii_digit()) => {
                written.push(mark);
                cursor.skip(1);
            }
            _ => return exact(&written, language),
        }
    }
}

/// The number for digits with separators.
fn exact(written: &str, language: Language) -> Option<Decimal> {
    let marks: Vec<char> = written.chars().filter(|c| !c.is_ascii_digit()).collect();
    let Some(last) = marks.last().copied() else { return written.parse().ok() };
    let groups: Vec<&str> = written.split(|c: char| !c.is_ascii_digit()).collect();
    let in_threes = |groups: &[&str]| {
        groups.first().is_some_and(|first| (1..=3).contains(&first.len()))
            && groups.iter().skip(1).all(|group| group.len() == 3)
    };
    let same = marks.iter().all(|mark| *mark == last);
    let of_thousands = match language {
        Language::Spanish => last != ',',
        Language::English => last != '.',
    };
    let whole = in_threes(&groups) && same && (marks.len() > 1 || (of_thousands && groups[0] != "0"));
    if whole {
        return groups.concat().parse().ok();
    }
    // One decimal separator, after different thousands separators.
    let (fraction, rest) = groups.split_last()?;
    let thousands = marks.get(..marks.len() - 1)?;
    let consistent = thousands.iter().all(|mark| *mark != last && Some(mark) == thousands.first());
    let plain = thousands.is_empty() || in_threes(rest);
    (consistent && plain).then(|| format!("{}.{fraction}", rest.concat()).parse().ok())?
}

fn is_percent(cursor: &mut TextCursor<'_>) -> bool {
    let start = cursor.at();
    cursor.blanks();
    if cursor.accept('%').is_some() || cursor.word_of(&["percent", "porciento"]).is_some() {
        return true;
    }
    if cursor.word_of(&["por", "per"]).is_some() && cursor.word_of(&["ciento", "cent"]).is_some() {
        return true;
    }
    cursor.move_to(start);
    false
}
