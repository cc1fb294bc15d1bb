//! What travels with a call: deadline, cancellation, progress, clock and transport.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};

use crate::error::{Error, ErrorKind, Persistence, Result, Sent};
use crate::transport::Transport;

mod clock;
mod progress;

pub use crate::transport::BoxFuture;
pub use clock::{Clock, ManualClock};
pub use progress::{Progress, ProgressSink};

/// What travels with a call. Cheap to clone; a clone shares the cancellation, the sink and the transport.
///
/// Deadlines and waits use the timer of the caller's tokio runtime. A call that has to wait and finds no runtime, or one
/// without a timer, fails with `config_invalid`; a call that never waits needs no runtime.
///
/// ```
/// use std::time::Duration;
/// use ayni::{Cancellation, Context};
///
/// let cancellation = Cancellation::new();
/// let cx = Context::new().with_timeout(Duration::from_secs(30)).with_cancellation(cancellation.clone());
/// assert!(cx.remaining() <= Some(Duration::from_secs(30)));
/// cancellation.cancel();
/// assert!(cx.check().is_err());
/// ```
#[derive(Clone, Default)]
pub struct Context {
    deadline: Option<Instant>,
    cancellation: Option<Cancellation>,
    progress: Option<Arc<dyn ProgressSink>>,
    clock: Clock,
    transport: Option<Arc<dyn Transport>>,
    attempt: u32,
    phases: PhaseTimeouts,
}

impl Context {
    /// No deadline, no cancellation, the system's clock, the built-in transport.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the whole call, retries and fallbacks included, after `timeout` from now.
    ///
    /// Call it after [`with_clock`](Self::with_clock) if both are used.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        match self.clock.now().checked_add(timeout) {
            Some(deadline) => self.with_deadline(deadline),
            // Later than this machine can count.
            None => self,
        }
    }

    /// Ends the whole call at `deadline`, or at the one already set if that is earlier.
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        self
    }

    /// Stops the work when `cancellation` is cancelled.
    pub fn with_cancellation(mut self, cancellation: Cancellation) -> Self {
        self.cancellation = Some(cancellation);
        self
    }

    /// Reports progress to `sink`.
    pub fn with_progress(mut self, sink: impl ProgressSink + 'static) -> Self {
        self.progress = Some(Arc::new(sink));
        self
    }

    /// Measures time and sleeps by `clock`.
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sends HTTP requests through `transport` instead of the built-in one.
    pub fn with_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Sets the time-outs of the phases of one HTTP exchange.
    pub fn with_phase_timeouts(mut self, phases: PhaseTimeouts) -> Self {
        self.phases = phases;
        self
    }

    /// Sends HTTP requests through `transport` unless the caller has given another one.
    pub(crate) fn with_default_transport(mut self, transport: Option<&Arc<dyn Transport>>) -> Self {
        if self.transport.is_none() {
            self.transport = transport.cloned();
        }
        self
    }

    pub(crate) fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// The moment at which the whole call ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The time left until the deadline; zero when it has passed, `None` without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(self.clock.now()))
    }

    /// The caller's cancellation, if there is one.
    pub fn cancellation(&self) -> Option<&Cancellation> {
        self.cancellation.as_ref()
    }

    /// The clock of this call.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The caller's transport, if there is one. [`ayni::http::transport`](crate::http::transport) gives the built-in one
    /// otherwise.
    pub fn transport(&self) -> Option<&Arc<dyn Transport>> {
        self.transport.as_ref()
    }

    /// Which attempt this is, from 1. Zero outside a policy.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The time-outs of the phases of one HTTP exchange.
    pub fn phase_timeouts(&self) -> PhaseTimeouts {
        self.phases
    }

    /// Reports progress to the sink. Without one, the event is not even made.
    pub fn report(&self, event: impl FnOnce() -> Progress) {
        if let Some(sink) = &self.progress {
            sink.report(event());
        }
    }

    /// Fails if the call is cancelled or its deadline has passed. Local work calls it between steps.
    ///
    /// # Errors
    /// `cancelled` or `timeout`.
    pub fn check(&self) -> Result<()> {
        if self.cancellation.as_ref().is_some_and(Cancellation::is_cancelled) {
            return Err(cancelled());
        }
        match self.remaining() {
            Some(Duration::ZERO) => Err(deadline_passed()),
            _ => Ok(()),
        }
    }

    /// Runs `work` until it is done, the call is cancelled or its deadline passes. In the last two cases `work` is
    /// dropped, which closes its connection.
    ///
    /// # Errors
    /// Those of `work`; `cancelled`; `timeout` with `phase=total`; `config_invalid` where there is a deadline to wait for
    /// and no timer.
    pub async fn guard<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.check()?;
        if self.cancellation.is_none() && self.deadline.is_none() {
            return work.await;
        }
        let stopped = pin!(self.stopped());
        match select(pin!(work), stopped).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((reason, _)) => Err(reason),
        }
    }

    /// Sleeps by the call's clock, unless the call is cancelled or ends first.
    ///
    /// # Errors
    /// `cancelled`, `timeout`, or those of [`Clock::sleep`].
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        self.guard(self.clock.sleep(duration)).await
    }

    async fn stopped(&self) -> Error {
        let cancelled_by_caller = async {
            match &self.cancellation {
                Some(cancellation) => cancellation.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let out_of_time = async {
            match self.remaining() {
                Some(left) => self.clock.sleep(left).await,
                None => std::future::pending().await,
            }
        };
        match select(pin!(cancelled_by_caller), pin!(out_of_time)).await {
            Either::Left(_) => cancelled(),
            Either::Right((slept, _)) => slept.map_or_else(|error| error, |()| deadline_passed()),
        }
    }
}

/// The error of a cancelled call: neither retried nor handed to a fallback.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the caller cancelled the call").with_sent(Sent::Maybe)
}

