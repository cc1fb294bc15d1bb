//! Holding claims against the fields that they name.

use super::outcome::{CheckKind, Checked, Citation, Claim, RejectedClaim, Rejection};
use super::question::Language;
use super::values::{Day, Found, Value, scan};
use super::view::{Field, View};
use crate::procure::tables::folded;
use crate::procure::{Decimal, TenderState};

/// The longest claim.
const LONGEST_CLAIM: usize = 800;
/// The most fields that a claim names.
const MOST_CITATIONS: usize = 24;

/// A claim as a model makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// The sentence, cleaned.
    pub(super) text: String,
    /// The fields that it names: their numbers, or something that is none.
    pub(super) cites: Vec<Result<usize, String>>,
}

/// The claim with what was checked of it, or why it does not hold.
pub(super) fn claim(view: &View, made: Made, language: Language) -> Result<Claim, RejectedClaim> {
    let mut fields: Vec<&Field> = Vec::new();
    let mut unknown = None;
    for cited in made.cites.iter().take(MOST_CITATIONS) {
        match cited.as_ref().map(|number| (number, view.field(*number))) {
            Ok((_, Some(field))) if fields.iter().any(|known| known.number == field.number) => {}
            Ok((_, Some(field))) => fields.push(field),
            Ok((number, None)) => unknown = Some(number.to_string()),
            Err(written) => unknown = Some(written.clone()),
        }
    }
    let citations: Vec<Citation> = fields.iter().map(|field| citation(field)).collect();
    let outcome = match unknown {
        _ if made.text.is_empty() || made.text.chars().count() > LONGEST_CLAIM => Err(Rejection::Length),
        Some(field) => Err(Rejection::UnknownField { field }),
        None if fields.is_empty() => Err(Rejection::NoCitation),
        None => checked(&made.text, &fields, language),
    };
    let text: String = made.text.chars().take(LONGEST_CLAIM).collect();
    match outcome {
        Ok(checked) => Ok(Claim { text, citations, checked }),
        Err(reason) => Err(RejectedClaim { text, citations, reason }),
    }
}

fn citation(field: &Field) -> Citation {
    Citation { path: field.path.clone(), value: field.shown.clone() }
}

/// Everything that can be checked in a text, each with the field that says so.
fn checked(text: &str, fields: &[&Field], language: Language) -> Result<Vec<Checked>, Rejection> {
    let mut checked = Vec::new();
    for found in scan(text, language) {
        let Some(what) = kind(&found.value) else {
            return Err(Rejection::Unclear { written: found.written });
        };
        match fields.iter().find(|field| says(field, &found)) {
            Some(field) => {
                checked.push(Checked { kind: what, written: found.written, path: field.path.clone() });
            }
            None => return Err(Rejection::NotInFields { what, written: found.written }),
        }
    }
    Ok(checked)
}

/// What kind of thing a value is; `None` for what cannot be checked.
fn kind(value: &Value) -> Option<CheckKind> {
    Some(match value {
        Value::Link(_) => CheckKind::Link,
        Value::Code(_) | Value::Label(_) => CheckKind::Code,
        Value::Rut(_) => CheckKind::Rut,
        Value::Day(_) | Value::Clock(..) => CheckKind::Date,
        Value::Money(..) => CheckKind::Amount,
        Value::Percent(_) => CheckKind::Percentage,
        Value::Number(_) | Value::Span(..) | Value::Ordinal(_) => CheckKind::Number,
        Value::Quotation(_) => CheckKind::Quotation,
        Value::State(..) => CheckKind::State,
        Value::Unclear(_) => return None,
    })
}

/// Whether a field says what was found in a claim.
fn says(field: &Field, found: &Found) -> bool {
    let own = || field.values.iter().map(|own| &own.value);
    match &found.value {
        Value::Link(link) => field.shown.to_lowercase().contains(link.as_str()),
        Value::Label(label) => has_word(&field.shown, label),
        Value::Quotation(quotation) => field.folded.contains(quotation.as_str()),
        Value::Code(_) | Value::Rut(_) | Value::Percent(_) | Value::Money(..) | Value::Span(..) => {
            own().any(|own| *own == found.value)
        }
        Value::Day(day) => own().any(|own| matches!(own, Value::Day(own) if same_day(own, day))),
        Value::Clock(hour, minute) => own().any(|own| match own {
            Value::Day(own) => own.clock == Some((*hour, *minute)),
            own => *own == found.value,
        }),
        Value::Number(number) => own().any(|own| is_number(own, *number, &found.written)),
        Value::Ordinal(number) => {
            is_place(&field.path, *number) || own().any(|own| is_number(own, *number, &found.written))
        }
        Value::State(state, holds) => says_state(field, state, *holds),
        Value::Unclear(_) => false,
    }
}

/// Whether a text has a word, letter for letter.
fn has_word(text: &str, folded_word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|word| folded(word) == folded_word)
}

/// Whether a day that a claim names is that of a field, as far as the claim names it.
fn same_day(own: &Day, named: &Day) -> bool {
    if let (Some(own), Some(named)) = (own.instant, named.instant) {
        return own.unix_millis() / 60_000 == named.unix_millis() / 60_000;
    }
    own.month == named.month
        && named.year.is_none_or(|year| own.year == Some(year))
        && named.day.is_none_or(|day| own.day == Some(day))
        && named.clock.is_none_or(|clock| own.clock == Some(clock))
}

fn is_number(own: &Value, number: Decimal, written: &str) -> bool {
    match own {
        Value::Number(own) | Value::Ordinal(own) => *own == number,
        Value::Money(own, _) | Value::Span(own, _) => *own == number,
        // A year; a tax number without its marks.
        Value::Day(own) => {
            written.len() == 4 && own.year.is_some_and(|year| number == Decimal::new(i128::from(year), 0))
        }
        Value::Rut(own) => own == written,
        _ => false,
    }
}

/// Whether the line at a place is the one that people count with this number.
fn is_place(path: &str, number: Decimal) -> bool {
    let mut parts = path.trim_start_matches('/').split('/');
    let place = parts.next().filter(|list| *list == "items").and_then(|_| parts.next()?.parse::<i128>().ok());
    place.is_some_and(|place| number == Decimal::new(place + 1, 0))
}

fn says_state(field: &Field, state: &TenderState, holds: bool) -> bool {
    // What was won is awarded, whatever else is said.
    if holds
        && *state == TenderState::Awarded
        && (field.path.starts_with("/award") || field.path.contains("/award/"))
    {
        return true;
    }
    field.values.iter().any(|own| match &own.value {
        Value::State(own, true) => (own == state) == holds,
        Value::State(own, false) => own == state && !holds,
        _ => false,
    })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
