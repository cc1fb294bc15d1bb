//! How a call from Python runs: awaited on an event loop, or on the calling thread.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::time::Duration;

use ayni::context::PhaseTimeouts;
use ayni::{Cancellation, Context, Error, ErrorKind, Progress, Result};
use futures_util::FutureExt;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{intern, wrap_pyfunction};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::AbortHandle;

use crate::convert::{progress_event, seconds};
use crate::failure::raised;
use crate::runtime::{Runtime, runtime};

/// How often a call on the calling thread lets Python handle its signals: Ctrl-C.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// What a Python object is made of, on whichever thread is attached.
pub(crate) type Given = PyResult<Py<PyAny>>;

/// What travels with one call: `ayni._calls` makes it.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct Setting {
    timeout: Option<Duration>,
    phases: PhaseTimeouts,
    progress: Option<Py<PyAny>>,
    cancellation: Option<Cancellation>,
}

#[pymethods]
impl Setting {
    #[new]
    #[pyo3(signature = (deadline=None, progress=None, cancellation=None, connect=None, first_byte=None, idle=None))]
    fn new(
        py: Python<'_>,
        deadline: Option<f64>,
        progress: Option<Py<PyAny>>,
        cancellation: Option<&CancellationHandle>,
        connect: Option<f64>,
        first_byte: Option<f64>,
        idle: Option<f64>,
    ) -> PyResult<Self> {
        let read = |name: &str, value: Option<f64>| {
            value.map(|value| seconds(name, value).map_err(|error| raised(py, &error))).transpose()
        };
        let mut phases = PhaseTimeouts::default();
        phases.connect = read("connect", connect)?;
        phases.first_byte = read("first_byte", first_byte)?;
        phases.idle = read("idle", idle)?;
        let cancellation = cancellation.map(|handle| handle.0.clone());
        Ok(Self { timeout: read("deadline", deadline)?, phases, progress, cancellation })
    }
}

impl Setting {
    fn context(&self) -> Context {
        let mut cx = Context::new().with_phase_timeouts(self.phases);
        if let Some(timeout) = self.timeout {
            cx = cx.with_timeout(timeout);
        }
        match &self.cancellation {
            Some(cancellation) => cx.with_cancellation(cancellation.clone()),
            None => cx,
        }
    }
}

/// Stops the calls that it was given to.
#[pyclass(frozen, name = "Cancellation", module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct CancellationHandle(Cancellation);

#[pymethods]
impl CancellationHandle {
    #[new]
    fn new() -> Self {
        Self(Cancellation::new())
    }

    fn cancel(&self) {
        self.0.cancel();
    }

