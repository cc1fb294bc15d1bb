//! A tender as the model is shown it: numbered fields, each with its place in the record and what can be checked in it.

use super::clean::{cut, visible, without_persons};
use super::question::{Language, Question};
use super::values::{Day, Found, Value, compact_rut, scan};
use crate::procure::tables::folded;
use crate::procure::{Buyer, Contact, Decimal, LineItem, Money, Supplier, Tender, TenderState, Timestamp};

pub(in crate::procure) mod labels;
mod sections;

/// The most characters of one text of a record.
const LONGEST_TEXT: usize = 6_000;
/// The most characters of a text of a line.
const LONGEST_LINE_TEXT: usize = 600;

/// A field of the record.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Its number in the view, from 1.
    pub(super) number: usize,
    /// Its place: a JSON pointer into the record's own JSON form, or below `/derived`.
    pub(super) path: String,
    /// Its value as it is shown.
    pub(super) shown: String,
    /// What can be checked in it.
    pub(super) values: Vec<Found>,
    /// The value's letters and digits, for what is checked letter by letter.
    pub(super) folded: String,
}

/// What is shown of a record.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The fields, the most important first.
    pub(super) fields: Vec<Field>,
    /// What is not shown, because it is too long.
    pub(super) left_out: Vec<String>,
}

impl View {
    /// The view of a tender that a question allows.
    pub(super) fn of(tender: &Tender, question: &Question, now: Timestamp) -> Self {
        let mut builder = Builder::new(tender, question);
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

    /// The fields as lines, each value a JSON text.
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

/// Makes a view, as long as there is room in it.
struct Builder {
    view: View,
    room: usize,
    persons: Option<Vec<String>>,
}

impl Builder {
    fn new(tender: &Tender, question: &Question) -> Self {
        let persons = (!question.personal_data).then(|| persons(tender));
        Self { view: View::default(), room: question.most_characters, persons }
    }

    /// Whether there is no room for more.
    fn is_full(&self) -> bool {
        self.room == 0
    }

    fn add(&mut self, path: impl Into<String>, shown: String, values: Vec<Value>) {
        let values = values.into_iter().map(|value| Found { value, written: shown.clone() }).collect();
        self.add_found(path.into(), shown, values);
    }

    fn add_found(&mut self, path: String, shown: String, values: Vec<Found>) {
        // Number, path, quotation marks and line end come with every value.
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

    /// A text of the record: cleaned, without persons, cut to `most` characters and to the room that there is.
    fn text(&mut self, path: impl Into<String>, text: &str, most: usize) {
        let path = path.into();
        // Twice as much is cleaned as can be shown, whatever a text weighs.
        let (text, beyond) = cut(text.trim(), most.saturating_mul(2));
        let clean = visible(&text, true);
        let clean = match &self.persons {
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
            self.text(path, text, LONGEST_LINE_TEXT);
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
            self.add(path, plain(number), vec![Value::Number(number)]);
        }
    }

    fn count(&mut self, path: impl Into<String>, count: i64) {
        self.number(path, Some(Decimal::new(i128::from(count), 0)));
    }

    /// A number of something, which may be a length of time.
    fn quantity(&mut self, path: impl Into<String>, quantity: Option<Decimal>, unit: Option<&str>) {
        let Some(quantity) = quantity else { return };
        let shown = plain(quantity);
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
            None => self.text(path, &rut, LONGEST_LINE_TEXT),
        }
    }
}

/// The day of a moment.
fn day_of(moment: Timestamp) -> Day {
    let date = moment.date();
    Day { year: Some(date.year()), month: date.month(), day: Some(date.day()), ..Day::default() }
}

/// `240` for `240.0`.
fn plain(number: Decimal) -> String {
    let written = number.to_string();
    match written.contains('.') {
        true => written.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => written,
    }
}

/// The names of the persons that the record names as such.
fn persons(tender: &Tender) -> Vec<String> {
    let suppliers = tender.bidders.iter().chain(tender.award.iter().flat_map(|award| &award.suppliers));
    let contacts = suppliers
        .filter_map(|supplier: &Supplier| supplier.contact.as_ref())
        .chain(tender.buyer.iter().filter_map(|buyer: &Buyer| buyer.contact.as_ref()));
    contacts.filter_map(|contact: &Contact| contact.name.clone()).collect()
}

/// Whether nothing is said of a line.
fn is_blank(item: &LineItem) -> bool {
    *item == LineItem::default()
}
