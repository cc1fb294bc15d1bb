//! How many requests a model takes in, and what those are told that it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// The line of one model. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Queue(Arc<State>);

#[derive(Debug)]
struct State {
    running: usize,
    most: usize,
    inside: AtomicUsize,
    /// About how many milliseconds an answer takes.
    usual_ms: AtomicU64,
}

/// A place in line, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Ticket {
    queue: Queue,
    since: Instant,
}

impl Queue {
    /// A line for `running` answers in progress and `waiting` requests.
    pub(crate) fn new(running: usize, waiting: usize) -> Self {
        let most = running.saturating_add(waiting);
        Self(Arc::new(State { running, most, inside: AtomicUsize::new(0), usual_ms: AtomicU64::new(0) }))
    }

    /// A place in line.
    ///
    /// # Errors
    /// `rate_limited` with a wait if there is none.
    pub(crate) fn enter(&self) -> Result<Ticket> {
        let state = &self.0;
        let entered = state.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, |inside| {
            (inside < state.most).then_some(inside + 1)
        });
        if entered.is_ok() {
            return Ok(Ticket { queue: self.clone(), since: Instant::now() });
        }
        let text = format!(
            "the model answers {} requests and {} wait; there is no room for more",
            state.running,
            state.most - state.running
        );
        Err(Error::new(ErrorKind::RateLimited, text).with_retry_after(self.wait()))
    }

    /// When there will be room: about when the next answer ends.
    fn wait(&self) -> Duration {
        let usual = Duration::from_millis(self.0.usual_ms.load(Ordering::Relaxed));
        let running = u32::try_from(self.0.running.max(1)).unwrap_or(u32::MAX);
        (usual / running).clamp(Duration::from_secs(1), Duration::from_secs(60))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let state = &self.queue.0;
        let took = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let before = state.usual_ms.load(Ordering::Relaxed);
        // The latest answers count most.
        let usual = if before == 0 { took } else { before / 4 * 3 + took / 4 };
        state.usual_ms.store(usual, Ordering::Relaxed);
        state.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_room_is_told_when_to_come_back() {
        let queue = Queue::new(2, 1);
        let tickets: Vec<Ticket> = (0..3).map(|_| queue.enter().unwrap()).collect();
        let error = queue.enter().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert!(error.message().contains("answers 2 requests and 1 wait"), "{error}");
        assert!(error.retry_after().is_some_and(|wait| wait >= Duration::from_secs(1)));
        drop(tickets);
        assert!(queue.enter().is_ok());
    }
}
