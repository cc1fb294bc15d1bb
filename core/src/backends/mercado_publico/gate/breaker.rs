//! Not asking a service that is down.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::{Error, ErrorKind, Persistence, Result};

/// So many failures in a row open the breaker.
const FAILURES: u32 = 5;
/// For so long it stays open, before one call may try.
const OPEN: Duration = Duration::from_secs(60);

/// Counts failures in a row of one endpoint, shared by all who call it.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails while the breaker is open. The first call after that tries for all.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) fn check(&self, cx: &Context) -> Result<()> {
        let now = cx.clock().now();
        let mut state = self.state();
        match state.open_until {
            Some(until) if until > now => Err(Error::new(
                ErrorKind::Unavailable,
                format!("the service failed {FAILURES} times in a row and is left alone for a while"),
            )
            .with_persistence(Persistence::Exhausted)
            .with_context("reason", "breaker_open")
            .with_retry_after(until.duration_since(now))),
            Some(_) => {
                // Until this call is done, the others wait.
                state.open_until = Some(now + OPEN);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Takes in that a call ended before it asked the service. If it was to try for all, the next one does.
    pub(crate) fn not_asked(&self, cx: &Context) {
        let now = cx.clock().now();
        if let Some(until) = &mut self.state().open_until {
            *until = now;
        }
    }

    /// Takes in how a call ended.
    pub(crate) fn ended<T>(&self, cx: &Context, outcome: &Result<T>) {
        let mut state = self.state();
        match outcome {
            Err(error) if speaks_of_the_service(error) => {
                state.failures += 1;
                if state.failures >= FAILURES {
                    state.open_until = Some(cx.clock().now() + OPEN);
                }
            }
            // Neither a cancelled call nor the caller's own deadline says anything.
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) => {}
            _ => *state = State::default(),
        }
    }
}

fn speaks_of_the_service(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Interrupted => true,
        // Temporary: a page of markup, or an answer that broke off.
        ErrorKind::Timeout | ErrorKind::ResponseInvalid => error.is_temporary(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Clock, ManualClock};

    #[test]
    fn a_service_that_is_down_is_left_alone_and_tried_again_by_one() {
        let clock = ManualClock::new();
        let cx = Context::new().with_clock(Clock::from(clock.clone()));
        let breaker = Breaker::default();
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
    fn who_was_to_try_and_did_not_ask_leaves_it_to_the_next() {
        let clock = ManualClock::new();
        let cx = Context::new().with_clock(Clock::from(clock.clone()));
        let breaker = Breaker::default();
        breaker.not_asked(&cx);
        for _ in 0..FAILURES {
            breaker.check(&cx).expect("closed");
            breaker.ended(&cx, &Err::<(), _>(Error::new(ErrorKind::Unavailable, "down")));
        }
        clock.advance(OPEN);
        breaker.check(&cx).expect("one may try");
        breaker.not_asked(&cx);
        breaker.check(&cx).expect("the next may");
        assert!(breaker.check(&cx).is_err(), "the others wait for it");
    }

    #[test]
    fn pages_of_markup_count_as_failures() {
        let (cx, breaker) = (Context::new(), Breaker::default());
        let markup = || Error::response_invalid("markup").with_persistence(Persistence::Temporary);
        for _ in 0..FAILURES {
            breaker.ended(&cx, &Err::<(), _>(markup()));
        }
        assert!(breaker.check(&cx).is_err());
    }

    #[test]
    fn refusals_and_cancelled_calls_do_not_count() {
        let (cx, breaker) = (Context::new(), Breaker::default());
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
}
