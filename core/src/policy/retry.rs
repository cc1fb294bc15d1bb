//! Retries.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backoff::{Backoff, NoWait, wait_for_attempt};
use super::call::GovernedReply;
use super::metrics::Series;
use super::seconds;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Persistence, Result, Sent};

/// When a request is retried, and after which wait.
///
/// Only temporary failures are retried. The wait is the one that the backend asks for, else exponential with full jitter.
/// A stream is never retried once an event was delivered. A request for images is retried only if the backend has
/// certainly not served it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Retry {
    /// The most retries of one request at one backend.
    pub max_retries: u32,
    /// The first wait, in seconds, where the backend asks for none; each further one is twice as long.
    pub first_wait_seconds: f64,
    /// The longest wait, in seconds, where the backend asks for none.
    pub longest_backoff_seconds: f64,
    /// The longest wait of all, in seconds. If the backend asks for more, its error is returned at once, with the wait.
    pub max_wait_seconds: f64,
    /// Whether waits that the backend does not ask for are drawn at random between zero and their full length, so that many
    /// clients do not come back at the same moment.
    pub jitter: bool,
    /// The share of requests to one backend that may be retries: 0.2 is one in five.
    pub budget_ratio: f64,
    /// The retries allowed before that share counts, so that a client with few requests can retry one.
    pub budget_reserve: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_retries: 2,
            first_wait_seconds: 0.5,
            longest_backoff_seconds: 8.0,
            max_wait_seconds: 60.0,
            jitter: true,
            budget_ratio: 0.2,
            budget_reserve: 10,
        }
    }
}

impl Retry {
    /// One attempt only.
    pub fn none() -> Self {
        Self { max_retries: 0, ..Self::default() }
    }

    /// Sets the most retries.
    pub fn with_max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Sets the first and the longest wait where the backend asks for none.
    pub fn with_backoff_seconds(mut self, first: f64, longest: f64) -> Self {
        self.first_wait_seconds = first;
        self.longest_backoff_seconds = longest;
        self
    }

    /// Sets the longest wait of all.
    pub fn with_max_wait_seconds(mut self, seconds: f64) -> Self {
        self.max_wait_seconds = seconds;
        self
    }

    /// Says whether waits are drawn at random.
    pub fn with_jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// Sets the share of retries, and how many are allowed before it counts.
    pub fn with_budget(mut self, ratio: f64, reserve: u32) -> Self {
        self.budget_ratio = ratio;
        self.budget_reserve = reserve;
        self
    }

    pub(super) fn build(&self) -> Result<Retrier> {
        let backoff = Backoff::new(
            seconds("retry.first_wait_seconds", self.first_wait_seconds)?,
            seconds("retry.longest_backoff_seconds", self.longest_backoff_seconds)?,
        )
        .with_max_wait(seconds("retry.max_wait_seconds", self.max_wait_seconds)?);
        let backoff = if self.jitter { backoff.with_full_jitter() } else { backoff };
        Ok(Retrier { max_retries: self.max_retries, backoff })
    }

    pub(super) fn build_budget(&self) -> Result<Budget> {
        if !(0.0..=1000.0).contains(&self.budget_ratio) {
            return Err(Error::config("`retry.budget_ratio` must be a number from 0 up, such as 0.2"));
        }
        Ok(Budget::new(self.budget_ratio, self.budget_reserve))
    }
}

/// Sends a request until it is served, cannot be served, or must not be retried.
pub(super) async fn retry<T: GovernedReply, F: Future<Output = Result<T>>>(
    retrier: &Retrier,
    budget: &Budget,
    series: Option<&Series>,
    cx: &Context,
    repeatable: bool,
    send: impl Fn(u32) -> F,
) -> Result<T> {
    budget.deposit();
    let mut attempt = 1;
    loop {
        let error = match send(attempt).await {
            Ok(mut reply) => {
                reply.route_mut().attempts += attempt - 1;
                return Ok(reply);
            }
            Err(error) => error,
        };
        let (kind, wait) = match retrier.wait_after(&error, attempt, repeatable, cx, budget) {
            Ok(wait) => (error.kind(), wait),
            Err(reason) => return Err(reason.mark(error, attempt)),
        };
        attempt += 1;
        tracing::info!(
            target: "ayni::call",
            attempt,
            "error.type" = kind.as_str(),
            status = error.http_status(),
            backend = error.backend(),
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "waiting before another attempt",
        );
        drop(error);
        if let Some(series) = series {
            series.retried();
        }
        wait_for_attempt(cx, attempt, kind, wait).await?;
    }
}

