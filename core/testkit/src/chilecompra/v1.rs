//! The bodies of v1: tenders, purchase orders, public bodies, suppliers.

use serde_json::{Value, json};

use super::details;
use super::order::Order;
use super::tender::{Tender, state};
use super::world::{World, changed_on, latest};
use ayni::procure::{Date, Timestamp};

/// Status and body of an answer.
pub(super) type JsonReply = (u16, Value);

/// A failure as v1 writes it.
pub(super) fn failure(status: u16, code: i64, message: &str) -> JsonReply {
    (status, json!({ "Codigo": code, "Mensaje": message }))
}

pub(super) fn ticket_refused() -> JsonReply {
    failure(203, 203, "Ticket no válido.")
}

pub(super) fn quota_spent() -> JsonReply {
    failure(203, 203, "Ticket superó la cuota diaria asignada.")
}

pub(super) fn simultaneous(status: u16) -> JsonReply {
    failure(status, 10500, "Lo sentimos. Hemos detectado que existen peticiones simultáneas.")
}

pub(super) fn parameters_invalid() -> JsonReply {
    failure(500, 10300, "Los parámetros no son válidos.")
}

fn parameter_unknown() -> JsonReply {
    failure(400, 400, "Nombre de parametro no válido.")
}

/// The time of an answer, in UTC with seven digits.
fn written_at(now: Timestamp) -> String {
    let instant = jiff::Timestamp::from_millisecond(now.unix_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let fraction = now.unix_millis().rem_euclid(1000) * 10_000 + 1177;
    format!("{}.{fraction:07}Z", instant.strftime("%Y-%m-%dT%H:%M:%S"))
}

/// An empty answer writes its time with an offset.
fn envelope(now: Timestamp, rows: Vec<Value>) -> JsonReply {
    let at = if rows.is_empty() { now.to_string() } else { written_at(now) };
    (200, json!({ "Cantidad": rows.len(), "FechaCreacion": at, "Version": "v1", "Listado": rows }))
}

fn companies(now: Timestamp, rows: Vec<(u64, &str)>) -> JsonReply {
    let row = |(code, name): (u64, &str)| json!({ "CodigoEmpresa": code.to_string(), "NombreEmpresa": name });
    let rows: Vec<Value> = rows.into_iter().map(row).collect();
    (200, json!({ "Cantidad": rows.len(), "FechaCreacion": written_at(now), "listaEmpresas": rows }))
}

/// The parameters of a request for a list or a detail.
#[derive(Debug, Default)]
pub(super) struct ListQuery {
    code: Option<String>,
    day: Option<Date>,
    state: Option<String>,
    body: Option<u64>,
    supplier: Option<u64>,
}

impl ListQuery {
    /// # Errors
    /// The answer to unknown parameters and invalid values.
    pub(super) fn read(query: &[(String, String)]) -> Result<Self, JsonReply> {
        let mut asked = Self::default();
        for (name, value) in query {
            let number = || value.trim().parse::<u64>().map_err(|_| parameters_invalid());
            match name.to_ascii_lowercase().as_str() {
                // `pagina` is ignored without an error.
                "ticket" | "callback" | "pagina" => {}
                "codigo" => asked.code = Some(value.clone()),
                "fecha" => asked.day = Some(day(value).ok_or_else(parameters_invalid)?),
                "estado" => asked.state = Some(value.to_ascii_lowercase()),
                "codigoorganismo" => asked.body = Some(number()?),
                "codigoproveedor" => asked.supplier = Some(number()?),
                _ => return Err(parameter_unknown()),
            }
        }
        Ok(asked)
    }

    /// Whether the service's filter loses this record, as it loses one in `one_in`.
    fn loses(&self, chance: u64, one_in: u32) -> bool {
        (self.body.is_some() || self.supplier.is_some())
            && one_in > 0
            && chance.is_multiple_of(u64::from(one_in))
    }
}

/// `ddmmaaaa`.
fn day(text: &str) -> Option<Date> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u16>().ok();
    let small = |number: u16| u8::try_from(number).ok();
    let is_day = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    Date::new(number(4..8)?, small(number(2..4)?)?, small(number(0..2)?)?).ok().filter(|_| is_day)
}

/// Whether a text has the form of a code: two numbers and a type.
fn is_code(text: &str) -> bool {
    text.trim().parse::<ayni::procure::TenderCode>().is_ok()
}

fn tender_state(name: &str) -> Option<i64> {
    Some(match name {
        "publicada" => state::PUBLISHED,
        "cerrada" => state::CLOSED,
        "desierta" => state::DESERTED,
        "adjudicada" => state::AWARDED,
        "revocada" => state::REVOKED,
        "suspendida" => state::SUSPENDED,
        _ => return None,
    })
}

