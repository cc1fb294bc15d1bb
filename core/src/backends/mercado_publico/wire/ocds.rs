//! The bodies of OCDS: the index of a month, and packages.

use super::Body;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::procure::json::Fields;
use crate::procure::{
    Award, Buyer, Contact, Currency, Document, LineAward, LineItem, Money, RelatedProcess, Supplier, Tender,
    TenderRow, TenderState, TenderType,
};

/// The prefix of an `ocid`, before the code.
const PREFIX: &str = "ocds-70d2nz-";

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) codes: Vec<String>,
    pub(crate) total: Option<i64>,
}

/// Reads the body's object. Fails if a successful answer reports a failure in its body.
fn top(body: &[u8]) -> Result<Fields<'_>> {
    let fields = Fields::of_body(body)?;
    let status = fields.whole("status").or_else(|| fields.whole("statusCode"));
    match status {
        None => Ok(fields),
        Some(404) if fields.text("statusCode").is_some() => {
            Err(Error::response_invalid("the OCDS service does not know this route; is the base URL right?"))
        }
        // A month that the feed has not reached yet also says "no results".
        Some(404) => Err(Error::new(ErrorKind::NotFound, "the OCDS feed has no such record, or not yet")
            .with_sent(Sent::Yes)),
        Some(status) => {
            Err(Error::new(ErrorKind::Unavailable, format!("the OCDS service failed with {status}"))
                .with_sent(Sent::Yes))
        }
    }
}

/// Reads a page of a month's index.
///
/// # Errors
/// `not_found` for a month that is empty or not there yet, and `response_invalid`.
pub(crate) fn index(body: &Body) -> Result<Index> {
    let fields = top(&body.bytes)?;
    if fields.raw("data").is_none() {
        return Err(Error::response_invalid("the index has no list"));
    }
    let code = |entry: &Fields<'_>| Some(entry.text("ocid")?.trim_start_matches(PREFIX).to_owned());
    Ok(Index {
        codes: fields.objects("data").iter().filter_map(code).collect(),
        total: fields.object("pagination").and_then(|paging| paging.whole("total")),
    })
}

/// Reads the tenders of a record package or of a package of releases.
///
/// # Errors
/// `not_found` if the feed has no such record, and `response_invalid`.
pub(crate) fn tenders(body: &Body) -> Result<Vec<Tender>> {
    let fields = top(&body.bytes)?;
    let records = fields.objects("records");
    let compiled = records.iter().filter_map(|record| record.raw("compiledRelease"));
    let releases: Vec<&str> = compiled.chain(fields.elements("releases")).collect();
    if releases.is_empty() {
        return Err(Error::response_invalid("the package has neither records nor releases"));
    }
    Ok(releases.into_iter().filter_map(|written| tender(body, written)).collect())
}

fn tender(body: &Body, written: &str) -> Option<Tender> {
    let release = Fields::read(written)?;
    let tender = release.object("tender").unwrap_or_default();
    let period = tender.object("tenderPeriod").unwrap_or_default();
    let code =
        tender.text("id").or_else(|| Some(release.text("ocid")?.trim_start_matches(PREFIX).to_owned()))?;
    // Our own export writes in words what OCDS has no code for.
    let words = tender.text("statusDetails").map(|words| TenderState::from(words.as_str()));
    let known = words.filter(|state| !matches!(state, TenderState::Named(_)));
    let state = known.or_else(|| tender.text("status").map(|status| TenderState::from(status.as_str())));
    let parties = release.objects("parties");
    let suppliers = |role| -> Vec<Supplier> {
        parties.iter().filter(|party| has_role(party, role)).map(supplier).collect()
    };
    let awards = release.objects("awards");
    let title = tender.text("title").or_else(|| awards.first()?.text("title")).unwrap_or_default();
    // A direct award has no tender. Its existence means that it is awarded.
    let decided = || (!awards.is_empty()).then_some(TenderState::Awarded);
    let tender = Tender {
        row: TenderRow {
            closes: period.time("endDate", body.mark),
            ..TenderRow::new(code.as_str(), title, state.or_else(decided).unwrap_or_default())
        },
        description: tender.text_or_empty("description"),
        kind: code.parse::<crate::procure::TenderCode>().ok().map(|code| TenderType::clone(code.kind())),
        buyer: named_buyer(&release, &tender, &parties),
        estimated_amount: tender.object("value").and_then(|value| money(&value)),
        published: period.time("startDate", body.mark),
        award: award(body, &awards),
        items: items(&tender, &awards),
        bidders: suppliers("tenderer"),
        documents: tender.objects("documents").iter().map(document).collect(),
        related: release.objects("relatedProcesses").iter().map(related).collect(),
        ..Tender::default()
    };
    Some(body.record(written, &release, tender))
}