/// [`Retry`], checked and converted.
#[derive(Debug)]
pub(super) struct Retrier {
    max_retries: u32,
    backoff: Backoff,
}

impl Retrier {
    fn wait_after(
        &self,
        error: &Error,
        attempt: u32,
        repeatable: bool,
        cx: &Context,
        budget: &Budget,
    ) -> Result<Duration, NoRetry> {
        if !error.is_temporary() || self.max_retries == 0 {
            return Err(NoRetry::Final);
        }
        if attempt > self.max_retries {
            return Err(NoRetry::UsedUp);
        }
        if !repeatable && may_have_been_served(error) {
            return Err(NoRetry::MayBeServed);
        }
        let wait = self.backoff.wait_after(error, attempt, cx)?;
        if !budget.withdraw() {
            return Err(NoRetry::BudgetSpent);
        }
        Ok(wait)
    }
}

/// Whether the backend may already have done the work, so that a retry could do it, and charge for it, twice.
fn may_have_been_served(error: &Error) -> bool {
    let refused = error.http_status().is_some()
        && matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::ColdStart);
    error.sent() != Sent::No && !refused
}

/// Why there is no further attempt.
#[derive(Debug, thiserror::Error)]
enum NoRetry {
    #[error("another attempt cannot help, or the policy has none")]
    Final,
    #[error("all attempts of the policy are used up")]
    UsedUp,
    #[error("the budget for retries is spent")]
    BudgetSpent,
    #[error("the backend may have served the request")]
    MayBeServed,
    #[error(transparent)]
    NoWait(#[from] NoWait),
}

impl NoRetry {
    fn mark(self, error: Error, attempts: u32) -> Error {
        let counted = |error: Error| error.with_context("attempts", attempts.to_string());
        match self {
            Self::Final if attempts == 1 => error,
            Self::Final => counted(error),
            Self::UsedUp => counted(error.with_persistence(Persistence::Exhausted)),
            Self::BudgetSpent => counted(error.with_persistence(Persistence::Exhausted))
                .with_context("not_retried", self.to_string()),
            Self::MayBeServed | Self::NoWait(_) => {
                counted(error).with_context("not_retried", self.to_string())
            }
        }
    }
}

/// How many retries are left for a backend: every request adds a part of one, and every retry takes a whole one.
#[derive(Debug)]
pub(super) struct Budget {
    thousandths: AtomicU64,
    most: u64,
    per_request: u64,
}

/// One retry, in the thousandths in which the budget counts.
const WHOLE: u64 = 1000;

impl Budget {
    fn new(ratio: f64, reserve: u32) -> Self {
        let reserve = u64::from(reserve) * WHOLE;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let per_request = (ratio * WHOLE as f64).round() as u64;
        Self {
            thousandths: AtomicU64::new(reserve),
            // Enough for one retry even without a reserve.
            most: if per_request == 0 { reserve } else { reserve.max(WHOLE) },
            per_request,
        }
    }

    fn deposit(&self) {
        if self.thousandths.load(Ordering::Relaxed) < self.most {
            let add = |now: u64| Some((now + self.per_request).min(self.most));
            let _ = self.thousandths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }

    fn withdraw(&self) -> bool {
        let take = |now: u64| now.checked_sub(WHOLE);
        self.thousandths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_allows_its_reserve_and_then_one_retry_in_five() {
        let budget = Budget::new(0.2, 3);
        let allowed = (0..100).filter(|_| budget.withdraw()).count();
        assert_eq!(allowed, 3);
        let mut allowed = 0;
        for _ in 0..100 {
            budget.deposit();
            allowed += usize::from(budget.withdraw());
        }
        assert_eq!(allowed, 20);
    }

    #[test]
    fn a_budget_is_never_saved_up_beyond_its_reserve() {
        let budget = Budget::new(0.2, 3);
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 3);
    }
}
