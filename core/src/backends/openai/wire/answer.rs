//! The answer, whole or a chunk of a stream. Every field may be missing, null or of another type.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::piece::Piece;
use crate::chat::TokenLogprob;
use crate::info::Usage;

/// A whole answer, or one chunk of a streamed one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Answer {
    #[serde(deserialize_with = "lenient")]
    pub(in super::super) model: Option<String>,
    /// The provider behind a router, where the router says so.
    #[serde(deserialize_with = "lenient")]
    pub(in super::super) provider: Option<String>,
    choices: Option<Vec<Option<Choice>>>,
    usage: Value,
    x_groq: Value,
}

/// One of the alternative answers; ayni asks for one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Choice {
    message: Value,
    delta: Value,
    #[serde(deserialize_with = "lenient")]
    finish_reason: Option<String>,
    logprobs: Value,
}

impl Answer {
    /// The first choice, if there is any.
    pub(in super::super) fn take_choice(&mut self) -> Option<Choice> {
        self.choices.take()?.into_iter().flatten().next()
    }

    /// Tokens used, wherever the vendor says so.
    pub(in super::super) fn usage(&self) -> Usage {
        let usage = read_usage(&self.usage);
        if usage.is_known() { usage } else { read_usage(self.x_groq.get("usage").unwrap_or(&Value::Null)) }
    }
}

impl Choice {
    /// What is said: the message of a whole answer, or the piece of a chunk. Some servers put the one where
    /// the other belongs.
    pub(in super::super) fn take_piece(&mut self) -> Piece {
        let delta = self.delta.take();
        Piece::read(if delta.is_object() { delta } else { self.message.take() })
    }

    /// Why the answer ended, if this says so. An empty text, which some servers put into every chunk, does not.
    pub(in super::super) fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref().filter(|reason| !reason.is_empty())
    }

    /// The log-probabilities: OpenAI's list of tokens, or Together's parallel lists.
    pub(in super::super) fn logprobs(&self) -> Vec<TokenLogprob> {
        if let Some(tokens) = self.logprobs.get("content").and_then(Value::as_array) {
            return tokens.iter().filter_map(token_logprob).collect();
        }
        let list = |name| self.logprobs.get(name).and_then(Value::as_array);
        let (Some(tokens), Some(logprobs)) = (list("tokens"), list("token_logprobs")) else {
            return Vec::new();
        };
        let pairs = tokens.iter().zip(logprobs);
        pairs
            .filter_map(|(token, logprob)| Some(TokenLogprob::new(token.as_str()?, logprob.as_f64()?)))
            .collect()
    }
}

fn token_logprob(entry: &Value) -> Option<TokenLogprob> {
    let pair =
        |entry: &Value| Some((entry.get("token")?.as_str()?.to_owned(), entry.get("logprob")?.as_f64()?));
    let (token, logprob) = pair(entry)?;
    let top = entry.get("top_logprobs").and_then(Value::as_array);
    Some(TokenLogprob::new(token, logprob).with_top(top.into_iter().flatten().filter_map(pair).collect()))
}

fn read_usage(usage: &Value) -> Usage {
    let count = |names: &[&str]| names.iter().find_map(|name| usage.pointer(name)?.as_u64());
    let mut read = Usage::new(
        count(&["/prompt_tokens", "/input_tokens"]),
        count(&["/completion_tokens", "/output_tokens"]),
    );
    read.reasoning_tokens = count(&["/completion_tokens_details/reasoning_tokens", "/reasoning_tokens"]);
    read.cached_tokens = count(&["/prompt_tokens_details/cached_tokens", "/prompt_cache_hit_tokens"]);
    read
}

/// The value if it has the type expected, else nothing.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}
