//! What the world is made of, and how the services treat whoever asks.

use serde::{Deserialize, Serialize};

use ayni::procure::{Date, Timestamp};
use ayni::{Error, Result};

/// What the world is made of. The same spec gives the same world on every machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WorldSpec {
    /// What chance depends on.
    pub seed: u64,
    /// The first day with records; 60 days before the last by default.
    pub from: Option<Date>,
    /// The last day with records; 30 days after the beginning of the clock by default, so that time can go on.
    pub to: Option<Date>,
    /// Where the clock begins; now by default.
    pub now: Option<Timestamp>,
    /// Whether the clock goes on by itself. Otherwise it moves when told to.
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

/// Most records of a kind on one day: their running numbers count no further.
const MOST_A_DAY: u32 = 4000;

impl WorldSpec {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Days with records.
    pub fn with_days(mut self, from: Date, to: Date) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    /// Has the clock begin at a moment and stand still until it is moved.
    pub fn standing_at(mut self, now: Timestamp) -> Self {
        (self.now, self.running) = (Some(now), false);
        self
    }

    /// Tenders, purchase orders and quick purchases of a working day.
    pub fn with_records(mut self, tenders: u32, orders: u32, quick_purchases: u32) -> Self {
        (self.tenders, self.orders, self.quick_purchases) = (tenders, orders, quick_purchases);
        self
    }

    /// Fails where there is no such world.
    pub(super) fn check(&self) -> Result<()> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && (from > to || from.days_until(to) > 1500)
        {
            return Err(Error::config("the world's days are upside down, or more than 1500"));
        }
        if self.bodies == 0 || self.suppliers == 0 {
            return Err(Error::config("a world needs `bodies` and `suppliers`"));
        }
        if self.tenders.max(self.orders).max(self.quick_purchases) > MOST_A_DAY {
            return Err(Error::config(format!("a day has {MOST_A_DAY} records of a kind at most")));
        }
        Ok(())
    }
}

/// How the services treat whoever asks, and what goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Behaviour {
    /// How long every answer takes.
    pub latency_ms: u64,
    /// How much longer a page of quick purchases takes for each row asked for.
    pub row_ms: u64,
    /// Whether a second v1 request of a ticket is refused while one is in flight. Violations are counted anyway.
    pub one_in_flight: bool,
    /// The HTTP status of that refusal: 500 until the middle of 2026, 429 since, 200 by one report.
    pub simultaneous_status: u16,
    /// The requests that a ticket has on one day in Santiago, v1 and quick purchases together.
    pub daily_quota: u32,
    /// The tickets that are known; any is while this is empty.
    pub tickets: Vec<String>,
    /// After so many more requests every ticket is refused.
    pub ticket_dies_after: Option<u64>,
    /// Pages of quick purchases with more rows than this time out at the gateway.
    pub most_rows: Option<u32>,
    /// So many quick purchases are published while pages are read: one before each page but the first.
    pub appearing_rows: u32,
    /// So many of the newest quick purchases drop out of the list while pages are read.
    pub vanishing_rows: u32,
    /// v1 lists filtered by body or supplier lack one in so many rows; 0 for none.
    pub filter_loses_one_in: u32,
    /// How many months the OCDS feed is behind.
    pub ocds_months_behind: u32,
    /// What goes wrong, the first that fits.
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
    /// What the request's path and query must hold: `licitaciones`, `fecha=14102026`. Empty for any.
    #[serde(default)]
    pub at: String,
    /// What happens.
    pub what: FaultKind,
    /// So many requests that fit go well first.
    #[serde(default)]
    pub skip: u32,
    /// How many requests it strikes; all that follow if there is no number.
    #[serde(default)]
    pub times: Option<u32>,
}

impl Fault {
    /// Something that strikes so many requests that hold `at`.
    pub fn new(at: impl Into<String>, what: FaultKind, times: impl Into<Option<u32>>) -> Self {
        Self { at: at.into(), what, skip: 0, times: times.into() }
    }

    /// Lets so many requests go well first.
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
    /// A page of markup with status 200.
    Html,
    /// The JSON breaks off, though the HTTP answer is whole.
    Truncated,
    /// NUL bytes between the members.
    NulBytes,
    /// Numbers as text, text as numbers, blanks and nulls for what is empty.
    DriftingTypes,
    /// `10500`, whether or not another request is in flight.
    Simultaneous,
    /// The day's quota is called spent.
    QuotaSpent,
    /// The ticket is refused.
    TicketRefused,
    /// The parameters are called invalid: `10300`.
    ParametersInvalid,
    /// A 504 of the gateway.
    GatewayTimeout,
    /// A 503 with markup.
    Unavailable,
    /// The connection is reset once the request is read.
    Reset,
    /// No answer ever.
    Silence,
}

/// `base` with the members of `changes` in the place of its own.
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
