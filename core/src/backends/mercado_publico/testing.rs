//! ChileCompra for tests: tenders by day, one request in flight, a quota, and whatever a test makes fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{MercadoPublico, MercadoPublicoConfig};
use crate::context::{BoxFuture, Clock, Context, ManualClock};
use crate::env::Environment;
use crate::http::{HeaderText, HttpRequest, HttpResponse, Transport, TransportError, TransportPhase};
use crate::procure::store::{MemoryStore, SharedStore};
use crate::procure::{Date, ListRequest, Timestamp, ZoneMark};

/// The ticket of the tests. It must appear nowhere.
pub(super) const TICKET: &str = "CANARY-6766-4DEF-9E59-426B4FEE2844";

/// A day of the tests.
pub(super) fn day(text: &str) -> Date {
    text.parse().expect("a day")
}

pub(super) fn range(from: &str, to: &str) -> ListRequest {
    ListRequest::between(day(from), day(to))
}

/// A tender as the fake keeps it: state and closing time.
type Row = (i64, &'static str);

#[derive(Clone, Debug, Default)]
pub(super) struct ChileCompra(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    days: BTreeMap<&'static str, BTreeMap<&'static str, Row>>,
    open: BTreeMap<&'static str, Row>,
    details: BTreeMap<String, String>,
    quick: Vec<String>,
    slow_above: Option<usize>,
    /// The day over which changes of quick purchases are spread evenly.
    changes: Option<Timestamp>,
    scripted: VecDeque<(u16, String)>,
    seen: Vec<HttpRequest>,
    lets_go: bool,
    /// The codes and days whose parameters the service refuses.
    refused: BTreeSet<String>,
    /// The clock of the service, if it tells it.
    date: Option<Timestamp>,
    in_flight: usize,
    most_in_flight: usize,
}

impl ChileCompra {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a tender on a day, `ddmmaaaa`.
    pub(super) fn lists(&self, day: &'static str, code: &'static str, row: Row) {
        self.state().days.entry(day).or_default().insert(code, row);
    }

    pub(super) fn opens(&self, code: &'static str, row: Option<Row>) {
        match row {
            Some(row) => drop(self.state().open.insert(code, row)),
            None => drop(self.state().open.remove(code)),
        }
    }

    pub(super) fn details(&self, code: &str, members: &str) {
        let body = format!("{{\"Cantidad\":1,\"Listado\":[{{\"CodigoExterno\":\"{code}\",{members}}}]}}");
        self.state().details.insert(code.to_owned(), body);
    }

    /// Quick purchases, newest first; pages above `slow_above` rows time out.
    pub(super) fn quick(&self, codes: impl IntoIterator<Item = String>, slow_above: Option<usize>) {
        let mut state = self.state();
        state.quick = codes.into_iter().collect();
        state.slow_above = slow_above;
    }

    /// Spreads the changes of all quick purchases over the day that begins then.
    pub(super) fn changes_over(&self, midnight: Timestamp) {
        self.state().changes = Some(midnight);
    }

    /// Answers the next requests so, whatever they ask. Status 0 is a connection that never stood.
    pub(super) fn next(&self, answers: impl IntoIterator<Item = (u16, &'static str)>) {
        self.state().scripted.extend(answers.into_iter().map(|(status, body)| (status, body.to_owned())));
    }

    /// `path?query` of every request so far, without the ticket.
    pub(super) fn asked(&self) -> Vec<String> {
        let line = |request: &HttpRequest| {
            let pairs: Vec<String> = request
                .url
                .query_pairs()
                .filter(|(name, _)| name != "ticket")
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("{}?{}", request.url.path(), pairs.join("&"))
        };
        self.state().seen.iter().map(line).collect()
    }

    /// Refuses a code or a day, `ddmmaaaa`, or no longer.
    pub(super) fn refuses(&self, what: &str, refused: bool) {
        let mut state = self.state();
        match refused {
            true => drop(state.refused.insert(what.to_owned())),
            false => drop(state.refused.remove(what)),
        }
    }

    /// Has the service tell its clock in every answer.
    pub(super) fn tells_time(&self, moment: &str) {
        self.state().date = Some(Timestamp::read(moment, ZoneMark::WallClock).expect("a moment"));
    }

    /// Has every request let the others run before it is answered.
    pub(super) fn lets_go(&self) {
        self.state().lets_go = true;
    }

    pub(super) fn calls(&self) -> usize {
        self.state().seen.len()
    }

    pub(super) fn most_in_flight(&self) -> usize {
        self.state().most_in_flight
    }

    pub(super) fn every_request_carries_the_ticket_once(&self) -> bool {
        let carries = |request: &HttpRequest| {
            let in_query =
                request.url.query_pairs().filter(|(name, value)| name == "ticket" && value == TICKET).count();
            let in_header = usize::from(request.headers.text("ticket") == Some(TICKET));
            in_query + in_header == 1
        };
        self.state().seen.iter().all(carries)
    }

    fn answer(&self, request: &HttpRequest) -> (u16, String) {
        let mut state = self.state();
        if let Some(scripted) = state.scripted.pop_front() {
            return scripted;
        }
        let parameter = |wanted: &str| {
            request.url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        if request.url.path().contains("compra-agil") {
            let window = (parameter("cambio_desde"), parameter("cambio_hasta"));
            return quick_page(&state, window, parameter("numero_pagina"), parameter("tamano_pagina"));
        }
        let what = parameter("codigo").or_else(|| parameter("fecha")).unwrap_or_default();
        if state.refused.contains(&what) {
            return (200, "{\"Codigo\":10300,\"Mensaje\":\"Los parámetros no son válidos.\"}".to_owned());
        }
        if let Some(code) = parameter("codigo") {
            let empty = || "{\"Cantidad\":0,\"Listado\":[]}".to_owned();
            return (200, state.details.get(&code).cloned().unwrap_or_else(empty));
        }
        let rows = match parameter("fecha") {
            Some(day) => state.days.get(day.as_str()).cloned().unwrap_or_default(),
            None => state.open.clone(),
        };
        let row = |(code, (number, closes)): (&&str, &Row)| {
            format!(
                "{{\"CodigoExterno\":\"{code}\",\"Nombre\":\"Compra de {code}\",\"CodigoEstado\":{number},\"FechaCierre\":\"{closes}\"}}"
            )
        };
        let listed: Vec<String> = rows.iter().map(row).collect();
        (
            200,
            format!(
                "{{\"Cantidad\":{},\"Version\":\"v1\",\"Listado\":[{}]}}",
                listed.len(),
                listed.join(",")
            ),
        )
    }
}

/// The quick purchases that changed in a window, if the fake knows when each did.
fn changed(state: &State, window: (Option<String>, Option<String>)) -> Vec<&String> {
    let moment = |text: Option<String>| Some(Timestamp::read(&text?, ZoneMark::WallClock).expect("a moment"));
    let (Some(midnight), Some(from), Some(until)) = (state.changes, moment(window.0), moment(window.1))
    else {
        return state.quick.iter().collect();
    };
    let day = 24 * 3600 * 1000;
    let (midnight, window) = (midnight.unix_millis(), from.unix_millis()..=until.unix_millis());
    let count = i64::try_from(state.quick.len()).expect("few");
    let codes = (0..).zip(&state.quick);
    codes
        .filter(|(place, _)| window.contains(&(midnight + day * place / count)))
        .map(|(_, code)| code)
        .collect()
}

fn quick_page(
    state: &State,
    window: (Option<String>, Option<String>),
    number: Option<String>,
    size: Option<String>,
) -> (u16, String) {
    let whole = |text: Option<String>| text.and_then(|text| text.parse::<usize>().ok()).expect("a number");
    let (number, size) = (whole(number), whole(size));
    if state.slow_above.is_some_and(|most| size > most) {
        return (504, "{\"message\":\"Endpoint request timed out\"}".to_owned());
    }
    let item = |code: &String| {
        format!(
            "{{\"codigo\":\"{code}\",\"nombre\":\"x\",\"estado\":{{\"codigo\":\"publicada\"}},\"montos\":null}}"
        )
    };
    let codes = changed(state, window);
    let items: Vec<String> =
        codes.iter().skip((number - 1) * size).take(size).map(|code| item(code)).collect();
    // The service counts no further.
    let total = codes.len().min(10_000);
    let paging = format!(
        "{{\"total_paginas\":{},\"numero_pagina\":{number},\"tamano_pagina\":{},\"total_resultados\":{total}}}",
        total.div_ceil(size),
        items.len(),
    );
    (
        200,
        format!(
            "{{\"success\":\"OK\",\"payload\":{{\"items\":[{}],\"paginacion\":{paging}}}}}",
            items.join(",")
        ),
    )
}

impl Transport for ChileCompra {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
        Box::pin(async move {
            {
                let mut state = self.state();
                state.seen.push(request.clone());
                state.in_flight += 1;
                state.most_in_flight = state.most_in_flight.max(state.in_flight);
            }
            // Under a clock that jumps, whoever lets go is overtaken by its own time-out.
            if self.state().lets_go {
                tokio::task::yield_now().await;
            }
            let (status, body) = self.answer(&request);
            self.state().in_flight -= 1;
            if status == 0 {
                return Err(TransportError::new(TransportPhase::Connect, "refused"));
            }
            let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
            let date = self.state().date.map(|date| {
                let millis = u64::try_from(date.unix_millis()).expect("after 1970");
                httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_millis(millis))
            });
            let date = date.as_deref().map(|date| ("Date", date));
            let headers: Vec<(&str, &str)> = std::iter::once(("Content-Type", kind)).chain(date).collect();
            Ok(HttpResponse::of(status, &headers, body))
        })
    }
}

/// A client over the fake, at a moment of Santiago, with a clock that jumps over every sleep.
pub(super) struct Bench {
    pub(super) chile: ChileCompra,
    pub(super) clock: ManualClock,
    pub(super) store: SharedStore,
    pub(super) config: MercadoPublicoConfig,
}

impl Bench {
    pub(super) fn at(moment: &str) -> Self {
        // A host of its own, so that no other test shares the account's queue.
        let server = format!("http://bench-{}.test", crate::procure::store::unique());
        let config =
            MercadoPublicoConfig::new().with_ticket(TICKET).with_server(server).with_lock(false, None);
        let bench = Self {
            chile: ChileCompra::default(),
            clock: ManualClock::automatic(),
            store: Arc::new(MemoryStore::new()),
            config,
        };
        bench.set(moment);
        bench
    }

    pub(super) fn set(&self, moment: &str) {
        let moment = Timestamp::read(moment, ZoneMark::WallClock).expect("a moment");
        let millis = u64::try_from(moment.unix_millis()).expect("after 1970");
        self.clock.set_system_time(std::time::UNIX_EPOCH + Duration::from_millis(millis));
    }

    pub(super) fn client(&self) -> MercadoPublico {
        let client = self.config.open(&Environment::empty()).expect("opened");
        client.with_opened_store(Arc::clone(&self.store)).expect("the only store")
    }

    pub(super) fn cx(&self) -> Context {
        Context::new()
            .with_clock(Clock::from(self.clock.clone()))
            .with_transport(Arc::new(self.chile.clone()))
    }
}
