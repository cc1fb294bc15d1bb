//! The words of a text as a search compares them: whole, without accents and case, by their Spanish stems.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use std::collections::BTreeSet;
use std::collections::HashSet;

use super::json::Fields;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use super::store::{Form, StoredRecord};
use super::tables::fold_letter;

#[derive(Clone, Debug, Default)]
pub(crate) struct SearchWords(Vec<String>);

impl SearchWords {
    pub(crate) fn new(text: &str) -> Self {
        Self(stems(text).collect())
    }

    /// The stems; none for a text without words.
    pub(crate) fn stems(&self) -> &[String] {
        &self.0
    }

    /// Whether every word is in one of the texts.
    pub(crate) fn are_in(&self, texts: &[&str]) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let own: HashSet<String> = texts.iter().flat_map(|text| stems(text)).collect();
        self.0.iter().all(|word| own.contains(word))
    }
}

/// The stems of the words, which are runs of letters and digits.
fn stems(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| stem(word.chars().flat_map(char::to_lowercase).filter_map(fold_letter).collect()))
}

/// A light stem: without the ending of the plural, and then without the vowel that marks the gender. `luces` is `luz`,
/// `utiles` is `util`, and `mesas` and `mesa` are the same.
fn stem(mut word: String) -> String {
    if let Some(root) = word.strip_suffix("ces").filter(|root| root.len() > 1) {
        return format!("{root}z");
    }
    let consonant = |root: &&str| root.len() > 2 && !root.ends_with(['a', 'e', 'i', 'o', 'u']);
    if let Some(root) = word.strip_suffix("es").filter(consonant) {
        word.truncate(root.len());
    } else if word.len() > 3 && (word.ends_with("as") || word.ends_with("os") || word.ends_with("es")) {
        word.truncate(word.len() - 1);
    }
    if word.len() > 3 && word.ends_with(['a', 'e', 'o']) {
        word.truncate(word.len() - 1);
    }
    word
}

/// The title and description, under any of the names that the sources use.
pub(crate) fn texts(fields: &Fields<'_>) -> (String, String) {
    let first = |names: &[&'static str]| names.iter().find_map(|name| fields.text(name)).unwrap_or_default();
    let own = (first(&["Nombre", "title", "name"]), first(&["Descripcion", "description"]));
    match fields.object("tender").filter(|_| own.0.is_empty()) {
        Some(tender) => texts(&tender),
        None => own,
    }
}

/// The stems of a record's title and description, each once and with blanks between; `None` for a vector.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn of_record(record: &StoredRecord) -> Option<String> {
    (record.form != Form::Vector).then(|| of_body(&record.body))
}

/// Title and description in a body that the source wrote.
pub(crate) fn texts_of(body: &[u8]) -> (String, String) {
    texts(&Fields::read(std::str::from_utf8(body).unwrap_or_default()).unwrap_or_default())
}

/// The stems of such a body.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn of_body(body: &[u8]) -> String {
    let (name, description) = texts_of(body);
    let own: BTreeSet<String> = stems(&name).chain(stems(&description)).collect();
    own.into_iter().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_are_found_whatever_their_accents_case_and_number() {
        let name = "Adquisición de AMBULANCIAS 4x4, luces y útiles de alimentación (100%)";
        for text in
            ["ambulancia", "Ambulancias", "ADQUISICION", "luz", "util", "alimentacion 4X4", "100%", ""]
        {
            assert!(SearchWords::new(text).are_in(&[name]), "{text}");
        }
        for text in ["TI", "aliment", "ambulancia naval", "4", "%%x"] {
            assert!(!SearchWords::new(text).are_in(&[name]), "{text}");
        }
        assert!(SearchWords::new("sillas mesas").are_in(&["Silla", "Mesa de centro"]));
    }
}
