//! One thread of the operating system for a loaded model: it loads the model, then does the jobs of all callers.
//!
//! Callers wait without blocking, on any async runtime. The thread ends when the last handle is dropped. A forked
//! child, and a call after a load that failed for a passing reason, get a new thread.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::context::{Cancellation, Context, Progress};
use crate::error::{Error, ErrorKind, Persistence, Result};

/// Jobs that may wait for the thread; more callers wait for room.
const QUEUE: usize = 256;

/// A loaded model that does jobs.
pub(crate) trait Work: Send + Sync + fmt::Debug + 'static {
    /// What it is asked for. A job whose caller is to hear of its loss says so when it is dropped.
    type Job: Send + 'static;

    /// Does `first`, and whatever `more` gives until it has nothing left.
    fn work(&self, first: Self::Job, more: &mut Queued<'_, Self::Job>);
}

/// The jobs that wait for the thread.
#[derive(Debug)]
pub(crate) struct Queued<'a, J>(&'a mut mpsc::Receiver<J>);

impl<J> Queued<'_, J> {
    /// The next job, if one is waiting already.
    pub(crate) fn next(&mut self) -> Option<J> {
        self.0.try_recv().ok()
    }
}

type Load<W> = dyn Fn(&Context) -> Result<W> + Send + Sync;

/// A model and the thread that it works on. The model loads in the background from the start.
pub(crate) struct Worker<W: Work> {
    source: Arc<Source<W>>,
    /// Locked only to copy the pointer, or to replace it by a new thread's.
    running: Mutex<Arc<Running<W::Job>>>,
}

/// What a thread needs besides its jobs. It holds no way to send itself any, or it would never end.
struct Source<W> {
    /// What is loaded, for people.
    name: String,
    load: Box<Load<W>>,
    loaded: OnceLock<W>,
}

/// A thread as its callers see it.
struct Running<J> {
    /// Where it runs: a forked child has the handle, but not the thread.
    process: u32,
    jobs: mpsc::Sender<J>,
    state: watch::Receiver<State>,
    /// Stops a load that nobody waits for any more.
    unwanted: Cancellation,
}

impl<J> Drop for Running<J> {
    fn drop(&mut self) {
        self.unwanted.cancel();
    }
}

/// How far the thread has come.
enum State {
    Loading(Option<Progress>),
    Loaded,
    Failed(Error),
}

impl<W: Work> Worker<W> {
    /// Starts a thread that calls `load` and then does jobs. `load` reports progress to its context, which is
    /// cancelled when the last handle is dropped; it is called again where another attempt may help.
    ///
    /// # Errors
    /// `unavailable` if the system gives no thread.
    pub(crate) fn start(
        name: impl Into<String>,
        load: impl Fn(&Context) -> Result<W> + Send + Sync + 'static,
    ) -> Result<Self> {
        let source = Arc::new(Source { name: name.into(), load: Box::new(load), loaded: OnceLock::new() });
        let running = Mutex::new(Arc::new(Running::start(&source)?));
        Ok(Self { source, running })
    }

    /// The model, once it is loaded.
    pub(crate) fn loaded(&self) -> Option<&W> {
        self.source.loaded.get()
    }

    /// Waits until the model is loaded; the caller hears how far it is.
    ///
    /// # Errors
    /// Those of loading.
    pub(crate) async fn ready(&self, cx: &Context) -> Result<&W> {
        self.thread(cx).await?;
        self.loaded().ok_or_else(thread_lost)
    }

    /// Hands a job to the thread once the model is loaded and there is room.
    ///
    /// # Errors
    /// Those of loading.
    pub(crate) async fn submit(&self, cx: &Context, job: W::Job) -> Result<()> {
        let running = self.thread(cx).await?;
        running.jobs.send(job).await.map_err(|_| thread_lost())
    }

