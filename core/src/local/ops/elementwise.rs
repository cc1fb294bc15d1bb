//! Activations and gates.

use ayni_kernels::math::Activation;
use ayni_kernels::{elementwise, gated};

use super::{Tensor, gpu};
use crate::error::{Error, Result};

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

/// The gate of gpt-oss, from rows that hold gates and then as many numbers that they gate: `gate · σ(1.702 gate) · (up + 1)`,
/// with gates at most `limit`, and ups from `-limit` to it.
///
/// # Errors
/// `invalid_request` if rows have an odd number of numbers.
pub fn clamped_swiglu(gate_up: Tensor, limit: f32) -> Result<Tensor> {
    let (_, width) = gate_up.rows("a gated layer")?;
    if !width.is_multiple_of(2) {
        return Err(Error::invalid_request("a gated layer with an odd number of outputs"));
    }
    let (last, half) = (gate_up.dims().len() - 1, width / 2);
    let half_of = |first| gate_up.narrow(last, first, half);
    let (gates, ups) = (half_of(0)?, half_of(half)?);
    drop(gate_up);
    // Written so that NaN stays NaN.
    let below = |x: f32| if x > limit { limit } else { x };
    let within = |x: f32| if x < -limit { -limit } else { below(x) };
    let gates = each(gates, |x| x.minimum(limit), below)?;
    let ups = each(ups, |x| x.clamp(-limit, limit)? + 1.0, |x| within(x) + 1.0)?;
    gate(gates, ups, Activation::QuickGelu)
}

/// Each row of the first dimension times a number of its own.
///
/// # Errors
/// `invalid_request` if there is not a number for each row.
pub fn scale_rows(x: Tensor, scales: &[f32]) -> Result<Tensor> {
    let dims = x.dims().to_vec();
    if dims.first() != Some(&scales.len()) {
        return Err(Error::invalid_request(format!("{} scales for the rows of {dims:?}", scales.len())));
    }
    #[allow(clippy::float_cmp, reason = "exactly the number that changes nothing")]
    let changes_nothing = scales.iter().all(|scale| *scale == 1.0);
    if changes_nothing {
        return Ok(x);
    }
    if let Some(on_gpu) = x.as_gpu() {
        let mut shape = vec![1; dims.len()];
        shape[0] = scales.len();
        let scales = candle_core::Tensor::from_slice(scales, shape, on_gpu.device());
        let scaled = scales.and_then(|scales| on_gpu.broadcast_mul(&scales.to_dtype(on_gpu.dtype())?));
        return Tensor::from_gpu(x.device(), scaled);
    }
    let width = dims[1..].iter().product::<usize>().max(1);
    x.update_in_place(|_, to| {
        for (row, scale) in to.chunks_exact_mut(width).zip(scales) {
            row.iter_mut().for_each(|number| *number *= scale);
        }
        Ok(())
    })
}

/// `change` of every number; on a GPU by candle.
fn each(
    x: Tensor,
    on_gpu: impl Fn(&candle_core::Tensor) -> candle_core::Result<candle_core::Tensor>,
    change: impl Fn(f32) -> f32,
) -> Result<Tensor> {
    if let Some(tensor) = x.as_gpu() {
        return Tensor::from_gpu(x.device(), on_gpu(tensor));
    }
    x.update_in_place(|_, to| {
        to.iter_mut().for_each(|number| *number = change(*number));
        Ok(())
    })
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

    #[test]
    fn rows_are_scaled_and_clamped_gates_gate_as_on_a_gpu() {
        let x = noise(&[3, 2, 26], 6.0);
        let scaled = |device: &Device| scale_rows(x.tensor(device), &[1.0, 0.5, 3.0]).unwrap();
        let gated = |device: &Device| clamped_swiglu(x.tensor(device), 1.5).unwrap();
        for device in devices() {
            assert_near(&scaled(&device), &scaled(&on_gpu()), 0.0, "scaled");
            let [found, before] = [
                scaled(&device).values().unwrap().into_owned(),
                x.tensor(&device).values().unwrap().into_owned(),
            ];
            assert_eq!((found[0], found[52], found[155]), (before[0], 0.5 * before[52], 3.0 * before[155]));
            assert_near(&gated(&device), &gated(&on_gpu()), 1e-5, "gated");
            let [gate, up] = [2.0_f32, -7.0].map(|x| x.clamp(-1.5, 1.5));
            let one = Tensor::from_vec(&device, vec![2.0, -7.0], [1, 2]).unwrap();
            let truth = gate / (1.0 + (-1.702 * gate).exp()) * (up + 1.0);
            assert!((clamped_swiglu(one, 1.5).unwrap().values().unwrap()[0] - truth).abs() < 1e-5);
            assert!(scale_rows(x.tensor(&device), &[1.0]).is_err());
            assert!(clamped_swiglu(noise(&[2, 3], 1.0).tensor(&device), 1.0).is_err());
        }
    }
}
