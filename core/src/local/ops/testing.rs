//! What the tests of the operations have in common.

use candle_core::{DType, Device, Tensor};

use super::Place;
use crate::local::testing;
use ayni_kernels::gemm::Precision;

/// Every instruction set in f32.
pub(super) fn places() -> Vec<Place> {
    testing::cpus().into_iter().map(|cpu| Place::on_cpu(cpu, Precision::F32)).collect()
}

/// Numbers between -1 and 1.
pub(super) fn noise(dims: &[usize]) -> Tensor {
    let length = dims.iter().product();
    Tensor::from_vec(testing::noise(length, length as u64), dims, &Device::Cpu).unwrap()
}

/// The numbers, in order.
pub(super) fn numbers(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1().unwrap()
}

/// Equal shapes, and numbers equal up to an absolute error.
#[track_caller]
pub(super) fn assert_near(found: &Tensor, truth: &Tensor, error: f32, what: &str) {
    assert_eq!(found.dims(), truth.dims(), "{what}");
    for (i, (found, truth)) in numbers(found).iter().zip(numbers(truth)).enumerate() {
        assert!((found - truth).abs() <= error, "{what}: {i}: {found}, not {truth} ± {error}");
    }
}
