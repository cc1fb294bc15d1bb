//! Fetching one answer: from the store while it is fresh, else from the service, with the retries that the services
//! need. Equal requests at once are one call.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::client::{Api, MAX_CLOCK_ERROR, MercadoPublico};
use super::gate::account_lock::AccountLock;
use super::gate::budget::{CallBudget, is_ceiling};
use super::gate::ledger::{Ledger, quota_exceeded};
use super::wire::{Body, compra_agil, ocds, privacy, v1};
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Persistence, Result, Sent};
use crate::http::HeaderText;
use crate::http::client::ApiReply;
use crate::http::status::read_error_body;
use crate::policy::backoff::{Backoff, wait_for_attempt};
use crate::policy::breaker::Breaker;
use crate::procure::json::prepared;
use crate::procure::store::{SharedStore, StoredAnswer};
use crate::procure::{Date, Timestamp};

/// How long a stored answer may be used instead of a new one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Freshness {
    /// Never: it is stored only for when the service is down.
    Never,
    /// Forever.
    Always,
    /// For this long.
    For(Duration),
    /// As the list of this day: briefly until the day is over, for hours while records may still be added late, then
    /// forever.
    Day(Date),
}

#[derive(Clone, Debug)]
pub(super) struct ApiRequest<'a> {
    pub(super) api: Api,
    pub(super) operation: Operation,
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) freshness: Freshness,
    pub(super) budget: Option<&'a CallBudget>,
    /// Whether to retry when the gateway times out. A page that can be halved is not retried.
    pub(super) retry_timeouts: bool,
}

impl<'a> ApiRequest<'a> {
    pub(super) fn new(api: Api, operation: Operation, path: impl Into<String>) -> Self {
        Self {
            api,
            operation,
            path: path.into(),
            query: Vec::new(),
            freshness: Freshness::Never,
            budget: None,
            retry_timeouts: true,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn with_freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = freshness;
        self
    }

    pub(super) fn with_budget(mut self, budget: Option<&'a CallBudget>) -> Self {
        self.budget = budget;
        self
    }

    /// The key of the answer in the store. It does not contain the ticket.
    pub(super) fn key(&self) -> String {
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}{}?{}", self.api.name(), self.path, query.join("&"))
    }
}

#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: Body,
    pub(super) from_store: bool,
}

/// How long the list of a past day is fresh while records may still be added to it.
const LATE_LIST_TTL: Duration = Duration::from_secs(6 * 3600);
/// After how many stored answers the oldest are deleted.
const ANSWERS_BETWEEN_DELETIONS: u64 = 64;
/// The longest wait that a service may ask for.
const MAX_WAIT: Duration = Duration::from_secs(120);

impl MercadoPublico {
    /// Whether an answer of `as_of` is still fresh.
    pub(super) fn is_fresh(&self, freshness: Freshness, as_of: Timestamp, now: Timestamp) -> bool {
        // An answer from the future was stored by a machine whose clock was wrong.
        if as_of > now.plus(MAX_CLOCK_ERROR) {
            return false;
        }
        let younger_than = |age: Duration| as_of.plus(age) > now;
        match freshness {
            Freshness::Never => false,
            Freshness::Always => true,
            Freshness::For(age) => younger_than(age),
            Freshness::Day(day) => {
                let late = i32::try_from(self.0.config.reread_days).unwrap_or(i32::MAX);
                if as_of.date() > day.plus_days(late) {
                    true
                } else if as_of.date() > day {
                    younger_than(LATE_LIST_TTL)
                } else {
                    now.date() == day
                        && younger_than(
                            Duration::try_from_secs_f64(self.0.config.today_ttl_seconds).unwrap_or_default(),
                        )
                }
            }
        }
    }

    /// The stored answer to `request`, if it is still fresh.
    pub(super) async fn cached(&self, cx: &Context, request: &ApiRequest<'_>) -> Result<Option<Fetched>> {
        if request.freshness == Freshness::Never {
            return Ok(None);
        }
        let cached = self.store().await?.answer(&request.key()).await?;
        let cached = cached.filter(|cached| self.is_fresh(request.freshness, cached.as_of, self.now(cx)));
        Ok(cached
            .map(|cached| Fetched { body: self.body(request, cached.body, cached.as_of), from_store: true }))
    }

    fn body(&self, request: &ApiRequest<'_>, bytes: Bytes, as_of: Timestamp) -> Body {
        let mark = if request.api == Api::V1 {
            crate::procure::ZoneMark::WallClock
        } else {
            self.0.config.zone_mark
        };
        Body { mark, ..Body::new(bytes, request.api.source(), as_of) }
    }

