//! The control address: the report, and changes to clock and behaviour.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::services::Services;
use super::settings::{Behaviour, changed};
use super::world::latest;
use crate::case::Respond;
use crate::server::Received;
use ayni::procure::{Date, Timestamp, ZoneMark};
use ayni::{Error, Result};

/// What the server has seen so far. It contains no tickets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorldReport {
    /// The time on the world's clock.
    pub now: Timestamp,
    /// Whether the clock runs by itself.
    pub running: bool,
    /// The first and the last day with records.
    pub days: (Date, Date),
    /// How many records are visible by now.
    pub visible: VisibleRecords,
    /// All requests.
    pub requests: u64,
    /// Requests by resource: `v1/licitaciones.json`, `v1/licitaciones.json?codigo`, `v2/compra-agil`,
    /// `v2/compra-agil/{codigo}`, `ocds/record`.
    pub calls: BTreeMap<String, u64>,
    /// Requests that counted against a quota, of all tickets, by day in Santiago.
    pub spent: BTreeMap<String, u64>,
    /// v1 requests that came while another one with the same ticket was in flight.
    pub violations: u64,
    /// The most v1 requests with one ticket that were ever in flight at once.
    pub most_in_flight: usize,
    /// The last hundred requests: path and query without the ticket.
    pub last: Vec<String>,
    /// How clients are treated. Of the known tickets only their number is shown.
    pub behaviour: Value,
}

/// How many records are visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VisibleRecords {
    /// Tenders that are or were published.
    pub tenders: usize,
    /// Purchase orders that were sent.
    pub orders: usize,
    /// Quick purchases that are or were published.
    pub quick_purchases: usize,
}

/// What `POST /__chilecompra` takes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Changes {
    now: Option<String>,
    advance_seconds: Option<f64>,
    running: Option<bool>,
    behaviour: Option<Value>,
    forget: bool,
}

pub(super) fn report(services: &Services) -> WorldReport {
    let state = services.state();
    let now = state.clock.now();
    let world = &services.world;
    let mut behaviour = serde_json::to_value(&state.behaviour).unwrap_or_default();
    behaviour["tickets"] = json!(state.behaviour.tickets.len());
    WorldReport {
        now,
        running: state.clock.is_running(),
        days: services.days,
        visible: VisibleRecords {
            tenders: world.tenders.iter().filter(|tender| latest(&tender.steps, now).is_some()).count(),
            orders: world.orders.iter().filter(|order| latest(&order.steps, now).is_some()).count(),
            quick_purchases: world.quick.iter().filter(|quick| quick.seen(now).is_some()).count(),
        },
        requests: state.requests,
        calls: state.calls.clone(),
        spent: state.spent.iter().map(|(day, tickets)| (day.to_string(), tickets.values().sum())).collect(),
        violations: state.violations,
        most_in_flight: state.most_in_flight,
        last: state.last.clone(),
        behaviour,
    }
}

/// The answer to a request for the control address; none for a request to the services.
pub(super) fn answer(request: &Received, services: &Services) -> Option<Respond> {
    if request.path != "/__chilecompra" {
        return None;
    }
    let outcome = match request.method.as_str() {
        "POST" => change(services, &request.body),
        _ => Ok(()),
    };
    let (status, json) = match outcome {
        Ok(()) => (200, serde_json::to_value(report(services)).unwrap_or_default()),
        Err(error) => (400, json!({ "error": error.message() })),
    };
    Some(Respond { status: Some(status), json: Some(json), ..Respond::default() })
}

fn change(services: &Services, body: &[u8]) -> Result<()> {
    let changes: Changes = serde_json::from_slice(body)
        .map_err(|error| Error::invalid_request(format!("not a change: {error}")))?;
    let now = changes.now.map(|now| Timestamp::read(&now, ZoneMark::Utc)).transpose()?;
    let by = changes.advance_seconds.map(Duration::try_from_secs_f64).transpose();
    let by = by.map_err(|_| Error::invalid_request("`advance_seconds` is not a time"))?;
    let mut state = services.state();
    let behaviour: Option<Behaviour> =
        changes.behaviour.map(|changes| changed(&state.behaviour, changes)).transpose()?;
    if changes.forget {
        state.forget();
    }
    if let Some(running) = changes.running {
        state.clock.run(running);
    }
    if let Some(now) = now {
        state.clock.set(now);
    }
    if let Some(by) = by {
        state.clock.advance(by);
    }
    if let Some(behaviour) = behaviour {
        state.behave(behaviour);
    }
    Ok(())
}
