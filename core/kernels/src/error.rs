//! Errors of kernels.

/// Why a kernel did not run. It has written nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Slices, sizes or positions that do not belong together.
    #[error("{0}")]
    Shape(String),
    /// Something that the kernel does not support.
    #[error("{0}")]
    Unsupported(String),
    /// There is no memory for a result, or for packed weights.
    #[error("{0}")]
    OutOfMemory(String),
    /// Settings that this CPU or process can't follow.
    #[error("{0}")]
    Settings(String),
}

/// The result of every kernel.
pub type Result<T, E = KernelError> = std::result::Result<T, E>;

impl KernelError {
    pub(crate) fn shape(message: impl Into<String>) -> Self {
        Self::Shape(message.into())
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::Unsupported(message.into())
    }
}
