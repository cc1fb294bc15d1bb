#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![allow(unsafe_code, reason = "vector instructions and inner loops without bounds checks; nowhere else")]
#![warn(clippy::undocumented_unsafe_blocks)]

// What to read first: [`Isa`] is the instruction set; [`Cpu`] is an instruction set and a thread pool, the first argument
// of every large kernel. `simd/` holds the vectors of each set, one file a set.

pub mod buffer;
mod error;
pub mod isa;
pub mod pool;
mod settings;

pub mod attention;
pub mod auto;
pub mod conv;
pub(crate) mod dispatch;
pub mod elementwise;
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

/// What computes: an instruction set and the threads to share work among. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// The instruction set.
    pub isa: Isa,
    /// The threads.
    pub pool: Pool,
}

impl Cpu {
    /// An instruction set of this CPU and the threads of this process, by `settings`.
    ///
    /// # Errors
    /// [`KernelError::Settings`] for an instruction set that this CPU lacks, or a number of threads that is out of range
    /// or not the one that the process already has.
    pub fn open(settings: &Settings) -> Result<Self> {
        Ok(Self { isa: Isa::choose(settings.isa.as_deref())?, pool: Pool::of_process(settings.threads)? })
    }

    /// One instruction set and a pool of its own: for tests and measurements.
    pub fn new(isa: Isa, threads: usize) -> Self {
        Self { isa, pool: Pool::new(threads) }
    }
}
