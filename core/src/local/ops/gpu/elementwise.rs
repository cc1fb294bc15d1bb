//! Activations.

use ayni_kernels::math::Activation;
use candle_core::{Result, Tensor};
use candle_nn::ops::sigmoid;

/// `activation(x)`.
pub(in super::super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::None => Ok(x.clone()),
        Activation::Relu => x.relu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::QuickGelu => sigmoid(&(x * 1.702)?)?.mul(x),
        Activation::Silu => x.silu(),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    }
}
