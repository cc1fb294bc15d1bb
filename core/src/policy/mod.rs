//! The layers around a backend: observation, cache, fallback, retry, limit, time-out, always in this order.
//!
//! ```text
//! observe → cache → fallback(handles) → retry → limit → time-out(per attempt) → backend
//! ```
//!
//! A [`Policy`] is data. Applied to a primary handle and its fallbacks, it makes one handle of the same type. The layers
//! cannot be applied in another order.
//!
//! Waits, limits and time-outs use the timer of the caller's tokio runtime; see [`Context`](crate::Context).
//!
//! ```
//! use ayni::backends::scripted::{Scripted, ScriptedConfig};
//! use ayni::policy::Policy;
//! use ayni::{AnyChat, ChatRequest, Context, ErrorKind};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let asleep = ScriptedConfig::default().with_model("asleep").with_failures([ErrorKind::NotFound]);
//! let primary = AnyChat::new(Scripted::new(asleep)?);
//! let chat = Policy::default().chat(primary, vec![AnyChat::new(Scripted::default())])?;
//!
//! let response = chat.chat(&Context::new(), ChatRequest::user("hola")).await?;
//! assert_eq!(&*response.route.model, "scripted");
//! assert_eq!(&*response.route.failed[0].model, "asleep");
//! assert_eq!(response.route.failed[0].kind, ErrorKind::NotFound);
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chat::AnyChat;
use crate::embed::AnyEmbedder;
use crate::error::{Error, Result};
use crate::image::AnyImageGenerator;
use crate::transport::Transport;

#[cfg_attr(not(feature = "procurement"), allow(dead_code, reason = "only Mercado Público uses all of it"))]
pub(crate) mod backoff;
#[cfg_attr(not(feature = "procurement"), allow(dead_code, reason = "only Mercado Público uses all of it"))]
pub(crate) mod breaker;
mod cache;
mod call;
mod event_log;
mod fallback;
mod governed;
mod limit;
mod metrics;
mod observe;
#[cfg(feature = "procurement")]
mod procurement;
mod retry;
mod space;
mod stream;
#[cfg(test)]
mod tests;
mod timeout;

pub use cache::Cache;
pub use event_log::EventLog;
pub use fallback::Fallback;
pub use limit::Limit;
pub use metrics::Metrics;
pub use observe::Observe;
pub use retry::Retry;
pub use timeout::Timeout;

use governed::Governed;

/// How calls are observed, cached, handed to fallbacks, retried, limited and timed out.
///
/// The default is what we recommend for services. [`Policy::none`] only observes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Policy {
    /// When a request is retried.
    pub retry: Retry,
    /// How long the phases of a call may take.
    pub timeout: Timeout,
    /// How many requests are in flight, and how closely they follow each other.
    pub limit: Limit,
    /// When another backend takes over.
    pub fallback: Fallback,
    /// Whether complete answers are kept and returned to the same request; `null` for no cache.
    pub cache: Option<Cache>,
    /// What is recorded about calls.
    pub observe: Observe,
    #[serde(skip)]
    transport: OwnTransport,
}

/// The transport of calls whose context carries none. Two are equal if they are the same object.
#[derive(Clone, Debug, Default)]
struct OwnTransport(Option<Arc<dyn Transport>>);

impl PartialEq for OwnTransport {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Policy {
    /// Observation only: one attempt, no time-outs, no limits, no fallback.
    pub fn none() -> Self {
        Self {
            retry: Retry::none(),
            timeout: Timeout::none(),
            limit: Limit::none(),
            fallback: Fallback::none(),
            cache: None,
            observe: Observe::default(),
            transport: OwnTransport::default(),
        }
    }

    /// Sets when a request is retried.
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how long the phases of a call may take.
    pub fn with_timeout(mut self, timeout: Timeout) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many requests are in flight.
    pub fn with_limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }

    /// Sets when another backend takes over.
    pub fn with_fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = fallback;
        self
    }

    /// Sets whether complete answers are cached.
    pub fn with_cache(mut self, cache: impl Into<Option<Cache>>) -> Self {
        self.cache = cache.into();
        self
    }

    /// Sets what is recorded about calls.
    pub fn with_observe(mut self, observe: Observe) -> Self {
        self.observe = observe;
        self
    }

    /// Sends HTTP requests through `transport`, unless a call's context carries another one.
    pub fn with_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = OwnTransport(Some(transport));
        self
    }

    /// The transport of calls whose context carries none, unless it is the built-in one.
    pub fn transport(&self) -> Option<&Arc<dyn Transport>> {
        self.transport.0.as_ref()
    }

    /// Applies the policy to an embedder and its fallbacks.
    ///
    /// # Errors
    /// `config_invalid` if a fallback's vectors cannot be compared with the primary's, or for an invalid value in the
    /// policy.
    pub fn embedder(&self, primary: AnyEmbedder, fallbacks: Vec<AnyEmbedder>) -> Result<AnyEmbedder> {
        let (primary, fallbacks) = space::comparable(primary, fallbacks)?;
        Ok(AnyEmbedder::new(Governed::new(self, primary, fallbacks)?))
    }

    /// Applies the policy to a chat backend and its fallbacks.
    ///
    /// # Errors
    /// `config_invalid` for an invalid value in the policy.
    pub fn chat(&self, primary: AnyChat, fallbacks: Vec<AnyChat>) -> Result<AnyChat> {
        Ok(AnyChat::new(Governed::new(self, primary, fallbacks)?))
    }

    /// Applies the policy to an image generator and its fallbacks.
    ///
    /// # Errors
    /// `config_invalid` for an invalid value in the policy.
    pub fn image_generator(
        &self,
        primary: AnyImageGenerator,
        fallbacks: Vec<AnyImageGenerator>,
    ) -> Result<AnyImageGenerator> {
        Ok(AnyImageGenerator::new(Governed::new(self, primary, fallbacks)?))
    }
}

/// A configured number of seconds; zero is allowed.
fn seconds(name: &str, value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| Error::config(format!("`{name}` is {value}; it must be a number of seconds from 0 up")))
}

/// A configured number of seconds above zero, or none.
fn some_seconds(name: &str, value: Option<f64>) -> Result<Option<Duration>> {
    match value.map(|value| seconds(name, value)).transpose()? {
        Some(Duration::ZERO) => {
            Err(Error::config(format!("`{name}` is 0, which leaves no time; `null` means no limit")))
        }
        time => Ok(time),
    }
}
