//! A tender as it is in the prompt: numbered fields, each with its path in the record and the values to check.

use super::clean::{cut, visible, without_persons};
use super::question::{Language, Question};
use super::values::{Day, FoundValue, Value, compact_rut, scan};
use crate::procure::tables::folded;
use crate::procure::{Buyer, Contact, Decimal, LineItem, Money, Supplier, Tender, TenderState, Timestamp};

pub(in crate::procure) mod labels;
mod sections;

/// The most characters of a text.
const MAX_TEXT_CHARS: usize = 6_000;
/// The most characters of a text in a line.
const MAX_LINE_TEXT_CHARS: usize = 600;

/// A field.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// The number in the view, from 1.
    pub(super) number: usize,
    /// The path: a JSON pointer into the record's JSON form, or below `/derived`.
    pub(super) path: String,
    /// The value as it is shown.
    pub(super) shown: String,
    /// The values that can be checked.
    pub(super) values: Vec<FoundValue>,
    /// The letters and digits of the value, for checks of texts.
    pub(super) folded: String,
}

/// The fields of a record that are shown.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The fields, the most important first.
    pub(super) fields: Vec<Field>,
    /// The parts that are left out because they are too long.
    pub(super) left_out: Vec<String>,
}

impl View {
    /// The view of a tender for a question.
    pub(super) fn of(tender: &Tender, question: &Question, now: Timestamp) -> Self {
        let mut builder = ViewBuilder::new(tender, question);
        sections::head(&mut builder, tender, now);
        sections::texts(&mut builder, tender);
        sections::buyer(&mut builder, tender);
        sections::award(&mut builder, tender);
        sections::lists(&mut builder, tender);
        builder.view
    }

    /// The field with this number.
    pub(super) fn field(&self, number: usize) -> Option<&Field> {
        self.fields.get(number.checked_sub(1)?)
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

/// Builds a view within a limit of characters.
struct ViewBuilder {
    view: View,
    room: usize,
    person_names: Option<Vec<String>>,
}

impl ViewBuilder {
    fn new(tender: &Tender, question: &Question) -> Self {
        let person_names = (!question.personal_data).then(|| person_names(tender));
        Self { view: View::default(), room: question.most_characters, person_names }
    }

    /// Whether the limit is reached.
    fn is_full(&self) -> bool {
        self.room == 0
    }

    fn add(&mut self, path: impl Into<String>, shown: String, values: Vec<Value>) {
        let values = values.into_iter().map(|value| FoundValue { value, written: shown.clone() }).collect();
        self.add_found(path.into(), shown, values);
    }

    fn add_found(&mut self, path: String, shown: String, values: Vec<FoundValue>) {
        // Every value also has a number, path, quotation marks and line end.
        let size = shown.chars().count() + path.len() + 12;
        if size > self.room {
            self.room = 0;
            self.view.left_out.push(format!("{path}: left out"));
            return;
        }
        self.room -= size;
        let folded = folded(&shown);
        let number = self.view.fields.len() + 1;
        self.view.fields.push(Field { number, path, shown, values, folded });
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
        let found = scan(&shown, Language::Spanish);
        self.add_found(path, shown, found);
    }

    fn short(&mut self, path: impl Into<String>, text: Option<&str>) {
        if let Some(text) = text {
            self.text(path, text, MAX_LINE_TEXT_CHARS);
        }
    }

    fn moment(&mut self, path: impl Into<String>, moment: Option<Timestamp>) {
        let Some(moment) = moment else { return };
        let (hour, minute, _) = moment.clock();
        let day = Day { clock: Some((hour, minute)), instant: Some(moment), ..day_of(moment) };
        self.add(path, format!("{} {hour:02}:{minute:02}", moment.date()), vec![Value::Day(day)]);
    }

    fn money(&mut self, path: impl Into<String>, money: Option<&Money>) {
        if let Some(money) = money {
            self.add(path, money.to_string(), vec![Value::Money(money.amount, money.currency.clone())]);
        }
    }

    fn number(&mut self, path: impl Into<String>, number: Option<Decimal>) {
        if let Some(number) = number {
            self.add(path, plain_number(number), vec![Value::Number(number)]);
        }
    }

    fn count(&mut self, path: impl Into<String>, count: i64) {
        self.number(path, Some(Decimal::new(i128::from(count), 0)));
    }

    /// Adds a quantity, which may be a duration.
    fn quantity(&mut self, path: impl Into<String>, quantity: Option<Decimal>, unit: Option<&str>) {
        let Some(quantity) = quantity else { return };
        let shown = plain_number(quantity);
        let mut values = vec![Value::Number(quantity)];
        if let Some(unit) = unit {
            let said = scan(&format!("{shown} {unit}"), Language::English);
            values.extend(
                said.into_iter().map(|found| found.value).filter(|value| matches!(value, Value::Span(..))),
            );
        }
        self.add(path, shown, values);
    }

    fn state(&mut self, path: impl Into<String>, state: &TenderState, language: Language) {
        self.add(path, labels::state(state, language), vec![Value::State(state.clone(), true)]);
    }

    fn rut(&mut self, path: impl Into<String>, rut: Option<&str>) {
        let Some(rut) = rut else { return };
        let rut = visible(rut, false);
        match compact_rut(&rut) {
            Some(compact) => self.add(path, rut, vec![Value::Rut(compact)]),
            None => self.text(path, &rut, MAX_LINE_TEXT_CHARS),
        }
    }
}

/// The day of a time.
fn day_of(moment: Timestamp) -> Day {
    let date = moment.date();
    Day { year: Some(date.year()), month: date.month(), day: Some(date.day()), ..Day::default() }
}

/// `240` for `240.0`.
fn plain_number(number: Decimal) -> String {
    let written = number.to_string();
    match written.contains('.') {
        true => written.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => written,
    }
}

/// The names of contact persons in the record.
fn person_names(tender: &Tender) -> Vec<String> {
    let suppliers = tender.bidders.iter().chain(tender.award.iter().flat_map(|award| &award.suppliers));
    let contacts = suppliers
        .filter_map(|supplier: &Supplier| supplier.contact.as_ref())
        .chain(tender.buyer.iter().filter_map(|buyer: &Buyer| buyer.contact.as_ref()));
    contacts.filter_map(|contact: &Contact| contact.name.clone()).collect()
}

/// Whether a line is empty.
fn is_blank(item: &LineItem) -> bool {
    *item == LineItem::default()
}
