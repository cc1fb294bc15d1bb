//! What the kernels' tests have in common.

use super::{Cpu, Isa};

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

/// Any words, from a seed.
pub(crate) fn random_words(seed: u32) -> impl FnMut() -> u32 {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    }
}

/// Every instruction set, with two threads.
pub(crate) fn cpus() -> Vec<Cpu> {
    Isa::available().into_iter().map(|isa| Cpu::new(isa, 2)).collect()
}

/// The same, and AMX's tiles by their model.
pub(crate) fn cpus_and_model() -> Vec<Cpu> {
    Isa::available().into_iter().chain([Isa::MODEL]).map(|isa| Cpu::new(isa, 2)).collect()
}

/// The same instruction set with so many threads.
pub(crate) fn with_threads(cpu: &Cpu, threads: usize) -> Cpu {
    Cpu::new(cpu.isa, threads)
}

/// Sizes of L2 caches, of which a thread has between half of Haswell's and all of Sapphire Rapids'.
pub(crate) const L2_BYTES: [usize; 4] = [128 << 10, 512 << 10, 1 << 20, 2 << 20];

/// The same CPU as if each thread had so many bytes of L2 cache.
pub(crate) fn with_l2_bytes(cpu: &Cpu, bytes: usize) -> Cpu {
    Cpu { isa: cpu.isa, pool: cpu.pool.clone().with_l2_bytes(bytes) }
}

/// Numbers equal up to an absolute error; NaN equals NaN, an infinity itself.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], truth: &[f64], error: f64, what: &str) {
    assert_eq!(found.len(), truth.len(), "{what}");
    for (i, (found, truth)) in found.iter().zip(truth).enumerate() {
        let same = f64::from(*found) == *truth || (found.is_nan() && truth.is_nan());
        let off = (f64::from(*found) - truth).abs();
        assert!(same || off <= error, "{what}: {i}: {found}, not {truth} ± {error}");
    }
}

/// The bits, so that zeros have signs and NaN equals itself.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
