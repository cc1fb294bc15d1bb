//! A tender as an OCDS release.

use std::collections::HashSet;

use super::node::{Node, object};
use super::parties::{self, Party, supplier_id, supplier_reference};
use crate::procure::{
    Award, Currency, Document, LineAward, LineItem, Money, RelatedProcess, Supplier, Tender, TenderState,
    TenderType,
};

const PREFIX: &str = "ocds-70d2nz-";

/// A record: the tender as a release, and the same as compiled release.
pub(super) fn record(tender: &Tender) -> Node {
    object! {
        "ocid": ocid(tender),
        "releases": Node::from_iter([release(tender, false)]),
        "compiledRelease": release(tender, true),
    }
}

fn ocid(tender: &Tender) -> String {
    format!("{PREFIX}{}", tender.row.code)
}

fn release(tender: &Tender, is_compiled: bool) -> Node {
    let (row, parties, awards) = (&tender.row, parties::of(tender), awards(tender));
    let buyer = parties.first().filter(|party| party.roles.contains(&"buyer")).map(Party::reference);
    let tag: &[&str] = match (is_compiled, awards.is_empty()) {
        (true, _) => &["compiled"],
        (false, true) => &["tender"],
        (false, false) => &["tender", "award"],
    };
    let suffix = if is_compiled { "-compiled" } else { "" };
    object! {
        "ocid": ocid(tender),
        "id": format!("{}-{}{suffix}", row.code, row.origin.as_of.unix_millis()),
        "date": row.origin.as_of,
        "tag": Node::from_iter(tag.iter().copied()),
        "initiationType": "tender",
        "language": "es",
        "parties": Node::from_iter(parties.iter().map(Party::node)),
        "buyer": buyer.clone(),
        "tender": process(tender, buyer),
        "awards": Node::from_iter(awards),
        "relatedProcesses": Node::from_iter(tender.related.iter().map(related)),
    }
}

fn process(tender: &Tender, buyer: Option<Node>) -> Node {
    let row = &tender.row;
    let mut known = HashSet::new();
    let tenderers = tender.bidders.iter().filter(|bidder| known.insert(supplier_id(bidder)));
    let amount = tender.estimated_amount.as_ref();
    let value = amount.and_then(value);
    object! {
        "id": &row.code,
        "title": &row.name,
        "description": &tender.description,
        "status": status(&row.state),
        "statusDetails": row.state.to_string(),
        "procurementMethod": tender.kind.as_ref().and_then(method),
        "procurementMethodDetails": tender.kind.as_ref().map(|kind| format!("Licitación {kind}")),
        "procuringEntity": buyer,
        "amountDetails": amount.filter(|_| value.is_none()).map(Money::to_string),
        "value": value,
        "tenderPeriod": object! { "startDate": tender.published, "endDate": row.closes },
        "enquiryPeriod": object! {
            "startDate": tender.dates.questions_from,
            "endDate": tender.dates.questions_until,
        },
        "numberOfTenderers": tender.bidder_count(),
        "tenderers": Node::from_iter(tenderers.map(supplier_reference)),
        "items": items(tender.items.iter(), false),
        "documents": Node::from_iter(tender.documents.iter().enumerate().map(document)),
    }
}

fn related(process: &RelatedProcess) -> Node {
    object! {
        "id": &process.id,
        "relationship": Node::from_iter(&process.relationships),
        "title": process.title.as_ref(),
        "identifier": process.identifier.as_ref(),
    }
}

/// The OCDS status. A closed tender without a decision is still `active`; there is no code for a suspended one.
fn status(state: &TenderState) -> Option<&'static str> {
    match state {
        TenderState::Published | TenderState::Closed => Some("active"),
        TenderState::Awarded => Some("complete"),
        TenderState::Deserted => Some("unsuccessful"),
        TenderState::Revoked => Some("cancelled"),
        _ => None,
    }
}

/// The OCDS method. Public tenders are open; for private ones the buyer invites suppliers.
fn method(kind: &TenderType) -> Option<&'static str> {
    match kind.as_str() {
        "L1" | "LE" | "LP" | "LQ" | "LR" | "LS" => Some("open"),
        "E2" | "CO" | "B2" | "H2" | "I2" => Some("limited"),
        _ => None,
    }
}

