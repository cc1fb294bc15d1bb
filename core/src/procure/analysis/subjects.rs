//! Facts in plain words: who won, which region, which day of the week, which kind of tender. A sentence may say them only
//! if a cited field does.

use super::values::{Day, Value};
use super::view::Field;
use crate::procure::Date;
use crate::procure::tables::fold_letter;

/// The days of the week, from Monday.
const WEEKDAYS: [[&str; 2]; 7] = [
    ["lunes", "monday"],
    ["martes", "tuesday"],
    ["miercoles", "wednesday"],
    ["jueves", "thursday"],
    ["viernes", "friday"],
    ["sabado", "saturday"],
    ["domingo", "sunday"],
];

/// How words begin that name a winner, a region or a kind of tender.
const BEGINNINGS: [&str; 26] = [
    "adjudicatari",
    "ganador",
    "winner",
    "winning",
    "privad",
    "private",
    "tarapaca",
    "antofagasta",
    "atacama",
    "coquimbo",
    "valparaiso",
    "ohiggins",
    "higgins",
    "maule",
    "biobio",
    "araucania",
    "aysen",
    "aisen",
    "magallanes",
    "metropolitan",
    "santiago",
    "arica",
    "parinacota",
    "nuble",
    "losrios",
    "loslagos",
];

/// A word of a sentence that a cited field has to say too.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) written: String,
    beginning: &'static str,
    weekday: Option<usize>,
}

/// The subjects of a sentence, in order.
pub(super) fn subjects(text: &str) -> Vec<Subject> {
    words(text).filter_map(|(written, word)| subject(written, &word)).collect()
}

fn subject(written: &str, word: &str) -> Option<Subject> {
    let weekday = WEEKDAYS.iter().position(|names| names.contains(&word));
    let beginning = match weekday.and_then(|day| WEEKDAYS.get(day)) {
        Some([spanish, _]) => spanish,
        None => BEGINNINGS.into_iter().find(|beginning| word.starts_with(beginning))?,
    };
    Some(Subject { written: written.to_owned(), beginning, weekday })
}

impl Subject {
    /// Whether a field says it: by the same word, or by a date on that day of the week.
    pub(super) fn is_said_by(&self, field: &Field) -> bool {
        let of_date = |value: &Value| match value {
            Value::Day(day) => self.weekday.is_some() && weekday(day) == self.weekday,
            _ => false,
        };
        let same = |(_, word): (&str, String)| match self.weekday.and_then(|day| WEEKDAYS.get(day)) {
            Some(names) => names.contains(&word.as_str()),
            None => word.starts_with(self.beginning),
        };
        words(&field.shown).any(same) || field.values.iter().any(|found| of_date(&found.value))
    }
}

/// The words of a text, as written, and in lower case without accents.
fn words(text: &str) -> impl Iterator<Item = (&str, String)> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| (word, word.chars().flat_map(char::to_lowercase).filter_map(fold_letter).collect()))
}

/// The day of the week, from Monday.
fn weekday(day: &Day) -> Option<usize> {
    let date = Date::new(day.year?, day.month, day.day?).ok()?;
    // The first of January of the year 1 was a Monday.
    usize::try_from(Date::new(1, 1, 1).ok()?.days_until(date).rem_euclid(7)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procure::analysis::question::Language;
    use crate::procure::analysis::values::scan;

    fn field(shown: &str) -> Field {
        Field {
            number: 1,
            path: "/x".to_owned(),
            shown: shown.to_owned(),
            values: scan(shown, Language::Spanish),
            folded: String::new(),
        }
    }

    #[test]
    fn plain_words_need_a_field_that_says_them() {
        for (text, shown, is_said) in [
            ("La Región del Biobío compra.", "Región del Maule", false),
            ("La Región del Maule compra.", "Región del Maule ", true),
            ("Ganó el adjudicatario de siempre.", "SERVICIO DE SALUD", false),
            ("El adjudicatario paga multas.", "Multas para el adjudicatario", true),
            ("Es una licitación privada.", "LE", false),
            ("Cierra un lunes.", "2026-10-26", true),
            ("Cierra un martes.", "2026-10-26", false),
            ("It closes on a Monday.", "cierre los lunes", true),
        ] {
            let found = subjects(text);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].is_said_by(&field(shown)), is_said, "{text}");
        }
        assert!(subjects("Compra de reactivos de laboratorio por doce meses.").is_empty());
    }
}
