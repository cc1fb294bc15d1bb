//! One answer: out of the store while it is fresh, else through the gate, with the repetitions that the services
//! call for.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use super::client::{Api, MercadoPublico};
use super::gate::ledger::{Ledger, Reservation, quota_exceeded};
use super::gate::turn::Turn;
use super::wire::{Body, compra_agil, ocds, privacy, v1};
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Persistence, Result, Sent};
use crate::http::client::ApiReply;
use crate::http::status::read_error_body;
use crate::policy::backoff::{Backoff, wait_for_attempt};
use crate::policy::breaker::Breaker;
use crate::procure::json::walk;
use crate::procure::store::KeptAnswer;
use crate::procure::{Date, Timestamp};

/// How long an answer holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hold {
    /// Until the next look: kept only for when the service is down.
    Never,
    /// For good.
    Always,
    /// For so long.
    For(Duration),
    /// As the list of this day: shortly while it is not over, for hours while records may enter it late, then
    /// for good.
    Day(Date),
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    pub(super) api: Api,
    pub(super) operation: Operation,
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) hold: Hold,
    pub(super) under: Option<&'a Reservation>,
    /// Whether to ask once more when the gateway gives up. A page that can be halved is not asked again.
    pub(super) repeat_timeouts: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn new(api: Api, operation: Operation, path: impl Into<String>) -> Self {
        Self {
            api,
            operation,
            path: path.into(),
            query: Vec::new(),
            hold: Hold::Never,
            under: None,
            repeat_timeouts: true,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn holding(mut self, hold: Hold) -> Self {
        self.hold = hold;
        self
    }

    pub(super) fn under(mut self, reservation: Option<&'a Reservation>) -> Self {
        self.under = reservation;
        self
    }

    /// The name of the answer in the store. The ticket is no part of it.
    pub(super) fn key(&self) -> String {
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}{}?{}", self.api.name(), self.path, query.join("&"))
    }
}

/// An answer and whether it came out of the store.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: Body,
    pub(super) from_store: bool,
}

/// For so long the list of a past day holds while records may still enter it.
const LATE: Duration = Duration::from_secs(6 * 3600);
/// The longest wait that a service may ask for and get.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

impl MercadoPublico {
    /// Whether an answer of `as_of` still holds.
    pub(super) fn holds(&self, hold: Hold, as_of: Timestamp, now: Timestamp) -> bool {
        let younger_than = |age: Duration| as_of.plus(age) > now;
        match hold {
            Hold::Never => false,
            Hold::Always => true,
            Hold::For(age) => younger_than(age),
            Hold::Day(day) => {
                let late = i32::try_from(self.0.config.reread_days).unwrap_or(i32::MAX);
                if as_of.date() > day.plus_days(late) {
                    true
                } else if as_of.date() > day {
                    younger_than(LATE)
                } else {
                    now.date() == day
                        && younger_than(
                            Duration::try_from_secs_f64(self.0.config.today_ttl_seconds).unwrap_or_default(),
                        )
                }
            }
        }
    }

    /// The answer kept for `ask`, if it still holds.
    pub(super) async fn kept(&self, cx: &Context, ask: &Ask<'_>) -> Result<Option<Fetched>> {
        if ask.hold == Hold::Never {
            return Ok(None);
        }
        let kept = self.store().await?.answer(&ask.key()).await?;
        let kept = kept.filter(|kept| self.holds(ask.hold, kept.as_of, self.now(cx)));
        Ok(kept.map(|kept| Fetched { body: self.body(ask, kept.body, kept.as_of), from_store: true }))
    }

    fn body(&self, ask: &Ask<'_>, bytes: Bytes, as_of: Timestamp) -> Body {
        let mark =
            if ask.api == Api::V1 { crate::procure::ZoneMark::WallClock } else { self.0.config.zone_mark };
        Body { mark, ..Body::new(bytes, ask.api.source(), as_of) }
    }

