//! Models in this process: embedders. Opening a local chat or image model says that it is not in this version.

#[cfg(feature = "candle")]
mod embed;
#[cfg(feature = "candle")]
pub(crate) mod models;
#[cfg(feature = "candle")]
#[doc(hidden)]
pub mod ops;
#[cfg(feature = "candle")]
pub(crate) mod runtime;
#[cfg(feature = "candle")]
pub(crate) mod source;
#[cfg(all(test, feature = "candle"))]
pub(crate) mod testing;
#[cfg(feature = "candle")]
pub(crate) mod tokenizer;
#[cfg(feature = "candle")]
#[doc(hidden)]
pub mod vision;
#[cfg(feature = "candle")]
pub(crate) mod weights;

#[cfg(feature = "candle")]
pub use embed::{LocalEmbedder, Parity, ProbeParity};
#[cfg(feature = "candle")]
pub use source::ModelReference;

use serde::{Deserialize, Serialize};

use crate::chat::{ChatBackend, ChatRequest, ChatResponse, ChatStream};
use crate::context::Context;
use crate::embed::{AnyEmbedder, EmbeddingSpace};
#[cfg(not(feature = "candle"))]
use crate::embed::{EmbedRequest, EmbedResponse, Embedder};
use crate::env::Environment;
use crate::error::{Error, Result};
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::info::BackendInfo;
use crate::policy::Policy;

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
    /// The width of an embedder's vectors, for models trained to have them shortened; by default the model's own.
    pub dimensions: Option<usize>,
    /// An embedder's space under the name by which others know it: the model and revision that a folder's files are, so
    /// that another backend may stand in for it. The rest comes from the files; what is said must agree with them.
    pub space: Option<EmbeddingSpace>,
    /// Whether an embedder's precision is measured when it is loaded: some texts (and images) are embedded in f32 too,
    /// from a second copy of the weights that is dropped afterwards. Where the vectors are too different, `auto` takes f32
    /// instead, and any other precision is an error.
    pub verify: bool,
}

impl LocalConfig {
    /// Weights by their model reference.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Says where to run.
    pub fn with_device(mut self, device: impl Into<String>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// Says in which precision.
    pub fn with_precision(mut self, precision: impl Into<String>) -> Self {
        self.precision = Some(precision.into());
        self
    }

    /// Sets the width of an embedder's vectors.
    pub fn with_dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Names an embedder's space.
    pub fn with_space(mut self, space: EmbeddingSpace) -> Self {
        self.space = Some(space);
        self
    }

    /// Measures an embedder's precision when it is loaded.
    pub fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Starts to load an embedder.
    ///
    /// # Errors
    /// `config_invalid` for a model, device or precision that is misspelt; `model_load` for files on this machine
    /// that make no model; `device_unavailable`.
    #[cfg(feature = "candle")]
    pub fn open_embedder(&self, env: &Environment) -> Result<LocalEmbedder> {
        self.check()?;
        LocalEmbedder::open(self, env)
    }

    /// Says that this build has no local models.
    ///
    /// # Errors
    /// Always: `config_invalid` without a model, else `unsupported`.
    #[cfg(not(feature = "candle"))]
    pub fn open_embedder(&self, env: &Environment) -> Result<NotBuilt> {
        self.open(env)
    }

    /// Says why there is no local chat or image model yet.
    ///
    /// # Errors
    /// Always: `config_invalid` without a model, else `unsupported`.
    pub fn open(&self, _env: &Environment) -> Result<NotBuilt> {
        self.check()?;
        Err(Error::unsupported(unavailable_reason()))
    }

    fn check(&self) -> Result<()> {
        match self.model.trim() {
            "" => Err(Error::config("`model` is not set: name a folder, a file or an id on the Hub")),
            _ => Ok(()),
        }
    }
}

/// An embedding model in this process under the default policy, loaded: a folder, or `org/name[@revision]` on the Hub.
///
/// [`open_embedder`](crate::open_embedder) with a [`LocalConfig`] returns at once and loads in the background instead.
///
/// # Errors
/// Those of opening and of loading.
pub async fn embedder(model: impl Into<String>) -> Result<AnyEmbedder> {
    let embedder = LocalConfig::new(model).open_embedder(&Environment::process())?;
    #[cfg(feature = "candle")]
    embedder.ready(&Context::new()).await?;
    Policy::default().embedder(AnyEmbedder::new(embedder), Vec::new())
}

/// Why this build has no local chat or image models, or none at all.
pub(crate) fn unavailable_reason() -> &'static str {
    if cfg!(feature = "candle") {
        "local models for chat and images are not in this version of ayni"
    } else {
        "ayni was built without the `candle` feature, which local models need"
    }
}

/// A local model in a build that has none: there is no value of this type.
#[derive(Clone, Copy, Debug)]
pub enum NotBuilt {}

#[cfg(not(feature = "candle"))]
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
