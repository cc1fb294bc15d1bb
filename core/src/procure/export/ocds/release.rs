//! A tender as an OCDS release.

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::not_json;
use super::parties::{self, Party, Reference, supplier_reference};
use crate::error::{Error, Result};
use crate::procure::{
    Award, Currency, Decimal, LineAward, LineItem, Money, RelatedProcess, Supplier, Tender, TenderState,
    TenderType, Timestamp,
};

const PREFIX: &str = "ocds-70d2nz-";

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Release<'a> {
    pub(super) ocid: String,
    id: String,
    date: Timestamp,
    tag: Vec<&'static str>,
    initiation_type: &'static str,
    language: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parties: Vec<Party>,
    #[serde(skip_serializing_if = "Option::is_none")]
    buyer: Option<Reference>,
    tender: Process<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    awards: Vec<Decision>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    related_processes: Vec<Related<'a>>,
}

#[derive(Clone, Debug, Serialize)]
struct Related<'a> {
    id: &'a str,
    relationship: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identifier: Option<&'a str>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Process<'a> {
    id: &'a str,
    title: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    status_details: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    procurement_method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    procurement_method_details: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    procuring_entity: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<OcdsValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount_details: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tender_period: Option<Period>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enquiry_period: Option<Period>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_of_tenderers: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tenderers: Vec<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Item>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    documents: Vec<OcdsDocument<'a>>,
}

#[derive(Clone, Debug, Serialize)]
struct Decision {
    id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<OcdsValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suppliers: Vec<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Item>,
}

#[derive(Clone, Debug, Serialize)]
struct OcdsValue {
    amount: Box<RawValue>,
    currency: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Period {
    #[serde(skip_serializing_if = "Option::is_none")]
    start_date: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_date: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize)]
struct Item {
    id: String,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classification: Option<Classification>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<Unit>,
}

#[derive(Clone, Debug, Serialize)]
struct Classification {
    scheme: &'static str,
    id: String,
}

#[derive(Clone, Debug, Serialize)]
struct Unit {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<OcdsValue>,
}

#[derive(Clone, Debug, Serialize)]
struct OcdsDocument<'a> {
    id: String,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
}

impl<'a> Release<'a> {
    pub(super) fn of(tender: &'a Tender) -> Result<Self> {
        let row = &tender.row;
        if row.code.trim().is_empty() {
            return Err(Error::invalid_request("a tender without a code cannot be an OCDS record"));
        }
        let parties = parties::of(tender);
        let buyer = parties.first().filter(|party| party.roles.contains(&"buyer")).map(Party::reference);
        let awards = decisions(tender)?;
        let tag = if awards.is_empty() { vec!["tender"] } else { vec!["tender", "award"] };
        Ok(Self {
            ocid: format!("{PREFIX}{}", row.code),
            id: format!("{}-{}", row.code, row.origin.as_of.unix_millis()),
            date: row.origin.as_of,
            tag,
            initiation_type: "tender",
            language: "es",
            parties,
            tender: process(tender, buyer.clone())?,
            buyer,
            awards,
            related_processes: tender.related.iter().map(related).collect(),
        })
    }

    pub(super) fn compiled(&self) -> Self {
        let mut compiled = self.clone();
        compiled.id = format!("{}-compiled", self.id);
        compiled.tag = vec!["compiled"];
        compiled
    }
}

fn process(tender: &Tender, buyer: Option<Reference>) -> Result<Process<'_>> {
    let row = &tender.row;
    let mut tenderers: Vec<Reference> = Vec::new();
    for reference in tender.bidders.iter().map(supplier_reference) {
        if !tenderers.iter().any(|known| known.id == reference.id) {
            tenderers.push(reference);
        }
    }
    let amount = tender.estimated_amount.as_ref();
    let value = amount.map(value).transpose()?.flatten();
    Ok(Process {
        id: &row.code,
        title: &row.name,
        description: &tender.description,
        status: status(&row.state),
        status_details: row.state.to_string(),
        procurement_method: tender.kind.as_ref().and_then(method),
        procurement_method_details: tender.kind.as_ref().map(|kind| format!("Licitación {kind}")),
        procuring_entity: buyer,
        amount_details: amount.filter(|_| value.is_none()).map(Money::to_string),
        value,
        tender_period: period(tender.published, row.closes),
        enquiry_period: period(tender.dates.questions_from, tender.dates.questions_until),
        number_of_tenderers: tender.bidder_count(),
        tenderers,
        items: items(tender.items.iter(), false)?,
        documents: tender.documents.iter().enumerate().map(document).collect(),
    })
}

fn related(process: &RelatedProcess) -> Related<'_> {
    Related {
        id: &process.id,
        relationship: &process.relationships,
        title: process.title.as_deref(),
        identifier: process.identifier.as_deref(),
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
    match kind {
        TenderType::L1
        | TenderType::Le
        | TenderType::Lp
        | TenderType::Lq
        | TenderType::Lr
        | TenderType::Ls => Some("open"),
        TenderType::E2 | TenderType::Co | TenderType::B2 | TenderType::H2 | TenderType::I2 => Some("limited"),
        TenderType::Other(_) => None,
    }
}