/// The buyer: the party with that role, else the one that the release or its tender refers to.
fn named_buyer(release: &Fields<'_>, tender: &Fields<'_>, parties: &[Fields<'_>]) -> Option<Buyer> {
    let by_role = |role: &str| parties.iter().find(|party| has_role(party, role));
    if let Some(party) = by_role("procuringEntity").or_else(|| by_role("buyer")) {
        return Some(buyer(party));
    }
    let reference = tender.object("procuringEntity").or_else(|| release.object("buyer"))?;
    let id = reference.text("id");
    let party = parties.iter().find(|party| id.is_some() && party.text("id") == id);
    Some(party.map_or_else(|| buyer(&reference), buyer))
}

fn has_role(party: &Fields<'_>, role: &str) -> bool {
    party.elements("roles").iter().any(|own| own.trim_matches('"') == role)
}

fn money(value: &Fields<'_>) -> Option<Money> {
    let currency = value.text("currency").map(|code| Currency::from(code.as_str()))?;
    Some(Money::new(value.decimal("amount")?, currency))
}

/// `Institution | Unit`.
fn names(party: &Fields<'_>) -> (String, Option<String>) {
    let name = party.text_or_empty("name");
    match name.split_once(" | ") {
        Some((body, unit)) => (body.trim().to_owned(), Some(unit.trim().to_owned())),
        None => (name, None),
    }
}

fn buyer(party: &Fields<'_>) -> Buyer {
    let (name, unit_name) = names(party);
    let address = party.object("address").unwrap_or_default();
    Buyer {
        tax_number: party.object("identifier").and_then(|identifier| identifier.text("id")),
        unit_code: party.text("id").map(|id| id.trim_start_matches("CL-MP-").to_owned()),
        unit_name,
        address: address.text("streetAddress"),
        region: address.text("region"),
        contact: contact(party),
        ..Buyer::new("", name)
    }
}

fn contact(party: &Fields<'_>) -> Option<Contact> {
    let point = party.object("contactPoint")?;
    let [name, telephone, mail] = ["name", "telephone", "email"].map(|member| point.text(member));
    let contact = Contact { name, telephone, mail, ..Contact::default() };
    (contact != Contact::default()).then_some(contact)
}

fn related(process: &Fields<'_>) -> RelatedProcess {
    let word = |word: &str| word.trim_matches('"').to_owned();
    RelatedProcess {
        id: process.text_or_empty("id"),
        identifier: process.text("identifier"),
        title: process.text("title"),
        relationships: process.elements("relationship").into_iter().map(word).collect(),
    }
}

fn supplier(party: &Fields<'_>) -> Supplier {
    Supplier {
        tax_number: party.object("identifier").and_then(|identifier| identifier.text("id")),
        branch_code: party.text("id").map(|id| id.trim_start_matches("CL-MP-").to_owned()),
        region: party.object("address").and_then(|address| address.text("region")),
        contact: contact(party),
        ..Supplier::new("", names(party).0)
    }
}

/// Merges the awards of a process, one per winner, into one. Number and date are those of the first.
fn award(body: &Body, awards: &[Fields<'_>]) -> Option<Award> {
    let first = awards.first()?;
    let mut suppliers: Vec<Supplier> = Vec::new();
    for winner in awards.iter().flat_map(|award| award.objects("suppliers")) {
        let winner = supplier(&winner);
        if !suppliers.contains(&winner) {
            suppliers.push(winner);
        }
    }
    Some(Award {
        number: first.text("id"),
        date: first.time("date", body.mark),
        value: Money::sum(awards.iter().map(|award| award.object("value").and_then(|value| money(&value)))),
        suppliers,
        ..Award::default()
    })
}

/// The lines of a tender with their winners; for direct awards the lines of the awards.
fn items(tender: &Fields<'_>, awards: &[Fields<'_>]) -> Vec<LineItem> {
    let mut items: Vec<LineItem> = tender.objects("items").iter().map(item).collect();
    let is_direct = items.is_empty();
    for award in awards {
        let winner = award.objects("suppliers").first().map(supplier);
        for line in award.objects("items") {
            let mut line = item(&line);
            let won = winner.clone().map(|supplier| LineAward {
                supplier,
                quantity: line.quantity,
                unit_price: line.unit_price.clone(),
            });
            if is_direct {
                line.award = won;
                items.push(line);
            } else if let Some(item) =
                items.iter_mut().find(|item| item.number.is_some() && item.number == line.number)
            {
                item.award = won;
            }
        }
    }
    items
}

fn item(fields: &Fields<'_>) -> LineItem {
    let unit = fields.object("unit").unwrap_or_default();
    LineItem {
        number: fields.whole("id"),
        product_code: fields.object("classification").and_then(|class| class.text("id")),
        quantity: fields.decimal("quantity"),
        unit: unit.text("name"),
        unit_price: unit.object("value").and_then(|value| money(&value)),
        ..LineItem::new(fields.text_or_empty("description"))
    }
}

fn document(fields: &Fields<'_>) -> Document {
    Document {
        url: fields.text("url"),
        ..Document::new(fields.text_or_empty("id"), fields.text_or_empty("title"))
    }
}

/// Fails if a successful answer reports a failure in its body.
///
/// # Errors
/// As [`index`] and [`tenders`].
pub(crate) fn check(body: &[u8]) -> Result<()> {
    top(body).map(drop)
}
