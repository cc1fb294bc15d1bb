#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]

pub mod backends;
pub mod config;
pub mod context;
pub mod http;
pub mod local;
pub mod policy;
pub mod procure;
pub mod wire;

mod chat;
#[cfg(doctest)]
mod doc_tests;
mod embed;
mod env;
mod error;
mod image;
mod info;
mod media;
mod runtime;
mod secret;
mod transport;

pub use chat::{
    AnyChat, ChatBackend, ChatEvent, ChatRequest, ChatResponse, ChatStream, Content, FinishReason, Message,
    OutputFormat, Part, ProviderData, ReasoningEffort, Role, TokenLogprob, Tool, ToolCall, ToolChoice,
};
pub use config::{
    ChatConfig, ChatModes, EmbedderConfig, ImageConfig, ModeInfo, ProcurementConfig, Setup, embedder,
    open_chat, open_chat_with, open_embedder, open_embedder_with, open_image_generator,
    open_image_generator_with, open_procurement, open_procurement_with,
};
pub use context::{Cancellation, Clock, Context, Progress, ProgressSink};
pub use embed::{
    AnyEmbedder, BinaryMatch, BinaryVectors, EmbedInput, EmbedRequest, EmbedResponse, EmbedRole, EmbedStream,
    EmbeddedPart, Embedder, EmbeddingSpace, EncodedVectors, Encoding, HalfVectors, Int8Vectors, Match,
    Pooling, Truncation, Vectors, hamming_distance, similarity,
};
pub use env::Environment;
pub use error::{Error, ErrorKind, Operation, Persistence, Result, RouteFailure, Sent};
pub use image::{
    AnyImageGenerator, AspectRatio, GenerateRequest, ImageGenerator, ImageResponse, RefineRequest, Resolution,
};
pub use info::{BackendInfo, CredentialId, Limits, Route, Usage};
pub use media::ImageData;
pub use procure::{
    Answer, AnyProcurement, Buyer, Currency, Date, Decimal, GetRequest, LineItem, ListRequest, Listing,
    Money, Plan, PlanRequest, ProcurementClient, PurchaseOrder, PurchaseOrderRow, QuickPurchase,
    QuickPurchaseRow, Sorting, Source, Supplier, Tender, TenderRow, Timestamp,
};
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
        is_shareable::<AnyProcurement>();
        is_shareable::<Context>();
        is_shareable::<Error>();
        is_shareable::<EmbedResponse>();
        is_shareable::<ChatResponse>();
        is_shareable::<ImageResponse>();
    }
}
