//! Activations and gates.

use ayni_kernels::math::Activation;
use ayni_kernels::{elementwise, gated};

use super::{Tensor, gpu};
use crate::error::Result;

/// `activation(x)`.
///
/// # Errors
/// `out_of_memory` on a GPU.
pub fn activate(x: impl Into<Tensor>, activation: Activation) -> Result<Tensor> {
    let x = x.into();
    if activation == Activation::None {
        return Ok(x);
    }
    if let Some(on_gpu) = x.as_gpu() {
        return Tensor::from_gpu(x.device(), gpu::activate(on_gpu, activation));
    }
    x.update_in_place(|cpu, to| {
        elementwise::activate(cpu, to, activation);
        Ok(())
    })
}

/// `activation(gate) · up`.
///
/// # Errors
/// `invalid_request` if the shapes differ.
pub fn gate(gate: impl Into<Tensor>, up: impl Into<Tensor>, activation: Activation) -> Result<Tensor> {
    let (gate, up) = (gate.into(), up.into());
    up.expect_dims("the gated tensor", gate.dims())?;
    if let Some(on_gpu) = gate.as_gpu() {
        let up = up.expect_gpu("the gated tensor")?;
        return Tensor::from_gpu(
            gate.device(),
            gpu::activate(on_gpu, activation).and_then(|gate| gate.mul(up)),
        );
    }
    let up = up.contiguous()?;
    let values = up.cpu_values("the gated tensor")?;
    gate.update_in_place(|cpu, to| gated::gate_assign(cpu, to, values, activation))
}

#[cfg(test)]
mod tests {
    use super::super::Device;
    use super::super::testing::{assert_near, devices, noise, on_gpu};
    use super::*;

    #[test]
    fn activations_are_those_of_candle() {
        let x = noise(&[3, 37], 6.0);
        for device in devices() {
            for activation in Activation::ALL.iter().copied() {
                let ours = activate(x.tensor(&device), activation).unwrap();
                let truth = activate(x.tensor(&on_gpu()), activation).unwrap();
                assert_near(&ours, &truth, 2e-6, &format!("{activation:?}"));
            }
        }
    }

    #[test]
    fn gates_multiply_what_they_gate() {
        let (gates, ups) = (noise(&[2, 51], 2.0), noise(&[2, 51], 0.7));
        let of = |device: &Device| gate(gates.tensor(device), ups.tensor(device), Activation::Silu).unwrap();
        for device in devices() {
            assert_near(&of(&device), &of(&on_gpu()), 1e-6, "gate");
            let narrow = noise(&[2, 50], 1.0).tensor(&device);
            assert!(gate(gates.tensor(&device), narrow, Activation::Silu).is_err());
        }
    }
}