/// `None` for an amount in a unit that is not a currency.
fn value(money: &Money) -> Option<Node> {
    let is_currency = match &money.currency {
        Currency::Clp | Currency::Clf | Currency::Usd | Currency::Eur => true,
        Currency::Other(code) => {
            ["ARS", "AUD", "BRL", "CAD", "CHF", "CNY", "COP", "GBP", "JPY", "MXN", "PEN", "UYU"]
                .contains(&code.as_str())
        }
        Currency::Utm => false,
    };
    is_currency.then(|| object! { "amount": money.amount, "currency": money.currency.as_str() })
}

/// The lines; for an award with the awarded quantity and price.
fn items<'a>(lines: impl Iterator<Item = &'a LineItem>, awarded: bool) -> Node {
    let mut ids = HashSet::new();
    let item = |(at, line): (usize, &LineItem)| {
        let mut id = line.number.map_or_else(|| format!("{}", at + 1), |number| number.to_string());
        if !ids.insert(id.clone()) {
            id = format!("{id}-{}", at + 1);
            ids.insert(id.clone());
        }
        let award = line.award.as_ref().filter(|_| awarded);
        let price = award.map_or(line.unit_price.as_ref(), |award| award.unit_price.as_ref());
        let unspsc = |id: &String| object! { "scheme": "UNSPSC", "id": id };
        object! {
            "id": id,
            "description": &line.name,
            "details": line.description.as_ref(),
            "classification": line.product_code.as_ref().map(unspsc),
            "quantity": award.map_or(line.quantity, |award| award.quantity),
            "unit": object! { "name": line.unit.as_ref(), "value": price.and_then(value) },
        }
    };
    lines.enumerate().map(item).collect()
}

fn document((at, document): (usize, &Document)) -> Node {
    let id = if document.id.is_empty() { (at + 1).to_string() } else { document.id.clone() };
    let url = document.url.as_ref().filter(|url| url::Url::parse(url).is_ok());
    object! { "id": id, "title": &document.name, "url": url }
}

/// One award for the whole tender, or one for each winner of lines.
fn awards(tender: &Tender) -> Vec<Node> {
    let none = Award::default();
    let award = tender.award.as_ref().unwrap_or(&none);
    let base = award.number.clone().unwrap_or_else(|| format!("{}-award", tender.row.code));
    let decision = |id: String, suppliers: Node, items: Node, total: Option<&Money>| {
        object! {
            "id": id,
            "status": "active",
            "date": award.date,
            "value": total.and_then(value),
            "suppliers": suppliers,
            "items": items,
        }
    };
    let mut ids = HashSet::new();
    let of_lines = tender.items.iter().filter_map(|item| item.award.as_ref()).map(|award| &award.supplier);
    let winners: Vec<&Supplier> = of_lines.filter(|winner| ids.insert(supplier_id(winner))).collect();
    if winners.is_empty() {
        let suppliers = award.suppliers.iter().map(supplier_reference).collect();
        let whole =
            tender.award.as_ref().map(|_| decision(base, suppliers, Node::Nothing, award.value.as_ref()));
        return whole.into_iter().collect();
    }
    // If several suppliers won the whole, the record does not say how it is shared.
    let total = award.value.as_ref().filter(|total| winners.len() == 1 && value(total).is_some());
    let decisions = winners.iter().enumerate().map(|(at, winner)| {
        let id = if at == 0 { base.clone() } else { format!("{base}-{}", at + 1) };
        let own = supplier_id(winner);
        let won =
            |item: &&LineItem| item.award.as_ref().is_some_and(|award| supplier_id(&award.supplier) == own);
        let lines = || tender.items.iter().filter(won);
        let sum = Money::sum(lines().filter_map(|item| item.award.as_ref()).map(LineAward::total));
        let suppliers = Node::from_iter([supplier_reference(winner)]);
        decision(id, suppliers, items(lines(), true), total.or(sum.as_ref()))
    });
    decisions.collect()
}
