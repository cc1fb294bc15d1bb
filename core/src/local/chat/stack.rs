//! Work on what strangers nested: templates, grammars.

use crate::error::{Error, ErrorKind, Result};

/// Libraries walk what is nested by calling themselves, a few hundred bytes for each level. Only what is used is ever
/// taken.
const STACK_BYTES: usize = 512 << 20;

/// Runs `work` in a thread with a stack for anything that the limits on its input let through.
///
/// # Errors
/// `unexpected` if there is no thread to be had, or `work` panics.
pub(super) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("ayni-nested".to_owned()).stack_size(STACK_BYTES);
        let running = thread.spawn_scoped(scope, work).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "no thread for a template or a grammar").with_source(error)
        })?;
        running
            .join()
            .map_err(|_| Error::new(ErrorKind::Unexpected, "a template or a grammar could not be worked on"))
    })
}
