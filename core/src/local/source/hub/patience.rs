//! How often the Hub is asked again.

use std::time::Duration;

use crate::context::{Context, Progress};
use crate::error::{Error, Persistence, Result};

/// How many times in a row something may fail, the first time included.
const MOST_FAILURES: u32 = 5;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause that the Hub may ask for. More is for the caller to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many bytes are progress. With less between two failures a server could keep us for ever.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: u32,
    bytes: u64,
}

impl Patience {
    /// Tells that bytes have come.
    pub(super) fn received(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes >= PROGRESS_BYTES {
            self.failures = 0;
        }
    }

    /// Pauses before the next attempt.
    ///
    /// # Errors
    /// The failure itself if another attempt cannot help or comes too late, and what stops the call.
    pub(super) async fn after(&mut self, cx: &Context, failure: Error) -> Result<()> {
        self.bytes = 0;
        self.failures += 1;
        if !failure.is_temporary() {
            return Err(failure);
        }
        let own = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(16));
        let pause = failure.retry_after().unwrap_or(own);
        if self.failures >= MOST_FAILURES {
            return Err(failure.with_persistence(Persistence::Exhausted));
        }
        if pause > LONGEST_PAUSE || cx.remaining().is_some_and(|left| left <= pause) {
            return Err(failure);
        }
        cx.report(|| Progress::Retrying { attempt: self.failures + 1, kind: failure.kind(), wait: pause });
        cx.sleep(pause).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ManualClock;
    use crate::error::ErrorKind;

    fn failure() -> Error {
        Error::new(ErrorKind::Interrupted, "cut off")
    }

    #[tokio::test]
    async fn five_failures_in_a_row_are_enough() {
        let clock = ManualClock::automatic();
        let cx = Context::new().with_clock(clock.clone().into());
        let mut patience = Patience::default();
        for _ in 0..4 {
            patience.received(1000);
            patience.after(&cx, failure()).await.unwrap();
        }
        let error = patience.after(&cx, failure()).await.unwrap_err();
        assert_eq!(error.persistence(), Persistence::Exhausted);
        assert_eq!(clock.slept(), [500, 1000, 2000, 4000].map(Duration::from_millis));
        patience.received(PROGRESS_BYTES);
        patience.after(&cx, failure()).await.expect("a megabyte is progress");
    }

    #[tokio::test]
    async fn what_cannot_be_mended_by_waiting_is_returned_at_once() {
        let clock = ManualClock::automatic();
        let cx = Context::new().with_clock(clock.clone().into());
        let permanent = Error::new(ErrorKind::NotFound, "not there");
        let distant = Error::new(ErrorKind::RateLimited, "later").with_retry_after(Duration::from_secs(31));
        for error in [permanent, distant] {
            Patience::default().after(&cx, error).await.unwrap_err();
        }
        let hurried = cx.clone().with_timeout(Duration::from_millis(400));
        let error = Patience::default().after(&hurried, failure()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "the failure says more than the deadline");
        assert_eq!(clock.slept(), [Duration::ZERO; 0]);
        let soon = Error::new(ErrorKind::RateLimited, "soon").with_retry_after(Duration::from_secs(3));
        Patience::default().after(&cx, soon).await.unwrap();
        assert_eq!(clock.slept(), [Duration::from_secs(3)]);
    }
}
