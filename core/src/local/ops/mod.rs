//! What models are written with: layers and functions on candle's tensors.
//!
//! On the CPU they call the crate `ayni-kernels`; on a GPU they are candle's own operations, with the same
//! arguments and the same meaning, so that a model is written once. Activations are f32 on the CPU, and what
//! [`Place::dtype`] says on a GPU. Tensors are not changed; results are new ones.
//!
//! Not covered by semantic versioning, as it speaks candle's types.

mod activation;
mod attention;
mod cache;
mod conv;
mod device;
mod embedding;
mod linear;
mod norm;
mod patches;
mod quantised;
mod recycling;
mod rotary;
mod tensor;

#[cfg(test)]
mod testing;

pub use activation::{activate, add_owned, gate, gate_halves, scale_owned};
pub use attention::{attention, attention_cached, decode_attention};
pub use cache::KvCache;
pub use conv::Conv2d;
pub use device::{DeviceChoice, Place, PrecisionChoice, cpu};
pub use embedding::{Embedding, SharedBytes};
pub use linear::{Epilogue, Linear};
pub use norm::{Norm, softmax};
pub use patches::{patches, weight_of_patches};
pub use quantised::{QuantisedEmbedding, QuantisedLinear};
pub use rotary::Rotary;
pub(crate) use tensor::{OrFail, of_candle, recycle, with_values};

pub use ayni_kernels::attention::{Distances, Mask, Options as AttentionOptions, Span, Starts};
pub use ayni_kernels::conv::Geometry;
pub use ayni_kernels::gated::Gate;
pub use ayni_kernels::gemm::Precision;
pub use ayni_kernels::gguf::Format;
pub use ayni_kernels::math::Activation;
pub use ayni_kernels::rotary::Layout as RotaryLayout;