    /// The thread, with the model loaded.
    async fn thread(&self, cx: &Context) -> Result<Arc<Running<W::Job>>> {
        let running = self.current()?;
        let mut state = running.state.clone();
        if matches!(*state.borrow_and_update(), State::Loaded) {
            return Ok(running);
        }
        let start = Instant::now();
        loop {
            match &*state.borrow_and_update() {
                State::Loaded => return Ok(running),
                State::Failed(error) => return Err(copy_of(error)),
                State::Loading(Some(progress)) => cx.report(|| progress.clone()),
                State::Loading(None) => cx.report(|| Progress::Waiting {
                    reason: format!("{} loads", self.source.name),
                    elapsed: start.elapsed(),
                }),
            }
            state.changed().await.map_err(|_| thread_lost())?;
        }
    }

    /// The running thread, or a new one where that one cannot serve.
    fn current(&self) -> Result<Arc<Running<W::Job>>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_of_no_use() {
            *running = Arc::new(Running::start(&self.source)?);
        }
        Ok(Arc::clone(&running))
    }
}

impl<W: Work> fmt::Debug for Worker<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker({}, loaded: {})", self.source.name, self.loaded().is_some())
    }
}

impl<J: Send + 'static> Running<J> {
    fn start<W: Work<Job = J>>(source: &Arc<Source<W>>) -> Result<Self> {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let (sender, state) = watch::channel(State::Loading(None));
        let (unwanted, source) = (Cancellation::new(), Arc::clone(source));
        let stop = unwanted.clone();
        std::thread::Builder::new()
            .name("ayni-model".to_owned())
            .spawn(move || serve(&source, receiver, Arc::new(sender), stop))
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, format!("no thread for the model: {error}"))
                    .with_source(error)
            })?;
        Ok(Self { process: std::process::id(), jobs, state, unwanted })
    }

    /// Whether a new thread has to take its place: it stayed behind in the parent process, or its load failed for
    /// a reason that may have passed.
    fn is_of_no_use(&self) -> bool {
        let has_failed = matches!(&*self.state.borrow(), State::Failed(error) if error.is_temporary());
        has_failed || self.process != std::process::id()
    }
}

/// What the thread does.
fn serve<W: Work>(
    source: &Source<W>,
    mut jobs: mpsc::Receiver<W::Job>,
    state: Arc<watch::Sender<State>>,
    stop: Cancellation,
) {
    let model = match load(source, &state, stop) {
        Ok(model) => model,
        Err(error) => {
            state.send_replace(State::Failed(error));
            return;
        }
    };
    state.send_replace(State::Loaded);
    while let Some(first) = jobs.blocking_recv() {
        // A panic loses the jobs in hand, whose callers hear of it; the thread goes on.
        let work = AssertUnwindSafe(|| model.work(first, &mut Queued(&mut jobs)));
        if catch_unwind(work).is_err() {
            tracing::error!(model = %source.name, "a job of a local model panicked");
        }
    }
}

fn load<'a, W: Work>(
    source: &'a Source<W>,
    state: &Arc<watch::Sender<State>>,
    stop: Cancellation,
) -> Result<&'a W> {
    // In a forked child, the model came along.
    if let Some(model) = source.loaded.get() {
        return Ok(model);
    }
    let sink = Arc::clone(state);
    let cx = Context::new().with_cancellation(stop).with_progress(move |progress| {
        sink.send_replace(State::Loading(Some(progress)));
    });
    let model = catch_unwind(AssertUnwindSafe(|| (source.load)(&cx)))
        .map_err(|_| Error::new(ErrorKind::Unexpected, format!("loading {} panicked", source.name)))??;
    Ok(source.loaded.get_or_init(|| model))
}

/// The error again, for one more caller.
pub(crate) fn copy_of(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message()).with_persistence(error.persistence());
    let copy =
        error.context().iter().fold(copy, |copy, (name, value)| copy.with_context(name, value.clone()));
    let copy = error.http_status().into_iter().fold(copy, Error::with_http_status);
    let copy = error.request_id().into_iter().fold(copy, Error::with_request_id);
    match error.retry_after() {
        Some(wait) if error.persistence() == Persistence::Temporary => copy.with_retry_after(wait),
        _ => copy,
    }
}

/// The job's thread is gone, or lost the job to a panic.
pub(crate) fn thread_lost() -> Error {
    Error::new(ErrorKind::Unexpected, "the model failed while it worked on this; please report it")
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
