//! Arithmetic on the CPU: plain slices in, plain slices out.
//!
//! What to know before reading: [`Isa`] is the instruction set, chosen at run time; [`Cpu`] is an instruction
//! set and a thread pool, the first argument of every large kernel. `simd/` holds the vectors of each set,
//! one file a set; every kernel is written once over them and compiled for each. Nothing here knows models or
//! candle. A result's bits depend on its own inputs and on the instruction set only: not on the other rows of
//! the batch, nor on the number of threads.
#![allow(unsafe_code, reason = "vector instructions and inner loops without bounds checks; nowhere else")]
#![warn(clippy::undocumented_unsafe_blocks)]

pub mod buffer;
pub mod isa;
pub mod pool;

pub mod attention;
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

pub use isa::Isa;
pub use pool::Pool;
pub use rows::Source;

use crate::error::Result;

/// What computes: an instruction set and the threads to share work among. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cpu {
    /// The instruction set.
    pub isa: Isa,
    /// The threads.
    pub pool: Pool,
}

impl Cpu {
    /// This process's: the best instruction set, or what `AYNI_ISA` names; as many threads as the process may
    /// use, or what `AYNI_THREADS` says.
    ///
    /// # Errors
    /// `config_invalid` if either variable is wrong.
    pub fn current() -> Result<Self> {
        Ok(Self { isa: Isa::current()?, pool: Pool::of_process()? })
    }

    /// One instruction set and a pool of its own: for tests and measurements.
    pub fn new(isa: Isa, threads: usize) -> Self {
        Self { isa, pool: Pool::new(threads) }
    }
}
