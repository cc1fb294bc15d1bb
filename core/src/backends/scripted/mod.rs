#![doc = include_str!("docs.md")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::context::Context;
use crate::embed::EmbeddingSpace;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::{BackendInfo, Limits};

mod chat;
mod config;
mod embed;
mod image;
mod png;
#[cfg(feature = "procurement")]
mod procure;
mod schema;

pub use config::{ScriptedConfig, ScriptedReply};

/// The backend's name.
const NAME: &str = "scripted";

/// Deterministic answers for every capability. Clones share the script and the count of calls.
#[derive(Clone, Debug)]
pub struct Scripted(Arc<State>);

#[derive(Debug)]
struct State {
    config: ScriptedConfig,
    info: BackendInfo,
    space: EmbeddingSpace,
    calls: AtomicUsize,
    next_failure: AtomicUsize,
    next_reply: AtomicUsize,
}

impl Scripted {
    /// A backend that answers as `config` says.
    ///
    /// # Errors
    /// `config_invalid` for no dimensions, or a latency that is not a valid duration.
    pub fn new(config: ScriptedConfig) -> Result<Self> {
        config.check()?;
        Ok(Self::build(config))
    }

    fn build(config: ScriptedConfig) -> Self {
        let mut limits = Limits::default().with_max_images(image::MAX_IMAGES);
        limits.max_batch = config.max_batch;
        limits.max_concurrency = config.max_concurrency;
        Self(Arc::new(State {
            info: BackendInfo::new(NAME, config.model.as_str()).with_limits(limits),
            space: EmbeddingSpace::new(config.model.as_str()).with_dimensions(config.dimensions),
            config,
            calls: AtomicUsize::new(0),
            next_failure: AtomicUsize::new(0),
            next_reply: AtomicUsize::new(0),
        }))
    }

    /// How many requests have arrived so far, those that failed included.
    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// Counts the request, waits as long as configured and fails if the script says so.
    async fn begin(&self, cx: &Context) -> Result<()> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        cx.check()?;
        if self.0.config.latency_seconds > 0.0 {
            cx.sleep(self.0.config.latency()).await?;
        }
        match next(&self.0.next_failure, &self.0.config.failures) {
            Some(kind) => Err(scripted_failure(*kind)),
            None => Ok(()),
        }
    }

    fn next_reply(&self) -> Option<&ScriptedReply> {
        next(&self.0.next_reply, &self.0.config.replies)
    }
}

impl Default for Scripted {
    fn default() -> Self {
        Self::build(ScriptedConfig::default())
    }
}

/// The next entry of a script, until it is used up.
fn next<'a, T>(cursor: &AtomicUsize, script: &'a [T]) -> Option<&'a T> {
    if cursor.load(Ordering::Relaxed) >= script.len() {
        return None;
    }
    script.get(cursor.fetch_add(1, Ordering::Relaxed))
}

fn scripted_failure(kind: ErrorKind) -> Error {
    let sent = match kind {
        ErrorKind::Timeout | ErrorKind::Interrupted | ErrorKind::Cancelled => Sent::Maybe,
        ErrorKind::ResponseInvalid => Sent::Yes,
        _ => Sent::No,
    };
    Error::new(kind, "the script says that this request fails").with_sent(sent)
}

/// Pseudo-random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
struct Numbers(u64);

impl Numbers {
    /// Seeded by a hash of `bytes` (FNV-1a).
    fn from_bytes<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for piece in pieces {
            // The length keeps ("ab", "c") and ("a", "bc") apart.
            for byte in piece.len().to_le_bytes().iter().chain(piece) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        Self(hash)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number between -1 and 1.
    #[allow(clippy::cast_precision_loss)]
    fn next_signed(&mut self) -> f32 {
        let mantissa = (self.next() >> 40) as f32;
        mantissa / ((1u64 << 23) as f32) - 1.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::context::ManualClock;
    use crate::{AnyChat, ChatRequest, Operation};

    #[tokio::test]
    async fn failures_come_first_and_then_the_answer() {
        let failures = [ErrorKind::RateLimited, ErrorKind::Timeout];
        let scripted = Scripted::new(ScriptedConfig::default().with_failures(failures)).expect("valid");
        let chat = AnyChat::new(scripted.clone());
        for kind in failures {
            let error = chat.ask(&Context::new(), "hola").await.expect_err("the script fails");
            assert_eq!(error.kind(), kind);
            assert_eq!((error.backend(), error.operation()), (Some("scripted"), Some(Operation::Chat)));
        }
        assert!(chat.ask(&Context::new(), "hola").await.expect("an answer").contains("hola"));
        assert_eq!(scripted.calls(), 3);
    }

    #[tokio::test]
    async fn latency_passes_on_the_clock_of_the_call() {
        let clock = ManualClock::automatic();
        let cx = Context::new().with_clock(clock.clone().into());
        let scripted = Scripted::new(ScriptedConfig::default().with_latency_seconds(2.5)).expect("valid");
        AnyChat::new(scripted).chat(&cx, ChatRequest::user("hola")).await.expect("an answer");
        assert_eq!(clock.slept(), [Duration::from_millis(2500)]);
    }

    #[test]
    fn a_config_that_cannot_work_is_refused() {
        for config in [
            ScriptedConfig::default().with_dimensions(0),
            ScriptedConfig::default().with_latency_seconds(-1.0),
            ScriptedConfig::default().with_latency_seconds(f64::NAN),
        ] {
            let error = Scripted::new(config).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        }
    }
}
