//! Chat with language models.
//!
//! ```
//! use ayni::backends::scripted::Scripted;
//! use ayni::{AnyChat, ChatRequest, Context};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let chat = AnyChat::new(Scripted::default());
//! let response = chat.chat(&Context::new(), ChatRequest::user("hola")).await?;
//! assert!(response.text.contains("hola"));
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::context::{BoxFuture, Context};
use crate::error::Result;
use crate::info::{BackendInfo, Route, Usage};

mod message;
mod request;
mod stream;

pub use message::{Content, Message, Part, ProviderData, Role, ToolCall};
pub use request::{ChatRequest, OutputFormat, ReasoningEffort, Tool, ToolChoice};
pub use stream::{ChatEvent, ChatStream};

/// Answers a conversation.
///
/// Contract:
/// - [`stream`](Self::stream) resolves once the backend has accepted the request; its events end with exactly
///   one [`ChatEvent::Finish`] or one error, and the text delivered before an error is in
///   [`Error::partial_text`](crate::Error::partial_text);
/// - reasoning is kept apart from the answer;
/// - tool calls carry whatever provider data came with them, and sending them back returns it;
/// - an option that the backend cannot honour is `unsupported`, never dropped in silence;
/// - an empty conversation is `invalid_request`;
/// - no retries, no sleeps, no log of the conversation.
pub trait ChatBackend: Send + Sync + fmt::Debug + 'static {
    /// Who the backend is.
    fn info(&self) -> &BackendInfo;

    /// Answers in one piece.
    fn chat(&self, cx: &Context, request: ChatRequest) -> impl Future<Output = Result<ChatResponse>> + Send;

    /// Answers as it goes.
    fn stream(&self, cx: &Context, request: ChatRequest) -> impl Future<Output = Result<ChatStream>> + Send;
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model was done, or met a stop sequence.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The model wants tools to be called.
    ToolCalls,
    /// A safety filter cut the answer.
    ContentFilter,
    /// A reason that ayni does not know, as the backend spelt it.
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

/// How likely a token of the answer was.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// The natural logarithm of its probability.
    pub logprob: f64,
    /// The likeliest tokens at this position, where they were asked for.
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

/// An answer, and where it came from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ChatResponse {
    /// The answer's text; empty where the model only calls tools.
    pub text: String,
    /// The model's reasoning, kept apart from the answer.
    pub reasoning: Option<String>,
    /// The tools that the model wants called.
    pub tool_calls: Vec<ToolCall>,
    /// Why the answer ended.
    pub finish: FinishReason,
    /// Tokens used, where the backend says so.
    pub usage: Usage,
    /// Log-probabilities, where they were asked for and the wire has them.
    pub logprobs: Vec<TokenLogprob>,
    /// Data about the answer as a whole that the provider wants back with the next turn.
    pub provider_data: ProviderData,
    /// Who served.
    pub route: Route,
}

impl ChatResponse {
    /// A finished answer of plain text.
    pub fn new(text: impl Into<String>, route: Route) -> Self {
        Self {
            text: text.into(),
            reasoning: None,
            tool_calls: Vec::new(),
            finish: FinishReason::Stop,
            usage: Usage::default(),
            logprobs: Vec::new(),
            provider_data: ProviderData::default(),
            route,
        }
    }

    /// The answer as the next message of the conversation, provider data included.
    pub fn to_message(&self) -> Message {
        Message::assistant(self.text.clone())
            .with_reasoning(self.reasoning.clone())
            .with_tool_calls(self.tool_calls.clone())
            .with_provider_data(self.provider_data.clone())
    }
}

/// Any chat backend: the handle that users hold. Cheap to clone; clones share the backend.
#[derive(Clone, Debug)]
pub struct AnyChat(Arc<dyn DynChat>);

impl AnyChat {
    /// A handle on `chat`.
    pub fn new(chat: impl ChatBackend) -> Self {
        Self(Arc::new(chat))
    }

    /// Who the backend is.
    pub fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    /// Answers in one piece.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        self.0.chat(cx, request).await
    }

    /// Answers as it goes.
    ///
    /// # Errors
    /// Those of the backend; failures after the first event come through the stream.
    pub async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        self.0.stream(cx, request).await
    }

    /// Asks one question and gives the answer's text.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn ask(&self, cx: &Context, question: impl Into<Content>) -> Result<String> {
        Ok(self.chat(cx, ChatRequest::user(question)).await?.text)
    }
}

#[deny(clippy::missing_trait_methods)]
impl ChatBackend for AnyChat {
    fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        self.0.chat(cx, request).await
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        self.0.stream(cx, request).await
    }
}

/// [`ChatBackend`] in the form that can be a trait object.
trait DynChat: Send + Sync + fmt::Debug {
    fn info(&self) -> &BackendInfo;
    fn chat<'a>(&'a self, cx: &'a Context, request: ChatRequest) -> BoxFuture<'a, Result<ChatResponse>>;
    fn stream<'a>(&'a self, cx: &'a Context, request: ChatRequest) -> BoxFuture<'a, Result<ChatStream>>;
}

impl<T: ChatBackend> DynChat for T {
    fn info(&self) -> &BackendInfo {
        ChatBackend::info(self)
    }

    fn chat<'a>(&'a self, cx: &'a Context, request: ChatRequest) -> BoxFuture<'a, Result<ChatResponse>> {
        Box::pin(ChatBackend::chat(self, cx, request))
    }

    fn stream<'a>(&'a self, cx: &'a Context, request: ChatRequest) -> BoxFuture<'a, Result<ChatStream>> {
        Box::pin(ChatBackend::stream(self, cx, request))
    }
}
