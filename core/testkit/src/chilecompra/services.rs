//! Routes requests to the services, counts them, and applies quota, faults and delays.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::WorldClock;
use super::distort;
use super::settings::{Behaviour, FaultKind};
use super::v1::{self, JsonReply};
use super::world::World;
use super::{ocds, v2};
use crate::case::{DropPoint, Respond};
use crate::server::Received;
use ayni::procure::{Date, Timestamp};

/// How many of the last requests the report shows.
const MAX_REMEMBERED_REQUESTS: usize = 100;

/// The services of one world.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) world: World,
    pub(super) days: (Date, Date),
    state: Mutex<ServiceState>,
}

/// What changes while they serve.
#[derive(Debug)]
pub(super) struct ServiceState {
    pub(super) clock: WorldClock,
    pub(super) behaviour: Behaviour,
    /// How many requests have matched each fault.
    matched: Vec<u32>,
    /// Requests left before every ticket is refused.
    requests_until_expiry: Option<u64>,
    /// How many rows have not appeared yet, and how many have vanished.
    hidden: (u32, u32),
    pub(super) requests: u64,
    pub(super) calls: BTreeMap<String, u64>,
    pub(super) last: Vec<String>,
    /// Requests by day and ticket.
    pub(super) spent: BTreeMap<Date, HashMap<String, u64>>,
    in_flight: HashMap<String, usize>,
    pub(super) most_in_flight: usize,
    pub(super) violations: u64,
}

impl ServiceState {
    pub(super) fn behave(&mut self, behaviour: Behaviour) {
        self.matched = vec![0; behaviour.faults.len()];
        self.requests_until_expiry = behaviour.ticket_dies_after;
        self.hidden = (behaviour.appearing_rows, 0);
        self.behaviour = behaviour;
    }

    pub(super) fn forget(&mut self) {
        (self.requests, self.violations, self.most_in_flight) = (0, 0, 0);
        self.calls.clear();
        self.last.clear();
        self.spent.clear();
    }

    /// The first fault that applies to a request.
    fn next_fault(&mut self, asked: &str) -> Option<FaultKind> {
        for (fault, matched) in self.behaviour.faults.iter().zip(&mut self.matched) {
            if !asked.contains(&fault.at) {
                continue;
            }
            *matched += 1;
            let occurrences = matched.saturating_sub(fault.skip);
            if occurrences > 0 && fault.times.is_none_or(|times| occurrences <= times) {
                return Some(fault.what);
            }
        }
        None
    }

    /// Whether a ticket is valid.
    fn accepts(&mut self, ticket: &str) -> bool {
        let lives = self.requests_until_expiry.as_mut().is_none_or(|left| {
            let lives = *left > 0;
            *left = left.saturating_sub(1);
            lives
        });
        let tickets = &self.behaviour.tickets;
        lives && (tickets.is_empty() || tickets.iter().any(|known| known == ticket))
    }

    /// Counts a request against the quota and says whether the ticket had one left.
    fn spend(&mut self, ticket: &str) -> bool {
        let today = self.clock.now().date();
        let spent = self.spent.entry(today).or_default().entry(ticket.to_owned()).or_default();
        *spent += 1;
        *spent <= u64::from(self.behaviour.daily_quota)
    }

    /// How many rows to leave out before a page of quick purchases: some have yet to appear, some have vanished.
    fn rows_to_skip(&mut self, page: u32) -> u32 {
        if page > 1 {
            self.hidden.0 = self.hidden.0.saturating_sub(1);
            self.hidden.1 = (self.hidden.1 + 1).min(self.behaviour.vanishing_rows);
        }
        self.hidden.0 + self.hidden.1
    }
}

/// Which service a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    V1,
    Quick,
    Ocds,
    None,
}

/// A request to one of the services.
struct ServiceRequest<'a> {
    service: Service,
    /// Below the service's base, in lower case for v1.
    path: String,
    query: &'a [(String, String)],
    ticket: Option<String>,
}

fn sorted(request: &Received) -> ServiceRequest<'_> {
    let lower = request.path.to_ascii_lowercase();
    let behind = |base: &str| request.path.get(base.len()..).unwrap_or_default().to_owned();
    let (service, path) = if lower.starts_with("/servicios/v1/publico/") {
        (Service::V1, behind("/servicios/v1/publico/").to_ascii_lowercase())
    } else if lower.starts_with("/v2/") {
        (Service::Quick, behind("/v2/"))
    } else if lower.starts_with("/apisocds/ocds/") {
        (Service::Ocds, behind("/apisocds/ocds/"))
    } else if lower.starts_with("/ocds/data/") {
        (Service::Ocds, behind("/ocds/data/"))
    } else {
        (Service::None, lower)
    };
    let in_query = || {
        let found = request.query.iter().find(|(name, _)| name.eq_ignore_ascii_case("ticket"));
        found.map(|(_, ticket)| ticket.clone())
    };
    let ticket = match service {
        Service::V1 => in_query(),
        Service::Quick => request.header("ticket").map(str::to_owned),
        _ => None,
    };
    ServiceRequest {
        service,
        path,
        query: &request.query,
        ticket: ticket.filter(|ticket| !ticket.is_empty()),
    }
}

