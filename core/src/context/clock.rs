//! The clock of a call: the system's, or one that a test moves.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{Either, select};
use tokio::sync::Notify;

use crate::error::Result;
use crate::runtime;

/// Measures time and sleeps: the system's clock, or one that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<ManualClock>);

impl Clock {
    /// The system's clock. Sleeping needs a tokio runtime with a timer.
    pub fn system() -> Self {
        Self(None)
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(manual) => manual.now(),
        }
    }

    /// The present moment of the calendar.
    pub fn system_time(&self) -> SystemTime {
        match &self.0 {
            None => SystemTime::now(),
            Some(manual) => manual.system_time(),
        }
    }

    /// Waits for `duration`.
    ///
    /// # Errors
    /// `config_invalid` if the system's clock is to wait outside a tokio runtime, or in one without a timer.
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        match &self.0 {
            None => runtime::sleep(duration).await,
            Some(manual) => {
                manual.sleep(duration).await;
                Ok(())
            }
        }
    }

    /// Runs `work` for at most `bound`; `None` if that was not enough. `work` is dropped then.
    ///
    /// # Errors
    /// As [`sleep`](Self::sleep), if `work` has to be waited for.
    pub(crate) async fn timeout<T>(
        &self,
        bound: Duration,
        work: impl Future<Output = T>,
    ) -> Result<Option<T>> {
        match select(pin!(work), pin!(self.sleep(bound))).await {
            Either::Left((done, _)) => Ok(Some(done)),
            Either::Right((slept, _)) => slept.map(|()| None),
        }
    }
}

impl From<ManualClock> for Clock {
    fn from(manual: ManualClock) -> Self {
        Self(Some(manual))
    }
}

/// A clock for tests: it stands still until [`advance`](Self::advance) moves it, or, made by
/// [`automatic`](Self::automatic), jumps over every sleep at once.
#[derive(Clone, Debug)]
pub struct ManualClock {
    shared: Arc<ManualShared>,
    automatic: bool,
}

#[derive(Debug)]
struct ManualShared {
    state: Mutex<ManualState>,
    moved: Notify,
}

#[derive(Debug)]
struct ManualState {
    now: Instant,
    /// A moment of this clock, and the calendar's time at that moment.
    calendar: (Instant, SystemTime),
    slept: Vec<Duration>,
}

impl ManualClock {
    /// A clock that stands still until it is advanced.
    pub fn new() -> Self {
        Self::build(false)
    }

    /// A clock that jumps over every sleep.
    pub fn automatic() -> Self {
        Self::build(true)
    }

    fn build(automatic: bool) -> Self {
        let now = Instant::now();
        let state = ManualState { now, calendar: (now, SystemTime::now()), slept: Vec::new() };
        Self { shared: Arc::new(ManualShared { state: Mutex::new(state), moved: Notify::new() }), automatic }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, ManualState> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock forward and wakes every sleeper whose time has come.
    pub fn advance(&self, by: Duration) {
        self.state().now += by;
        self.shared.moved.notify_waiters();
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        self.state().now
    }

    /// The present moment of the calendar: the system's when the clock was made, moving with it.
    pub fn system_time(&self) -> SystemTime {
        let state = self.state();
        let (then, time) = state.calendar;
        time + state.now.saturating_duration_since(then)
    }

    /// Sets the calendar.
    pub fn set_system_time(&self, time: SystemTime) {
        let mut state = self.state();
        state.calendar = (state.now, time);
    }

    /// Every sleep that was asked for so far, in order.
    pub fn slept(&self) -> Vec<Duration> {
        self.state().slept.clone()
    }

    async fn sleep(&self, duration: Duration) {
        let until = {
            let mut state = self.state();
            state.slept.push(duration);
            // A moment that this machine cannot express never comes.
            let until = state.now.checked_add(duration);
            if self.automatic {
                state.now = until.unwrap_or(state.now);
            }
            until
        };
        loop {
            let moved = self.shared.moved.notified();
            let mut moved = pin!(moved);
            // Registered before the time is read, so that an advance in between is not missed.
            moved.as_mut().enable();
            if until.is_some_and(|until| self.now() >= until) {
                return;
            }
            moved.await;
        }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;

    #[tokio::test]
    async fn an_automatic_clock_jumps_and_keeps_the_sleeps() {
        let clock = ManualClock::automatic();
        let cx = Context::new().with_clock(clock.clone().into());
        cx.sleep(Duration::from_secs(3600)).await.expect("no deadline");
        assert_eq!(clock.slept(), [Duration::from_secs(3600)]);
    }
}
