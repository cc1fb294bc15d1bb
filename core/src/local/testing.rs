//! What the tests of local models have in common.

use ayni_kernels::{Cpu, Isa};

/// Every instruction set of this CPU, with two threads.
pub(crate) fn cpus() -> Vec<Cpu> {
    Isa::available().into_iter().map(|isa| Cpu::new(isa, 2)).collect()
}

/// Numbers between -1 and 1 that look like noise.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next()).collect()
}
