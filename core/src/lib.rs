#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]

pub mod backends;
pub mod blocking;
pub mod chat;
pub mod config;
pub mod context;
pub mod embed;
pub mod http;
pub mod image;
pub mod local;
pub mod policy;
#[cfg(feature = "procurement")]
pub mod procure;
pub mod wire;

#[cfg(doctest)]
mod doc_tests;
mod env;
mod error;
mod info;
mod media;
mod runtime;
mod secret;
mod transport;

pub use chat::{
    Annotation, AnyChat, ChatBackend, ChatEvent, ChatRequest, ChatResponse, ChatStream, Content, Enforcement,
    FinishReason, Message, OutputFormat, Part, PromptInput, RawPrompt, ReasoningEffort, ResponseMetadata,
    Role, Structured, Tool, ToolCall, ToolChoice,
};
pub use config::{
    ChatConfig, EmbedderConfig, ImageConfig, ProcurementConfig, Setup, chat_model, embedder, open_chat,
    open_embedder, open_image_generator, open_procurement,
};
pub use context::{Cancellation, Context, Progress};
pub use embed::{
    AnyEmbedder, EmbedInput, EmbedRequest, EmbedResponse, EmbedRole, Embedder, EmbeddingSpace, Encoding,
    Pooling, Truncation, Vectors,
};
pub use env::Environment;
pub use error::{Error, ErrorKind, Operation, Persistence, Result, RouteFailure, Sent};
pub use image::{
    AnyImageGenerator, AspectRatio, GenerateRequest, ImageGenerator, ImageResponse, RefineRequest, Resolution,
};
pub use info::{BackendInfo, CredentialId, ImageModelInfo, Limits, Route, Usage};
pub use media::{FileData, ImageData};
pub use secret::Secret;

/// The version of crate, wheel and addon.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use super::*;

    fn is_shareable<T: Send + Sync + 'static>() {}

    #[test]
    fn everything_a_user_holds_can_cross_threads() {
        is_shareable::<AnyEmbedder>();
        is_shareable::<AnyChat>();
        is_shareable::<AnyImageGenerator>();
        is_shareable::<Context>();
        is_shareable::<Error>();
        is_shareable::<EmbedResponse>();
        is_shareable::<ChatResponse>();
        is_shareable::<ImageResponse>();
    }
}
