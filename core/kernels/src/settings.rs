//! The settings of the kernels.

/// Instruction set and number of threads. By default the best set of the CPU, and as many threads as the process may
/// run at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The instruction set by its [name](crate::Isa::name).
    pub isa: Option<String>,
    /// How many threads compute, from 1 to [`MAX_THREADS`](crate::pool::MAX_THREADS).
    pub threads: Option<usize>,
}

impl Settings {
    /// Sets the instruction set by its name.
    pub fn with_isa(mut self, isa: impl Into<Option<String>>) -> Self {
        self.isa = isa.into();
        self
    }

    /// Sets the number of threads.
    pub fn with_threads(mut self, threads: impl Into<Option<usize>>) -> Self {
        self.threads = threads.into();
        self
    }
}
