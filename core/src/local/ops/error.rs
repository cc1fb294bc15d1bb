//! Errors of candle and of the kernels as ours.

use ayni_kernels::KernelError;

use crate::error::{Error, ErrorKind, Result};

/// candle's errors as ours. Shapes are checked before candle sees them, so what it reports is a device that failed or
/// a defect.
pub(crate) fn of_candle(error: candle_core::Error) -> Error {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().to_owned();
    let kind = if line.contains("OUT_OF_MEMORY") { ErrorKind::OutOfMemory } else { ErrorKind::Unexpected };
    Error::new(kind, format!("a tensor operation failed: {line}")).with_source(error)
}

/// What a kernel refuses, as an error of ours.
pub(crate) fn of_kernel(error: KernelError) -> Error {
    let kind = match error {
        KernelError::Unsupported(_) => ErrorKind::Unsupported,
        KernelError::Settings(_) => ErrorKind::ConfigInvalid,
        KernelError::OutOfMemory(_) => ErrorKind::OutOfMemory,
        _ => ErrorKind::InvalidRequest,
    };
    Error::new(kind, error.to_string())
}

/// Turns the `Result`s of candle and of the kernels into ours.
pub(crate) trait OrFail<T> {
    /// The value, or their error as ours.
    fn or_fail(self) -> Result<T>;
}

impl<T> OrFail<T> for candle_core::Result<T> {
    fn or_fail(self) -> Result<T> {
        self.map_err(of_candle)
    }
}

impl<T> OrFail<T> for ayni_kernels::Result<T> {
    fn or_fail(self) -> Result<T> {
        self.map_err(of_kernel)
    }
}
