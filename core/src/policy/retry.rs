//! Sending a request again.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::call::Reply;
use super::metrics::Series;
use super::seconds;
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Persistence, Result, Sent};

/// When a request is sent again, and after which wait.
///
/// Only temporary failures are repeated. The wait is the one that the backend asks for, else exponential
/// with full jitter. A stream is never repeated once an event was delivered; a request for images is only
/// repeated when the backend certainly has not served it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Retry {
    /// Most repetitions of one request at one backend.
    pub max_retries: u32,
    /// The first wait where the backend names none; each further one is twice as long.
    pub first_wait_seconds: f64,
    /// The longest wait where the backend names none.
    pub longest_backoff_seconds: f64,
    /// The longest wait of all. If the backend asks for more, its error is returned at once, with the wait.
    pub max_wait_seconds: f64,
    /// Whether waits that the backend does not name are drawn at random between zero and their full length,
    /// so that many clients do not come back at the same moment.
    pub jitter: bool,
    /// The share of requests to one backend that may be repetitions: 0.2 is one in five.
    pub budget_ratio: f64,
    /// Repetitions allowed before that share counts, so that a client with few requests can repeat one.
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

    /// Sets the most repetitions.
    pub fn with_max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Sets the first and the longest wait where the backend names none.
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

    /// Sets the share of repetitions, and how many are allowed before it counts.
    pub fn with_budget(mut self, ratio: f64, reserve: u32) -> Self {
        self.budget_ratio = ratio;
        self.budget_reserve = reserve;
        self
    }

    pub(super) fn build(&self) -> Result<Retrier> {
        Ok(Retrier {
            max_retries: self.max_retries,
            first_wait: seconds("retry.first_wait_seconds", self.first_wait_seconds)?,
            longest_backoff: seconds("retry.longest_backoff_seconds", self.longest_backoff_seconds)?,
            max_wait: seconds("retry.max_wait_seconds", self.max_wait_seconds)?,
            jitter: self.jitter.then(Jitter::random),
        })
    }

    pub(super) fn build_budget(&self) -> Result<Budget> {
        if !(0.0..=1000.0).contains(&self.budget_ratio) {
            return Err(Error::config("`retry.budget_ratio` must be a number from 0 up, such as 0.2"));
        }
        Ok(Budget::new(self.budget_ratio, self.budget_reserve))
    }
}

/// Sends a request until it is served, cannot be served, or may not be sent again.
pub(super) async fn retry<T: Reply, F: Future<Output = Result<T>>>(
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
            Err(stop) => return Err(stop.mark(error, attempt)),
        };
        drop(error);
        attempt += 1;
        if let Some(series) = series {
            series.retried();
        }
        cx.report(|| Progress::Retrying { attempt, kind, wait });
        cx.sleep(wait).await?;
    }
}

/// [`Retry`], ready for use.
#[derive(Debug)]
pub(super) struct Retrier {
    max_retries: u32,
    first_wait: Duration,
    longest_backoff: Duration,
    max_wait: Duration,
    jitter: Option<Jitter>,
}

impl Retrier {
    fn wait_after(
        &self,
        error: &Error,
        attempt: u32,
        repeatable: bool,
        cx: &Context,
        budget: &Budget,
    ) -> Result<Duration, Stop> {
        if !error.is_temporary() || self.max_retries == 0 {
            return Err(Stop::Final);
        }
        if attempt > self.max_retries {
            return Err(Stop::UsedUp);
        }
        if !repeatable && may_have_been_served(error) {
            return Err(Stop::Because("the backend may have served the request"));
        }
        let wait = error.retry_after().unwrap_or_else(|| self.backoff(attempt));
        if wait > self.max_wait {
            return Err(Stop::Because("the wait is longer than the policy sleeps"));
        }
        if cx.remaining().is_some_and(|left| wait >= left) {
            return Err(Stop::Because("the wait would cross the deadline"));
        }
        if !budget.withdraw() {
            return Err(Stop::BudgetSpent);
        }
        Ok(wait)
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let doubled = self.first_wait.saturating_mul(2_u32.saturating_pow(attempt - 1));
        let longest = doubled.min(self.longest_backoff);
        self.jitter.as_ref().map_or(longest, |jitter| jitter.part_of(longest))
    }
}

/// Whether the backend may already have done the work, so that a repetition could do, and cost, it twice.
fn may_have_been_served(error: &Error) -> bool {
    let refused = error.http_status().is_some()
        && matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::ColdStart);
    error.sent() != Sent::No && !refused
}

/// Why there is no further attempt.
#[derive(Debug)]
enum Stop {
    /// A further attempt cannot help, or there are none in this policy.
    Final,
    UsedUp,
    BudgetSpent,
    Because(&'static str),
}

impl Stop {
    fn mark(self, error: Error, attempts: u32) -> Error {
        let counted = |error: Error| error.with_context("attempts", attempts.to_string());
        match self {
            Self::Final if attempts == 1 => error,
            Self::Final => counted(error),
            Self::UsedUp => counted(error.with_persistence(Persistence::Exhausted)),
            Self::BudgetSpent => counted(error.with_persistence(Persistence::Exhausted))
                .with_context("not_retried", "the budget for repetitions is spent"),
            Self::Because(reason) => counted(error).with_context("not_retried", reason),
        }
    }
}

/// How many repetitions a backend is still owed: every request adds a part of one, every repetition takes a
/// whole one.
#[derive(Debug)]
pub(super) struct Budget {
    thousandths: AtomicU64,
    most: u64,
    per_request: u64,
}

/// One repetition, in the thousandths in which the budget counts.
const WHOLE: u64 = 1000;

impl Budget {
    fn new(ratio: f64, reserve: u32) -> Self {
        let reserve = u64::from(reserve) * WHOLE;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let per_request = (ratio * WHOLE as f64).round() as u64;
        Self {
            thousandths: AtomicU64::new(reserve),
            // Room for one repetition even without a reserve.
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

/// Random parts of waits. Nothing secret hangs on them, so a small generator (splitmix64) serves.
#[derive(Debug)]
struct Jitter(AtomicU64);

impl Jitter {
    fn random() -> Self {
        Self::seeded(RandomState::new().hash_one(0))
    }

    fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn part_of(&self, whole: Duration) -> Duration {
        let mut mixed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        #[allow(clippy::cast_precision_loss)]
        let share = (mixed >> 11) as f64 / (1u64 << 53) as f64;
        whole.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_repeatable_from_its_seed_and_spreads_over_the_whole_wait() {
        let whole = Duration::from_secs(8);
        let draw = |seed| {
            let jitter = Jitter::seeded(seed);
            (0..1000).map(|_| jitter.part_of(whole)).collect::<Vec<_>>()
        };
        let waits = draw(1);
        assert_eq!(waits, draw(1));
        assert_ne!(waits, draw(2));
        assert!(waits.iter().all(|wait| *wait < whole));
        let mean = waits.iter().sum::<Duration>() / 1000;
        assert!((Duration::from_millis(3700)..Duration::from_millis(4300)).contains(&mean), "{mean:?}");
    }

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let retrier = Retry::default().with_jitter(false).build().expect("valid");
        let waits: Vec<f64> = (1..8).map(|attempt| retrier.backoff(attempt).as_secs_f64()).collect();
        assert_eq!(waits, [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]);
        assert_eq!(retrier.backoff(u32::MAX).as_secs_f64(), 8.0);
    }

    #[test]
    fn the_budget_allows_its_reserve_and_then_one_repetition_in_five() {
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