/// `licitaciones`.
pub(super) fn tenders(world: &World, now: Timestamp, asked: &ListQuery, loses_one_in: u32) -> JsonReply {
    if let Some(code) = &asked.code {
        if !is_code(code) {
            return parameters_invalid();
        }
        let known = world.tender(code).filter(|tender| latest(&tender.steps, now).is_some());
        return envelope(now, known.map(|tender| details::tender(world, tender, now)).into_iter().collect());
    }
    let open = asked.state.as_deref() == Some("activas");
    let wanted = match asked.state.as_deref() {
        None | Some("todos" | "activas") => None,
        Some(name) => match tender_state(name) {
            Some(state) => Some(state),
            None => return parameters_invalid(),
        },
    };
    let day = asked.day.unwrap_or(now.date());
    let row = |tender: &Tender| {
        let step = latest(&tender.steps, now)?;
        let listed = if open {
            step.state == state::PUBLISHED && step.closes.is_some_and(|closes| closes > now)
        } else {
            changed_on(&tender.steps, day, now) && wanted.is_none_or(|wanted| wanted == step.state)
        };
        let of_body = asked.body.is_none_or(|body| world.bodies[tender.body].code == body);
        let won = |supplier| tender.winner().is_some_and(|firm| world.firms[firm].code == supplier);
        let of_supplier = asked.supplier.is_none_or(|supplier| step.state == state::AWARDED && won(supplier));
        if !(listed && of_body && of_supplier) || asked.loses(tender.chance, loses_one_in) {
            return None;
        }
        Some(json!({
            "CodigoExterno": tender.code,
            "Nombre": tender.name,
            "CodigoEstado": step.state,
            "FechaCierre": step.closes.map(Timestamp::wall_clock),
        }))
    };
    envelope(now, world.tenders.iter().filter_map(row).collect())
}

fn order_state(name: &str) -> Option<i64> {
    Some(match name {
        "enviadaproveedor" => 4,
        "aceptada" => 6,
        "cancelada" => 9,
        "recepcionconforme" => 12,
        "pendienterecepcion" => 13,
        // Both are misspelt on the official page.
        "recepcionaceptadacialmente" => 14,
        "recepecionconformeincompleta" => 15,
        _ => return None,
    })
}

/// `ordenesdecompra`.
pub(super) fn orders(world: &World, now: Timestamp, asked: &ListQuery, loses_one_in: u32) -> JsonReply {
    if let Some(code) = &asked.code {
        if !is_code(code) {
            return parameters_invalid();
        }
        let known = world.order(code).filter(|order| latest(&order.steps, now).is_some());
        return envelope(now, known.map(|order| details::order(world, order, now)).into_iter().collect());
    }
    let wanted = match asked.state.as_deref() {
        None | Some("todos") => None,
        Some(name) => match order_state(name) {
            Some(state) => Some(state),
            None => return parameters_invalid(),
        },
    };
    let day = asked.day.unwrap_or(now.date());
    let row = |order: &Order| {
        let step = latest(&order.steps, now)?;
        let listed = changed_on(&order.steps, day, now)
            && wanted.is_none_or(|wanted| wanted == step.state)
            && asked.body.is_none_or(|body| world.bodies[order.body].code == body)
            && asked.supplier.is_none_or(|supplier| world.firms[order.firm].code == supplier);
        if !listed || asked.loses(order.chance, loses_one_in) {
            return None;
        }
        Some(json!({ "Codigo": order.code, "Nombre": order.name, "CodigoEstado": step.state }))
    };
    envelope(now, world.orders.iter().filter_map(row).collect())
}

/// `BuscarComprador`: all public bodies.
pub(super) fn buyers(world: &World, now: Timestamp) -> JsonReply {
    companies(now, world.bodies.iter().map(|body| (body.code, body.name.as_str())).collect())
}

/// `BuscarProveedor`: the suppliers with this tax number, which must be written with dots and dash.
pub(super) fn suppliers(world: &World, now: Timestamp, query: &[(String, String)]) -> JsonReply {
    let given = query.iter().find(|(name, _)| name.eq_ignore_ascii_case("rutempresaproveedor"));
    let Some((_, rut)) = given else { return parameters_invalid() };
    let has = |number: Option<ayni::procure::Rut>| {
        number.is_some_and(|number| number.to_string().eq_ignore_ascii_case(rut.trim()))
    };
    let found = world.firms.iter().filter(|firm| has(firm.tax_number));
    companies(now, found.map(|firm| (firm.code, firm.name.as_str())).collect())
}
