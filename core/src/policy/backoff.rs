//! How long to wait before something is tried again: one rule for policies, backends and downloads.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Result};

/// Waits that grow from attempt to attempt up to a longest one. A wait that the backend asks for comes first.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    factor: f64,
    longest: Duration,
    max_wait: Duration,
    jitter: Jitter,
}

/// What is random about a wait, so that clients that failed together do not come back together.
#[derive(Debug)]
enum Jitter {
    /// Nothing.
    None,
    /// All of it: any length between zero and the full wait.
    Full(Random),
    /// An addition of up to this much.
    Added(Duration, Random),
}

/// Why there is no wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoWait {
    /// The wait, which the backend may have asked for, is longer than allowed.
    #[error("the wait is longer than the policy sleeps")]
    TooLong,
    /// The call would end first.
    #[error("the wait would cross the deadline")]
    PastDeadline,
}

impl Backoff {
    /// Waits of exactly `first`, doubled after each further failure up to `longest`. Waits that a backend asks for have no
    /// bound.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, factor: 2.0, longest, max_wait: Duration::MAX, jitter: Jitter::None }
    }

    /// Multiplies by `factor` after each further failure.
    pub(crate) const fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Refuses longer waits, also where the backend asks for them.
    pub(crate) const fn with_max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// Draws each wait at random between zero and its full length.
    pub(crate) fn with_full_jitter(mut self) -> Self {
        self.jitter = Jitter::Full(Random::new());
        self
    }

    /// Adds a random time of up to `most` to each wait.
    pub(crate) fn with_added_jitter(mut self, most: Duration) -> Self {
        self.jitter = Jitter::Added(most, Random::new());
        self
    }

    /// The wait after the `failures`-th failure in a row, where the backend asks for none.
    pub(crate) fn wait(&self, failures: u32) -> Duration {
        // Enough to pass any bound from a nanosecond, and small enough for the product to stay finite.
        const MAX_EXPONENT: u32 = 128;
        let exponent = failures.saturating_sub(1).min(MAX_EXPONENT);
        let grown = self.first.as_secs_f64() * self.factor.powf(f64::from(exponent));
        let full = Duration::try_from_secs_f64(grown).unwrap_or(self.longest).min(self.longest);
        match &self.jitter {
            Jitter::None => full,
            Jitter::Full(random) => random.part_of(full),
            Jitter::Added(most, random) => full.saturating_add(random.part_of(*most)),
        }
    }

    /// The wait after `error`, the `failures`-th failure in a row: the one that the backend asks for, else the grown one.
    ///
    /// # Errors
    /// Why no wait helps.
    pub(crate) fn wait_after(&self, error: &Error, failures: u32, cx: &Context) -> Result<Duration, NoWait> {
        let wait = error.retry_after().unwrap_or_else(|| self.wait(failures));
        if wait > self.max_wait {
            return Err(NoWait::TooLong);
        }
        if cx.remaining().is_some_and(|left| wait >= left) {
            return Err(NoWait::PastDeadline);
        }
        Ok(wait)
    }
}

/// Reports the next attempt and waits for it.
///
/// # Errors
/// Those of [`Context::sleep`].
pub(crate) async fn wait_for_attempt(
    cx: &Context,
    attempt: u32,
    kind: ErrorKind,
    wait: Duration,
) -> Result<()> {
    cx.report(|| Progress::Retrying { attempt, kind, wait });
    cx.sleep(wait).await
}

/// Random parts of durations. They protect nothing secret, so a small generator (splitmix64) is enough.
#[derive(Debug)]
struct Random(AtomicU64);

impl Random {
    fn new() -> Self {
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
    use crate::context::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn seconds(backoff: &Backoff, failures: std::ops::Range<u32>) -> Vec<f64> {
        failures.map(|failures| backoff.wait(failures).as_secs_f64()).collect()
    }

    #[test]
    fn waits_grow_up_to_the_longest() {
        let doubling = Backoff::new(SECOND / 2, 8 * SECOND);
        assert_eq!(seconds(&doubling, 1..8), [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]);
        assert_eq!(doubling.wait(u32::MAX), 8 * SECOND);
        let slower = Backoff::new(2 * SECOND, 5 * SECOND).with_factor(1.5);
        assert_eq!(seconds(&slower, 1..5), [2.0, 3.0, 4.5, 5.0]);
    }

    #[test]
    fn extreme_settings_neither_panic_nor_overflow() {
        for backoff in [
            Backoff::new(Duration::ZERO, Duration::MAX),
            Backoff::new(Duration::from_nanos(1), Duration::MAX),
            Backoff::new(Duration::MAX, Duration::MAX).with_added_jitter(Duration::MAX),
            Backoff::new(Duration::MAX, Duration::ZERO).with_full_jitter(),
        ] {
            for failures in [0, 1, 2, 65, u32::MAX] {
                let _ = backoff.wait(failures);
            }
        }
        assert_eq!(Backoff::new(Duration::ZERO, Duration::MAX).wait(u32::MAX), Duration::ZERO);
    }

    #[test]
    fn full_jitter_draws_from_the_whole_wait_and_added_jitter_from_above_it() {
        let full = Backoff::new(8 * SECOND, 8 * SECOND).with_full_jitter();
        let waits: Vec<Duration> = (0..1000).map(|_| full.wait(1)).collect();
        assert!(waits.iter().all(|wait| *wait < 8 * SECOND));
        let mean = waits.iter().sum::<Duration>() / 1000;
        assert!((Duration::from_millis(3700)..Duration::from_millis(4300)).contains(&mean), "{mean:?}");
        let added = Backoff::new(3 * SECOND, 9 * SECOND).with_added_jitter(SECOND);
        assert!((0..1000).all(|_| (3 * SECOND..4 * SECOND).contains(&added.wait(1))));
    }

    #[test]
    fn random_parts_are_repeatable_from_their_seed() {
        let draw = |seed| {
            let random = Random::seeded(seed);
            (0..100).map(|_| random.part_of(SECOND)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn the_backend_decides_on_the_wait_within_bounds() {
        let clock = ManualClock::new();
        let cx = Context::new().with_clock(clock.into());
        let backoff = Backoff::new(SECOND, 8 * SECOND).with_max_wait(30 * SECOND);
        let asks = |seconds| Error::new(ErrorKind::RateLimited, "x").with_retry_after(seconds * SECOND);
        assert_eq!(backoff.wait_after(&asks(3), 1, &cx), Ok(3 * SECOND));
        assert_eq!(backoff.wait_after(&asks(31), 1, &cx), Err(NoWait::TooLong));
        let silent = Error::new(ErrorKind::Unavailable, "x");
        assert_eq!(backoff.wait_after(&silent, 3, &cx), Ok(4 * SECOND));
        let short = cx.with_timeout(4 * SECOND);
        assert_eq!(backoff.wait_after(&silent, 3, &short), Err(NoWait::PastDeadline));
        assert_eq!(backoff.wait_after(&silent, 2, &short), Ok(2 * SECOND));
    }
}
