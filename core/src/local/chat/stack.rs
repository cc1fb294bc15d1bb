//! Work on what strangers nested: templates, grammars.

use std::sync::mpsc;
use std::thread::{Builder, scope};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Libraries walk what is nested by calling themselves, a few hundred bytes for each level. Only what is used is ever
/// taken.
const STACK_BYTES: usize = 512 << 20;

fn thread() -> Builder {
    Builder::new().name("ayni-nested".to_owned()).stack_size(STACK_BYTES)
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "no thread for a template or a grammar").with_source(error)
}

/// Runs `work` in a thread with a stack for anything that the limits on its input let through.
///
/// # Errors
/// `unexpected` if there is no thread to be had, or `work` panics.
pub(super) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    scope(|scope| {
        let running = thread().spawn_scoped(scope, work).map_err(no_thread)?;
        running.join().map_err(|_| Error::new(ErrorKind::Unexpected, "a template could not be worked on"))
    })
}

/// The same for work that may take too long: nothing if it has no result within `limit`, or panics. What runs on then
/// ends by itself, and nobody waits for it.
///
/// # Errors
/// `unexpected` if there is no thread to be had.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>> {
    let (sender, receiver) = mpsc::channel();
    let run = move || {
        // Nobody may be there any more.
        let _ = sender.send(work());
    };
    thread().spawn(run).map_err(no_thread)?;
    Ok(receiver.recv_timeout(limit).ok())
}
