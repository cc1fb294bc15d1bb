//! What models are written with: [`Tensor`], and layers and functions on it.
//!
//! An operation takes `x` or `&x`. On the CPU it calls the crate `ayni-kernels`; on a GPU it is candle's (`gpu/`), with
//! the same arguments and the same meaning, so that a model is written once. Layers are built on a [`Device`], of
//! weights as their file holds them: its bytes, tensors of candle on the CPU, or blocks of a GGUF file.
//!
//! Not covered by semantic versioning.

mod attention;
mod conv;
mod device;
mod elementwise;
mod embedding;
mod error;
mod gpu;
mod kv_cache;
mod kv_page;
mod linear;
mod memory;
mod norm;
mod patches;
mod rope;
mod sequences;
mod tensor;
mod weights;

#[cfg(test)]
mod testing;

pub use attention::{KeyValues, attention};
pub use conv::Conv2d;
pub use device::{Device, DeviceChoice, PrecisionChoice, cpu};
pub use elementwise::{activate, clamped_swiglu, gate, scale_rows};
pub use embedding::{Embedding, SharedBytes};
pub(crate) use error::{OrFail, of_candle};
pub use kv_cache::KvCache;
pub use kv_page::{KvMemory, KvPrecision};
pub use linear::{DenseWeights, Epilogue, Linear, feed_forward};
pub use memory::KeptMemory;
pub use norm::{ChannelSums, Norm, softmax};
pub use patches::{patches, weight_of_patches};
pub use rope::{QkPreparation, Rope, split_heads};
pub use sequences::by_sequences;
pub use tensor::Tensor;

pub use ayni_kernels::attention::{Distances, Heads, Mask, Options as AttentionOptions, Span};
pub use ayni_kernels::conv::{Geometry, Window};
pub use ayni_kernels::gated::Gate;
pub use ayni_kernels::gemm::{Precision, Weights as LayerWeights};
pub use ayni_kernels::gguf::Format;
pub use ayni_kernels::math::Activation;
pub use ayni_kernels::rotary::Layout as RopeLayout;
