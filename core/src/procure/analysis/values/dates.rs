//! Days and times.

use super::{Day, FoundValue, TextCursor, Value};
use crate::procure::analysis::question::Language;
use crate::procure::{Date, Decimal, Timestamp, ZoneMark};

const MONTHS: [&[&str]; 12] = [
    &["enero", "ene", "january", "jan"],
    &["febrero", "feb", "february"],
    &["marzo", "mar", "march"],
    &["abril", "abr", "april", "apr"],
    &["mayo", "may"],
    &["junio", "jun", "june"],
    &["julio", "jul", "july"],
    &["agosto", "ago", "august", "aug"],
    &["septiembre", "setiembre", "sept", "sep", "september"],
    &["octubre", "oct", "october"],
    &["noviembre", "nov", "november"],
    &["diciembre", "dic", "december", "dec"],
];

/// Reads a day, a time or both. The number found before may turn out to be the first day of a range.
pub(super) fn read(
    cursor: &mut TextCursor<'_>,
    language: Language,
    found: &mut [FoundValue],
) -> Option<Value> {
    let start = cursor.at();
    if let Some(day) = day(cursor, language) {
        begin_range(cursor, start, day, found);
        let time_of_day =
            if day.clock.is_some() || day.day.is_none() { None } else { time_after_day(cursor) };
        return Some(Value::Day(Day { clock: day.clock.or(time_of_day), ..day }));
    }
    cursor.move_to(start);
    let (hour, minute) = time_of_day(cursor)?;
    Some(Value::Clock(hour, minute))
}

fn day(cursor: &mut TextCursor<'_>, language: Language) -> Option<Day> {
    let start = cursor.at();
    let day = iso(cursor);
    let day = day.or_else(|| {
        cursor.move_to(start);
        numeric(cursor, language)
    });
    let day = day.or_else(|| {
        cursor.move_to(start);
        day_first(cursor)
    });
    day.or_else(|| {
        cursor.move_to(start);
        month_first(cursor)
    })
}

/// Reads `12` in `del 12 al 16 de octubre` as a day of the same month.
fn begin_range(cursor: &TextCursor<'_>, start: usize, last: Day, found: &mut [FoundValue]) {
    let joins = cursor.words_before(start, 2);
    let is_range = joins.first().is_some_and(|word| matches!(word.as_str(), "al" | "a" | "y" | "to" | "and"));
    let Some(first) = found.last_mut().filter(|_| is_range && last.day.is_some()) else { return };
    let Value::Number(number) = first.value else { return };
    if joins.get(1).is_some_and(|word| *word == first.written)
        && let Some(day) = day_number(number)
    {
        first.value = Value::Day(Day { day: Some(day), clock: None, instant: None, ..last });
    }
}

fn day_number(number: Decimal) -> Option<u8> {
    let day = u8::try_from(number.digits()).ok().filter(|_| number.scale() == 0)?;
    (1..=31).contains(&day).then_some(day)
}

