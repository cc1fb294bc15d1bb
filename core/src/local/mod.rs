//! Models in this process: embedders, chat models and image models.

#[cfg(feature = "candle")]
mod chat;
mod config;
#[cfg(feature = "candle")]
mod embed;
#[cfg(feature = "candle")]
mod hardware;
#[cfg(feature = "candle")]
mod image;
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
#[doc(hidden)]
pub use self::image::ImageParts;
#[cfg(feature = "candle")]
pub use self::image::{ImageReceipt, ImageReplay, LocalImage, LoraReceipt};
#[cfg(feature = "candle")]
pub use crate::embed::{Parity, ProbeParity};
#[cfg(feature = "candle")]
pub use chat::LocalChat;
pub use config::{
    LocalChatConfig, LocalEmbedderConfig, LocalImageConfig, LoraSource, ModelSource, SafetyMode,
};
#[cfg(feature = "candle")]
pub use embed::{LocalEmbedder, embedding_architectures};
#[cfg(feature = "candle")]
pub use hardware::Hardware;
#[cfg(feature = "candle")]
pub use source::{ModelReference, SampleModel, sample_models, use_samples_in};
