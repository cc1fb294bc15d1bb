//! A response as it comes, whole or a chunk of a stream. Every field may be missing, null or of another type.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::delta::Delta;
use super::usage::{read_logprobs, read_usage};
use crate::chat::TokenLogprob;
use crate::info::Usage;

/// A whole response, or one chunk of a streamed one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawCompletion {
    #[serde(deserialize_with = "lenient")]
    pub(super) model: Option<String>,
    /// The provider behind a router, where the router says so.
    #[serde(deserialize_with = "lenient")]
    pub(super) provider: Option<String>,
    choices: Option<Vec<Option<RawChoice>>>,
    usage: Value,
    x_groq: Value,
}

/// One of the alternative responses; ayni asks for one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawChoice {
    message: Value,
    delta: Value,
    #[serde(deserialize_with = "lenient")]
    finish_reason: Option<String>,
    logprobs: Value,
}

impl RawCompletion {
    /// The first choice, if there is any.
    pub(super) fn take_choice(&mut self) -> Option<RawChoice> {
        self.choices.take()?.into_iter().flatten().next()
    }

    /// Tokens used, wherever the vendor says so.
    pub(super) fn usage(&self) -> Usage {
        let usage = read_usage(&self.usage);
        if usage.is_known() { usage } else { read_usage(self.x_groq.get("usage").unwrap_or(&Value::Null)) }
    }
}

impl RawChoice {
    /// The message of a whole response, or the delta of a chunk. Some servers put the one where the other
    /// belongs.
    pub(super) fn take_delta(&mut self) -> Delta {
        let delta = self.delta.take();
        Delta::read(if delta.is_object() { delta } else { self.message.take() })
    }

    /// Why the response ended, if this says so. An empty text, which some servers put into every chunk, does not.
    pub(super) fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref().filter(|reason| !reason.is_empty())
    }

    /// The log-probabilities.
    pub(super) fn logprobs(&self) -> Vec<TokenLogprob> {
        read_logprobs(&self.logprobs)
    }
}

/// The value if it has the type expected, else nothing.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}