/// A day that exists in the calendar.
fn valid_day(year: Option<u16>, month: u16, day: u16) -> Option<Day> {
    let (month, day) = (u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    // Without a year, any leap year will do.
    Date::new(year.unwrap_or(2024), month, day).ok()?;
    Some(Day { year, month, day: Some(day), ..Day::default() })
}

/// `2026-10-26`, `2026/10/26`, `2026-10-26T15:30:00-03:00`.
fn iso(cursor: &mut TextCursor<'_>) -> Option<Day> {
    let start = cursor.at();
    let year = cursor.digits(4).filter(|digits| digits.len() == 4)?.parse().ok()?;
    let mark = cursor.take(|c| matches!(c, '-' | '/'))?;
    let month = cursor.number(2)?;
    cursor.accept(mark)?;
    let day = valid_day(Some(year), month, cursor.number(2)?)?;
    if matches!(cursor.peek(), Some('T' | 't')) {
        let clock_at = cursor.at() + 1;
        cursor.move_to(clock_at);
        let time_of_day = time_of_day(cursor)?;
        let zone = zone(cursor);
        let written = cursor.since(start);
        let instant = zone.and_then(|()| Timestamp::read(&written, ZoneMark::Utc).ok());
        return Some(Day { clock: Some(time_of_day), instant, ..day });
    }
    (cursor.is_at_boundary() && !cursor.is_before_more_digits()).then_some(day)
}

/// Reads a fraction of a second and a time zone; `None` without a time zone.
fn zone(cursor: &mut TextCursor<'_>) -> Option<()> {
    if cursor.peek() == Some('.') && cursor.peek_at(1).is_some_and(|c| c.is_ascii_digit()) {
        cursor.skip(1);
        cursor.digits(9)?;
    }
    if cursor.take(|c| matches!(c, 'Z' | 'z')).is_some() {
        return Some(());
    }
    let start = cursor.at();
    let read = cursor.take(|c| matches!(c, '+' | '-')).and_then(|_| {
        cursor.digits(2)?;
        cursor.accept(':')?;
        cursor.digits(2)
    });
    if read.is_none() {
        cursor.move_to(start);
    }
    read.map(drop)
}

/// `26-10-2026`, `26/10/26`, `26.10.2026`; in English also `10/26/2026` if it is unambiguous.
fn numeric(cursor: &mut TextCursor<'_>, language: Language) -> Option<Day> {
    let first = cursor.number(2)?;
    let mark = cursor.take(|c| matches!(c, '-' | '/' | '.'))?;
    let second = cursor.number(2)?;
    cursor.accept(mark)?;
    let digits = cursor.digits(4).filter(|digits| digits.len() == 4 || (digits.len() == 2 && mark != '.'))?;
    let year: u16 = digits.parse().ok()?;
    let year = if digits.len() == 2 { 2000 + year } else { year };
    if !cursor.is_at_boundary() || cursor.is_before_more_digits() {
        return None;
    }
    let day = valid_day(Some(year), second, first);
    match language {
        Language::English => day.or_else(|| valid_day(Some(year), first, second)),
        Language::Spanish => day,
    }
}

fn month(cursor: &mut TextCursor<'_>) -> Option<u16> {
    let word = cursor.word();
    let at = MONTHS.iter().position(|names| names.contains(&word.as_str()))?;
    if word.len() <= 4 && cursor.peek() == Some('.') {
        cursor.skip(1);
    }
    u16::try_from(at + 1).ok().filter(|_| cursor.is_at_boundary())
}

/// The year after a month: `de 2026`, `del 2026`, `, 2026`, `2026`.
fn year(cursor: &mut TextCursor<'_>) -> Option<u16> {
    let start = cursor.at();
    let mut read = || {
        cursor.accept(',');
        cursor.word_of(&["de", "del", "of"]);
        cursor.word_of(&["ano"]);
        cursor.blanks();
        let digits = cursor.digits(4).filter(|digits| digits.len() == 4)?;
        (cursor.is_at_boundary() && !cursor.is_before_more_digits()).then(|| digits.parse().ok())?
    };
    let year = read();
    if year.is_none() {
        cursor.move_to(start);
    }
    year
}

/// `26 de octubre de 2026`, `1º de marzo`, `26th of October, 2026`.
fn day_first(cursor: &mut TextCursor<'_>) -> Option<Day> {
    let day = cursor.number(2)?;
    if cursor.take(|c| matches!(c, 'º' | '°' | 'ª')).is_none() && !cursor.is_at_boundary() {
        let suffix = cursor.word();
        if !matches!(suffix.as_str(), "st" | "nd" | "rd" | "th" | "ero" | "ro") {
            return None;
        }
    }
    cursor.word_of(&["de", "of"]);
    cursor.blanks();
    let month = month(cursor)?;
    valid_day(year(cursor), month, day)
}

/// `October 26, 2026`; also `octubre de 2026`, and a month alone in Spanish.
fn month_first(cursor: &mut TextCursor<'_>) -> Option<Day> {
    let month = month(cursor)?;
    let after_month = cursor.at();
    cursor.blanks();
    if let Some(day) = cursor.number(2) {
        let suffix = cursor.word();
        let is_day = matches!(suffix.as_str(), "" | "st" | "nd" | "rd" | "th") && cursor.is_at_boundary();
        let goes_on = cursor.is_before_more_digits() || matches!(cursor.peek(), Some('%' | ':'));
        if is_day && !goes_on {
            return valid_day(year(cursor), month, day);
        }
    }
    cursor.move_to(after_month);
    let year = year(cursor)?;
    Some(Day { year: Some(year), month: u8::try_from(month).ok()?, ..Day::default() })
}

/// `15:30`, `15:30:00`, `3:30 pm`, `15.30 hrs`, `3 pm`.
fn time_of_day(cursor: &mut TextCursor<'_>) -> Option<(u8, u8)> {
    let hour = cursor.number(2)?;
    let mark = cursor.take(|c| matches!(c, ':' | '.' | 'h'));
    let minute = match mark {
        Some(_) => cursor.digits(2).filter(|digits| digits.len() == 2)?.parse().ok()?,
        None => 0,
    };
    if mark == Some(':') && cursor.peek() == Some(':') {
        cursor.skip(1);
        cursor.digits(2)?;
    }
    let is_boundary = cursor.is_at_boundary() || matches!(cursor.peek(), Some('Z' | 'z'));
    let half = half_of_day(cursor);
    let names_hours = half.is_none() && cursor.word_of(&["hrs", "hr", "horas", "h"]).is_some();
    let is_clock = match mark {
        Some(':' | 'h') => is_boundary || half.is_some(),
        Some(_) => names_hours || half.is_some(),
        None => half.is_some(),
    };
    let hour = match half {
        Some(true) if hour < 12 => hour + 12,
        Some(false) if hour == 12 => 0,
        _ => hour,
    };
    let time_of_day = (u8::try_from(hour).ok()?, minute);
    (is_clock && time_of_day.0 <= 24 && time_of_day.1 < 60).then_some(time_of_day)
}

/// Whether `pm` follows, or `am`.
fn half_of_day(cursor: &mut TextCursor<'_>) -> Option<bool> {
    let start = cursor.at();
    cursor.blanks();
    for (written, afternoon) in
        [("pm", true), ("p.m.", true), ("PM", true), ("am", false), ("a.m.", false), ("AM", false)]
    {
        if cursor.accept_text(written).is_some() && cursor.is_at_boundary() {
            return Some(afternoon);
        }
        cursor.move_to(start);
        cursor.blanks();
    }
    cursor.move_to(start);
    None
}

/// The time that follows a day: `, 15:30`, `a las 15:30 horas`, `at 15:30`, `a las 15 horas`.
fn time_after_day(cursor: &mut TextCursor<'_>) -> Option<(u8, u8)> {
    let start = cursor.at();
    cursor.accept(',');
    let named = cursor.word_of(&["a", "at", "hasta", "until"]).is_some();
    let las = cursor.word_of(&["las", "la"]).is_some();
    cursor.blanks();
    cursor.take(|c| matches!(c, '(' | '-'));
    cursor.blanks();
    let clock_at = cursor.at();
    if let Some(time_of_day) = time_of_day(cursor) {
        return Some(time_of_day);
    }
    cursor.move_to(clock_at);
    let hour = if las { hour_alone(cursor) } else { None };
    if hour.is_none() || !(named || las) {
        cursor.move_to(start);
        return None;
    }
    hour
}

/// `15` in `a las 15 horas`.
pub(super) fn hour_alone(cursor: &mut TextCursor<'_>) -> Option<(u8, u8)> {
    let hour = u8::try_from(cursor.number(2)?).ok().filter(|hour| *hour <= 24)?;
    let ends = cursor.is_at_boundary() && !cursor.is_before_more_digits();
    cursor.word_of(&["hrs", "hr", "horas", "h"]);
    ends.then_some((hour, 0))
}
