//! OCDS: monthly indices, and packages. Failures come with status 200.

use serde_json::{Value, json};

use super::details::number;
use super::names::{PRODUCTS, REGIONS};
use super::order::Order;
use super::tender::{Tender, state};
use super::v1::JsonReply;
use super::world::{Firm, Line, PublicBody, World, latest};
use ayni::procure::{Date, Timestamp};

const PREFIX: &str = "ocds-70d2nz-";
const BASE: &str = "http://api.mercadopublico.cl/APISOCDS/OCDS";

fn no_results() -> JsonReply {
    (200, json!({ "status": 404, "detail": "No se encontraron resultados." }))
}

pub(super) fn route_unknown() -> JsonReply {
    (404, json!({ "statusCode": 404, "message": "Resource not found" }))
}

/// Which processes a monthly index lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Tenders,
    DirectAwards,
    FrameworkOrders,
}

/// The answer to a path below the service's base.
pub(super) fn answer(world: &World, now: Timestamp, behind: u32, path: &str) -> JsonReply {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let list = |name: &str| match name {
        // On one host the name has an accent.
        "listaOCDSAgnoMes" | "listaA%C3%B1oMes" | "listaA\u{f1}oMes" => Some(List::Tenders),
        "listaOCDSAgnoMesTratoDirecto" | "listaA%C3%B1oMesTratoDirecto" => Some(List::DirectAwards),
        "listaOCDSAgnoMesConvenio" | "listaA%C3%B1oMesConvenio" => Some(List::FrameworkOrders),
        _ => None,
    };
    match parts.as_slice() {
        [name, year, month, offset, limit] => match (list(name), whole(year), whole(month)) {
            (Some(list), Some(year), Some(month)) => {
                let place = (offset.parse::<usize>().ok(), limit.parse::<usize>().ok());
                let (Some(offset), Some(limit @ 1..=1000)) = place else { return no_results() };
                index(world, (list, now, behind), (year, month), offset, limit)
            }
            _ => route_unknown(),
        },
        [form @ ("tender" | "award" | "planning" | "record" | "allrelease"), code] => {
            package(world, now, form, code)
        }
        _ => route_unknown(),
    }
}

fn whole(text: &str) -> Option<u16> {
    text.parse().ok()
}

fn months(date: Date) -> u32 {
    u32::from(date.year()) * 12 + u32::from(date.month())
}

fn index(
    world: &World,
    (list, now, behind): (List, Timestamp, u32),
    (year, month): (u16, u16),
    offset: usize,
    limit: usize,
) -> JsonReply {
    // The feed lags: a month that it has not reached yet looks like an empty one.
    if u32::from(year) * 12 + u32::from(month) + behind > months(now.date()) {
        return no_results();
    }
    let in_month = |moment: Timestamp| {
        moment <= now && (moment.date().year(), u16::from(moment.date().month())) == (year, month)
    };
    let sent = |order: &Order| order.steps.first().is_some_and(|step| in_month(step.at));
    let orders = |kinds: &'static [&'static str]| {
        world
            .orders
            .iter()
            .filter(move |order| kinds.contains(&order.kind) && order.tender.is_none() && sent(order))
            .map(|order| entry(&order.code, &["urlAward"]))
    };
    let entries: Vec<Value> = match list {
        List::Tenders => world
            .tenders
            .iter()
            .filter(|tender| in_month(tender.published()))
            .map(|tender| match tender.award().is_some_and(|step| step.at <= now) {
                true => entry(&tender.code, &["urlTender", "urlAward", "urlPlanning"]),
                false => entry(&tender.code, &["urlTender", "urlPlanning"]),
            })
            .collect(),
        List::DirectAwards => orders(&["SE", "TD"]).collect(),
        List::FrameworkOrders => orders(&["CM"]).collect(),
    };
    let total = entries.len();
    let rows: Vec<Value> = entries.into_iter().skip(offset).take(limit).collect();
    if rows.is_empty() {
        return no_results();
    }
    let paging = json!({ "offset": offset, "limit": limit, "total": total });
    (200, json!({ "pagination": paging, "data": rows }))
}

fn entry(code: &str, links: &[&str]) -> Value {
    let mut entry = json!({ "ocid": format!("{PREFIX}{code}") });
    for link in links {
        let form = link.trim_start_matches("url").to_lowercase();
        entry[*link] = json!(format!("{BASE}/{form}/{code}"));
    }
    entry
}

