//! What wraps a backend: observation, cache, fallback, retry, limit, time-out — always in this order.
//!
//! ```text
//! observe → cache → fallback(handles) → retry → limit → time-out(per attempt) → backend
//! ```
//!
//! A [`Policy`] is data. It is applied to a primary handle and its fallbacks and gives a handle of the same
//! type; there is no way to apply the parts in another order.
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

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chat::AnyChat;
use crate::embed::AnyEmbedder;
use crate::error::{Error, Result};
use crate::image::AnyImageGenerator;
use crate::procure::AnyProcurement;

mod cache;
mod call;
mod fallback;
mod governed;
mod limit;
mod metrics;
mod observe;
mod retry;
mod space;
mod stream;
#[cfg(test)]
mod tests;
mod timeout;

pub use cache::Cache;
pub use fallback::Fallback;
pub use limit::Limit;
pub use metrics::Metrics;
pub use observe::Observe;
pub use retry::Retry;
pub use timeout::Timeout;

use governed::Governed;

/// How calls are observed, cached, handed over, repeated, limited and timed out.
///
/// The default is what we recommend for services; [`Policy::none`] only observes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Policy {
    /// When a request is sent again.
    pub retry: Retry,
    /// How long the phases of a call may take.
    pub timeout: Timeout,
    /// How many requests are in flight, and how close they follow each other.
    pub limit: Limit,
    /// When another backend takes over.
    pub fallback: Fallback,
    /// Whether complete answers are kept and given again to the same request; `null` for not at all.
    pub cache: Option<Cache>,
    /// What is told about calls.
    pub observe: Observe,
}

impl Policy {
    /// Nothing but observation: one attempt, no time-outs of the policy's own, no limits, no fallback.
    pub fn none() -> Self {
        Self {
            retry: Retry::none(),
            timeout: Timeout::none(),
            limit: Limit::none(),
            fallback: Fallback::none(),
            cache: None,
            observe: Observe::default(),
        }
    }

    /// Sets when a request is sent again.
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

    /// Keeps complete answers.
    pub fn with_cache(mut self, cache: impl Into<Option<Cache>>) -> Self {
        self.cache = cache.into();
        self
    }

    /// Sets what is told about calls.
    pub fn with_observe(mut self, observe: Observe) -> Self {
        self.observe = observe;
        self
    }

    /// Applies the policy to an embedder and those that may stand in for it.
    ///
    /// # Errors
    /// `config_invalid` if a fallback's vectors cannot be compared with the primary's, or a value of the
    /// policy makes no sense.
    pub fn embedder(&self, primary: AnyEmbedder, fallbacks: Vec<AnyEmbedder>) -> Result<AnyEmbedder> {
        let (primary, fallbacks) = space::comparable(primary, fallbacks)?;
        Ok(AnyEmbedder::new(Governed::new(self, primary, fallbacks)?))
    }

    /// Applies the policy to a chat backend and those that may stand in for it.
    ///
    /// # Errors
    /// `config_invalid` if a value of the policy makes no sense.
    pub fn chat(&self, primary: AnyChat, fallbacks: Vec<AnyChat>) -> Result<AnyChat> {
        Ok(AnyChat::new(Governed::new(self, primary, fallbacks)?))
    }

    /// Applies the policy to an image generator and those that may stand in for it.
    ///
    /// # Errors
    /// `config_invalid` if a value of the policy makes no sense.
    pub fn image_generator(
        &self,
        primary: AnyImageGenerator,
        fallbacks: Vec<AnyImageGenerator>,
    ) -> Result<AnyImageGenerator> {
        Ok(AnyImageGenerator::new(Governed::new(self, primary, fallbacks)?))
    }

    /// Applies the policy to a procurement client and those that may stand in for it.
    ///
    /// # Errors
    /// `config_invalid` if a value of the policy makes no sense.
    pub fn procurement(
        &self,
        primary: AnyProcurement,
        fallbacks: Vec<AnyProcurement>,
    ) -> Result<AnyProcurement> {
        Ok(AnyProcurement::new(Governed::new(self, primary, fallbacks)?))
    }
}

/// A configured number of seconds, zero allowed.
fn seconds(name: &str, value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| Error::config(format!("`{name}` is {value}; it must be a number of seconds from 0 up")))
}

/// A configured number of seconds that must leave some time, or none at all.
fn some_seconds(name: &str, value: Option<f64>) -> Result<Option<Duration>> {
    match value.map(|value| seconds(name, value)).transpose()? {
        Some(Duration::ZERO) => {
            Err(Error::config(format!("`{name}` is 0, which leaves no time; `null` means no limit")))
        }
        time => Ok(time),
    }
}
