//! What the world contains, and how the services treat clients.

use serde::{Deserialize, Serialize};

use ayni::procure::{Date, Timestamp};
use ayni::{Error, Result};

/// What the world contains. The same spec gives the same world on every machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WorldSpec {
    /// The seed of everything random.
    pub seed: u64,
    /// The first day with records; 60 days before the last by default.
    pub from: Option<Date>,
    /// The last day with records; by default 30 days after the start of the clock, so that time can go on.
    pub to: Option<Date>,
    /// Where the clock starts; now by default.
    pub now: Option<Timestamp>,
    /// Whether the clock runs by itself. Otherwise it stands still until it is moved.
    pub running: bool,
    /// Tenders published on a working day, on average; at weekends a sixth.
    pub tenders: u32,
    /// Purchase orders sent on a working day.
    pub orders: u32,
    /// Quick purchases published on a working day.
    pub quick_purchases: u32,
    /// Public bodies.
    pub bodies: u32,
    /// Suppliers.
    pub suppliers: u32,
}

impl Default for WorldSpec {
    fn default() -> Self {
        Self {
            seed: 1,
            from: None,
            to: None,
            now: None,
            running: true,
            tenders: 12,
            orders: 40,
            quick_purchases: 15,
            bodies: 24,
            suppliers: 40,
        }
    }
}

/// The most records of a kind on one day; running numbers have no room for more.
const MAX_RECORDS_PER_DAY: u32 = 4000;

impl WorldSpec {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Sets the first and last day with records.
    pub fn with_days(mut self, from: Date, to: Date) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    /// Starts the clock at a moment and stops it there until it is moved.
    pub fn standing_at(mut self, now: Timestamp) -> Self {
        (self.now, self.running) = (Some(now), false);
        self
    }

    /// Sets the number of tenders, purchase orders and quick purchases of a working day.
    pub fn with_records(mut self, tenders: u32, orders: u32, quick_purchases: u32) -> Self {
        (self.tenders, self.orders, self.quick_purchases) = (tenders, orders, quick_purchases);
        self
    }

    /// Refuses impossible worlds.
    pub(super) fn check(&self) -> Result<()> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && (from > to || from.days_until(to) > 1500)
        {
            return Err(Error::config("`from` is after `to`, or more than 1500 days before it"));
        }
        if self.bodies == 0 || self.suppliers == 0 {
            return Err(Error::config("`bodies` and `suppliers` must not be 0"));
        }
        if self.tenders.max(self.orders).max(self.quick_purchases) > MAX_RECORDS_PER_DAY {
            return Err(Error::config(format!("a day has at most {MAX_RECORDS_PER_DAY} records of a kind")));
        }
        Ok(())
    }
}

/// How the services treat clients, and what goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Behaviour {
    /// How long every answer takes.
    pub latency_ms: u64,
    /// How much longer a page of quick purchases takes for each requested row.
    pub row_ms: u64,
    /// Whether a second v1 request with a ticket is refused while one is in flight. Violations are always counted.
    pub one_in_flight: bool,
    /// The HTTP status of that refusal: 500 until the middle of 2026, 429 since, 200 by one report.
    pub simultaneous_status: u16,
    /// How many requests a ticket has on one day in Santiago, v1 and quick purchases together.
    pub daily_quota: u32,
    /// The valid tickets; if empty, every ticket is valid.
    pub tickets: Vec<String>,
    /// After so many more requests every ticket is refused.
    pub ticket_dies_after: Option<u64>,
    /// Pages of quick purchases with more rows than this time out at the gateway.
    pub most_rows: Option<u32>,
    /// How many quick purchases are published while pages are read: one before each page but the first.
    pub appearing_rows: u32,
    /// How many of the newest quick purchases drop out of the list while pages are read.
    pub vanishing_rows: u32,
    /// v1 lists filtered by body or supplier lack one in so many rows; with 0 they are complete.
    pub filter_loses_one_in: u32,
    /// How many months the OCDS feed lags behind.
    pub ocds_months_behind: u32,
    /// What goes wrong. Of several faults that match a request, the first applies.
    pub faults: Vec<Fault>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            row_ms: 0,
            one_in_flight: true,
            simultaneous_status: 429,
            daily_quota: 10_000,
            tickets: Vec::new(),
            ticket_dies_after: None,
            most_rows: None,
            appearing_rows: 0,
            vanishing_rows: 0,
            filter_loses_one_in: 1240,
            ocds_months_behind: 1,
            faults: Vec::new(),
        }
    }
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Fault {
    /// What path and query of the request must contain: `licitaciones`, `fecha=14102026`. Empty for any.
    #[serde(default)]
    pub at: String,
    /// What happens.
    pub what: FaultKind,
    /// How many matching requests go well first.
    #[serde(default)]
    pub skip: u32,
    /// How many requests it affects; all that follow without a number.
    #[serde(default)]
    pub times: Option<u32>,
}

impl Fault {
    /// A fault of the first `times` requests that contain `at`.
    pub fn new(at: impl Into<String>, what: FaultKind, times: impl Into<Option<u32>>) -> Self {
        Self { at: at.into(), what, skip: 0, times: times.into() }
    }

    /// Lets `skip` matching requests go well first.
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }
}

/// What can go wrong with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// An HTML page with status 200.
    Html,
    /// The JSON is cut off in an HTTP answer that is complete.
    Truncated,
    /// NUL bytes between the members.
    NulBytes,
    /// Numbers as text, text as numbers, blanks and nulls exchanged.
    DriftingTypes,
    /// `10500`, whether or not another request is in flight.
    Simultaneous,
    /// The day's quota is said to be spent.
    QuotaSpent,
    /// The ticket is refused.
    TicketRefused,
    /// The parameters are said to be invalid: `10300`.
    ParametersInvalid,
    /// Status 504 from the gateway.
    GatewayTimeout,
    /// Status 503 with an HTML page.
    Unavailable,
    /// The connection is reset once the request is read.
    Reset,
    /// There is never an answer.
    Silence,
}

/// `base` with the members of `changes` replaced.
pub(super) fn changed<T: Serialize + serde::de::DeserializeOwned>(
    base: &T,
    changes: serde_json::Value,
) -> Result<T> {
    let refuse = |error: serde_json::Error| Error::invalid_request(format!("not a setting: {error}"));
    let mut whole = serde_json::to_value(base).map_err(refuse)?;
    match (whole.as_object_mut(), changes) {
        (Some(members), serde_json::Value::Object(changes)) => members.extend(changes),
        _ => return Err(Error::invalid_request("settings are an object")),
    }
    serde_json::from_value(whole).map_err(refuse)
}
