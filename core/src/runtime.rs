//! The caller's tokio runtime. What it lacks is an error that says what to do, never a panic.
//!
//! ayni starts no runtime of its own for calls: sleeping needs a timer (`enable_time`), blocking work and background
//! tasks need a runtime, and the built-in transport needs sockets too (`enable_io`).

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::error::{Error, ErrorKind, Result};

/// The runtime that polls the current task.
///
/// # Errors
/// `config_invalid` outside a tokio runtime.
pub(crate) fn current() -> Result<Handle> {
    Handle::try_current().map_err(|_| {
        Error::config(
            "this call needs a tokio runtime: await it inside one, for example with `#[tokio::main]` or \
             `Runtime::block_on`",
        )
    })
}

/// Sleeps by the runtime's timer.
///
/// # Errors
/// `config_invalid` without a runtime or without its timer.
pub(crate) async fn sleep(duration: Duration) -> Result<()> {
    with_timer(|| tokio::time::sleep(duration))?.await;
    Ok(())
}

/// Runs `work` for at most `bound`; `None` if that was not enough.
///
/// # Errors
/// As [`sleep`].
#[cfg_attr(not(feature = "procurement"), allow(dead_code, reason = "only procurement needs it"))]
pub(crate) async fn timeout<T>(bound: Duration, work: impl Future<Output = T>) -> Result<Option<T>> {
    Ok(with_timer(|| tokio::time::timeout(bound, work))?.await.ok())
}

/// Runs `work` on a thread for blocking work.
///
/// # Errors
/// Those of `work`; `config_invalid` outside a tokio runtime; `unexpected` if the runtime shut down or `work` panicked.
#[cfg_attr(not(feature = "procurement"), allow(dead_code, reason = "only procurement needs it"))]
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    // Boxed: one kind of task for each kind of answer.
    let work: Box<dyn FnOnce() -> Result<T> + Send> = Box::new(work);
    match current()?.spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => {
            Err(Error::new(ErrorKind::Unexpected, "the background thread ended before its work was done")
                .with_source(error))
        }
    }
}

/// Fails unless the runtime drives timers and sockets.
///
/// # Errors
/// `config_invalid` naming what is missing.
#[cfg(any(feature = "http", feature = "postgres"))]
pub(crate) fn check_network() -> Result<()> {
    drop(with_timer(|| tokio::time::sleep(Duration::ZERO))?);
    // A machine on which no socket can be bound says so itself when it connects.
    let probe = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))
        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    let Ok(probe) = probe else { return Ok(()) };
    match catch_unwind(|| tokio::net::UdpSocket::from_std(probe)) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::config(
            "this call needs a tokio runtime with sockets: build it with `enable_io` or `enable_all`",
        )),
    }
}

/// Makes something of tokio's that needs the timer. tokio panics where a runtime has none and offers no way to ask.
fn with_timer<T>(make: impl FnOnce() -> T) -> Result<T> {
    current()?;
    catch_unwind(AssertUnwindSafe(make)).map_err(|_| {
        Error::config(
            "this call needs a tokio runtime with a timer: build it with `enable_time` or `enable_all`",
        )
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn bare() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
    }

    fn expect_message(error: &Error, what: &str) {
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().contains(what), "{error}");
    }

    #[test]
    fn outside_a_runtime_everything_says_what_to_do() {
        let slept = sleep(Duration::from_secs(1)).now_or_never().expect("at once");
        expect_message(&slept.expect_err("no runtime"), "needs a tokio runtime");
        let done = run_blocking(|| Ok(1)).now_or_never().expect("at once");
        expect_message(&done.expect_err("no runtime"), "needs a tokio runtime");
    }

    #[test]
    fn a_runtime_without_a_timer_is_told_apart() {
        let slept = bare().block_on(sleep(Duration::ZERO));
        expect_message(&slept.expect_err("no timer"), "enable_time");
        assert_eq!(bare().block_on(run_blocking(|| Ok(1))).expect("threads need no timer"), 1);
    }

    #[cfg(any(feature = "http", feature = "postgres"))]
    #[test]
    fn a_runtime_without_sockets_is_told_apart() {
        let timed = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        expect_message(&timed.block_on(async { check_network() }).expect_err("no sockets"), "enable_io");
        let whole = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        whole.block_on(async { check_network() }).expect("everything is there");
        assert_eq!(whole.block_on(timeout(Duration::from_secs(9), async { 1 })).expect("a timer"), Some(1));
    }
}
