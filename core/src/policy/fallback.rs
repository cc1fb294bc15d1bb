//! Fallback: another backend takes over.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::call::GovernedReply;
use super::governed::{GovernedHandle, Handle};
use super::seconds;
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::error::{Operation, RouteFailure};
use crate::info::Route;

/// When another backend takes over.
///
/// Only before anything was delivered. The answer's route says which backend served and which ones failed before it.
/// Without fallback backends, these settings have no effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Fallback {
    /// The kinds of failure after which the next backend takes over.
    pub on: Vec<ErrorKind>,
    /// How long a backend is skipped after it was rate-limited, unavailable, or out of quota or credits, unless it says how
    /// long itself. A backend without an alternative is never skipped; 0 skips none.
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

    /// Sets the kinds of failure after which the next backend takes over.
    pub fn with_on(mut self, kinds: impl IntoIterator<Item = ErrorKind>) -> Self {
        self.on = kinds.into_iter().collect();
        self
    }

    /// Sets how long a failed backend is skipped.
    pub fn with_cooldown_seconds(mut self, seconds: f64) -> Self {
        self.cooldown_seconds = seconds;
        self
    }

    pub(super) fn build(&self, fallbacks: usize) -> Result<FallbackRules> {
        if self.on.contains(&ErrorKind::Cancelled) {
            return Err(Error::config(
                "`fallback.on` must not name `cancelled`: nobody waits for a cancelled call",
            ));
        }
        if fallbacks > 0 && self.on.is_empty() {
            return Err(Error::config("fallbacks are given, but `fallback.on` names no kind of failure"));
        }
        let cooldown = seconds("fallback.cooldown_seconds", self.cooldown_seconds)?;
        Ok(FallbackRules { on: self.on.iter().fold(0, |on, kind| on | bit(*kind)), cooldown })
    }
}

fn bit(kind: ErrorKind) -> u64 {
    1 << (kind as u32)
}

/// [`Fallback`], ready for use.
#[derive(Debug)]
pub(super) struct FallbackRules {
    on: u64,
    cooldown: Duration,
}

impl FallbackRules {
    /// Whether the next backend is tried after a failure of this kind.
    pub(super) fn moves_on_after(&self, kind: ErrorKind) -> bool {
        self.on & bit(kind) != 0
    }

    /// Opens the breaker of a backend that will not serve other requests either.
    fn skip_for_a_while<H>(&self, handle: &GovernedHandle<H>, error: &Error, cx: &Context) {
        let affects_others = matches!(
            error.kind(),
            ErrorKind::RateLimited
                | ErrorKind::Unavailable
                | ErrorKind::QuotaExceeded
                | ErrorKind::CreditsExhausted
        );
        if affects_others && !self.cooldown.is_zero() {
            let open_for = error.retry_after().unwrap_or(self.cooldown);
            handle.breaker.failed(cx.clock().now(), error.kind(), open_for);
        }
    }
}

/// Sends the request to one backend after another until one serves.
pub(super) async fn fall_back<'a, H: Handle, T: GovernedReply, F: Future<Output = Result<T>>>(
    rules: &FallbackRules,
    handles: &'a [GovernedHandle<H>],
    cx: &Context,
    operation: Operation,
    send: impl Fn(&'a GovernedHandle<H>) -> F,
) -> Result<T> {
    let mut failed = FailedBackends(Vec::new());
    let mut candidates = Candidates::new(handles, cx);
    let mut candidate = candidates.next(&mut failed);
    loop {
        let Some(handle) = candidate else {
            return Err(no_backend());
        };
        let error = match send(handle).await {
            Ok(mut reply) => {
                handle.breaker.close();
                if !failed.0.is_empty() {
                    reply.route_mut().failed.splice(0..0, failed.0);
                }
                return Ok(reply);
            }
            Err(error) => handle.info().tag(operation)(error),
        };
        rules.skip_for_a_while(handle, &error, cx);
        failed.0.push(Route::failed_before(handle.info(), &error));
        if !rules.moves_on_after(error.kind()) || cx.check().is_err() {
            return Err(failed.mark(error));
        }
        candidate = candidates.next(&mut failed);
        let Some(next) = candidate else { return Err(failed.mark(error)) };
        if let Some(series) = handle.series(operation) {
            series.fell_back();
        }
        cx.report(|| Progress::FallingBack {
            from: Arc::clone(&handle.info().backend),
            to: Arc::clone(&next.info().backend),
            kind: error.kind(),
        });
    }
}

pub(super) fn no_backend() -> Error {
    Error::new(ErrorKind::Unexpected, "the policy has no backend")
}

/// The backends to try, in order. Those that failed a short while ago are skipped if there is any other.
struct Candidates<'a, H> {
    handles: std::slice::Iter<'a, GovernedHandle<H>>,
    /// The time at which breakers are asked; `None` skips no backend.
    skip_at: Option<Instant>,
}

impl<'a, H: Handle> Candidates<'a, H> {
    fn new(handles: &'a [GovernedHandle<H>], cx: &Context) -> Self {
        let skip_at = match handles {
            [_] => None,
            _ => {
                let now = cx.clock().now();
                handles.iter().any(|handle| handle.breaker.opened_by(now).is_none()).then_some(now)
            }
        };
        Self { handles: handles.iter(), skip_at }
    }

    fn next(&mut self, failed: &mut FailedBackends) -> Option<&'a GovernedHandle<H>> {
        for handle in self.handles.by_ref() {
            match self.skip_at.and_then(|now| handle.breaker.opened_by(now)) {
                None => return Some(handle),
                Some(kind) => failed.0.push(RouteFailure {
                    backend: Arc::clone(&handle.info().backend),
                    model: Arc::clone(&handle.info().model),
                    kind,
                }),
            }
        }
        None
    }
}

/// The backends that did not serve, in order.
struct FailedBackends(Vec<RouteFailure>);

impl FailedBackends {
    /// Names all backends that failed in the error of the last one.
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