impl ServiceRequest<'_> {
    /// Path and query without the ticket.
    fn line(&self) -> String {
        let query = self.query.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("ticket"));
        let query: Vec<String> = query.map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}?{}", self.path, query.join("&"))
    }

    /// The name under which it is counted.
    fn resource(&self) -> String {
        let name = self.path.split(['/', '?']).next().unwrap_or_default();
        let is_detail = self.query.iter().any(|(name, _)| name.eq_ignore_ascii_case("codigo"));
        match self.service {
            Service::V1 if is_detail => format!("v1/{}?codigo", self.path),
            Service::V1 => format!("v1/{}", self.path),
            Service::Quick if self.path.contains('/') => format!("v2/{name}/{{codigo}}"),
            Service::Quick => format!("v2/{name}"),
            Service::Ocds => format!("ocds/{name}"),
            Service::None => "other".to_owned(),
        }
    }
}

/// A request that is in flight, until this is dropped.
struct InFlight<'a> {
    services: &'a Services,
    ticket: &'a str,
    /// Whether no other request of the ticket is in flight.
    alone: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut state = self.services.state();
        if let Some(count) = state.in_flight.get_mut(self.ticket) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Services {
    pub(super) fn new(world: World, days: (Date, Date), clock: WorldClock) -> Self {
        let state = ServiceState {
            clock,
            behaviour: Behaviour::default(),
            matched: Vec::new(),
            requests_until_expiry: None,
            hidden: (0, 0),
            requests: 0,
            calls: BTreeMap::new(),
            last: Vec::new(),
            spent: BTreeMap::new(),
            in_flight: HashMap::new(),
            most_in_flight: 0,
            violations: 0,
        };
        Self { world, days, state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ServiceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter<'a>(&'a self, ticket: &'a str) -> InFlight<'a> {
        let mut state = self.state();
        let count = state.in_flight.entry(ticket.to_owned()).or_default();
        *count += 1;
        let count = *count;
        state.most_in_flight = state.most_in_flight.max(count);
        state.violations += u64::from(count > 1);
        InFlight { services: self, ticket, alone: count == 1 }
    }

    /// Answers one request. It is in flight until its answer starts to be sent.
    pub(super) async fn answer(self: &Arc<Self>, request: &Received) -> Respond {
        let asked = sorted(request);
        let (fault, latency) = {
            let mut state = self.state();
            state.requests += 1;
            *state.calls.entry(asked.resource()).or_default() += 1;
            let line = asked.line();
            if state.last.len() == MAX_REMEMBERED_REQUESTS {
                state.last.remove(0);
            }
            state.last.push(line.clone());
            (state.next_fault(&line), Duration::from_millis(state.behaviour.latency_ms))
        };
        let in_flight = match (&asked.ticket, asked.service) {
            (Some(ticket), Service::V1) => Some(self.enter(ticket)),
            _ => None,
        };
        if latency > Duration::ZERO {
            tokio::time::sleep(latency).await;
        }
        let alone = in_flight.as_ref().is_none_or(|in_flight| in_flight.alone);
        let refused = self.refusal(&asked, alone, fault);
        let answer = match refused {
            Some(answer) => answer,
            None => self.serve(&asked).await,
        };
        let retry_after = (answer.0 == 429 && asked.service == Service::Quick).then(|| self.until_midnight());
        drop(in_flight);
        respond(&asked, answer, fault, retry_after)
    }

    fn until_midnight(&self) -> u64 {
        let now = self.state().clock.now();
        let midnight = Timestamp::start_of(now.date().plus_days(1));
        midnight.time_left(now).map_or(0, |left| left.as_secs())
    }

    /// The refusal of a request, because of its ticket or a fault.
    fn refusal(
        &self,
        asked: &ServiceRequest<'_>,
        alone: bool,
        fault: Option<FaultKind>,
    ) -> Option<JsonReply> {
        let mut state = self.state();
        let quick = asked.service == Service::Quick;
        let status = state.behaviour.simultaneous_status;
        if matches!(asked.service, Service::V1 | Service::Quick) {
            let Some(ticket) = &asked.ticket else {
                return Some(if quick { v2::failure(401, "401", NO_TICKET) } else { v1::ticket_refused() });
            };
            let left = state.spend(ticket);
            if !state.accepts(ticket) || fault == Some(FaultKind::TicketRefused) {
                return Some(if quick { v2::failure(403, "403", NO_TICKET) } else { v1::ticket_refused() });
            }
            if !alone && state.behaviour.one_in_flight {
                return Some(v1::simultaneous(status));
            }
            if !left || fault == Some(FaultKind::QuotaSpent) {
                return Some(if quick { v2::failure(429, "429", ENOUGH) } else { v1::quota_spent() });
            }
        }
        match fault? {
            FaultKind::Simultaneous => Some(v1::simultaneous(status)),
            FaultKind::ParametersInvalid => Some(v1::parameters_invalid()),
            FaultKind::GatewayTimeout => Some(v2::gateway_timeout()),
            _ => None,
        }
    }

    /// The answer of the service.
    async fn serve(&self, asked: &ServiceRequest<'_>) -> JsonReply {
        let (now, behaviour) = {
            let state = self.state();
            (state.clock.now(), state.behaviour.clone())
        };
        match asked.service {
            Service::V1 => self.serve_v1(asked, now, behaviour.filter_loses_one_in),
            Service::Quick => self.serve_v2(asked, now, &behaviour).await,
            Service::Ocds => ocds::answer(&self.world, now, behaviour.ocds_months_behind, &asked.path),
            Service::None => ocds::route_unknown(),
        }
    }

    fn serve_v1(&self, asked: &ServiceRequest<'_>, now: Timestamp, loses_one_in: u32) -> JsonReply {
        let world = &self.world;
        let read = || v1::ListQuery::read(asked.query);
        match asked.path.as_str() {
            "licitaciones" | "licitaciones.json" | "licitaciones.jsonp" => {
                read().map_or_else(|answer| answer, |read| v1::tenders(world, now, &read, loses_one_in))
            }
            "ordenesdecompra" | "ordenesdecompra.json" | "ordenesdecompra.jsonp" => {
                read().map_or_else(|answer| answer, |read| v1::orders(world, now, &read, loses_one_in))
            }
            "empresas/buscarcomprador" => v1::buyers(world, now),
            "empresas/buscarproveedor" => v1::suppliers(world, now, asked.query),
            // Also `OrdenCompra.json`, which is in the official dictionary.
            _ => ocds::route_unknown(),
        }
    }

    async fn serve_v2(&self, asked: &ServiceRequest<'_>, now: Timestamp, behaviour: &Behaviour) -> JsonReply {
        match asked.path.trim_end_matches('/').split_once('/') {
            None if asked.path.trim_end_matches('/') == "compra-agil" => {
                let read = match v2::PageQuery::read(asked.query) {
                    Ok(read) => read,
                    Err(answer) => return answer,
                };
                let slow = behaviour.row_ms * u64::from(read.size);
                if slow > 0 {
                    tokio::time::sleep(Duration::from_millis(slow)).await;
                }
                if behaviour.most_rows.is_some_and(|most| read.size > most) {
                    return v2::gateway_timeout();
                }
                let skipped = self.state().rows_to_skip(read.page);
                v2::list(&self.world, now, &read, skipped)
            }
            Some(("compra-agil", code)) => v2::detail(&self.world, now, code),
            _ => v2::failure(404, "404", "No existe el recurso"),
        }
    }
}

const NO_TICKET: &str = "El ticket no existe, es inválido o no tiene permisos.";
const ENOUGH: &str = "Se ha alcanzado el límite de solicitudes permitido. Intente nuevamente más tarde.";

/// The HTTP answer, damaged by the fault if there is one.
fn respond(
    asked: &ServiceRequest<'_>,
    answer: JsonReply,
    fault: Option<FaultKind>,
    retry_after: Option<u64>,
) -> Respond {
    let dropped = |point| Respond { drop: Some(point), ..Respond::default() };
    let page = |status| Respond {
        status: Some(status),
        html: Some(
            "<html><head><title>Error</title></head><body>Servicio no disponible</body></html>".to_owned(),
        ),
        ..Respond::default()
    };
    let text = match fault {
        Some(FaultKind::Reset) => return dropped(DropPoint::AfterRequest),
        Some(FaultKind::Silence) => return dropped(DropPoint::NeverAnswer),
        Some(FaultKind::Html) => return page(200),
        Some(FaultKind::Unavailable) => return page(503),
        Some(FaultKind::Truncated) => distort::truncated(&answer.1.to_string()),
        Some(FaultKind::NulBytes) => distort::with_nul_bytes(&answer.1.to_string()),
        Some(FaultKind::DriftingTypes) => distort::drifted(&answer.1).to_string(),
        _ => answer.1.to_string(),
    };
    let callback = asked.query.iter().find(|(name, _)| name.eq_ignore_ascii_case("callback"));
    let text = match callback {
        Some((_, name)) if asked.path.ends_with(".jsonp") => format!("{name}({text});"),
        _ => text,
    };
    let mut respond = Respond { status: Some(answer.0), text: Some(text), ..Respond::default() };
    let header = |value: &str| serde_json::Value::String(value.to_owned());
    respond.headers.insert("content-type".to_owned(), header("application/json; charset=utf-8"));
    if let Some(seconds) = retry_after {
        respond.headers.insert("retry-after".to_owned(), header(&seconds.to_string()));
    }
    respond
}
