//! Numbers in words.

use super::amounts::{SCALES, suffix};
use super::{TextCursor, Value};
use crate::procure::Decimal;
use crate::procure::analysis::question::Language;
use crate::procure::tables::folded;

/// Reads `dos`, `veinte`, `mil`. Longer numbers in words are not read, and an amount in words is unclear: it must be
/// written in digits.
pub(super) fn in_words(cursor: &mut TextCursor<'_>, language: Language) -> Option<Value> {
    let start = cursor.at();
    let (mut words, mut number, mut scaled) = (0, None, false);
    loop {
        let before = cursor.at();
        cursor.blanks();
        let word = cursor.word();
        let own = number_word(&word, language);
        let is_scale = HUNDREDS.contains(&word.as_str())
            || (SCALES.contains(&word.as_str()) && (words > 0 || word != "miles"));
        // `treinta y dos`
        let joins = words > 0 && word == "y" && next_is_number(cursor, language);
        if word.is_empty() || !cursor.is_at_boundary() || !(own.is_some() || is_scale || joins) {
            cursor.move_to(before);
            break;
        }
        words += usize::from(!joins);
        scaled |= is_scale;
        number = own.or(number);
    }
    if words == 0 {
        return None;
    }
    let written = cursor.since(start);
    let money = suffix(cursor).is_some();
    match number {
        // `medio ambiente`
        _ if words == 1 && !money && folded(&written) == "medio" => None,
        Some(number) if words == 1 && !scaled && !money => Some(Value::Number(Decimal::new(number, 0))),
        None if words == 1 && !money && folded(&written) == "mil" => {
            Some(Value::Number(Decimal::new(1000, 0)))
        }
        _ => Some(Value::Unclear(written)),
    }
}

fn next_is_number(cursor: &TextCursor<'_>, language: Language) -> bool {
    let mut ahead = cursor.clone();
    ahead.blanks();
    number_word(&ahead.word(), language).is_some()
}

/// Words that are recognised as numbers without reading their value.
const HUNDREDS: [&str; 11] = [
    "ciento",
    "doscientos",
    "trescientos",
    "cuatrocientos",
    "quinientos",
    "seiscientos",
    "setecientos",
    "ochocientos",
    "novecientos",
    "hundred",
    "medio",
];

/// Two to twenty.
const SPANISH: [&str; 19] = [
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
    "once",
    "doce",
    "trece",
    "catorce",
    "quince",
    "dieciseis",
    "diecisiete",
    "dieciocho",
    "diecinueve",
    "veinte",
];
/// Two to twenty.
const ENGLISH: [&str; 19] = [
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];
/// Thirty to ninety.
const TENS: [[&str; 2]; 7] = [
    ["treinta", "thirty"],
    ["cuarenta", "forty"],
    ["cincuenta", "fifty"],
    ["sesenta", "sixty"],
    ["setenta", "seventy"],
    ["ochenta", "eighty"],
    ["noventa", "ninety"],
];

/// The number of a word. `un`, `una` and `one` are left out: they are mostly articles and pronouns.
fn number_word(word: &str, language: Language) -> Option<i128> {
    let (names, column) = match language {
        Language::Spanish => (&SPANISH, 0),
        Language::English => (&ENGLISH, 1),
    };
    let small = names.iter().position(|name| *name == word).map(|at| at as i128 + 2);
    let tens = || TENS.iter().position(|tens| tens[column] == word).map(|at| (at as i128 + 3) * 10);
    small.or_else(tens).or_else(|| (word == "cien").then_some(100))
}