fn package(world: &World, now: Timestamp, form: &str, code: &str) -> JsonReply {
    let release = match (world.tender(code), world.order(code)) {
        (Some(tender), _) => of_tender(world, tender, now, form),
        (None, Some(order)) if matches!(form, "award" | "record" | "allrelease") => {
            of_order(world, order, now, form)
        }
        _ => None,
    };
    let Some(release) = release else { return no_results() };
    let mut package = json!({
        "uri": format!("{BASE}/{form}/{code}"),
        "version": "1.1",
        "extensions": ["https://raw.githubusercontent.com/open-contracting-extensions/ocds_budget_breakdown_extension/master/extension.json"],
        "publisher": { "name": "Dirección de Compras y Contratación Pública" },
        "license": "https://creativecommons.org/publicdomain/zero/1.0/",
        "publishedDate": now.with_false_mark(),
    });
    match form {
        "record" => package["records"] = json!([{ "ocid": release["ocid"], "compiledRelease": release }]),
        _ => package["releases"] = json!([release]),
    }
    (200, package)
}

fn release(code: &str, date: Timestamp, form: &str, parties: Vec<Value>, buyer: &Value) -> Value {
    let tag = if form == "record" { "compiled" } else { form };
    json!({
        "ocid": format!("{PREFIX}{code}"),
        "id": format!("{code}-{tag}"),
        "date": date.with_false_mark(),
        "tag": [tag],
        "initiationType": "tender",
        "language": "es",
        "parties": parties,
        "buyer": buyer,
    })
}

fn of_tender(world: &World, tender: &Tender, now: Timestamp, form: &str) -> Option<Value> {
    let step = latest(&tender.steps, now)?;
    let decided = step.state == state::AWARDED;
    if form == "award" && !decided {
        return None;
    }
    let body = &world.bodies[tender.body];
    let bidders = if decided { tender.bidders.as_slice() } else { &[] };
    let won = |firm: usize| {
        tender.lines.iter().any(|line| line.winner.and_then(|place| tender.bidders.get(place)) == Some(&firm))
    };
    let roles = |firm: usize| if won(firm) { json!(["tenderer", "supplier"]) } else { json!(["tenderer"]) };
    let firms = bidders.iter().map(|firm| party_of_firm(&world.firms[*firm], roles(*firm)));
    let parties = std::iter::once(party_of_body(body)).chain(firms).collect();
    let mut release = release(&tender.code, step.at, form, parties, &reference(body));
    if matches!(form, "tender" | "record" | "allrelease") {
        release["tender"] = tender_part(tender, step, body);
    }
    if matches!(form, "planning" | "record" | "allrelease") && tender.shows_amount {
        release["planning"] = json!({ "budget": { "amount": money(tender.amount, tender.currency) } });
    }
    if decided && form != "tender" && form != "planning" {
        release["awards"] = Value::Array(awards(world, tender, step.at));
    }
    Some(release)
}

fn tender_part(tender: &Tender, step: &super::world::Step<i64>, body: &PublicBody) -> Value {
    let status = match step.state {
        state::AWARDED => "complete",
        state::DESERTED => "unsuccessful",
        state::REVOKED => "cancelled",
        state::SUSPENDED => "pending",
        _ => "active",
    };
    let mut part = json!({
        "id": tender.code,
        "title": tender.name.trim(),
        "description": tender.description,
        "status": status,
        "procurementMethod": "open",
        "procurementMethodDetails": format!("Licitación Pública ({})", tender.kind),
        "procuringEntity": reference(body),
        "tenderPeriod": {
            "startDate": tender.published().with_false_mark(),
            "endDate": step.closes.map(Timestamp::with_false_mark),
        },
        "items": tender.lines.iter().enumerate().map(|(place, line)| item(place, line, None)).collect::<Vec<_>>(),
        "documents": [{
            "id": (9_900_000 + tender.chance % 90_000).to_string(),
            "documentType": "biddingDocuments",
            "title": "Bases administrativas",
            "url": "http://www.mercadopublico.cl/Procurement/ejemplo",
        }],
    });
    if tender.shows_amount {
        part["value"] = money(tender.amount, tender.currency);
    }
    part
}

