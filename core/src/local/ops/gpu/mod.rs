//! The operations by candle, for GPUs: cuBLAS for products, candle-nn's fused kernels where there are some.
//!
//! candle computes the same on its CPU device. So tests on any machine compare these with the kernels, and run whole
//! models with them.

pub(super) mod attention;
pub(super) mod conv;
mod elementwise;
mod linear;
mod norm;
pub(super) mod rope;

pub(super) use elementwise::activate;
pub(super) use linear::Linear;
pub(super) use norm::{group_norm, layer_norm, rms_norm, softmax};
