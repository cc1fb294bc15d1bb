//! What a text says that the state of the tender is.

use super::{Found, Value};
use crate::procure::TenderState;
use crate::procure::tables::folded;

/// What the state of a tender is called; without the endings of gender and number.
const NAMES: [(&str, TenderState); 19] = [
    ("publicad", TenderState::Published),
    ("abiert", TenderState::Published),
    ("vigente", TenderState::Published),
    ("cancelad", TenderState::Revoked),
    ("anulad", TenderState::Revoked),
    ("cancelled", TenderState::Revoked),
    ("canceled", TenderState::Revoked),
    ("cerrad", TenderState::Closed),
    ("desiert", TenderState::Deserted),
    ("adjudicad", TenderState::Awarded),
    ("revocad", TenderState::Revoked),
    ("suspendid", TenderState::Suspended),
    ("published", TenderState::Published),
    ("open", TenderState::Published),
    ("closed", TenderState::Closed),
    ("deserted", TenderState::Deserted),
    ("awarded", TenderState::Awarded),
    ("revoked", TenderState::Revoked),
    ("suspended", TenderState::Suspended),
];

/// What can only be said of a tender that is not published any more.
const OVER: [&str; 5] = ["finalizad", "terminad", "concluid", "finished", "ended"];

/// Whose state it is, if one of these stands near before it.
const SUBJECTS: [&str; 16] = [
    "licitacion",
    "proceso",
    "estado",
    "llamado",
    "concurso",
    "tender",
    "status",
    "state",
    "process",
    "bidding",
    "esta",
    "encuentra",
    "fue",
    "is",
    "was",
    "figura",
];

/// What turns a state into its contrary.
const NOT: [&str; 7] = ["no", "not", "sin", "aun", "todavia", "yet", "never"];

/// What makes of a state something to come, or that may be.
const TO_COME: [&str; 12] =
    ["sera", "sea", "ser", "seria", "seran", "be", "will", "podria", "podra", "puede", "would", "may"];

/// What makes of a state the name of an event, whose day is checked instead.
const EVENTS: [&str; 5] = ["el", "on", "con", "desde", "since"];

/// What makes of `publicada` who did it, or where.
const PUBLISHERS: [&str; 4] = ["por", "by", "en", "in"];

/// How many words before a state may say whose it is.
const NEAR: usize = 6;

/// The states that a text says the tender has or has not.
pub(super) fn scan(text: &str) -> Vec<Found> {
    let words: Vec<(&str, String)> = text.split_whitespace().map(|word| (word, folded(word))).collect();
    let mut found = Vec::new();
    for (at, (written, word)) in words.iter().enumerate() {
        let Some((state, says)) = state(word) else { continue };
        let before: Vec<&str> =
            words.iter().take(at).rev().take(NEAR).map(|(_, word)| word.as_str()).collect();
        let next = words.get(at + 1).map(|(_, word)| word.as_str()).unwrap_or_default();
        let near = |names: &[&str], most: usize| before.iter().take(most).any(|word| names.contains(word));
        let ends = written.ends_with(['.', ',', ';', ':', ')']);
        let by = state == TenderState::Published && PUBLISHERS.contains(&next);
        let is_event = !ends && (by || EVENTS.contains(&next));
        if !near(&SUBJECTS, NEAR) || near(&TO_COME, 3) || is_event {
            continue;
        }
        let holds = near(&NOT, 4) != says;
        found.push(Found { value: Value::State(state, holds), written: trimmed(written).to_owned() });
    }
    found
}

/// A word without the marks around it.
fn trimmed(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// The state that a word names, and whether it says that the tender has it or that it has it no more.
fn state(word: &str) -> Option<(TenderState, bool)> {
    let stem = ["as", "os", "a", "o"].iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word);
    if OVER.contains(&stem) || OVER.contains(&word) {
        return Some((TenderState::Published, false));
    }
    let found = NAMES.iter().find(|(name, _)| *name == stem || *name == word);
    found.map(|(_, state)| (state.clone(), true))
}
