//! A whole answer, and where it came from.

use serde::{Deserialize, Serialize};

use super::content::{Content, Part};
use super::message::{Message, ProviderData, ToolCall};
use super::metadata::{Annotation, ResponseMetadata};
use crate::info::{Route, Usage};

/// Why an answer ended. In JSON it is [its name](Self::as_str).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model finished, or produced a stop sequence.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The model calls tools.
    ToolCalls,
    /// A safety filter cut the answer.
    ContentFilter,
    /// A reason that ayni does not know, as the backend spells it.
    Other(String),
}

impl FinishReason {
    /// The reason that an OpenAI-shaped `finish_reason` names.
    pub fn from_openai(text: &str) -> Self {
        match text {
            "stop" | "eos" | "eos_token" | "stop_sequence" | "end_turn" | "" => Self::Stop,
            "length" | "max_tokens" | "model_length" => Self::Length,
            "tool_calls" | "tool_call" | "function_call" => Self::ToolCalls,
            "content_filter" => Self::ContentFilter,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The reason's name: `stop`, `length`, `tool_calls`, `content_filter`, or what the backend said.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Other(other) => other,
        }
    }
}

impl From<String> for FinishReason {
    fn from(name: String) -> Self {
        match name.as_str() {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "tool_calls" => Self::ToolCalls,
            "content_filter" => Self::ContentFilter,
            _ => Self::Other(name),
        }
    }
}

impl From<FinishReason> for String {
    fn from(reason: FinishReason) -> Self {
        reason.as_str().to_owned()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for FinishReason {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FinishReason".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Why an answer ended; other words are the backend's own.",
            "anyOf": [{ "enum": ["stop", "length", "tool_calls", "content_filter"] }, { "type": "string" }],
        })
    }
}

/// How likely a token of the answer was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// The natural logarithm of its probability.
    pub logprob: f64,
    /// The likeliest tokens at this position, where they were asked for.
    #[serde(default)]
    pub top: Vec<(String, f64)>,
}

impl TokenLogprob {
    /// A token without alternatives.
    pub fn new(token: impl Into<String>, logprob: f64) -> Self {
        Self { token: token.into(), logprob, top: Vec::new() }
    }

    /// Adds the likeliest tokens at this position.
    pub fn with_top(mut self, top: Vec<(String, f64)>) -> Self {
        self.top = top;
        self
    }
}

/// Another answer to the same request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Alternative {
    /// The answer's text.
    pub text: String,
    /// The model's reasoning.
    pub reasoning: Option<String>,
    /// The tool calls that the model makes.
    pub tool_calls: Vec<ToolCall>,
    /// Why the answer ended.
    pub finish: FinishReason,
    /// Log-probabilities.
    pub logprobs: Vec<TokenLogprob>,
}

impl From<ChatResponse> for Alternative {
    fn from(response: ChatResponse) -> Self {
        let ChatResponse { text, reasoning, tool_calls, finish, logprobs, .. } = response;
        Self { text, reasoning, tool_calls, finish, logprobs }
    }
}

/// An answer, and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ChatResponse {
    /// The answer's text; empty where the model only calls tools.
    pub text: String,
    /// The model's reasoning, kept apart from the answer.
    pub reasoning: Option<String>,
    /// The tool calls that the model makes.
    pub tool_calls: Vec<ToolCall>,
    /// The answer piece by piece, where it holds more than text and tool calls: texts, images, files, and the tools that
    /// the provider ran. Empty otherwise.
    #[serde(default)]
    pub parts: Vec<Part>,
    /// The sources that the answer rests on.
    #[serde(default)]
    pub annotations: Vec<Annotation>,
    /// Why the answer ended.
    pub finish: FinishReason,
    /// Tokens used, where the backend reports them.
    pub usage: Usage,
    /// Log-probabilities, where they were asked for and the backend reports them.
    pub logprobs: Vec<TokenLogprob>,
    /// Data about the whole answer that the provider wants back with the next request.
    pub provider_data: ProviderData,
    /// What the provider says about the answer.
    #[serde(default)]
    pub metadata: ResponseMetadata,
    /// The other answers, where `choices` asked for several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Alternative>,
    /// Who served.
    pub route: Route,
}

impl ChatResponse {
    /// A complete answer of plain text.
    pub fn new(text: impl Into<String>, route: Route) -> Self {
        Self {
            text: text.into(),
            reasoning: None,
            tool_calls: Vec::new(),
            parts: Vec::new(),
            annotations: Vec::new(),
            finish: FinishReason::Stop,
            usage: Usage::default(),
            logprobs: Vec::new(),
            provider_data: ProviderData::default(),
            metadata: ResponseMetadata::default(),
            alternatives: Vec::new(),
            route,
        }
    }

    /// The answer as the next message of the conversation, provider data included.
    pub fn to_message(&self) -> Message {
        let content = match self.parts.as_slice() {
            [] => Content::from(self.text.clone()),
            parts => Content::from(parts.to_vec()),
        };
        Message::assistant(content)
            .with_reasoning(self.reasoning.clone())
            .with_tool_calls(self.tool_calls.clone())
            .with_provider_data(self.provider_data.clone())
    }
}
