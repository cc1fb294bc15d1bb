//! The parts of a tender, the most important first.

use super::{MAX_LINE_TEXT_CHARS, MAX_TEXT_CHARS, ViewBuilder, is_blank, labels};
use crate::procure::analysis::question::Language;
use crate::procure::{Decimal, LineItem, Supplier, Tender, TimeUnit, Timestamp};

/// Code, title, state, times and amount, and what can be derived from them on the day of the question.
pub(super) fn head(builder: &mut ViewBuilder, tender: &Tender, now: Timestamp) {
    let row = &tender.row;
    builder.add("/row/code", super::visible(&row.code, false), None);
    builder.text("/row/name", &row.name, MAX_LINE_TEXT_CHARS);
    let state = labels::state(&row.state, builder.language);
    builder.add("/row/state", labels::state(&row.state, Language::Spanish), Some(state));
    builder.moment("/row/closes", row.closes);
    builder.moment("/derived/now", Some(now));
    if let Some(closes) = row.closes {
        let days = i64::from(now.date().days_until(closes.date()));
        let unit = labels::unit(&TimeUnit::Days, builder.language);
        builder.number("/derived/days_until_closing", Some(Decimal::new(i128::from(days), 0)), &unit);
    }
    builder.short("/kind", tender.kind.as_ref().map(|kind| kind.as_str()));
    builder.money("/estimated_amount", tender.estimated_amount.as_ref());
    builder.short("/estimation", tender.estimation.as_ref().map(labels::estimation).as_deref());
    builder.short("/payment", tender.payment.as_ref().map(labels::payment).as_deref());
    if let Some((length, unit)) = &tender.contract_duration {
        let unit = super::visible(&labels::unit(unit, builder.language), false);
        builder.number("/contract_duration", Some(*length), &unit);
    }
    let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    builder.count("/derived/items", count(tender.items.len()));
    if !tender.bidders.is_empty() {
        builder.count("/derived/bidders", count(tender.bidders.len()));
    }
    if !tender.documents.is_empty() {
        builder.count("/derived/documents", count(tender.documents.len()));
    }
    dates(builder, tender);
}

fn dates(builder: &mut ViewBuilder, tender: &Tender) {
    builder.moment("/published", tender.published);
    let dates = &tender.dates;
    for (name, moment) in [
        ("created", dates.created),
        ("questions_from", dates.questions_from),
        ("questions_until", dates.questions_until),
        ("answers", dates.answers),
        ("technical_opening", dates.technical_opening),
        ("economic_opening", dates.economic_opening),
        ("expected_award", dates.expected_award),
        ("awarded", dates.awarded),
        ("site_visit", dates.site_visit),
        ("expected_signature", dates.expected_signature),
    ] {
        builder.moment(format!("/dates/{name}"), moment);
    }
}

pub(super) fn texts(builder: &mut ViewBuilder, tender: &Tender) {
    // Leave room for the lines.
    let most = MAX_TEXT_CHARS.min(builder.room / 2);
    builder.text("/description", &tender.description, most);
}

pub(super) fn buyer(builder: &mut ViewBuilder, tender: &Tender) {
    let Some(buyer) = &tender.buyer else { return };
    builder.short("/buyer/name", Some(&buyer.name));
    builder.short("/buyer/tax_number", buyer.tax_number.as_deref());
    builder.short("/buyer/unit_name", buyer.unit_name.as_deref());
    builder.short("/buyer/region", buyer.region.as_deref());
    builder.short("/buyer/commune", buyer.commune.as_deref());
    builder.short("/buyer/address", buyer.address.as_deref());
}

/// The persons in charge, only if personal data is allowed.
pub(super) fn contacts(builder: &mut ViewBuilder, tender: &Tender) {
    let buyer = tender.buyer.as_ref().and_then(|buyer| buyer.contact.as_ref());
    for (path, contact) in [
        ("/buyer/contact", buyer),
        ("/payment_contact", tender.payment_contact.as_ref()),
        ("/contract_contact", tender.contract_contact.as_ref()),
    ] {
        let Some(contact) = contact.filter(|_| builder.person_names.is_none()) else { continue };
        builder.short(format!("{path}/name"), contact.name.as_deref());
        builder.short(format!("{path}/role"), contact.role.as_deref());
        builder.short(format!("{path}/telephone"), contact.telephone.as_deref());
        builder.short(format!("{path}/mail"), contact.mail.as_deref());
    }
}

pub(super) fn award(builder: &mut ViewBuilder, tender: &Tender) {
    let Some(award) = &tender.award else { return };
    builder.short("/award/number", award.number.as_deref());
    builder.moment("/award/date", award.date);
    if let Some(bidders) = award.bidders {
        builder.count("/award/bidders", bidders);
    }
    builder.money("/award/value", award.value.as_ref());
    for (at, supplier) in award.suppliers.iter().enumerate() {
        self::supplier(builder, &format!("/award/suppliers/{at}"), supplier);
    }
}

pub(super) fn lists(builder: &mut ViewBuilder, tender: &Tender) {
    each(builder, "/items", &tender.items, |builder, path, item| {
        if !is_blank(item) {
            self::item(builder, path, item);
        }
    });
    each(builder, "/bidders", &tender.bidders, supplier);
    each(builder, "/documents", &tender.documents, |builder, path, document| {
        builder.short(format!("{path}/name"), Some(&document.name));
    });
}

/// Adds the elements that fit, and records the number of others.
fn each<T>(builder: &mut ViewBuilder, list: &str, elements: &[T], add: impl Fn(&mut ViewBuilder, &str, &T)) {
    for (at, element) in elements.iter().enumerate() {
        if builder.is_full() {
            let (missing, last) = (elements.len() - at, elements.len() - 1);
            builder.view.left_out.push(format!("{list}/{at} to {list}/{last}: all {missing} left out"));
            return;
        }
        add(builder, &format!("{list}/{at}"), element);
    }
}

fn item(builder: &mut ViewBuilder, path: &str, item: &LineItem) {
    if let Some(number) = item.number {
        builder.count(format!("{path}/number"), number);
    }
    builder.short(format!("{path}/name"), Some(&item.name));
    builder.number(format!("{path}/quantity"), item.quantity, "");
    builder.short(format!("{path}/unit"), item.unit.as_deref());
    builder.short(format!("{path}/description"), item.description.as_deref());
    builder.money(format!("{path}/unit_price"), item.unit_price.as_ref());
    builder.money(format!("{path}/total"), item.total.as_ref());
    builder.short(format!("{path}/product_code"), item.product_code.as_deref());
    builder.short(format!("{path}/category"), item.category.as_deref());
    if let Some(award) = &item.award {
        supplier(builder, &format!("{path}/award/supplier"), &award.supplier);
        builder.number(format!("{path}/award/quantity"), award.quantity, "");
        builder.money(format!("{path}/award/unit_price"), award.unit_price.as_ref());
    }
}

fn supplier(builder: &mut ViewBuilder, path: &str, supplier: &Supplier) {
    builder.short(format!("{path}/name"), Some(&supplier.name));
    builder.short(format!("{path}/tax_number"), supplier.tax_number.as_deref());
}
