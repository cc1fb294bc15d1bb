//! Models in this process. The engine is not in this version: opening one says so.

#[cfg(feature = "candle")]
pub mod kernels;
#[cfg(feature = "candle")]
pub(crate) mod models;
#[cfg(feature = "candle")]
#[doc(hidden)]
pub mod ops;
#[cfg(feature = "candle")]
#[doc(hidden)]
pub mod pictures;
#[cfg(feature = "candle")]
pub(crate) mod weights;

#[cfg(feature = "candle")]
pub use weights::ModelReference;

use serde::{Deserialize, Serialize};

use crate::chat::{ChatBackend, ChatRequest, ChatResponse, ChatStream};
use crate::config::Environment;
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace};
use crate::error::{Error, Result};
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::info::BackendInfo;

/// A model in this process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LocalConfig {
    /// The weights: a folder, a file (`model.gguf`), or `org/name[@revision]` on the Hub.
    pub model: String,
    /// Where to run: `auto`, `cpu` or `cuda:N`.
    pub device: Option<String>,
    /// In which precision: `auto`, `f32`, `bf16` or `int8`.
    pub precision: Option<String>,
}

impl LocalConfig {
    /// Weights by their model reference.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Says why there is no local model yet.
    ///
    /// # Errors
    /// Always: `config_invalid` without a model, else `unsupported`.
    pub fn open(&self, _env: &Environment) -> Result<NotBuilt> {
        if self.model.trim().is_empty() {
            return Err(Error::config("`model` is not set: name a folder, a file or an id on the Hub"));
        }
        Err(Error::unsupported(unavailable_reason()))
    }
}

/// Why this build has no local models.
pub(crate) fn unavailable_reason() -> &'static str {
    if cfg!(feature = "candle") {
        "local models are not in this version of ayni"
    } else {
        "ayni was built without the `candle` feature, which local models need"
    }
}

/// A local model in a build that has none: there is no value of this type.
#[derive(Clone, Copy, Debug)]
pub enum NotBuilt {}

impl Embedder for NotBuilt {
    fn info(&self) -> &BackendInfo {
        match *self {}
    }

    fn space(&self) -> &EmbeddingSpace {
        match *self {}
    }

    async fn embed(&self, _: &Context, _: EmbedRequest) -> Result<EmbedResponse> {
        match *self {}
    }
}

impl ChatBackend for NotBuilt {
    fn info(&self) -> &BackendInfo {
        match *self {}
    }

    async fn chat(&self, _: &Context, _: ChatRequest) -> Result<ChatResponse> {
        match *self {}
    }

    async fn stream(&self, _: &Context, _: ChatRequest) -> Result<ChatStream> {
        match *self {}
    }
}

impl ImageGenerator for NotBuilt {
    fn info(&self) -> &BackendInfo {
        match *self {}
    }

    async fn generate(&self, _: &Context, _: GenerateRequest) -> Result<ImageResponse> {
        match *self {}
    }

    async fn refine(&self, _: &Context, _: RefineRequest) -> Result<ImageResponse> {
        match *self {}
    }
}
