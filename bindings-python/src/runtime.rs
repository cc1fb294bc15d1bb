//! The tokio runtime, and the thread that delivers results to Python.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::task::AbortHandle;

/// Work of the delivery thread while it is attached to the interpreter.
type Delivery = Box<dyn FnOnce(Python<'_>) + Send>;

/// The most deliveries made before the interpreter is released for a moment.
const MAX_DELIVERIES_AT_ONCE: usize = 64;

/// The most worker threads. Calls mostly wait; arithmetic has its own threads.
const MAX_WORKERS: usize = 4;

/// The runtime of this process. Its workers never wait for the interpreter: everything for Python goes through one delivery
/// thread, which attaches once for all that is queued.
pub(crate) struct Runtime {
    process: u32,
    tokio: tokio::runtime::Runtime,
    deliveries: Sender<Delivery>,
    deliverer: Mutex<Option<JoinHandle<()>>>,
    /// Set when the interpreter shuts down: nothing is delivered any more.
    closing: Arc<AtomicBool>,
}

/// Locked only while attached to the interpreter. A fork by Python waits for the interpreter, so a child never inherits it
/// locked.
static CURRENT: Mutex<Option<&'static Runtime>> = Mutex::new(None);

/// The runtime of this process: created at first use, and again in a forked child, which has none of its parent's threads.
/// It is never dropped, because dropping it would wait for threads that may not exist.
pub(crate) fn runtime(_attached: Python<'_>) -> PyResult<&'static Runtime> {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    match *current {
        Some(runtime) if runtime.process == std::process::id() => Ok(runtime),
        _ => {
            let runtime: &'static Runtime = Box::leak(Box::new(Runtime::start()?));
            *current = Some(runtime);
            Ok(runtime)
        }
    }
}

impl Runtime {
    fn start() -> PyResult<Self> {
        let failed = |error: std::io::Error| {
            PyRuntimeError::new_err(format!("ayni cannot start its threads: {error}"))
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("ayni")
            .enable_all()
            .build()
            .map_err(failed)?;
        let (deliveries, receiver) = channel();
        let closing = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&closing);
        let deliverer = std::thread::Builder::new()
            .name("ayni-deliver".to_owned())
            .spawn(move || deliver(&receiver, &closed))
            .map_err(failed)?;
        let deliverer = Mutex::new(Some(deliverer));
        Ok(Self { process: std::process::id(), tokio, deliveries, deliverer, closing })
    }

    /// Fails once the interpreter is shutting down, when no outcome could be delivered.
    pub(crate) fn check_open(&self) -> PyResult<()> {
        let told = "the interpreter is ending; only the synchronous calls work now";
        let is_closing = self.closing.load(Ordering::Acquire);
        if is_closing { Err(PyRuntimeError::new_err(told)) } else { Ok(()) }
    }

    /// Runs `work` on the worker threads. The handle stops it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tokio.spawn(work).abort_handle()
    }

    /// Runs `work` on the calling thread, which must not be attached to the interpreter.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    /// Runs `delivery` on the delivery thread, after everything queued before it.
    pub(crate) fn deliver(&self, delivery: impl FnOnce(Python<'_>) + Send + 'static) {
        // It fails once the thread has ended, at shutdown; then nobody waits.
        let _ = self.deliveries.send(Box::new(delivery));
    }
}

/// A stream until its end.
pub(crate) type Slot<T> = Arc<tokio::sync::Mutex<Option<T>>>;

/// Drops a stream, which stops its work. A running step holds the lock until it is done or stopped.
pub(crate) fn drop_stream<T: Send + 'static>(py: Python<'_>, slot: &Slot<T>) -> PyResult<()> {
    let slot = Arc::clone(slot);
    runtime(py)?.spawn(async move { drop(slot.lock().await.take()) });
    Ok(())
}

fn deliver(receiver: &Receiver<Delivery>, closing: &AtomicBool) {
    while !closing.load(Ordering::Acquire)
        && let Ok(first) = receiver.recv()
    {
        let attached = Python::try_attach(|py| {
            first(py);
            for delivery in receiver.try_iter().take(MAX_DELIVERIES_AT_ONCE) {
                delivery(py);
            }
        });
        if attached.is_none() {
            return;
        }
    }
}

/// Ends the delivery thread before the interpreter shuts down: a thread that attaches later is killed, and the process with
/// it.
#[pyfunction]
pub(crate) fn stop_delivering(py: Python<'_>) {
    let current = *CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(runtime) = current.filter(|runtime| runtime.process == std::process::id()) else { return };
    runtime.closing.store(true, Ordering::Release);
    runtime.deliver(|_| {});
    let deliverer = runtime.deliverer.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(deliverer) = deliverer {
        // The thread may need the interpreter for its last delivery.
        let _ = py.detach(|| deliverer.join());
    }
}
