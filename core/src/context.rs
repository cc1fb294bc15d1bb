//! What travels with a call: deadline, cancellation, progress, clock and transport.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{Either, select};
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Result, Sent};
use crate::http::Transport;

/// A boxed future, as object-safe traits return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What travels with a call. Cheap to clone; a clone shares the cancellation, the sink and the transport.
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
        let deadline = self.clock.now() + timeout;
        self.with_deadline(deadline)
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

    /// The cancellation, if the caller gave one.
    pub fn cancellation(&self) -> Option<&Cancellation> {
        self.cancellation.as_ref()
    }

    /// The clock of this call.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The transport of this call: the caller's, else the built-in one.
    ///
    /// # Errors
    /// `unsupported` without a transport of the caller's when built without the `http` feature.
    pub fn transport(&self) -> Result<Arc<dyn Transport>> {
        match &self.transport {
            Some(transport) => Ok(Arc::clone(transport)),
            None => crate::http::default_transport(),
        }
    }

    /// Which attempt this is, from 1. Zero outside a policy.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The time-outs of the phases of one HTTP exchange.
    pub fn phase_timeouts(&self) -> PhaseTimeouts {
        self.phases
    }

    /// Reports progress, if anybody listens. The event is only made when somebody does.
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

    /// Runs `work` until it is done, the call is cancelled or its deadline passes. On the latter two `work`
    /// is dropped, which closes its connection.
    ///
    /// # Errors
    /// Those of `work`, `cancelled`, or `timeout` with `phase=total`.
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
    /// `cancelled` or `timeout`.
    pub async fn sleep(&self, duration: Duration) -> Result<()> {
        self.guard(async {
            self.clock.sleep(duration).await;
            Ok(())
        })
        .await
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
            Either::Right(_) => deadline_passed(),
        }
    }
}

/// The caller cancelled: not sent again, not fallen back from.
pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "the caller cancelled the call").with_sent(Sent::Maybe)
}

fn deadline_passed() -> Error {
    Error::new(ErrorKind::Timeout, "the deadline of the whole call has passed")
        .with_persistence(crate::error::Persistence::Permanent)
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

/// Tells every clone, and the work that holds one, to stop.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(tokio_util::sync::CancellationToken);

impl Cancellation {
    /// A cancellation that nobody has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the work of every call that holds a clone. Once cancelled, always cancelled.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// Whether somebody has cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until somebody cancels.
    pub async fn cancelled(&self) {
        self.0.cancelled().await;
    }
}

/// Time-outs of the phases of one HTTP exchange. `None` takes the backend's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhaseTimeouts {
    /// Until a connection stands.
    pub connect: Option<Duration>,
    /// From then until the response's status line.
    pub first_byte: Option<Duration>,
    /// Between two pieces of data; keep-alive comments are not data.
    pub idle: Option<Duration>,
}

/// Something worth telling the person who waits.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// Nothing is wrong, but the backend is not ready yet: a Space wakes up, a model loads.
    Waiting {
        /// What is being waited for, in one sentence.
        reason: String,
        /// How long so far.
        elapsed: Duration,
    },
    /// The next attempt follows after a pause.
    Retrying {
        /// The attempt that comes next, from 2.
        attempt: u32,
        /// Why the last one failed.
        kind: ErrorKind,
        /// The pause before it.
        wait: Duration,
    },
    /// Another backend takes over.
    FallingBack {
        /// The backend that failed.
        from: Arc<str>,
        /// The backend that takes over.
        to: Arc<str>,
        /// Why the first one failed.
        kind: ErrorKind,
    },
    /// Some inputs of a larger request are done.
    Inputs {
        /// How many are done.
        done: usize,
        /// Of how many.
        of: usize,
    },
    /// One denoising step of an image is done.
    ImageStep {
        /// The step, from 1.
        step: u32,
        /// Of how many.
        of: u32,
        /// A small preview as an encoded image, where the backend makes one.
        preview: Option<bytes::Bytes>,
    },
    /// Rows of a large file on their way into the store.
    Import {
        /// The file's name.
        file: String,
        /// Rows so far, in all files of the import.
        rows: u64,
        /// Bytes read so far, unpacked.
        done: u64,
        /// Bytes in all, where known.
        of: Option<u64>,
    },
    /// Bytes of a download.
    Download {
        /// The file's name.
        file: String,
        /// Bytes on disk.
        done: u64,
        /// Bytes in all, where known.
        of: Option<u64>,
    },
}

