//! Numbers, percentages and amounts of money as people and records write them.

use super::dates::hour_alone;
use super::{Cursor, Unit, Value};
use crate::procure::analysis::question::Language;
use crate::procure::tables::folded;
use crate::procure::{Currency, Decimal};

/// Reads a number and what it counts.
pub(super) fn read(cursor: &mut Cursor<'_>, language: Language) -> Option<Value> {
    let start = cursor.at();
    if let Some(prefix) = prefix(cursor) {
        let number = digits(cursor, language)?;
        return Some(amount(cursor, number, Some(prefix)));
    }
    cursor.go_to(start);
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
        cursor.go_to(start);
        if let Some((hour, minute)) = hour_alone(cursor) {
            return Some(Value::Clock(hour, minute));
        }
        cursor.go_to(end);
    }
    match amount(cursor, number, None) {
        Value::Number(number) if is_ordinal(&before) => Some(Value::Ordinal(number)),
        value => Some(value),
    }
}

/// A minus sign, and not a dash between words or the mark of a list.
fn is_sign(cursor: &Cursor<'_>) -> bool {
    let begins = cursor.before().is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '$'));
    cursor.peek() == Some('-') && begins && cursor.peek_at(1).is_some_and(|c| c.is_ascii_digit())
}

/// Whether the letters behind a number are a unit: `5kg`, and not `4x4`.
fn is_unit(cursor: &Cursor<'_>) -> bool {
    let word: String = cursor.chunk().chars().take_while(|c| c.is_alphanumeric()).collect();
    word.chars().all(char::is_alphabetic)
}

fn is_ordinal(before: &[String]) -> bool {
    const NAMES: [&str; 14] = [
        "linea", "lineas", "item", "items", "lote", "lotes", "producto", "line", "lines", "lot", "n", "nº",
        "no", "numero",
    ];
    before.first().is_some_and(|word| NAMES.contains(&word.as_str()))
}

/// Digits with their marks. A mark before groups of three is of thousands if there are several groups, or if the
/// language writes it so; otherwise decimals follow it.
fn digits(cursor: &mut Cursor<'_>, language: Language) -> Option<Decimal> {
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

/// The number that digits with marks are.
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
    // One mark of decimals, behind marks of thousands that are others.
    let (fraction, rest) = groups.split_last()?;
    let thousands = marks.get(..marks.len() - 1)?;
    let consistent = thousands.iter().all(|mark| *mark != last && Some(mark) == thousands.first());
    let plain = thousands.is_empty() || in_threes(rest);
    (consistent && plain).then(|| format!("{}.{fraction}", rest.concat()).parse().ok())?
}

fn is_percent(cursor: &mut Cursor<'_>) -> bool {
    let start = cursor.at();
    cursor.blanks();
    if cursor.eat('%').is_some() || cursor.word_of(&["percent", "porciento"]).is_some() {
        return true;
    }
    if cursor.word_of(&["por", "per"]).is_some() && cursor.word_of(&["ciento", "cent"]).is_some() {
        return true;
    }
    cursor.go_to(start);
    false
}

/// A sign or a name of a currency before a number.
struct Prefix {
    currency: Currency,
    /// How many zeros it stands for: `M$` are thousands, `MM$` millions.
    zeros: u8,
}

fn prefix(cursor: &mut Cursor<'_>) -> Option<Prefix> {
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
fn amount(cursor: &mut Cursor<'_>, number: Decimal, prefix: Option<Prefix>) -> Value {
    let zeros = scale(cursor).unwrap_or(0) + prefix.as_ref().map_or(0, |prefix| prefix.zeros);
    let Some(number) = times_ten_to(number, zeros) else { return Value::Unclear(number.to_string()) };
    let suffix = suffix(cursor);
    match suffix.or(prefix.map(|prefix| prefix.currency)) {
        Some(currency) => Value::Money(number, currency),
        None => span_or_number(cursor, number),
    }
}

/// A number, or a length of time if a unit of time follows.
fn span_or_number(cursor: &mut Cursor<'_>, number: Decimal) -> Value {
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

const SCALES: [&str; 9] =
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
fn suffix(cursor: &mut Cursor<'_>) -> Option<Currency> {
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

/// `dos`, `veinte`, `mil`. More than that in words is not read, and an amount in words is unclear: it has to be written
/// in digits to be believed.
fn in_words(cursor: &mut Cursor<'_>, language: Language) -> Option<Value> {
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
            cursor.go_to(before);
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
        Some(number) if words == 1 && !scaled && !money => Some(Value::Number(Decimal::new(number, 0))),
        None if words == 1 && !money && folded(&written) == "mil" => {
            Some(Value::Number(Decimal::new(1000, 0)))
        }
        _ => Some(Value::Unclear(written)),
    }
}

fn next_is_number(cursor: &Cursor<'_>, language: Language) -> bool {
    let mut ahead = cursor.clone();
    ahead.blanks();
    number_word(&ahead.word(), language).is_some()
}

/// Words of numbers that are only read to know that there is one.
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

/// Numbers in words; `un`, `una` and `one` are mostly articles and pronouns.
fn number_word(word: &str, language: Language) -> Option<i128> {
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
    const TENS: [[&str; 2]; 7] = [
        ["treinta", "thirty"],
        ["cuarenta", "forty"],
        ["cincuenta", "fifty"],
        ["sesenta", "sixty"],
        ["setenta", "seventy"],
        ["ochenta", "eighty"],
        ["noventa", "ninety"],
    ];
    let (names, column) = match language {
        Language::Spanish => (&SPANISH, 0),
        Language::English => (&ENGLISH, 1),
    };
    let small = names.iter().position(|name| *name == word).map(|at| at as i128 + 2);
    let tens = || TENS.iter().position(|tens| tens[column] == word).map(|at| (at as i128 + 3) * 10);
    small.or_else(tens).or_else(|| (word == "cien").then_some(100))
}
