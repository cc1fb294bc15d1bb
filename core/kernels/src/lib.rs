#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![allow(unsafe_code, reason = "vector instructions and inner loops without bounds checks; nowhere else")]
#![warn(clippy::undocumented_unsafe_blocks)]

// Start with [`Isa`], the instruction set, and [`Cpu`], an instruction set and a thread pool: the first argument of
// every large kernel. `simd/` has the vectors of each instruction set, one file each.

pub mod buffer;
mod error;
pub mod isa;
pub mod pool;
mod settings;

#[cfg(any(test, target_arch = "x86_64"))]
pub(crate) mod amx;
pub mod attention;
pub mod auto;
pub(crate) mod cache;
pub mod conv;
pub(crate) mod dispatch;
pub mod elementwise;
pub mod finite;
pub mod gated;
pub mod gemm;
pub mod gguf;
pub mod group_norm;
pub mod math;
pub mod norm;
pub mod peak;
pub mod resample;
pub mod rotary;
pub(crate) mod rough;
pub(crate) mod rows;
pub(crate) mod simd;
pub mod softmax;

#[cfg(test)]
pub(crate) mod testing;

pub use error::{KernelError, Result};
pub use isa::Isa;
pub use pool::Pool;
pub use rows::Source;
pub use settings::Settings;

/// An instruction set and a thread pool. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// The instruction set.
    pub isa: Isa,
    /// The threads.
    pub pool: Pool,
}

impl Cpu {
    /// The instruction set and the process's thread pool that `settings` ask for.
    ///
    /// # Errors
    /// [`KernelError::Settings`] for an instruction set that this CPU lacks, or a number of threads that is out of
    /// range or differs from that of the pool, which exists already.
    pub fn open(settings: &Settings) -> Result<Self> {
        Ok(Self { isa: Isa::choose(settings.isa.as_deref())?, pool: Pool::of_process(settings.threads)? })
    }

    /// An instruction set and a thread pool of its own: for tests and measurements.
    pub fn new(isa: Isa, threads: usize) -> Self {
        Self { isa, pool: Pool::new(threads) }
    }
}
