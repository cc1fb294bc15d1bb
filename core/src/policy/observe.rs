//! Spans, events and counters of calls, without their content.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::call::GovernedReply;
use super::metrics::{Metrics, Series};
use crate::context::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::error::{Operation, RouteFailure};
use crate::info::{BackendInfo, Route, Usage};

/// What is recorded about calls: one `tracing` span per call (target `ayni::call`) with OpenTelemetry's GenAI names, one
/// event at its end (debug for an answer, warn for a failure), and counters.
///
/// Prompts, inputs, answers, credentials, URLs and the texts of a backend's errors are never recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Observe {
    /// Whether calls have spans and events.
    pub spans: bool,
    /// Whether calls are counted.
    pub metrics: bool,
    /// The counters; [`Metrics::global`] unless set.
    #[serde(skip)]
    pub counters: Option<Metrics>,
}

impl Default for Observe {
    fn default() -> Self {
        Self { spans: true, metrics: true, counters: None }
    }
}

impl Observe {
    /// Says whether calls have spans and events.
    pub fn with_spans(mut self, spans: bool) -> Self {
        self.spans = spans;
        self
    }

    /// Says whether calls are counted.
    pub fn with_metrics(mut self, metrics: bool) -> Self {
        self.metrics = metrics;
        self
    }

    /// Counts into these counters.
    pub fn with_counters(mut self, counters: Metrics) -> Self {
        self.metrics = true;
        self.counters = Some(counters);
        self
    }

    pub(super) fn build(&self) -> Option<Metrics> {
        self.metrics.then(|| self.counters.clone().unwrap_or_else(Metrics::global))
    }

    fn span(&self, operation: Operation, info: &BackendInfo) -> Span {
        if !self.spans {
            return Span::none();
        }
        tracing::info_span!(
            target: "ayni::call",
            "ayni.call",
            "gen_ai.operation.name" = operation.gen_ai_name(),
            "gen_ai.provider.name" = &*info.backend,
            "gen_ai.request.model" = &*info.model,
            "gen_ai.response.model" = Empty,
            "gen_ai.usage.input_tokens" = Empty,
            "gen_ai.usage.output_tokens" = Empty,
            "server.address" = info.host.as_deref(),
            "error.type" = Empty,
            "ayni.operation" = operation.as_str(),
            "ayni.attempts" = Empty,
            "ayni.route.backend" = Empty,
            "ayni.route.failed" = Empty,
            "ayni.cached" = Empty,
        )
    }
}

/// Runs `work` inside a span and records how it ended. `last_series` gives the counters of the backend that served, or
/// failed last.
pub(super) async fn observe<T: GovernedReply, F: Future<Output = Result<T>>>(
    config: &Observe,
    operation: Operation,
    primary: &BackendInfo,
    clock: &Clock,
    last_series: impl Fn() -> Option<Arc<Series>>,
    work: impl FnOnce() -> F,
) -> Result<T> {
    let mut observation = Observation {
        span: config.span(operation, primary),
        events: config.spans,
        operation,
        started: clock.now(),
        clock: clock.clone(),
        series: last_series(),
        ended: false,
    };
    let outcome = work().instrument(observation.span.clone()).await;
    observation.series = last_series();
    match outcome {
        Ok(mut reply) => {
            reply.observe(observation);
            Ok(reply)
        }
        Err(error) => {
            observation.fail(&error);
            Err(error)
        }
    }
}

/// A call that has started. One that is dropped before its end was abandoned by the caller.
#[derive(Debug)]
pub(super) struct Observation {
    span: Span,
    events: bool,
    operation: Operation,
    started: Instant,
    clock: Clock,
    series: Option<Arc<Series>>,
    ended: bool,
}

impl Observation {
    /// Does some of the work inside the call's span.
    pub(super) fn in_span<T>(&self, work: impl FnOnce() -> T) -> T {
        self.span.in_scope(work)
    }

    /// Records that the answer is complete.
    pub(super) fn succeed(mut self, route: &Route, usage: Usage) {
        let took = self.end(None);
        if let Some(series) = &self.series {
            series.answered(usage, route.cached);
        }
        if !self.span.is_disabled() {
            self.span.record("gen_ai.response.model", &*route.model);
            self.span.record("gen_ai.usage.input_tokens", usage.input_tokens);
            self.span.record("gen_ai.usage.output_tokens", usage.output_tokens);
            self.span.record("ayni.attempts", route.attempts);
            self.span.record("ayni.route.backend", &*route.backend);
            self.span.record("ayni.cached", route.cached);
            if !route.failed.is_empty() {
                self.span.record("ayni.route.failed", failures(&route.failed));
            }
        }
        if self.events {
            tracing::debug!(
                target: "ayni::call",
                parent: self.span.id(),
                operation = self.operation.as_str(),
                backend = &*route.backend,
                model = &*route.model,
                attempts = route.attempts,
                cached = route.cached,
                took_ms = milliseconds(took),
                "answered",
            );
        }
    }

    /// Records that the call failed.
    pub(super) fn fail(mut self, error: &Error) {
        let took = self.end(Some(error.kind()));
        self.span.record("error.type", error.kind().as_str());
        if self.events {
            let fact =
                |name| error.context().iter().find(|(fact, _)| *fact == name).map(|(_, value)| &**value);
            tracing::warn!(
                target: "ayni::call",
                parent: self.span.id(),
                operation = self.operation.as_str(),
                backend = error.backend(),
                "error.type" = error.kind().as_str(),
                status = error.http_status(),
                request_id = error.request_id(),
                attempts = fact("attempts"),
                route = fact("route"),
                phase = fact("phase"),
                took_ms = milliseconds(took),
                "failed",
            );
        }
    }

    fn end(&mut self, failure: Option<ErrorKind>) -> Duration {
        self.ended = true;
        let took = self.clock.now().saturating_duration_since(self.started);
        if let Some(series) = &self.series {
            series.ended(failure, took);
        }
        took
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Some(ErrorKind::Cancelled));
            self.span.record("error.type", ErrorKind::Cancelled.as_str());
        }
    }
}

fn failures(failed: &[RouteFailure]) -> String {
    let mut text = String::new();
    for failure in failed {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{}={}", failure.backend, failure.kind);
    }
    text
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