fn deadline_passed() -> Error {
    Error::new(ErrorKind::Timeout, "the deadline of the whole call has passed")
        .with_persistence(Persistence::Permanent)
        .with_context("phase", "total")
        .with_sent(Sent::Maybe)
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("remaining", &self.remaining())
            .field("cancelled", &self.cancellation.as_ref().map(Cancellation::is_cancelled))
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// Stops the calls that hold a clone of it.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(tokio_util::sync::CancellationToken);

impl Cancellation {
    /// A cancellation that has not been triggered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the work of every call that holds a clone. Once cancelled, always cancelled.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until [`cancel`](Self::cancel) is called.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }
}

/// Time-outs of the phases of one HTTP exchange. `None` takes the backend's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhaseTimeouts {
    /// Until the connection is made.
    pub connect: Option<Duration>,
    /// From then until the response's status line.
    pub first_byte: Option<Duration>,
    /// Between two pieces of data; keep-alive comments are not data.
    pub idle: Option<Duration>,
}

#[cfg(test)]
mod tests {

    use super::*;

    #[tokio::test]
    async fn the_deadline_ends_the_work_and_says_which_phase() {
        let clock = ManualClock::new();
        let cx = Context::new().with_clock(clock.clone().into()).with_timeout(Duration::from_secs(5));
        let work = cx.guard(std::future::pending::<Result<()>>());
        let advance = async {
            tokio::task::yield_now().await;
            clock.advance(Duration::from_secs(5));
        };
        let (outcome, ()) = tokio::join!(work, advance);
        let error = outcome.expect_err("the deadline passed");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.context(), [("phase", "total".to_owned())]);
        assert!(!error.is_temporary());
    }

    #[tokio::test]
    async fn cancelling_ends_the_work_of_every_clone() {
        let cancellation = Cancellation::new();
        let cx = Context::new().with_cancellation(cancellation.clone());
        let (first, second) = (cx.clone(), cx);
        let work = async { tokio::join!(first.guard(never()), second.guard(never())) };
        let cancel = async { cancellation.cancel() };
        let ((a, b), ()) = tokio::join!(work, cancel);
        assert_eq!(a.expect_err("cancelled").kind(), ErrorKind::Cancelled);
        assert_eq!(b.expect_err("cancelled").kind(), ErrorKind::Cancelled);
    }

    async fn never() -> Result<()> {
        std::future::pending().await
    }

    #[test]
    fn an_earlier_deadline_is_never_extended() {
        let cx = Context::new().with_timeout(Duration::from_secs(1)).with_timeout(Duration::from_secs(9));
        assert!(cx.remaining() <= Some(Duration::from_secs(1)));
    }
}
