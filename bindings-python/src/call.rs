//! Runs calls from Python: awaited on an event loop, or on the calling thread.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::time::Duration;

use ayni::context::PhaseTimeouts;
use ayni::{Cancellation, Context, Error, ErrorKind, Progress, Result};
use futures_util::FutureExt;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::AbortHandle;

use crate::convert::as_python;
use crate::failure::{invalid, to_exception};
use crate::runtime::{Runtime, runtime};

/// How often a call on the calling thread lets Python handle signals such as Ctrl-C.
const SIGNAL_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// What a call returns to Python: an object, or the exception to raise.
pub(crate) type Returned = PyResult<Py<PyAny>>;

/// The settings of one call; `ayni._calls` creates them.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct CallSettings {
    timeout: Option<Duration>,
    phases: PhaseTimeouts,
    progress: Option<Py<PyAny>>,
    cancellation: Option<Cancellation>,
}

#[pymethods]
impl CallSettings {
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
            let duration = value.map(Duration::try_from_secs_f64).transpose();
            duration.map_err(|_| invalid(py, format!("`{name}` is no number of seconds from 0 up")))
        };
        let mut phases = PhaseTimeouts::default();
        phases.connect = read("connect", connect)?;
        phases.first_byte = read("first_byte", first_byte)?;
        phases.idle = read("idle", idle)?;
        let cancellation = cancellation.map(|handle| handle.0.clone());
        Ok(Self { timeout: read("deadline", deadline)?, phases, progress, cancellation })
    }
}

impl CallSettings {
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

/// Cancels the calls that it is passed to.
#[pyclass(frozen, name = "Cancellation", module = "ayni._ayni")]
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

/// A call that runs in the background for an event loop.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct RunningCall(AbortHandle);

#[pymethods]
impl RunningCall {
    /// Stops the call unless it is done.
    fn cancel(&self) {
        self.0.abort();
    }
}

/// Who calls. In Python it is the call's settings or `None`, and for an event loop a pair of them and a future.
#[derive(FromPyObject)]
pub(crate) enum Caller<'py> {
    /// An event loop: the outcome is set on its future.
    EventLoop(Option<PyRef<'py, CallSettings>>, Bound<'py, PyAny>),
    /// A thread that waits.
    Thread(Option<PyRef<'py, CallSettings>>),
}

/// Makes a call and converts its outcome with `convert`. Returns the outcome to a waiting thread, and a [`RunningCall`] to
/// an event loop.
pub(crate) fn call<T, W>(
    py: Python<'_>,
    caller: Caller<'_>,
    work: impl FnOnce(Context) -> W,
    convert: impl FnOnce(Python<'_>, T) -> Returned + Send + 'static,
) -> Returned
where
    T: Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let runtime = runtime(py)?;
    let (Caller::EventLoop(settings, _) | Caller::Thread(settings)) = &caller;
    let cx = settings.as_ref().map_or_else(Context::new, |settings| settings.context());
    let progress = settings.as_ref().and_then(|settings| Some(settings.progress.as_ref()?.clone_ref(py)));
    match &caller {
        Caller::EventLoop(_, future) => {
            let cx = with_delivered_progress(future, runtime, cx, progress)?;
            start(future, runtime, work(cx), convert)
        }
        Caller::Thread(_) => convert(py, wait(py, runtime, cx, progress, work)?),
    }
}

/// Returns an object of a native class.
pub(crate) fn object<T: Into<PyClassInitializer<T>> + pyo3::PyClass>(py: Python<'_>, value: T) -> Returned {
    Ok(Py::new(py, value)?.into_any())
}

/// An event as an `ayni.Progress`.
fn progress_event(py: Python<'_>, event: &Progress) -> Returned {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.import(py, "ayni._results", "Progress")?;
    Ok(class.call_method1(intern!(py, "_of"), (as_python(py, event)?,))?.unbind())
}

fn start<T: Send + 'static>(
    future: &Bound<'_, PyAny>,
    runtime: &'static Runtime,
    work: impl Future<Output = Result<T>> + Send + 'static,
    convert: impl FnOnce(Python<'_>, T) -> Returned + Send + 'static,
) -> Returned {
    let py = future.py();
    runtime.check_open()?;
    let event_loop = future.call_method0(intern!(py, "get_loop"))?.unbind();
    let future = future.clone().unbind();
    let task = runtime.spawn(async move {
        let outcome = caught(work).await;
        runtime.deliver(move |py| {
            let outcome = outcome.map_err(|error| to_exception(py, &error));
            let converted = catch_unwind(AssertUnwindSafe(|| outcome.and_then(|done| convert(py, done))));
            let (value, failed) = match converted.unwrap_or_else(|_| Err(to_exception(py, &panicked()))) {
                Ok(value) => (value, false),
                Err(error) => (error.into_value(py).into_any(), true),
            };
            // It fails if the loop has been closed meanwhile; then nobody waits.
            let _ = settle(py, &event_loop, (future, value, failed));
        });
    });
    object(py, RunningCall(task))
}

/// Has the event loop set the outcome of a future.
fn settle(py: Python<'_>, event_loop: &Py<PyAny>, outcome: (Py<PyAny>, Py<PyAny>, bool)) -> PyResult<()> {
    static SETTLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let settle = SETTLE.import(py, "ayni._calls", "settle")?;
    let (future, value, failed) = outcome;
    event_loop.call_method1(py, intern!(py, "call_soon_threadsafe"), (settle, future, value, failed))?;
    Ok(())
}

/// Reports progress on the event loop, in order and before the outcome.
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

/// Waits on the calling thread, which meanwhile handles signals and reports progress.
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
    let (sender, mut events) = unbounded_channel();
    let cx = match &progress {
        Some(_) => cx.with_progress(move |event| drop(sender.send(event))),
        None => cx,
    };
    let mut work = pin!(caught(work(cx)));
    let report = |event: &Progress| match &progress {
        Some(sink) => sink.call1(py, (progress_event(py, event)?,)).map(drop),
        None => Ok(()),
    };
    loop {
        match py.detach(|| runtime.block_on(step(work.as_mut(), &mut events))) {
            Step::Signals => py.check_signals()?,
            Step::Event(event) => report(&event)?,
            Step::Done(outcome) => {
                while let Ok(event) = events.try_recv() {
                    report(&event)?;
                }
                return outcome.map_err(|error| to_exception(py, &error));
            }
        }
    }
}

async fn step<T>(
    work: Pin<&mut impl Future<Output = Result<T>>>,
    events: &mut UnboundedReceiver<Progress>,
) -> Step<T> {
    tokio::select! {
        biased;
        Some(event) = events.recv() => Step::Event(event),
        outcome = work => Step::Done(outcome),
        () = tokio::time::sleep(SIGNAL_CHECK_INTERVAL) => Step::Signals,
    }
}

/// Runs `work` and turns a panic into an error.
async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> Error {
    Error::new(ErrorKind::Unexpected, "ayni panicked; the message is on the standard error stream")
}

/// Panics in the work of a call, or `late` in the conversion of its outcome. For tests; not in release builds.
#[cfg(debug_assertions)]
#[pyfunction]
pub(crate) fn panic_inside(py: Python<'_>, late: bool, caller: Caller<'_>) -> Returned {
    let out_of_bounds = |is_wrong: bool| [0_u8][std::hint::black_box(usize::from(is_wrong))];
    let work = move |_: Context| async move { Ok(out_of_bounds(!late)) };
    call(py, caller, work, move |py, _| {
        out_of_bounds(late);
        Ok(py.None())
    })
}