    /// The answer to `request`: the stored one while it is fresh, else a new one. If the service is unavailable, the stored
    /// one, marked as stale.
    pub(super) async fn fetch(&self, cx: &Context, request: &ApiRequest<'_>) -> Result<Fetched> {
        if let Some(cached) = self.cached(cx, request).await? {
            return Ok(cached);
        }
        request.budget.map_or(Ok(()), CallBudget::check)?;
        // Whoever asks for the same meanwhile waits here and then finds it in the store.
        let flight = self.queue(request.api).flight(&request.key());
        let _flight = cx.guard(async { Ok::<_, Error>(flight.lock().await) }).await?;
        if let Some(cached) = self.cached(cx, request).await? {
            return Ok(cached);
        }
        let store = self.store().await?;
        match self.send_with_retries(cx, request).await {
            Ok((fetched, lock)) => {
                if !fetched.from_store {
                    let body = &fetched.body;
                    let answer = StoredAnswer { as_of: body.as_of, body: body.bytes.clone() };
                    store.store_answer(&request.key(), answer).await?;
                }
                if let Some(lock) = lock {
                    lock.release().await;
                }
                if !fetched.from_store {
                    // The answer is there all the same.
                    if let Err(error) = self.forget_old_answers(cx, &store).await {
                        tracing::warn!(error = %error, "the oldest answers in the store were not deleted");
                    }
                }
                Ok(fetched)
            }
            Err(error) if allows_stale_answer(&error) => match store.answer(&request.key()).await? {
                Some(cached) => {
                    let body = Body { stale: true, ..self.body(request, cached.body, cached.as_of) };
                    Ok(Fetched { body, from_store: true })
                }
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Deletes the oldest answers now and then, so that the store does not grow for ever.
    async fn forget_old_answers(&self, cx: &Context, store: &SharedStore) -> Result<()> {
        let number = self.0.answers_stored.fetch_add(1, Ordering::Relaxed);
        if !number.is_multiple_of(ANSWERS_BETWEEN_DELETIONS) {
            return Ok(());
        }
        let config = &self.0.config;
        let age = Duration::from_secs(u64::from(config.answers_max_days) * 24 * 3600);
        store.delete_answers(self.now(cx).minus(age)).await?;
        store.limit_answers(u64::from(config.answers_max_megabytes) << 20).await.map(drop)
    }

    async fn send_with_retries(
        &self,
        cx: &Context,
        request: &ApiRequest<'_>,
    ) -> Result<(Fetched, Option<AccountLock>)> {
        self.check_ticket(request.api)?;
        let mut attempt = 1;
        loop {
            let error = match self.send_once(cx, request).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => error,
            };
            let backoff = backoff(&error, attempt, request);
            let wait = backoff.and_then(|backoff| backoff.wait_after(&error, attempt, cx).ok());
            let Some(wait) = wait else { return Err(exhausted(error, attempt)) };
            attempt += 1;
            wait_for_attempt(cx, attempt, error.kind(), wait).await?;
        }
    }

    /// One attempt, while holding the lock of the account where the service needs that. An answer is returned with the
    /// lock: it has to be stored first, so that another process that waits to ask for the same finds it.
    async fn send_once(
        &self,
        cx: &Context,
        request: &ApiRequest<'_>,
    ) -> Result<(Fetched, Option<AccountLock>)> {
        let breaker = self.queue(request.api).breaker(request.api.name());
        breaker.check(cx)?;
        let lock = match request.api {
            Api::V1 => Some(self.lock_account(cx).await.inspect_err(|_| breaker.not_sent(cx))?),
            _ => None,
        };
        let by_others = if lock.is_some() { self.cached(cx, request).await } else { Ok(None) };
        let outcome = match by_others.inspect_err(|_| breaker.not_sent(cx)) {
            Ok(Some(cached)) => {
                breaker.not_sent(cx);
                Ok(cached)
            }
            Ok(None) => {
                let sent = self.send(cx, request, &breaker).await;
                sent.map(|body| Fetched { body, from_store: false })
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(fetched) => Ok((fetched, lock)),
            Err(error) => {
                if let Some(lock) = lock {
                    lock.release().await;
                }
                Err(error)
            }
        }
    }

    /// Waits for the right to have v1's one request in flight.
    async fn lock_account(&self, cx: &Context) -> Result<AccountLock> {
        let lease = self.lease().await?;
        self.queue(Api::V1).lock(cx, lease.as_ref()).await
    }

    /// Counts the request, sends it and reads the answer. Only what the service does counts for the breaker: not a store
    /// that fails, nor a quota that is used up.
    async fn send(&self, cx: &Context, request: &ApiRequest<'_>, breaker: &Breaker) -> Result<Body> {
        let sent_at = self.now(cx);
        let ledger = self.count_request(request, sent_at).await.inspect_err(|_| breaker.not_sent(cx))?;
        let outcome = self.exchange(cx, request).await;
        breaker.ended(cx, &outcome);
        if let (Err(error), Some(ledger)) = (&outcome, &ledger) {
            if error.sent() == Sent::No {
                ledger.refund(sent_at).await?;
            }
            if error.kind() == ErrorKind::QuotaExceeded {
                ledger.exhaust(self.now(cx)).await?;
                return Err(quota_exceeded(self.now(cx), error.message().to_owned())
                    .with_sent(Sent::Yes)
                    .with_operation(request.operation));
            }
        }
        outcome
    }

    async fn count_request(&self, request: &ApiRequest<'_>, now: Timestamp) -> Result<Option<Ledger>> {
        request.budget.map_or(Ok(()), CallBudget::take)?;
        // OCDS has neither ticket nor quota.
        if request.api == Api::Ocds {
            return Ok(None);
        }
        let ledger = self.ledger(request.api).await?;
        ledger.spend(now, request.budget.and_then(CallBudget::reservation)).await?;
        Ok(Some(ledger))
    }

    async fn exchange(&self, cx: &Context, request: &ApiRequest<'_>) -> Result<Body> {
        let api = self.api(request.api);
        let call =
            request.query.iter().fold(api.get(&request.path), |call, (name, value)| call.query(name, value));
        // The time of the request, not of the answer: later changes need not be in it, and a list that arrives after
        // midnight may have been made before.
        let (as_of, sent_at) = (self.now(cx), cx.clock().now());
        let reply = call.bytes_reply(cx).await.map_err(|error| error.with_operation(request.operation))?;
        let bytes = self.decoded(request, &reply).map_err(|error| {
            if error.response_excerpt().is_some() {
                return error;
            }
            let error = error.with_http_status(reply.status).with_sent(Sent::Yes);
            // A body that cannot be read may contain a record with personal data.
            match read_error_body(None, &reply.value).excerpt.filter(|_| self.0.config.personal_data) {
                Some(excerpt) => error.with_response_excerpt(excerpt),
                None => error,
            }
        })?;
        let elapsed = cx.clock().now().saturating_duration_since(sent_at);
        Ok(self.body(request, bytes, self.as_of(&reply, as_of, elapsed)))
    }

    /// The time of a request by the service's clock where this machine's is wrong.
    fn as_of(&self, reply: &ApiReply<Bytes>, own: Timestamp, elapsed: Duration) -> Timestamp {
        let text = |name: &str| reply.headers.text(name);
        let date = text("Date").and_then(|date| httpdate::parse_http_date(date).ok());
        let Some(date) = date else { return own };
        let age =
            text("Age").and_then(|age| age.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
        let theirs = Timestamp::of_system_time(date).plus(age).minus(elapsed);
        let ahead = (own.unix_millis() - theirs.unix_millis()) / 1000;
        self.0.clock_ahead.store(ahead, Ordering::Relaxed);
        if ahead.unsigned_abs() > MAX_CLOCK_ERROR.as_secs() { theirs } else { own }
    }

    fn decoded(&self, request: &ApiRequest<'_>, reply: &ApiReply<Bytes>) -> Result<Bytes> {
        let bytes = prepared(reply.value.clone())?;
        let is_failure = match request.api {
            Api::V1 => matches!(v1::envelope(&bytes)?, v1::V1::Failure(_)),
            Api::Quick => compra_agil::payload(&bytes)?.is_err(),
            Api::Ocds => {
                ocds::check(&bytes)?;
                false
            }
        };
        match is_failure {
            true => Err(self.api(request.api).failed(reply, &bytes)),
            false if self.0.config.personal_data => Ok(bytes),
            false => privacy::scrubbed(&bytes),
        }
    }
}

/// The waits before the next attempt; `None` if there is none.
fn backoff(error: &Error, attempt: u32, request: &ApiRequest<'_>) -> Option<&'static Backoff> {
    // Another request with this ticket is in flight, or the service's rate limit is reached.
    static OCCUPIED: LazyLock<Backoff> = LazyLock::new(|| waits(3));
    static LIMITED: LazyLock<Backoff> = LazyLock::new(|| waits(5));
    static FAILED: LazyLock<Backoff> = LazyLock::new(|| waits(2));
    match error.kind() {
        ErrorKind::RateLimited if request.api == Api::V1 && attempt <= 3 => Some(&OCCUPIED),
        ErrorKind::RateLimited if attempt <= 2 => Some(&LIMITED),
        ErrorKind::Timeout if !request.retry_timeouts => None,
        ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Interrupted | ErrorKind::ResponseInvalid
            if error.is_temporary() && attempt <= 2 =>
        {
            Some(&FAILED)
        }
        _ => None,
    }
}

/// Waits that double from `first_seconds`, with up to a second added, so that processes that failed together do not
/// retry together.
fn waits(first_seconds: u64) -> Backoff {
    Backoff::new(Duration::from_secs(first_seconds), MAX_WAIT)
        .with_added_jitter(Duration::from_secs(1))
        .with_max_wait(MAX_WAIT)
}

/// The error after the last attempt. The policy must not retry it again.
pub(super) fn exhausted(error: Error, attempts: u32) -> Error {
    let error = error.with_context("attempts", attempts.to_string());
    if error.is_temporary() { error.with_persistence(Persistence::Exhausted) } else { error }
}

fn allows_stale_answer(error: &Error) -> bool {
    if is_ceiling(error) {
        return false;
    }
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
