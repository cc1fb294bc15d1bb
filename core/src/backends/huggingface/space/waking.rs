//! Waiting for a Space, a few seconds at a time.

use std::time::{Duration, Instant};

use super::{Space, SpaceStage};
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Persistence, Result};
use crate::policy::backoff::Backoff;

/// The pauses between two looks: 2 s, 3 s, 4.5 s, then 5 s.
static PAUSES: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(5)).with_factor(1.5);

/// One wait for a Space to serve. A client of the program in it calls, and after a failure waits and retries:
///
/// ```text
/// let mut waking = Waking::new(&space, cx);
/// loop {
///     match ask(cx).await {
///         Ok(answer) => return Ok(answer),
///         Err(error) => waking.after(cx, error).await?,
///     }
/// }
/// ```
#[derive(Debug)]
pub(crate) struct Waking<'a> {
    space: &'a Space,
    since: Instant,
    pauses: u32,
}

impl<'a> Waking<'a> {
    /// A wait that begins now.
    pub(crate) fn new(space: &'a Space, cx: &Context) -> Self {
        Self { space, since: cx.clock().now(), pauses: 0 }
    }

    /// Pauses if `error` means that the Space is not ready yet, so that the caller may retry. The time
    /// between the first failure and the last is bounded by the Space's wake time and the context's deadline.
    ///
    /// # Errors
    /// `error` itself where it means something else; otherwise those of
    /// [`Space::wait_until_running`], except that failures of the Hub are ignored.
    pub(crate) async fn after(&mut self, cx: &Context, error: Error) -> Result<()> {
        if error.kind() != ErrorKind::ColdStart {
            return Err(error);
        }
        let stage = if self.space.is_space() { self.space.stage(cx).await.ok() } else { None };
        cx.check()?;
        self.pause(cx, stage).await
    }

    /// Reports what is being waited for and sleeps, longer each time.
    ///
    /// # Errors
    /// Those of [`Space::wait_until_running`].
    pub(super) async fn pause(&mut self, cx: &Context, stage: Option<SpaceStage>) -> Result<()> {
        if let Some(stage) = stage.as_ref().filter(|stage| stage.is_terminal()) {
            return Err(self.ended(stage));
        }
        let elapsed = cx.clock().now().saturating_duration_since(self.since);
        if elapsed >= self.space.wake_time {
            return Err(self.too_long(elapsed, stage.as_ref()));
        }
        let words = match &stage {
            // The Hub says "running" as soon as the container runs; the program in it may still be loading.
            Some(stage) if stage.is_running() => "is running, but its program does not serve yet",
            Some(stage) => stage.in_words(),
            None => "is not ready yet",
        };
        cx.report(|| Progress::Waiting { reason: format!("{} {words}", self.subject()), elapsed });
        self.pauses = self.pauses.saturating_add(1);
        let pause = PAUSES.wait(self.pauses).min(self.space.wake_time.saturating_sub(elapsed));
        cx.sleep(pause).await.map_err(|error| self.space.named(error))
    }

    fn subject(&self) -> String {
        match self.space.id() {
            Some(id) => format!("the Space {id}"),
            None if self.space.is_space() => format!("the Space at {}", self.space.host()),
            None => format!("the service at {}", self.space.host()),
        }
    }

    fn ended(&self, stage: &SpaceStage) -> Error {
        let error = Error::new(ErrorKind::Unavailable, format!("{} {}", self.subject(), stage.in_words()));
        self.space
            .named(error)
            .with_persistence(Persistence::Permanent)
            .with_context("space_stage", stage.as_str())
    }

    fn too_long(&self, elapsed: Duration, stage: Option<&SpaceStage>) -> Error {
        let message = format!("{} did not wake up within {:.0} s", self.subject(), elapsed.as_secs_f64());
        let error = Error::new(ErrorKind::ColdStart, message).with_persistence(Persistence::Exhausted);
        self.space.named(error).with_context("space_stage", stage.map_or("unknown", SpaceStage::as_str))
    }
}
