//! Time-outs of the phases of a call.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::call::GovernedReply;
use super::some_seconds;
use crate::context::{Context, PhaseTimeouts};
use crate::error::{Error, ErrorKind, Operation, Result, Sent};
use crate::info::BackendInfo;
use crate::transport::Transport;

/// How long the phases of a call may take. `null` sets no bound; connect, first byte and idle then keep the backend's own.
/// The time-outs of the call's [`Context`] override these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Timeout {
    /// Until the connection is made.
    pub connect_seconds: Option<f64>,
    /// From then until the status line.
    pub first_byte_seconds: Option<f64>,
    /// The same for a backend that may have to start a model or a container first.
    pub cold_start_first_byte_seconds: Option<f64>,
    /// The same for images, whose status line may come only with the finished image.
    pub image_first_byte_seconds: Option<f64>,
    /// Between two pieces of data; keep-alive comments are not data.
    pub idle_seconds: Option<f64>,
    /// One whole attempt; for a stream, until its end.
    pub attempt_seconds: Option<f64>,
    /// One whole attempt to make images.
    pub image_attempt_seconds: Option<f64>,
    /// The whole call, retries and fallbacks included, where the context sets no deadline.
    pub total_seconds: Option<f64>,
}

impl Default for Timeout {
    fn default() -> Self {
        Self {
            connect_seconds: Some(10.0),
            first_byte_seconds: Some(60.0),
            cold_start_first_byte_seconds: Some(120.0),
            image_first_byte_seconds: Some(300.0),
            idle_seconds: Some(60.0),
            attempt_seconds: None,
            image_attempt_seconds: Some(300.0),
            total_seconds: None,
        }
    }
}

impl Timeout {
    /// No bounds.
    pub fn none() -> Self {
        Self {
            connect_seconds: None,
            first_byte_seconds: None,
            cold_start_first_byte_seconds: None,
            idle_seconds: None,
            attempt_seconds: None,
            image_first_byte_seconds: None,
            image_attempt_seconds: None,
            total_seconds: None,
        }
    }

    /// Bounds the time until the connection is made.
    pub fn with_connect_seconds(mut self, seconds: impl Into<Option<f64>>) -> Self {
        self.connect_seconds = seconds.into();
        self
    }

    /// Bounds the time until the status line, cold starts and images included.
    pub fn with_first_byte_seconds(mut self, seconds: impl Into<Option<f64>>) -> Self {
        self.first_byte_seconds = seconds.into();
        self.cold_start_first_byte_seconds = self.first_byte_seconds;
        self.image_first_byte_seconds = self.first_byte_seconds;
        self
    }

    /// Bounds the time between two pieces of data.
    pub fn with_idle_seconds(mut self, seconds: impl Into<Option<f64>>) -> Self {
        self.idle_seconds = seconds.into();
        self
    }

    /// Bounds one whole attempt, including one to make images.
    pub fn with_attempt_seconds(mut self, seconds: impl Into<Option<f64>>) -> Self {
        self.attempt_seconds = seconds.into();
        self.image_attempt_seconds = self.attempt_seconds;
        self
    }

    /// Bounds the whole call where the context sets no deadline.
    pub fn with_total_seconds(mut self, seconds: impl Into<Option<f64>>) -> Self {
        self.total_seconds = seconds.into();
        self
    }

    pub(super) fn build(&self) -> Result<Bounds> {
        let first_byte = some_seconds("timeout.first_byte_seconds", self.first_byte_seconds)?;
        let cold = some_seconds("timeout.cold_start_first_byte_seconds", self.cold_start_first_byte_seconds)?;
        Ok(Bounds {
            phases: PhaseTimeouts {
                connect: some_seconds("timeout.connect_seconds", self.connect_seconds)?,
                first_byte,
                idle: some_seconds("timeout.idle_seconds", self.idle_seconds)?,
            },
            cold_first_byte: cold,
            image_first_byte: some_seconds(
                "timeout.image_first_byte_seconds",
                self.image_first_byte_seconds,
            )?,
            attempt: some_seconds("timeout.attempt_seconds", self.attempt_seconds)?,
            image_attempt: some_seconds("timeout.image_attempt_seconds", self.image_attempt_seconds)?,
            total: some_seconds("timeout.total_seconds", self.total_seconds)?,
        })
    }
}

/// [`Timeout`], checked and converted.
#[derive(Debug)]
pub(super) struct Bounds {
    phases: PhaseTimeouts,
    cold_first_byte: Option<Duration>,
    image_first_byte: Option<Duration>,
    attempt: Option<Duration>,
    image_attempt: Option<Duration>,
    total: Option<Duration>,
}

impl Bounds {
    /// The phases for a backend of a capability with these operations.
    pub(super) fn phases(&self, info: &BackendInfo, operations: &[Operation]) -> PhaseTimeouts {
        let first_byte = match (operations.contains(&Operation::GenerateImage), info.cold_starts) {
            (true, _) => self.image_first_byte,
            (false, true) => self.cold_first_byte,
            (false, false) => self.phases.first_byte,
        };
        PhaseTimeouts { first_byte, ..self.phases }
    }

    /// How long one attempt may take.
    pub(super) fn attempt(&self, operation: Operation) -> Option<Duration> {
        match operation {
            Operation::GenerateImage | Operation::RefineImage => self.image_attempt,
            _ => self.attempt,
        }
    }

    /// The context of the whole call, if it is not the caller's.
    pub(super) fn whole_call(&self, cx: &Context) -> Option<Context> {
        match (cx.deadline(), self.total) {
            (None, Some(total)) => Some(cx.clone().with_timeout(total)),
            _ => None,
        }
    }
}

/// The context of one attempt. The caller's own time-outs and transport come before the policy's.
pub(super) fn attempt_context(
    cx: &Context,
    attempt: u32,
    phases: PhaseTimeouts,
    transport: Option<&Arc<dyn Transport>>,
) -> Context {
    let own = cx.phase_timeouts();
    cx.clone().with_attempt(attempt).with_default_transport(transport).with_phase_timeouts(PhaseTimeouts {
        connect: own.connect.or(phases.connect),
        first_byte: own.first_byte.or(phases.first_byte),
        idle: own.idle.or(phases.idle),
    })
}

/// Ends an attempt after `bound`, and always with the call's deadline or cancellation.
pub(super) async fn within<T: GovernedReply, F: Future<Output = Result<T>>>(
    bound: Option<Duration>,
    cx: &Context,
    work: impl FnOnce() -> F,
) -> Result<T> {
    let work = pin!(work());
    let Some(bound) = bound else { return cx.guard(work).await };
    let end = cx.clock().now().checked_add(bound);
    let bounded =
        pin!(async { cx.clock().timeout(bound, work).await?.unwrap_or_else(|| Err(attempt_timed_out())) });
    let mut reply = cx.guard(bounded).await?;
    if let Some(end) = end {
        reply.end_by(cx.clock(), end);
    }
    Ok(reply)
}

pub(super) fn attempt_timed_out() -> Error {
    Error::new(ErrorKind::Timeout, "the attempt took longer than the policy allows")
        .with_context("phase", "attempt")
        .with_sent(Sent::Maybe)
}
