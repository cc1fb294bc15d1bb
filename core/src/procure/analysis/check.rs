//! Checking claims against the fields that they cite.

use super::outcome::{CheckKind, Checked, Citation, Claim, RejectedClaim, Rejection};
use super::question::Language;
use super::subjects::subjects;
use super::values::{Day, FoundValue, Value, scan};
use super::view::{Field, View};
use crate::procure::tables::folded;
use crate::procure::{Decimal, TenderState};

/// The longest claim, in characters.
const MAX_CLAIM_CHARS: usize = 800;
/// The most fields that a claim may cite.
const MAX_CITATIONS: usize = 24;

/// A claim as the model made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawClaim {
    /// The sentence, cleaned.
    pub(super) text: String,
    /// The numbers of the cited fields, or a text that is not a field.
    pub(super) cites: Vec<Result<usize, String>>,
}

/// Checks a claim.
pub(super) fn claim(view: &View, made: RawClaim, language: Language) -> Result<Claim, RejectedClaim> {
    let mut fields: Vec<&Field> = Vec::new();
    let mut unknown = None;
    for cited in made.cites.iter().take(MAX_CITATIONS) {
        match cited.as_ref().map(|number| (number, view.field(*number))) {
            Ok((_, Some(field))) if fields.iter().any(|known| known.number == field.number) => {}
            Ok((_, Some(field))) => fields.push(field),
            Ok((number, None)) => unknown = Some(number.to_string()),
            Err(written) => unknown = Some(written.clone()),
        }
    }
    let citations: Vec<Citation> = fields.iter().map(|field| citation(field)).collect();
    let outcome = match unknown {
        _ if made.text.is_empty() || made.text.chars().count() > MAX_CLAIM_CHARS => Err(Rejection::Length),
        Some(field) => Err(Rejection::UnknownField { field }),
        None if fields.is_empty() => Err(Rejection::NoCitation),
        None => check_values(&made.text, &fields, language),
    };
    let text: String = made.text.chars().take(MAX_CLAIM_CHARS).collect();
    match outcome {
        Ok(checked) => Ok(Claim { text, citations, opinion: checked.is_empty(), checked }),
        Err(reason) => Err(RejectedClaim { text, citations, reason }),
    }
}

fn citation(field: &Field) -> Citation {
    Citation { path: field.path.clone(), value: field.shown.clone() }
}

/// Checks all values in a text, each against the fields.
fn check_values(text: &str, fields: &[&Field], language: Language) -> Result<Vec<Checked>, Rejection> {
    let mut check_values = Vec::new();
    for found in scan(text, language) {
        let Some(what) = kind(&found.value) else {
            return Err(Rejection::Unclear { written: found.written });
        };
        match fields.iter().find(|field| confirms(field, &found)) {
            Some(field) => {
                check_values.push(Checked { kind: what, written: found.written, path: field.path.clone() });
            }
            None => return Err(Rejection::NotInFields { what, written: found.written }),
        }
    }
    for subject in subjects(text) {
        let what = CheckKind::Name;
        match fields.iter().find(|field| subject.is_said_by(field)) {
            Some(field) => {
                check_values.push(Checked { kind: what, written: subject.written, path: field.path.clone() });
            }
            None => return Err(Rejection::NotInFields { what, written: subject.written }),
        }
    }
    Ok(check_values)
}

/// The kind of a value; `None` if it cannot be checked.
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

/// Whether a field confirms a value of a claim.
fn confirms(field: &Field, found: &FoundValue) -> bool {
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
            is_line_number(&field.path, *number) || own().any(|own| is_number(own, *number, &found.written))
        }
        Value::State(state, holds) => says_state(field, state, *holds),
        Value::Unclear(_) => false,
    }
}

/// Whether a text contains a word.
fn has_word(text: &str, folded_word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|word| folded(word) == folded_word)
}

/// Whether the day in a claim, as far as it is given, is that of a field.
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
        // A year, or a tax number without its separators.
        Value::Day(own) => {
            written.len() == 4 && own.year.is_some_and(|year| number == Decimal::new(i128::from(year), 0))
        }
        Value::Rut(own) => own == written,
        _ => false,
    }
}

/// Whether a path is that of the line with this number, counted from 1.
fn is_line_number(path: &str, number: Decimal) -> bool {
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
