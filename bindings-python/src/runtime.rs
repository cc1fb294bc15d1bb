//! The tokio runtime, and the thread that hands results to Python.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::task::AbortHandle;

/// What is done on the delivering thread, attached to the interpreter.
type Delivery = Box<dyn FnOnce(Python<'_>) + Send>;

/// How many deliveries are made before the interpreter is let go for a moment.
const DELIVERIES_A_TURN: usize = 64;

/// Calls mostly wait for others; arithmetic has threads of its own.
const MOST_WORKERS: usize = 4;

/// The runtime of this process. A worker of it never waits for the interpreter: whatever goes to Python goes through
/// one thread of its own, which takes everything that is there in one turn.
#[derive(Debug)]
pub(crate) struct Runtime {
    process: u32,
    tokio: tokio::runtime::Runtime,
    deliveries: Sender<Delivery>,
    deliverer: Mutex<Option<JoinHandle<()>>>,
    /// Set when the interpreter ends: nothing is delivered any more.
    closing: Arc<AtomicBool>,
}

/// Locked only while attached to the interpreter, which a fork by Python waits for: a child never inherits it locked.
static CURRENT: Mutex<Option<&'static Runtime>> = Mutex::new(None);

/// The runtime of this process: made at the first use, and again in a forked child, which has none of its parent's
/// threads. It is never dropped, because dropping it would wait for threads that may not exist.
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
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
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

    /// Fails once the interpreter is about to end, when nobody would hear of an outcome.
    pub(crate) fn check_open(&self) -> PyResult<()> {
        match self.closing.load(Ordering::Acquire) {
            true => {
                Err(PyRuntimeError::new_err("the interpreter is ending; only the synchronous calls work now"))
            }
            false => Ok(()),
        }
    }

    /// Runs `work` on the workers; what is returned stops it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tokio.spawn(work).abort_handle()
    }

    /// Runs `work` on the calling thread, which must not be attached to the interpreter.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.tokio.block_on(work)
    }

    /// Does `delivery` on the delivering thread, after everything that was handed to it before.
    pub(crate) fn deliver(&self, delivery: impl FnOnce(Python<'_>) + Send + 'static) {
        // The thread ends when the interpreter does: nobody waits for the delivery any more.
        let _ = self.deliveries.send(Box::new(delivery));
    }
}

fn deliver(receiver: &Receiver<Delivery>, closing: &AtomicBool) {
    while !closing.load(Ordering::Acquire)
        && let Ok(first) = receiver.recv()
    {
        let attached = Python::try_attach(|py| {
            first(py);
            for delivery in receiver.try_iter().take(DELIVERIES_A_TURN) {
                delivery(py);
            }
        });
        if attached.is_none() {
            return;
        }
    }
}

/// Ends the delivering thread before the interpreter ends: an interpreter kills the threads that come back to it later,
/// and with them the process.
#[pyfunction]
pub(crate) fn stop_delivering(py: Python<'_>) {
    let current = *CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(runtime) = current.filter(|runtime| runtime.process == std::process::id()) else { return };
    runtime.closing.store(true, Ordering::Release);
    runtime.deliver(|_| {});
    let deliverer = runtime.deliverer.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(deliverer) = deliverer {
        // It may need the interpreter for the delivery that it has in hand.
        let _ = py.detach(|| deliverer.join());
    }
}
