//! What the tests of the operations have in common.

use super::{Device, Precision, Tensor};
use crate::local::testing;

/// Every instruction set in f32.
pub(super) fn devices() -> Vec<Device> {
    testing::cpus().into_iter().map(|cpu| Device::on_cpu(cpu, Precision::F32)).collect()
}

/// candle's operations: the truth that the kernels are compared with.
pub(super) fn on_gpu() -> Device {
    Device::as_on_gpu(testing::cpus().remove(0), Precision::F32)
}

/// Numbers of a shape, to be put on devices.
#[derive(Clone, Debug)]
pub(super) struct Noise {
    pub(super) values: Vec<f32>,
    dims: Vec<usize>,
}

/// Numbers between `-scale` and `scale`.
pub(super) fn noise(dims: &[usize], scale: f32) -> Noise {
    let length = dims.iter().product();
    let values = testing::noise(length, length as u64).into_iter().map(|x| x * scale).collect();
    Noise { values, dims: dims.to_vec() }
}

impl Noise {
    /// The rows of two matrices as those of one.
    pub(super) fn stacked(first: &Self, second: &Self) -> Self {
        let dims = vec![first.dims[0] + second.dims[0], first.dims[1]];
        Self { values: [first.values.as_slice(), &second.values].concat(), dims }
    }

    /// As activations.
    pub(super) fn tensor(&self, device: &Device) -> Tensor {
        Tensor::from_vec(device, self.values.clone(), &self.dims).unwrap()
    }

    /// As weights.
    pub(super) fn weight(&self) -> candle_core::Tensor {
        candle_core::Tensor::from_slice(&self.values, self.dims.as_slice(), &candle_core::Device::Cpu)
            .unwrap()
    }
}

/// Equal shapes, and numbers equal up to an absolute error.
#[track_caller]
pub(super) fn assert_near(found: &Tensor, truth: &Tensor, error: f32, what: &str) {
    assert_eq!(found.dims(), truth.dims(), "{what}");
    let (found, truth) = (found.values().unwrap(), truth.values().unwrap());
    for (i, (found, truth)) in found.iter().zip(truth.iter()).enumerate() {
        assert!((found - truth).abs() <= error, "{what}: {i}: {found}, not {truth} ± {error}");
    }
}