    #[getter]
    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// A call that runs for an event loop.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct Running(AbortHandle);

#[pymethods]
impl Running {
    /// Stops the work, unless it is done.
    fn cancel(&self) {
        self.0.abort();
    }
}

/// How Python wants a call made.
#[derive(Clone, Copy)]
pub(crate) struct How<'a, 'py> {
    pub(crate) setting: Option<&'a Setting>,
    /// The future of an event loop that the outcome is put into; without it the calling thread waits.
    pub(crate) future: Option<&'a Bound<'py, PyAny>>,
}

/// Makes a call. `give` makes the Python object of what came of it.
///
/// With a future, what comes back is a [`Running`] and the future gets the outcome; else it is the outcome.
pub(crate) fn call<T, W>(
    py: Python<'_>,
    how: How<'_, '_>,
    work: impl FnOnce(Context) -> W,
    give: impl FnOnce(Python<'_>, T) -> Given + Send + 'static,
) -> Given
where
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let runtime = runtime(py)?;
    let cx = how.setting.map_or_else(Context::new, Setting::context);
    let progress = how.setting.and_then(|setting| setting.progress.as_ref()).map(|sink| sink.clone_ref(py));
    match how.future {
        Some(future) => {
            start(future, runtime, with_delivered_progress(future, runtime, cx, progress)?, work, give)
        }
        None => give(py, wait(py, runtime, cx, progress, work)?),
    }
}

fn start<T, W>(
    future: &Bound<'_, PyAny>,
    runtime: &'static Runtime,
    cx: Context,
    work: impl FnOnce(Context) -> W,
    give: impl FnOnce(Python<'_>, T) -> Given + Send + 'static,
) -> Given
where
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let py = future.py();
    runtime.check_open()?;
    let event_loop = future.call_method0(intern!(py, "get_loop"))?.unbind();
    let future = future.clone().unbind();
    let work = caught(work(cx));
    let task = runtime.spawn(async move {
        let outcome = work.await;
        runtime.deliver(move |py| {
            let outcome = outcome.map_err(|error| raised(py, &error));
            let given = catch_unwind(AssertUnwindSafe(|| outcome.and_then(|done| give(py, done))));
            let (value, failed) = match given.unwrap_or_else(|_| Err(raised(py, &panicked()))) {
                Ok(value) => (value, false),
                Err(error) => (error.into_value(py).into_any(), true),
            };
            // A loop that was closed meanwhile has nobody waiting.
            let _ = settle_on(py, &event_loop, (future, value, failed));
        });
    });
    Ok(Running(task).into_pyobject(py)?.into_any().unbind())
}

fn settle_on(
    py: Python<'_>,
    event_loop: &Py<PyAny>,
    (future, value, failed): (Py<PyAny>, Py<PyAny>, bool),
) -> PyResult<()> {
    static SETTLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let settle =
        SETTLE.get_or_try_init(py, || Ok::<_, PyErr>(wrap_pyfunction!(settle, py)?.into_any().unbind()))?;
    event_loop.call_method1(py, intern!(py, "call_soon_threadsafe"), (settle, future, value, failed))?;
    Ok(())
}

/// Runs on the event loop.
#[pyfunction]
fn settle(future: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, failed: bool) -> PyResult<()> {
    let py = future.py();
    if future.call_method0(intern!(py, "done"))?.is_truthy()? {
        return Ok(());
    }
    let set = if failed { intern!(py, "set_exception") } else { intern!(py, "set_result") };
    future.call_method1(set, (value,))?;
    Ok(())
}

/// Progress goes to the event loop, in the order in which it was made and before the outcome.
fn with_delivered_progress(
    future: &Bound<'_, PyAny>,
    runtime: &'static Runtime,
    cx: Context,
    progress: Option<Py<PyAny>>,
) -> PyResult<Context> {
    let Some(sink) = progress else { return Ok(cx) };
    let py = future.py();
    let pair = std::sync::Arc::new((future.call_method0(intern!(py, "get_loop"))?.unbind(), sink));
    Ok(cx.with_progress(move |event: Progress| {
        let pair = std::sync::Arc::clone(&pair);
        runtime.deliver(move |py| {
            let (event_loop, sink) = &*pair;
            if let Ok(event) = progress_event(py, &event) {
                let _ = event_loop.call_method1(py, intern!(py, "call_soon_threadsafe"), (sink, event));
            }
        });
    }))
}

enum Step<T> {
    Done(Result<T>),
    Event(Progress),
    Signals,
}

/// Waits on the calling thread, which handles signals and progress meanwhile.
fn wait<T, W>(
    py: Python<'_>,
    runtime: &Runtime,
    cx: Context,
    progress: Option<Py<PyAny>>,
    work: impl FnOnce(Context) -> W,
) -> PyResult<T>
where
    T: Send,
    W: Future<Output = Result<T>> + Send,
{
    let (cx, mut events) = match &progress {
        Some(_) => {
            let (sender, receiver) = unbounded_channel();
            (cx.with_progress(move |event| drop(sender.send(event))), Some(receiver))
        }
        None => (cx, None),
    };
    let mut work = pin!(caught(work(cx)));
    let report = |event: &Progress| match &progress {
        Some(sink) => sink.call1(py, (progress_event(py, event)?,)).map(drop),
        None => Ok(()),
    };
    loop {
        match py.detach(|| runtime.block_on(step(work.as_mut(), events.as_mut()))) {
            Step::Signals => py.check_signals()?,
            Step::Event(event) => report(&event)?,
            Step::Done(outcome) => {
                while let Some(event) = events.as_mut().and_then(|events| events.try_recv().ok()) {
                    report(&event)?;
                }
                return outcome.map_err(|error| raised(py, &error));
            }
        }
    }
}

async fn step<T>(
    work: Pin<&mut impl Future<Output = Result<T>>>,
    events: Option<&mut UnboundedReceiver<Progress>>,
) -> Step<T> {
    let event = async {
        match events {
            Some(events) => events.recv().await,
            None => None,
        }
    };
    tokio::select! {
        biased;
        Some(event) = event => Step::Event(event),
        outcome = work => Step::Done(outcome),
        () = tokio::time::sleep(SIGNALS_EVERY) => Step::Signals,
    }
}

/// `work`, with a panic of it as an error.
async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> Error {
    Error::new(ErrorKind::Unexpected, "ayni panicked; what it said is on the standard error stream")
}

/// Panics in the work of a call, or where its outcome is given to Python, so that a test sees what becomes of it. Not in
/// release builds.
#[cfg(debug_assertions)]
#[pyfunction]
#[pyo3(signature = (late, future=None))]
pub(crate) fn panic_inside(py: Python<'_>, late: bool, future: Option<&Bound<'_, PyAny>>) -> Given {
    let out_of_bounds = |is_wrong: bool| [0_u8][std::hint::black_box(usize::from(is_wrong))];
    let work = move |_: Context| async move { Ok(out_of_bounds(!late)) };
    call(py, How { setting: None, future }, work, move |py, _| {
        out_of_bounds(late);
        Ok(py.None())
    })
}
