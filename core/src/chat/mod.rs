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

mod content;
mod handle;
mod message;
mod metadata;
mod request;
mod response;
mod stream;
mod structured;

use std::fmt;
use std::future::{self, Future};

pub use content::{CacheTtl, Content, ImageDetail, Part};
pub use handle::AnyChat;
pub use message::{Message, ProviderData, Role, ToolCall};
pub use metadata::{Annotation, AnnotationKind, ResponseMetadata};
pub use request::{ChatRequest, OutputFormat, PromptInput, RawPrompt, ReasoningEffort, Tool, ToolChoice};
pub use response::{Alternative, ChatResponse, FinishReason, TokenLogprob};
pub use stream::{ChatEvent, ChatStream};
pub use structured::{Enforcement, Structured};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::info::BackendInfo;

/// Answers a conversation.
///
/// Contract:
/// - [`stream`](Self::stream) resolves once the backend has accepted the request; its events end with exactly
///   one [`ChatEvent::Finish`] or one error, and the text delivered before an error is in
///   [`Error::partial_text`](crate::Error::partial_text);
/// - reasoning is kept apart from the answer;
/// - `output_tokens` include those of the reasoning, whatever the provider's own count leaves out;
/// - a refusal is `content_rejected`: its sentence is the error's partial text, its usage in the error's context;
/// - tool calls carry the provider data that came with them, and sending them back returns it;
/// - an option that the backend does not support is `unsupported`, never silently dropped;
/// - an empty conversation is `invalid_request`;
/// - no retries, no sleeps, no log of the conversation.
pub trait ChatBackend: Send + Sync + fmt::Debug + 'static {
    /// Who the backend is.
    fn info(&self) -> &BackendInfo;

    /// Answers in one piece.
    fn chat(&self, cx: &Context, request: ChatRequest) -> impl Future<Output = Result<ChatResponse>> + Send;

    /// Answers in a stream of events.
    fn stream(&self, cx: &Context, request: ChatRequest) -> impl Future<Output = Result<ChatStream>> + Send;

    /// Waits until a model in this process is loaded. A hosted backend has nothing to load and is not called.
    fn ready(&self, cx: &Context) -> impl Future<Output = Result<()>> + Send {
        future::ready(cx.check())
    }

    /// The most tokens of a conversation and its answer; `None` where the backend does not say, or not yet.
    fn window(&self) -> Option<usize> {
        None
    }

    /// How many tokens the conversation of `request` has for the model. Computed on the calling thread.
    ///
    /// # Errors
    /// `unsupported` where nobody here knows the model's tokens; `conflict` before a local model is
    /// [`ready`](Self::ready).
    fn count_tokens(&self, request: &ChatRequest) -> Result<usize> {
        let _ = request;
        Err(Error::unsupported("only a model in this process counts tokens"))
    }
}
