//! The same work by candle and by the crate `gemm`.
#![allow(unsafe_code, reason = "the crate `gemm` takes pointers; the lengths are checked beside the call")]

use ayni_kernels::KernelError;
use candle_core::{Device, Tensor};

/// candle's errors as ours.
pub(super) fn of_candle(error: candle_core::Error) -> KernelError {
    KernelError::Unsupported(format!("candle failed: {error}"))
}

/// Numbers between -1 and 1 that follow no pattern that matters.
pub(super) fn numbers(length: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        #[allow(clippy::cast_precision_loss, reason = "24 bits")]
        let value = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
        value
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// A tensor of such numbers.
pub(super) fn tensor(shape: impl Into<candle_core::Shape>) -> Result<Tensor, KernelError> {
    let shape = shape.into();
    Tensor::from_vec(numbers(shape.elem_count()), shape, &Device::Cpu).map_err(of_candle)
}

/// `c = a · wᵀ` in f32 by the crate `gemm`, on as many threads; `a` is `[m, k]`, `w` is `[n, k]`.
pub(super) fn gemm_f32(threads: usize, a: &[f32], w: &[f32], c: &mut [f32], [m, n, k]: [usize; 3]) {
    assert!(a.len() == m * k && w.len() == n * k && c.len() == m * n, "sizes that do not belong together");
    let parallelism = if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
    let [columns, inputs] = [n.cast_signed(), k.cast_signed()];
    // SAFETY: the three matrices lie within their slices, as just checked, and `c` is borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            columns,
            false,
            a.as_ptr(),
            1,
            inputs,
            w.as_ptr(),
            inputs,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
