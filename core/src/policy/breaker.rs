//! The circuit breaker: a service that fails is left alone for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::{Error, ErrorKind, Persistence, Result};

/// Counts the failures in a row of one service, shared by everything that calls it.
///
/// At `threshold` failures it opens. While it is open, [`check`](Self::check) refuses calls. After that it lets one call
/// through as a trial, while the others wait for its outcome.
#[derive(Debug)]
pub(crate) struct Breaker {
    threshold: u32,
    /// How long it stays open where the service does not say.
    open_for: Duration,
    /// Whether there is a failure to forget or an open time to look at; saves taking the lock as long as nothing fails.
    has_failed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    failures: u32,
    /// The end of the open time, and the failure that opened the breaker.
    open: Option<(Instant, ErrorKind)>,
}

impl Breaker {
    /// A breaker that opens for `open_for` at `threshold` failures in a row.
    pub(crate) const fn new(threshold: u32, open_for: Duration) -> Self {
        let state = Mutex::new(State { failures: 0, open: None });
        Self { threshold, open_for, has_failed: AtomicBool::new(false), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The failure because of which the service is left alone now.
    pub(crate) fn opened_by(&self, now: Instant) -> Option<ErrorKind> {
        if !self.has_failed.load(Ordering::Acquire) {
            return None;
        }
        self.state().open.filter(|(until, _)| now < *until).map(|(_, kind)| kind)
    }

    /// Fails while the breaker is open. The first call after that is the trial.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) fn check(&self, cx: &Context) -> Result<()> {
        let now = cx.clock().now();
        let mut state = self.state();
        let Some((until, _)) = &mut state.open else { return Ok(()) };
        if *until > now {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("the service failed {} times in a row and is left alone for a while", self.threshold),
            )
            .with_persistence(Persistence::Exhausted)
            .with_context("reason", "breaker_open")
            .with_retry_after(until.duration_since(now)));
        }
        *until = after(now, self.open_for);
        Ok(())
    }

    /// Records that a call ended before it reached the service. If it was the trial, the next call is.
    pub(crate) fn not_sent(&self, cx: &Context) {
        if let Some((until, _)) = &mut self.state().open {
            *until = cx.clock().now();
        }
    }

    /// Records how a call ended.
    pub(crate) fn ended<T>(&self, cx: &Context, outcome: &Result<T>) {
        match outcome {
            Err(error) if is_failure_of_the_service(error) => {
                self.failed(cx.clock().now(), error.kind(), self.open_for);
            }
            // A cancelled call or the caller's own deadline says nothing about the service.
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) => {}
            _ => self.close(),
        }
    }

    /// Records a failure. If that opens the breaker, it stays open for `open_for`.
    pub(crate) fn failed(&self, now: Instant, kind: ErrorKind, open_for: Duration) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.threshold {
            state.open = Some((after(now, open_for), kind));
        }
        self.has_failed.store(true, Ordering::Release);
    }

    /// Records a success.
    pub(crate) fn close(&self) {
        if self.has_failed.load(Ordering::Acquire) {
            let mut state = self.state();
            *state = State { failures: 0, open: None };
            self.has_failed.store(false, Ordering::Release);
        }
    }
}

/// `now` plus `duration`, or a year later where that cannot be expressed.
fn after(now: Instant, duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now.checked_add(duration).unwrap_or(now + YEAR)
}

fn is_failure_of_the_service(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Interrupted => true,
        // Temporary: an HTML page, or an answer that broke off.
        ErrorKind::Timeout | ErrorKind::ResponseInvalid => error.is_temporary(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Clock, ManualClock};

    const FAILURES: u32 = 5;
    const OPEN: Duration = Duration::from_secs(60);

    #[test]
    fn a_service_that_is_down_is_left_alone_and_then_tried_by_one_call() {
        let clock = ManualClock::new();
        let cx = Context::new().with_clock(Clock::from(clock.clone()));
        let breaker = Breaker::new(FAILURES, OPEN);
        let down = || Err::<(), _>(Error::new(ErrorKind::Unavailable, "down"));
        for _ in 0..FAILURES {
            breaker.check(&cx).expect("closed");
            breaker.ended(&cx, &down());
        }
        let error = breaker.check(&cx).expect_err("open");
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, false));
        clock.advance(OPEN);
        breaker.check(&cx).expect("one may try");
        assert!(breaker.check(&cx).is_err(), "the others wait for it");
        breaker.ended(&cx, &Ok(()));
        breaker.check(&cx).expect("closed again");
    }

    #[test]
    fn a_trial_that_is_not_sent_leaves_it_to_the_next_call() {
        let clock = ManualClock::new();
        let cx = Context::new().with_clock(Clock::from(clock.clone()));
        let breaker = Breaker::new(FAILURES, OPEN);
        breaker.not_sent(&cx);
        for _ in 0..FAILURES {
            breaker.check(&cx).expect("closed");
            breaker.ended(&cx, &Err::<(), _>(Error::new(ErrorKind::Unavailable, "down")));
        }
        clock.advance(OPEN);
        breaker.check(&cx).expect("one may try");
        breaker.not_sent(&cx);
        breaker.check(&cx).expect("the next may");
        assert!(breaker.check(&cx).is_err(), "the others wait for it");
    }

    #[test]
    fn pages_of_markup_count_as_failures() {
        let (cx, breaker) = (Context::new(), Breaker::new(FAILURES, OPEN));
        let markup = || Error::response_invalid("markup").with_persistence(Persistence::Temporary);
        for _ in 0..FAILURES {
            breaker.ended(&cx, &Err::<(), _>(markup()));
        }
        assert!(breaker.check(&cx).is_err());
    }

    #[test]
    fn refusals_and_cancelled_calls_do_not_count() {
        let (cx, breaker) = (Context::new(), Breaker::new(FAILURES, OPEN));
        for kind in [
            ErrorKind::InvalidRequest,
            ErrorKind::QuotaExceeded,
            ErrorKind::RateLimited,
            ErrorKind::ResponseInvalid,
            ErrorKind::Cancelled,
        ] {
            for _ in 0..2 * FAILURES {
                breaker.ended(&cx, &Err::<(), _>(Error::new(kind, "x")));
            }
            breaker.check(&cx).expect("closed");
        }
    }

    #[test]
    fn it_says_what_opened_it_and_for_how_long_the_failure_asked() {
        let (now, breaker) = (Instant::now(), Breaker::new(1, OPEN));
        assert_eq!(breaker.opened_by(now), None);
        breaker.failed(now, ErrorKind::RateLimited, Duration::from_secs(5));
        assert_eq!(breaker.opened_by(now + Duration::from_secs(4)), Some(ErrorKind::RateLimited));
        assert_eq!(breaker.opened_by(now + Duration::from_secs(5)), None);
        breaker.failed(now, ErrorKind::QuotaExceeded, Duration::MAX);
        assert_eq!(
            breaker.opened_by(now + OPEN),
            Some(ErrorKind::QuotaExceeded),
            "an endless time is a long one"
        );
        breaker.close();
        assert_eq!(breaker.opened_by(now), None);
    }
}
