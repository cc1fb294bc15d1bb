//! The calls that one request may make.

use std::sync::atomic::{AtomicU32, Ordering};

use super::ledger::Reservation;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::procure::CallCount;

/// The calls of one request: a ceiling, and what is reserved of the day's quota.
#[derive(Debug)]
pub(crate) struct CallBudget {
    max: u32,
    made: AtomicU32,
    reservation: Option<Reservation>,
}

impl CallBudget {
    pub(crate) fn new(max: u32, reservation: Option<Reservation>) -> Self {
        Self { max, made: AtomicU32::new(0), reservation }
    }

    pub(crate) fn reservation(&self) -> Option<&Reservation> {
        self.reservation.as_ref()
    }

    /// Fails once all calls are made.
    ///
    /// # Errors
    /// `quota_exceeded`, for which [`is_ceiling`] holds.
    pub(crate) fn check(&self) -> Result<()> {
        if self.made.load(Ordering::Relaxed) < self.max {
            return Ok(());
        }
        let message = format!("the request has made the {} calls that `max_calls` allows", self.max);
        Err(Error::new(ErrorKind::QuotaExceeded, message)
            .with_context("reason", "max_calls")
            .with_sent(Sent::No))
    }

    /// Counts a call.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(crate) fn take(&self) -> Result<()> {
        self.check()?;
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn count(&self) -> CallCount {
        CallCount { made: self.made.load(Ordering::Relaxed), max: self.max }
    }

    /// Gives back what is reserved and was not used.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn release(&mut self) -> Result<()> {
        match self.reservation.take() {
            Some(reservation) => reservation.release().await,
            None => Ok(()),
        }
    }
}

pub(crate) fn is_ceiling(error: &Error) -> bool {
    error.context().contains(&("reason", "max_calls".to_owned()))
}
