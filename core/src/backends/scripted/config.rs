//! How the scripted backend answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::chat::ToolCall;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};

/// Configuration of [`Scripted`](super::Scripted).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ScriptedConfig {
    /// The model's name, in answers and as the embedding space.
    pub model: String,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// What the first chats answer, in order. Later chats get an answer built from their question.
    pub replies: Vec<ScriptedReply>,
    /// How the first requests fail, whatever they ask for, in order. Later requests succeed.
    pub failures: Vec<ErrorKind>,
    /// How long each answer takes, by the clock of the call.
    pub latency_seconds: f64,
    /// The limit that the backend declares for the inputs of one embedding request.
    pub max_batch: Option<usize>,
    /// The limit that the backend declares for requests in flight.
    pub max_concurrency: Option<usize>,
}

impl Default for ScriptedConfig {
    fn default() -> Self {
        Self {
            model: "scripted".to_owned(),
            dimensions: 16,
            replies: Vec::new(),
            failures: Vec::new(),
            latency_seconds: 0.0,
            max_batch: None,
            max_concurrency: None,
        }
    }
}

impl ScriptedConfig {
    /// Sets the model's name.
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets the numbers in a vector.
    pub fn with_dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = dimensions;
        self
    }

    /// Sets what the first chats answer.
    pub fn with_replies<T: Into<ScriptedReply>>(mut self, replies: impl IntoIterator<Item = T>) -> Self {
        self.replies = replies.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how the first requests fail.
    pub fn with_failures(mut self, failures: impl IntoIterator<Item = ErrorKind>) -> Self {
        self.failures = failures.into_iter().collect();
        self
    }

    /// Sets how long each answer takes.
    pub fn with_latency_seconds(mut self, seconds: f64) -> Self {
        self.latency_seconds = seconds;
        self
    }

    /// Declares a limit for the inputs of one embedding request.
    pub fn with_max_batch(mut self, inputs: usize) -> Self {
        self.max_batch = Some(inputs);
        self
    }

    /// Declares a limit for requests in flight.
    pub fn with_max_concurrency(mut self, requests: usize) -> Self {
        self.max_concurrency = Some(requests);
        self
    }

    /// Opens the backend.
    ///
    /// # Errors
    /// `config_invalid` for no dimensions, or a latency that is not a valid duration.
    pub fn open(&self, _env: &Environment) -> Result<super::Scripted> {
        super::Scripted::new(self.clone())
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.dimensions == 0 {
            return Err(Error::config("`dimensions` is 0; a vector needs at least one number"));
        }
        if Duration::try_from_secs_f64(self.latency_seconds).is_err() {
            return Err(Error::config("`latency_seconds` must be a number of seconds from 0 up"));
        }
        Ok(())
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::try_from_secs_f64(self.latency_seconds).unwrap_or_default()
    }
}

/// One scripted chat answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ScriptedReply {
    /// The answer's text.
    pub text: String,
    /// The reasoning before it.
    pub reasoning: Option<String>,
    /// The tools that the answer calls.
    pub tool_calls: Vec<ToolCall>,
}

impl ScriptedReply {
    /// An answer of plain text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Puts reasoning before the answer.
    pub fn with_reasoning(mut self, reasoning: impl Into<String>) -> Self {
        self.reasoning = Some(reasoning.into());
        self
    }

    /// Makes the answer call tools.
    pub fn with_tool_calls(mut self, calls: impl IntoIterator<Item = ToolCall>) -> Self {
        self.tool_calls = calls.into_iter().collect();
        self
    }
}

impl From<&str> for ScriptedReply {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for ScriptedReply {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_is_the_builder() {
        let json = r#"{"model": "m", "replies": [{"text": "si"}], "failures": ["rate_limited"]}"#;
        let config: ScriptedConfig = serde_json::from_str(json).expect("valid");
        let built = ScriptedConfig::default()
            .with_model("m")
            .with_replies(["si"])
            .with_failures([ErrorKind::RateLimited]);
        assert_eq!(config, built);
        let misspelt = serde_json::from_str::<ScriptedConfig>(r#"{"modle": "m"}"#);
        assert!(misspelt.expect_err("unknown field").to_string().contains("modle"));
    }
}
