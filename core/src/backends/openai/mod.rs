#![doc = include_str!("docs.md")]
#![doc = include_str!("docs_embed_image.md")]

mod chat;
mod chat_body;
mod client;
mod completions;
mod config;
mod embed;
mod failures;
mod image;
mod image_body;
mod models;
mod profiles;
mod responses;

mod rows;
mod stream;
#[cfg(feature = "schema")]
mod vendor_table;

pub use crate::wire::openai::chat::InlineReasoning;
pub use crate::wire::openai::models::{ModelInfo, ModelProvider};
pub use config::{ChatApi, OpenAiConfig};
#[cfg(feature = "schema")]
#[doc(hidden)]
pub use vendor_table::vendor_table;

use crate::embed::EmbeddingSpace;
use crate::http::client::ApiClient;
use crate::info::BackendInfo;
use profiles::Profile;

/// A backend that speaks OpenAI's protocol. Built by [`OpenAiConfig::open`].
#[derive(Debug)]
pub struct OpenAi {
    info: BackendInfo,
    space: EmbeddingSpace,
    api: ApiClient,
    profile: &'static Profile,
    config: OpenAiConfig,
}