/// Receives [`Progress`]. Closures are sinks. A sink must return quickly: the work waits for it.
pub trait ProgressSink: Send + Sync {
    /// Takes one event.
    fn report(&self, event: Progress);
}

impl<F: Fn(Progress) + Send + Sync> ProgressSink for F {
    fn report(&self, event: Progress) {
        self(event);
    }
}

/// Measures time and sleeps: the system's clock, or one that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<ManualClock>);

impl Clock {
    /// The system's clock. Sleeping needs a tokio runtime.
    pub fn system() -> Self {
        Self(None)
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(manual) => manual.now(),
        }
    }

    /// The present moment of the calendar.
    pub fn system_time(&self) -> SystemTime {
        match &self.0 {
            None => SystemTime::now(),
            Some(manual) => manual.system_time(),
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            None => tokio::time::sleep(duration).await,
            Some(manual) => manual.sleep(duration).await,
        }
    }
}

impl From<ManualClock> for Clock {
    fn from(manual: ManualClock) -> Self {
        Self(Some(manual))
    }
}

/// A clock for tests: it stands still until [`advance`](Self::advance) moves it, or, made by
/// [`automatic`](Self::automatic), jumps over every sleep at once.
#[derive(Clone, Debug)]
pub struct ManualClock {
    shared: Arc<ManualShared>,
    automatic: bool,
}

#[derive(Debug)]
struct ManualShared {
    state: Mutex<ManualState>,
    moved: Notify,
}

#[derive(Debug)]
struct ManualState {
    now: Instant,
    /// A moment of this clock and the calendar's moment that it is.
    calendar: (Instant, SystemTime),
    slept: Vec<Duration>,
}

impl ManualClock {
    /// A clock that stands still until it is advanced.
    pub fn new() -> Self {
        Self::build(false)
    }

    /// A clock that jumps over every sleep.
    pub fn automatic() -> Self {
        Self::build(true)
    }

    fn build(automatic: bool) -> Self {
        let now = Instant::now();
        let state = ManualState { now, calendar: (now, SystemTime::now()), slept: Vec::new() };
        Self { shared: Arc::new(ManualShared { state: Mutex::new(state), moved: Notify::new() }), automatic }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, ManualState> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock forward and wakes whoever's sleep is over.
    pub fn advance(&self, by: Duration) {
        self.state().now += by;
        self.shared.moved.notify_waiters();
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        self.state().now
    }

    /// The present moment of the calendar: the system's when the clock was made, moving with it.
    pub fn system_time(&self) -> SystemTime {
        let state = self.state();
        let (then, time) = state.calendar;
        time + state.now.saturating_duration_since(then)
    }

    /// Sets the calendar.
    pub fn set_system_time(&self, time: SystemTime) {
        let mut state = self.state();
        state.calendar = (state.now, time);
    }

    /// Every sleep that was asked for so far, in order.
    pub fn slept(&self) -> Vec<Duration> {
        self.state().slept.clone()
    }

    async fn sleep(&self, duration: Duration) {
        let until = {
            let mut state = self.state();
            state.slept.push(duration);
            if self.automatic {
                state.now += duration;
            }
            if self.automatic { state.now } else { state.now + duration }
        };
        loop {
            let moved = self.shared.moved.notified();
            let mut moved = pin!(moved);
            // Registered before the time is read, so that an advance in between is not missed.
            moved.as_mut().enable();
            if self.now() >= until {
                return;
            }
            moved.await;
        }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
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

    #[tokio::test]
    async fn an_automatic_clock_jumps_and_keeps_the_sleeps() {
        let clock = ManualClock::automatic();
        let cx = Context::new().with_clock(clock.clone().into());
        cx.sleep(Duration::from_secs(3600)).await.expect("no deadline");
        assert_eq!(clock.slept(), [Duration::from_secs(3600)]);
    }
}
