//! States of the tender in a text.

use super::{FoundValue, Value};
use crate::procure::TenderState;
use crate::procure::tables::folded;

/// The names of the states, without the endings of gender and number.
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

/// Words that can only describe a tender that is no longer published.
const ENDED_WORDS: [&str; 5] = ["finalizad", "terminad", "concluid", "finished", "ended"];

/// Words for the tender. A state counts if one of these comes shortly before it.
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

/// Words that negate a state.
const NEGATIONS: [&str; 7] = ["no", "not", "sin", "aun", "todavia", "yet", "never"];

/// Words that make a state a future or possible one.
const FUTURE_WORDS: [&str; 12] =
    ["sera", "sea", "ser", "seria", "seran", "be", "will", "podria", "podra", "puede", "would", "may"];

/// Words that make a state an event, whose day is checked instead.
const EVENT_WORDS: [&str; 5] = ["el", "on", "con", "desde", "since"];

/// Words after `publicada` that say who published it, or where.
const PUBLISHER_WORDS: [&str; 4] = ["por", "by", "en", "in"];

/// How many words before a state are searched for the tender.
const MAX_DISTANCE: usize = 6;

/// Finds the states that a text says the tender has or does not have.
pub(super) fn scan(text: &str) -> Vec<FoundValue> {
    let words: Vec<(&str, String)> = text.split_whitespace().map(|word| (word, folded(word))).collect();
    let mut found = Vec::new();
    for (at, (written, word)) in words.iter().enumerate() {
        let Some((state, says)) = state(word) else { continue };
        let before: Vec<&str> =
            words.iter().take(at).rev().take(MAX_DISTANCE).map(|(_, word)| word.as_str()).collect();
        let next = words.get(at + 1).map(|(_, word)| word.as_str()).unwrap_or_default();
        let near = |names: &[&str], most: usize| before.iter().take(most).any(|word| names.contains(word));
        let ends = written.ends_with(['.', ',', ';', ':', ')']);
        let by = state == TenderState::Published && PUBLISHER_WORDS.contains(&next);
        let is_event = !ends && (by || EVENT_WORDS.contains(&next));
        if !near(&SUBJECTS, MAX_DISTANCE) || near(&FUTURE_WORDS, 3) || is_event {
            continue;
        }
        let holds = near(&NEGATIONS, 4) != says;
        found.push(FoundValue { value: Value::State(state, holds), written: trimmed(written).to_owned() });
    }
    found
}

/// A word without punctuation.
fn trimmed(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// The state that a word names, and whether the word means having it or no longer having it.
fn state(word: &str) -> Option<(TenderState, bool)> {
    let stem = ["as", "os", "a", "o"].iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word);
    if ENDED_WORDS.contains(&stem) || ENDED_WORDS.contains(&word) {
        return Some((TenderState::Published, false));
    }
    let found = NAMES.iter().find(|(name, _)| *name == stem || *name == word);
    found.map(|(_, state)| (state.clone(), true))
}