/// One award for each winner.
fn awards(world: &World, tender: &Tender, date: Timestamp) -> Vec<Value> {
    let won = |bidder: usize| {
        let lines = tender.lines.iter().enumerate().filter(move |(_, line)| line.winner == Some(bidder));
        lines.collect::<Vec<(usize, &Line)>>()
    };
    let winners = (0..tender.bidders.len()).map(|bidder| (bidder, won(bidder)));
    winners
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(bidder, lines)| {
            let firm = &world.firms[tender.bidders[bidder]];
            award(
                &format!("{}{bidder}", tender.chance % 900_000),
                &tender.name,
                date,
                firm,
                &lines,
                tender.currency,
            )
        })
        .collect()
}

fn award(
    id: &str,
    title: &str,
    date: Timestamp,
    firm: &Firm,
    lines: &[(usize, &Line)],
    currency: &str,
) -> Value {
    let total: u64 = lines.iter().map(|(_, line)| line.price * line.quantity / 100).sum();
    json!({
        "id": id,
        "title": title.trim(),
        "status": "active",
        "date": date.with_false_mark(),
        "value": money(total, currency),
        "suppliers": [{ "name": format!("{0} | {0}", firm.name), "id": format!("CL-MP-{}", firm.branch) }],
        "items": lines.iter().map(|(place, line)| item(*place, line, Some(currency))).collect::<Vec<_>>(),
    })
}

/// A direct award, or an order under a framework agreement.
fn of_order(world: &World, order: &Order, now: Timestamp, form: &str) -> Option<Value> {
    let sent = order.steps.first().filter(|step| step.at <= now)?;
    let (body, firm) = (&world.bodies[order.body], &world.firms[order.firm]);
    let parties = vec![party_of_body(body), party_of_firm(firm, json!(["supplier"]))];
    let mut release = release(&order.code, sent.at, form, parties, &reference(body));
    let lines: Vec<(usize, &Line)> = order.lines.iter().enumerate().collect();
    let id = (order.chance % 9_000_000).to_string();
    release["awards"] = json!([award(&id, &order.name, sent.at, firm, &lines, order.currency)]);
    if order.kind == "CM" {
        release["relatedProcesses"] = json!([{
            "id": "1",
            "relationship": ["framework"],
            "scheme": "ocid",
            "identifier": format!("{PREFIX}2239-{}-LR{:02}", order.chance % 30, sent.at.date().year() % 100),
        }]);
    }
    Some(release)
}

fn money(hundredths: u64, currency: &str) -> Value {
    json!({ "amount": number(hundredths), "currency": currency })
}

fn item(place: usize, line: &Line, currency: Option<&str>) -> Value {
    let product = PRODUCTS[line.product];
    let mut unit = json!({ "name": product.unit });
    if let Some(currency) = currency {
        unit["value"] = money(line.price, currency);
    }
    json!({
        "id": (place + 1).to_string(),
        "description": line.description,
        "classification": { "scheme": "UNSPSC", "id": product.code.to_string() },
        "quantity": number(line.quantity),
        "unit": unit,
    })
}

fn reference(body: &PublicBody) -> Value {
    json!({ "name": format!("{} | {}", body.name, body.unit), "id": format!("CL-MP-{}", body.unit_code) })
}

fn party_of_body(body: &PublicBody) -> Value {
    json!({
        "name": format!("{} | {}", body.name, body.unit),
        "id": format!("CL-MP-{}", body.unit_code),
        "identifier": {
            "scheme": "CL-RUT",
            "id": body.tax_number.map(ayni::procure::Rut::compact),
            "legalName": body.name,
        },
        "roles": ["procuringEntity"],
        "address": {
            "streetAddress": "Calle Ficticia 123",
            "region": REGIONS[body.region].0.trim(),
            "countryName": "Chile",
        },
        "contactPoint": { "name": "Persona De Prueba", "email": "compras@example.invalid" },
    })
}

fn party_of_firm(firm: &Firm, roles: Value) -> Value {
    json!({
        "name": format!("{0} | {0}", firm.name),
        "id": format!("CL-MP-{}", firm.branch),
        "identifier": {
            "scheme": "CL-RUT",
            "id": firm.tax_number.map(ayni::procure::Rut::compact),
            "legalName": firm.name,
        },
        "roles": roles,
        "address": { "region": REGIONS[firm.region].0.trim(), "countryName": "Chile" },
    })
}
