//! The world's clock, which can be set and moved.

use std::time::{Duration, Instant};

use ayni::procure::Timestamp;

/// A clock in Santiago.
#[derive(Clone, Debug)]
pub(super) struct WorldClock {
    at: Timestamp,
    since: Instant,
    running: bool,
}

impl WorldClock {
    pub(super) fn new(at: Timestamp, running: bool) -> Self {
        Self { at, since: Instant::now(), running }
    }

    pub(super) fn now(&self) -> Timestamp {
        if self.running { self.at.plus(self.since.elapsed()) } else { self.at }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running
    }

    pub(super) fn set(&mut self, at: Timestamp) {
        *self = Self::new(at, self.running);
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.set(self.now().plus(by));
    }

    pub(super) fn run(&mut self, running: bool) {
        *self = Self::new(self.now(), running);
    }
}