fn period(start_date: Option<Timestamp>, end_date: Option<Timestamp>) -> Option<Period> {
    (start_date.is_some() || end_date.is_some()).then_some(Period { start_date, end_date })
}

fn number(number: Decimal) -> Result<Box<RawValue>> {
    RawValue::from_string(number.to_string()).map_err(not_json)
}

/// `None` for an amount in a unit that is not a currency.
fn value(money: &Money) -> Result<Option<OcdsValue>> {
    let is_currency = match &money.currency {
        Currency::Clp | Currency::Clf | Currency::Usd | Currency::Eur => true,
        Currency::Other(code) => {
            ["ARS", "AUD", "BRL", "CAD", "CHF", "CNY", "COP", "GBP", "JPY", "MXN", "PEN", "UYU"]
                .contains(&code.as_str())
        }
        Currency::Utm => false,
    };
    let currency = || money.currency.as_str().to_owned();
    is_currency.then(|| Ok(OcdsValue { amount: number(money.amount)?, currency: currency() })).transpose()
}

/// The lines; for an award with the awarded quantity and price.
fn items<'a>(lines: impl Iterator<Item = &'a LineItem>, awarded: bool) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = Vec::new();
    for (at, line) in lines.enumerate() {
        let mut id = line.number.map_or_else(|| format!("{}", at + 1), |number| number.to_string());
        if items.iter().any(|item| item.id == id) {
            id = format!("{id}-{}", at + 1);
        }
        let award = line.award.as_ref().filter(|_| awarded);
        let quantity = award.map_or(line.quantity, |award| award.quantity);
        let price = award.map_or(line.unit_price.as_ref(), |award| award.unit_price.as_ref());
        let price = price.map(value).transpose()?.flatten();
        let name = line.unit.clone();
        items.push(Item {
            id,
            description: line.name.clone(),
            details: line.description.clone(),
            classification: line.product_code.clone().map(|id| Classification { scheme: "UNSPSC", id }),
            quantity: quantity.map(number).transpose()?,
            unit: (name.is_some() || price.is_some()).then_some(Unit { name, value: price }),
        });
    }
    Ok(items)
}

fn document((at, document): (usize, &crate::procure::Document)) -> OcdsDocument<'_> {
    let url = document.url.as_deref().filter(|url| url::Url::parse(url).is_ok());
    let id = if document.id.is_empty() { (at + 1).to_string() } else { document.id.clone() };
    OcdsDocument { id, title: &document.name, url }
}

/// One award for the whole tender, or one for each winner of lines.
fn decisions(tender: &Tender) -> Result<Vec<Decision>> {
    let mut winners: Vec<&Supplier> = Vec::new();
    for award in tender.items.iter().filter_map(|item| item.award.as_ref()) {
        if !winners.iter().any(|known| supplier_reference(known) == supplier_reference(&award.supplier)) {
            winners.push(&award.supplier);
        }
    }
    let known = Award::default();
    let award = tender.award.as_ref().unwrap_or(&known);
    let base = award.number.clone().unwrap_or_else(|| format!("{}-award", tender.row.code));
    let decision = |id: String, suppliers: Vec<Reference>, items: Vec<Item>, value: Option<OcdsValue>| {
        Decision { id, status: "active", date: award.date, value, suppliers, items }
    };
    let total = award.value.as_ref().map(value).transpose()?.flatten();
    if winners.is_empty() {
        if tender.award.is_none() {
            return Ok(Vec::new());
        }
        let suppliers = award.suppliers.iter().map(supplier_reference).collect();
        return Ok(vec![decision(base, suppliers, Vec::new(), total)]);
    }
    // If several suppliers won the whole, the record does not say how it is shared.
    let mut total = total.filter(|_| winners.len() == 1);
    let of_lines = |reference: &Reference| {
        let lines = tender.items.iter().filter_map(|item| item.award.as_ref());
        let own = lines.filter(|award| supplier_reference(&award.supplier) == *reference);
        Money::sum(own.map(LineAward::total))
    };
    let mut decisions = Vec::new();
    for (at, winner) in winners.into_iter().enumerate() {
        let reference = supplier_reference(winner);
        let id = if at == 0 { base.clone() } else { format!("{base}-{}", at + 1) };
        let won = |item: &&LineItem| {
            item.award.as_ref().is_some_and(|award| supplier_reference(&award.supplier) == reference)
        };
        let items = items(tender.items.iter().filter(won), true)?;
        let total = match total.take() {
            Some(total) => Some(total),
            None => of_lines(&reference).as_ref().map(value).transpose()?.flatten(),
        };
        decisions.push(decision(id, vec![reference.clone()], items, total));
    }
    Ok(decisions)
}
