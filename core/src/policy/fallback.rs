//! Handing a request over to another backend.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::call::Reply;
use super::governed::{Handle, Slot};
use super::seconds;
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::error::{Operation, RouteFailure};
use crate::info::Route;

/// When another backend takes over.
///
/// Only before anything was delivered; the answer's route says who served and who failed before it. Where no
/// fallback is given, nothing here has any effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Fallback {
    /// The kinds of failure after which the next backend is asked.
    pub on: Vec<ErrorKind>,
    /// How long a backend is passed over after it was rate-limited, unavailable or out of quota or credits,
    /// unless it says how long itself and as long as another one is there; 0 never passes one over.
    pub cooldown_seconds: f64,
}

impl Default for Fallback {
    fn default() -> Self {
        let on = ErrorKind::ALL.iter().copied().filter(|kind| kind.falls_back()).collect();
        Self { on, cooldown_seconds: 30.0 }
    }
}

impl Fallback {
    /// No fallback at all.
    pub fn none() -> Self {
        Self { on: Vec::new(), cooldown_seconds: 0.0 }
    }

    /// Sets the kinds of failure after which the next backend is asked.
    pub fn with_on(mut self, kinds: impl IntoIterator<Item = ErrorKind>) -> Self {
        self.on = kinds.into_iter().collect();
        self
    }

    /// Sets how long a failed backend is passed over.
    pub fn with_cooldown_seconds(mut self, seconds: f64) -> Self {
        self.cooldown_seconds = seconds;
        self
    }

    pub(super) fn build(&self, fallbacks: usize) -> Result<Switch> {
        if self.on.contains(&ErrorKind::Cancelled) {
            return Err(Error::config(
                "`fallback.on` names `cancelled`: a cancelled call has nobody waiting",
            ));
        }
        if fallbacks > 0 && self.on.is_empty() {
            return Err(Error::config("fallbacks are given, but `fallback.on` names no kind of failure"));
        }
        let cooldown = seconds("fallback.cooldown_seconds", self.cooldown_seconds)?;
        Ok(Switch { on: self.on.iter().fold(0, |on, kind| on | bit(*kind)), cooldown })
    }
}

fn bit(kind: ErrorKind) -> u64 {
    1 << (kind as u32)
}

/// [`Fallback`], ready for use.
#[derive(Debug)]
pub(super) struct Switch {
    on: u64,
    cooldown: Duration,
}

/// Asks one backend after another until one serves.
pub(super) async fn fall_back<'a, H: Handle, T: Reply, F: Future<Output = Result<T>>>(
    switch: &Switch,
    slots: &'a [Slot<H>],
    cx: &Context,
    operation: Operation,
    ask: impl Fn(&'a Slot<H>) -> F,
) -> Result<T> {
    let mut failed = Failed(Vec::new());
    let mut queue = Candidates::new(slots, cx);
    let mut candidate = queue.next(&mut failed);
    loop {
        let Some(slot) = candidate else {
            return Err(Error::new(ErrorKind::Unexpected, "there is no backend to ask"));
        };
        let error = match ask(slot).await {
            Ok(mut reply) => {
                slot.cooldown.end();
                if !failed.0.is_empty() {
                    reply.route_mut().failed.splice(0..0, failed.0);
                }
                return Ok(reply);
            }
            Err(error) => error.with_operation(operation).with_backend(&*slot.info().backend),
        };
        slot.cooldown.begin(switch.cooldown, &error, cx);
        failed.0.push(Route::failed_before(slot.info(), &error));
        if switch.on & bit(error.kind()) == 0 || cx.check().is_err() {
            return Err(failed.mark(error));
        }
        candidate = queue.next(&mut failed);
        let Some(next) = candidate else { return Err(failed.mark(error)) };
        if let Some(series) = slot.series(operation) {
            series.fell_back();
        }
        cx.report(|| Progress::FallingBack {
            from: Arc::clone(&slot.info().backend),
            to: Arc::clone(&next.info().backend),
            kind: error.kind(),
        });
    }
}

/// The backends to ask, in order. Those that cool down are passed over if there is any other.
struct Candidates<'a, H> {
    slots: std::slice::Iter<'a, Slot<H>>,
    pass_over: Option<Instant>,
}

impl<'a, H: Handle> Candidates<'a, H> {
    fn new(slots: &'a [Slot<H>], cx: &Context) -> Self {
        let pass_over = match slots {
            [_] => None,
            _ => {
                let now = cx.clock().now();
                slots.iter().any(|slot| slot.cooldown.reason(now).is_none()).then_some(now)
            }
        };
        Self { slots: slots.iter(), pass_over }
    }

    fn next(&mut self, failed: &mut Failed) -> Option<&'a Slot<H>> {
        for slot in self.slots.by_ref() {
            match self.pass_over.and_then(|now| slot.cooldown.reason(now)) {
                None => return Some(slot),
                Some(kind) => failed.0.push(RouteFailure {
                    backend: Arc::clone(&slot.info().backend),
                    model: Arc::clone(&slot.info().model),
                    kind,
                }),
            }
        }
        None
    }
}

/// Who did not serve, in order.
struct Failed(Vec<RouteFailure>);

impl Failed {
    /// Names everybody who failed in the last one's error.
    fn mark(self, error: Error) -> Error {
        if self.0.len() < 2 {
            return error;
        }
        let mut route = String::new();
        for failure in &self.0 {
            let comma = if route.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(route, "{comma}{}/{}={}", failure.backend, failure.model, failure.kind);
        }
        error.with_context("route", route).with_failed(self.0)
    }
}

/// Until when, and why, a backend is passed over.
#[derive(Debug, Default)]
pub(super) struct Cooldown {
    /// Spares the lock while all is well.
    active: AtomicBool,
    until: Mutex<Option<(Instant, ErrorKind)>>,
}

impl Cooldown {
    fn reason(&self, now: Instant) -> Option<ErrorKind> {
        if !self.active.load(Ordering::Acquire) {
            return None;
        }
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|(until, _)| now < *until).map(|(_, kind)| kind)
    }

    fn begin(&self, usual: Duration, error: &Error, cx: &Context) {
        let cools = matches!(
            error.kind(),
            ErrorKind::RateLimited
                | ErrorKind::Unavailable
                | ErrorKind::QuotaExceeded
                | ErrorKind::CreditsExhausted
        );
        if !cools || usual.is_zero() {
            return;
        }
        let now = cx.clock().now();
        let until = now.checked_add(error.retry_after().unwrap_or(usual)).unwrap_or(now + usual);
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some((until, error.kind()));
        self.active.store(true, Ordering::Release);
    }

    fn end(&self) {
        if self.active.load(Ordering::Acquire) {
            *self.until.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.active.store(false, Ordering::Release);
        }
    }
}
