//! A tender as it is in the prompt: numbered fields, each with its path in the record and how a claim writes it.

use super::clean::{cut, visible, without_persons};
use super::question::{Language, Question};
use crate::procure::{Decimal, LineItem, Money, Tender, Timestamp};

pub(in crate::procure) mod labels;
mod sections;

/// The most characters of a text.
const MAX_TEXT_CHARS: usize = 6_000;
/// The most characters of a text in a line.
const MAX_LINE_TEXT_CHARS: usize = 600;

#[derive(Clone, Debug)]
pub(super) struct Field {
    /// The number in the view, from 1.
    pub(super) number: usize,
    /// The path: a JSON pointer into the record's JSON form, or below `/derived`.
    pub(super) path: String,
    pub(super) shown: String,
    pub(super) written: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The fields, the most important first.
    pub(super) fields: Vec<Field>,
    /// The parts that are left out because they are too long.
    pub(super) left_out: Vec<String>,
}

impl View {
    pub(super) fn of(tender: &Tender, question: &Question, now: Timestamp) -> Self {
        let mut builder = ViewBuilder::new(tender, question);
        sections::head(&mut builder, tender, now);
        sections::texts(&mut builder, tender);
        sections::buyer(&mut builder, tender);
        sections::contacts(&mut builder, tender);
        sections::award(&mut builder, tender);
        sections::lists(&mut builder, tender);
        builder.view
    }

    /// The fields as lines, with their values as JSON strings.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::new();
        for field in &self.fields {
            let value = serde_json::Value::from(field.shown.as_str());
            lines.push_str(&format!("[{}] {}: {value}\n", field.number, field.path));
        }
        for note in &self.left_out {
            lines.push_str(&format!("({note})\n"));
        }
        lines
    }
}

struct ViewBuilder {
    view: View,
    room: usize,
    language: Language,
    person_names: Option<Vec<String>>,
}

impl ViewBuilder {
    fn new(tender: &Tender, question: &Question) -> Self {
        let names = || tender.contacts().filter_map(|contact| contact.name.clone()).collect();
        let person_names = (!question.personal_data).then(names);
        Self {
            view: View::default(),
            room: question.most_characters,
            language: question.language,
            person_names,
        }
    }

    fn is_full(&self) -> bool {
        self.room == 0
    }

    fn add(&mut self, path: impl Into<String>, shown: String, written: Option<String>) {
        let path = path.into();
        // Every value also has a number, path, quotation marks and line end.
        let size = shown.chars().count() + path.len() + 12;
        if size > self.room {
            self.room = 0;
            self.view.left_out.push(format!("{path}: left out"));
            return;
        }
        self.room -= size;
        let number = self.view.fields.len() + 1;
        let written = written.unwrap_or_else(|| shown.clone());
        self.view.fields.push(Field { number, path, shown, written });
    }

    /// Adds a text: cleaned, without personal data, cut to `most` characters and to what is left of the limit.
    fn text(&mut self, path: impl Into<String>, text: &str, most: usize) {
        let path = path.into();
        // At most twice what can be shown is cleaned, however long the text is.
        let (text, beyond) = cut(text.trim(), most.saturating_mul(2));
        let clean = visible(&text, true);
        let clean = match &self.person_names {
            Some(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                without_persons(&clean, &names)
            }
            None => clean,
        };
        if clean.is_empty() {
            return;
        }
        let room = self.room.saturating_sub(path.len() + 60);
        if room == 0 {
            self.room = 0;
            self.view.left_out.push(format!("{path}: left out"));
            return;
        }
        let (mut shown, missing) = cut(&clean, most.min(room));
        let missing = missing + beyond;
        if missing > 0 {
            shown.push_str(" […]");
            self.view.left_out.push(format!("{path}: the last {missing} characters left out"));
        }
        self.add(path, shown, None);
    }

    fn short(&mut self, path: impl Into<String>, text: Option<&str>) {
        if let Some(text) = text {
            self.text(path, text, MAX_LINE_TEXT_CHARS);
        }
    }

    fn moment(&mut self, path: impl Into<String>, moment: Option<Timestamp>) {
        let Some(moment) = moment else { return };
        let (hour, minute, _) = moment.clock();
        let shown = format!("{} {hour:02}:{minute:02}", moment.date());
        let chilean = (self.language == Language::Spanish).then(|| moment.chilean());
        self.add(path, shown, chilean);
    }

    fn money(&mut self, path: impl Into<String>, money: Option<&Money>) {
        let Some(money) = money else { return };
        let written = match self.language {
            Language::Spanish => money.chilean(),
            Language::English => {
                let amount = money.amount.without_trailing_zeros();
                format!("{} {}", money.currency.as_str(), written_number(amount, self.language))
            }
        };
        self.add(path, money.to_string(), Some(written));
    }

    /// Adds a number, with its unit if there is one.
    fn number(&mut self, path: impl Into<String>, number: Option<Decimal>, unit: &str) {
        let Some(number) = number.map(Decimal::without_trailing_zeros) else { return };
        let written = written_number(number, self.language);
        let [shown, written] =
            [number.to_string(), written].map(|number| format!("{number} {unit}").trim().to_owned());
        self.add(path, shown, Some(written));
    }

    fn count(&mut self, path: impl Into<String>, count: i64) {
        self.number(path, Some(Decimal::new(i128::from(count), 0)), "");
    }
}

/// `1.250,5`, in English `1,250.5`.
fn written_number(number: Decimal, language: Language) -> String {
    let chilean = number.chilean();
    let swapped = |c: char| match c {
        '.' => ',',
        ',' => '.',
        other => other,
    };
    if language == Language::Spanish { chilean } else { chilean.chars().map(swapped).collect() }
}

fn is_blank(item: &LineItem) -> bool {
    *item == LineItem::default()
}
