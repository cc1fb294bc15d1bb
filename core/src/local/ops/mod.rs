//! What models are written with: layers and functions on candle's tensors.
//!
//! On the CPU they call the [kernels](super::kernels); on a GPU they are candle's own operations, with the same
//! arguments and the same meaning, so that a model is written once. Activations are f32 on the CPU, and what
//! [`Place::dtype`] says on a GPU. Tensors are not changed; results are new ones.
//!
//! Not covered by semantic versioning, as it speaks candle's types.

mod device;

pub use device::{DeviceChoice, Place, PrecisionChoice};