    /// The answer to `ask`: the one kept while it holds, else a new one, else, if the service cannot be asked,
    /// the one kept, marked as stale.
    pub(super) async fn fetch(&self, cx: &Context, ask: &Ask<'_>) -> Result<Fetched> {
        if let Some(kept) = self.kept(cx, ask).await? {
            return Ok(kept);
        }
        let store = self.store().await?;
        match self.ask(cx, ask).await {
            Ok(body) => {
                let answer = KeptAnswer { as_of: body.as_of, body: body.bytes.clone() };
                store.keep_answer(&ask.key(), answer).await?;
                Ok(Fetched { body, from_store: false })
            }
            Err(error) if is_out_of_reach(&error) => match store.answer(&ask.key()).await? {
                Some(kept) => {
                    let body = Body { stale: true, ..self.body(ask, kept.body, kept.as_of) };
                    Ok(Fetched { body, from_store: true })
                }
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Asks, and asks again where that helps.
    async fn ask(&self, cx: &Context, ask: &Ask<'_>) -> Result<Body> {
        self.check_ticket(ask.api)?;
        let mut attempt = 1;
        loop {
            let error = match self.ask_once(cx, ask).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            let backoff = backoff(&error, attempt, ask);
            let wait = backoff.and_then(|backoff| backoff.wait_after(&error, attempt, cx).ok());
            let Some(wait) = wait else { return Err(given_up(error, attempt)) };
            attempt += 1;
            wait_for_attempt(cx, attempt, error.kind(), wait).await?;
        }
    }

    async fn ask_once(&self, cx: &Context, ask: &Ask<'_>) -> Result<Body> {
        let breaker = self.queue(ask.api).breaker(ask.api.name());
        breaker.check(cx)?;
        let turn = match ask.api {
            Api::V1 => Some(self.turn(cx).await.inspect_err(|_| breaker.not_sent(cx))?),
            _ => None,
        };
        let outcome = self.send(cx, ask, &breaker).await;
        if let Some(turn) = turn {
            turn.end().await;
        }
        outcome
    }

    /// The right to have v1's one request in flight.
    async fn turn(&self, cx: &Context) -> Result<Turn> {
        let lease = self.lease().await?;
        self.queue(Api::V1).enter(cx, lease.as_ref()).await
    }

    /// Counts the request, sends it and reads its answer. The breaker hears how the service did: a store that
    /// fails, or a quota that is used up, says nothing of that.
    async fn send(&self, cx: &Context, ask: &Ask<'_>, breaker: &Breaker) -> Result<Body> {
        let asked = self.now(cx);
        let ledger = self.counted(ask, asked).await.inspect_err(|_| breaker.not_sent(cx))?;
        let outcome = self.exchange(cx, ask).await;
        breaker.ended(cx, &outcome);
        if let (Err(error), Some(ledger)) = (&outcome, &ledger) {
            if error.sent() == Sent::No {
                ledger.refund(asked).await?;
            }
            if error.kind() == ErrorKind::QuotaExceeded {
                ledger.exhaust(self.now(cx)).await?;
                return Err(quota_exceeded(self.now(cx), error.message().to_owned())
                    .with_sent(Sent::Yes)
                    .with_operation(ask.operation));
            }
        }
        outcome
    }

    /// The ledger in which the request is counted now.
    async fn counted(&self, ask: &Ask<'_>, now: Timestamp) -> Result<Option<Ledger>> {
        // OCDS has neither ticket nor quota.
        if ask.api == Api::Ocds {
            return Ok(None);
        }
        let ledger = self.ledger(ask.api).await?;
        ledger.spend(now, ask.under).await?;
        Ok(Some(ledger))
    }

    async fn exchange(&self, cx: &Context, ask: &Ask<'_>) -> Result<Body> {
        let api = self.api(ask.api);
        let call = ask.query.iter().fold(api.get(&ask.path), |call, (name, value)| call.query(name, value));
        // Not when it came: what happened in between need not be in it, and around midnight a list that came
        // after it may have been made before.
        let as_of = self.now(cx);
        let reply = call.bytes_reply(cx).await.map_err(|error| error.with_operation(ask.operation))?;
        let bytes = self.decoded(ask, &reply).map_err(|error| {
            if error.response_excerpt().is_some() {
                return error;
            }
            let error = error.with_http_status(reply.status).with_sent(Sent::Yes);
            // The beginning of what cannot be read may be a record, with persons in it.
            match read_error_body(None, &reply.value).excerpt.filter(|_| self.0.config.personal_data) {
                Some(excerpt) => error.with_response_excerpt(excerpt),
                None => error,
            }
        })?;
        Ok(self.body(ask, bytes, as_of))
    }

    /// The body of a success, as it is kept.
    fn decoded(&self, ask: &Ask<'_>, reply: &ApiReply<Bytes>) -> Result<Bytes> {
        let bytes = walk::prepared(reply.value.clone())?;
        let is_failure = match ask.api {
            Api::V1 => matches!(v1::read(&bytes, walk::Walker::skip)?, v1::V1::Failure(_)),
            Api::Quick => compra_agil::payload(&bytes)?.is_err(),
            Api::Ocds => {
                ocds::check(&bytes)?;
                false
            }
        };
        match is_failure {
            true => Err(self.api(ask.api).failed(reply, &bytes)),
            false if self.0.config.personal_data => Ok(bytes),
            false => privacy::scrubbed(&bytes),
        }
    }
}

/// The waits before asking again; `None` if that is of no use.
fn backoff(error: &Error, attempt: u32, ask: &Ask<'_>) -> Option<&'static Backoff> {
    // Somebody else has this ticket's one request in flight, or a window of the service is full.
    static OCCUPIED: LazyLock<Backoff> = LazyLock::new(|| waits(3));
    static LIMITED: LazyLock<Backoff> = LazyLock::new(|| waits(5));
    static FAILED: LazyLock<Backoff> = LazyLock::new(|| waits(2));
    match error.kind() {
        ErrorKind::RateLimited if ask.api == Api::V1 && attempt <= 3 => Some(&OCCUPIED),
        ErrorKind::RateLimited if attempt <= 2 => Some(&LIMITED),
        ErrorKind::Timeout if !ask.repeat_timeouts => None,
        ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Interrupted | ErrorKind::ResponseInvalid
            if error.is_temporary() && attempt <= 2 =>
        {
            Some(&FAILED)
        }
        _ => None,
    }
}

/// Waits that double from `first_seconds`, with up to a second more, so that processes that failed together do not come
/// back together.
fn waits(first_seconds: u64) -> Backoff {
    Backoff::new(Duration::from_secs(first_seconds), LONGEST_WAIT)
        .with_added_jitter(Duration::from_secs(1))
        .with_max_wait(LONGEST_WAIT)
}

/// An error after which policy must not repeat again.
pub(super) fn given_up(error: Error, attempts: u32) -> Error {
    let error = error.with_context("attempts", attempts.to_string());
    if error.is_temporary() { error.with_persistence(Persistence::Exhausted) } else { error }
}

/// Whether an older answer is better than this error.
fn is_out_of_reach(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Timeout
            | ErrorKind::Unavailable
            | ErrorKind::Interrupted
            | ErrorKind::RateLimited
            | ErrorKind::QuotaExceeded
            | ErrorKind::Offline
    ) || (error.kind() == ErrorKind::ResponseInvalid && error.persistence() == Persistence::Exhausted)
}
