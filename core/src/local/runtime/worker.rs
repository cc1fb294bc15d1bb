//! One operating system thread per model: it loads the model, then does the jobs of all callers.
//!
//! Callers wait without blocking, on any async runtime. The thread ends when the last handle is dropped. A forked child gets
//! a new thread, and so does a call after a load that failed for a temporary reason.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::context::{Cancellation, Context, Progress};
use crate::error::{Error, ErrorKind, Persistence, Result};

/// The most jobs that wait for the thread; further callers wait for room.
const MAX_QUEUED: usize = 256;

/// A loaded model that does jobs.
pub(crate) trait Work: Send + Sync + fmt::Debug + 'static {
    /// A request. Dropping it must tell its caller.
    type Job: Send + 'static;

    /// Does `first` and the jobs that `more` gives until there is none.
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
    loader: Arc<Loader<W>>,
    /// Locked only to copy the pointer, or to replace it by a new thread's.
    running: Mutex<Arc<ModelThread<W::Job>>>,
}

/// What a thread needs besides its jobs. It must not hold a sender of jobs, or the thread would never end.
struct Loader<W> {
    /// The name of what is loaded, for messages.
    name: String,
    load: Box<Load<W>>,
    loaded: OnceLock<W>,
}

/// A running thread, as its callers see it.
struct ModelThread<J> {
    /// Its process: a forked child has the handle, but not the thread.
    process: u32,
    jobs: mpsc::Sender<J>,
    state: watch::Receiver<LoadState>,
    /// Stops loading once all handles are dropped.
    unwanted: Cancellation,
}

impl<J> Drop for ModelThread<J> {
    fn drop(&mut self) {
        self.unwanted.cancel();
    }
}

/// How far loading is.
enum LoadState {
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
        let loader = Arc::new(Loader { name: name.into(), load: Box::new(load), loaded: OnceLock::new() });
        let running = Mutex::new(Arc::new(ModelThread::start(&loader)?));
        Ok(Self { loader, running })
    }

    /// The model, once it is loaded.
    pub(crate) fn loaded(&self) -> Option<&W> {
        self.loader.loaded.get()
    }

    /// Waits until the model is loaded; the context reports the progress.
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
    async fn thread(&self, cx: &Context) -> Result<Arc<ModelThread<W::Job>>> {
        let running = self.current()?;
        let mut state = running.state.clone();
        if matches!(*state.borrow_and_update(), LoadState::Loaded) {
            return Ok(running);
        }
        let start = Instant::now();
        loop {
            match &*state.borrow_and_update() {
                LoadState::Loaded => return Ok(running),
                LoadState::Failed(error) => return Err(copy_of(error)),
                LoadState::Loading(Some(progress)) => cx.report(|| progress.clone()),
                LoadState::Loading(None) => cx.report(|| Progress::Waiting {
                    reason: format!("{} is loading", self.loader.name),
                    elapsed: start.elapsed(),
                }),
            }
            state.changed().await.map_err(|_| thread_lost())?;
        }
    }

    /// The running thread, or a new one if that one cannot serve.
    fn current(&self) -> Result<Arc<ModelThread<W::Job>>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_obsolete() {
            *running = Arc::new(ModelThread::start(&self.loader)?);
        }
        Ok(Arc::clone(&running))
    }
}

impl<W: Work> fmt::Debug for Worker<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker({}, loaded: {})", self.loader.name, self.loaded().is_some())
    }
}

impl<J: Send + 'static> ModelThread<J> {
    fn start<W: Work<Job = J>>(loader: &Arc<Loader<W>>) -> Result<Self> {
        let (jobs, receiver) = mpsc::channel(MAX_QUEUED);
        let (sender, state) = watch::channel(LoadState::Loading(None));
        let (unwanted, loader) = (Cancellation::new(), Arc::clone(loader));
        let stop = unwanted.clone();
        std::thread::Builder::new()
            .name("ayni-model".to_owned())
            .spawn(move || serve(&loader, receiver, Arc::new(sender), stop))
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, format!("no thread for the model: {error}"))
                    .with_source(error)
            })?;
        Ok(Self { process: std::process::id(), jobs, state, unwanted })
    }

    /// Whether a new thread has to replace it: it stayed in the parent process, or its load failed for a temporary reason.
    fn is_obsolete(&self) -> bool {
        let has_failed = matches!(&*self.state.borrow(), LoadState::Failed(error) if error.is_temporary());
        has_failed || self.process != std::process::id()
    }
}

/// What the thread does.
fn serve<W: Work>(
    loader: &Loader<W>,
    mut jobs: mpsc::Receiver<W::Job>,
    state: Arc<watch::Sender<LoadState>>,
    stop: Cancellation,
) {
    let model = match load(loader, &state, stop) {
        Ok(model) => model,
        Err(error) => {
            state.send_replace(LoadState::Failed(error));
            return;
        }
    };
    state.send_replace(LoadState::Loaded);
    while let Some(first) = jobs.blocking_recv() {
        // A panic drops the jobs in hand, which tells their callers; the thread goes on.
        let work = AssertUnwindSafe(|| model.work(first, &mut Queued(&mut jobs)));
        if catch_unwind(work).is_err() {
            tracing::error!(model = %loader.name, "a job of a local model panicked");
        }
    }
}

fn load<'a, W: Work>(
    loader: &'a Loader<W>,
    state: &Arc<watch::Sender<LoadState>>,
    stop: Cancellation,
) -> Result<&'a W> {
    // A forked child has the model already.
    if let Some(model) = loader.loaded.get() {
        return Ok(model);
    }
    let sink = Arc::clone(state);
    let cx = Context::new().with_cancellation(stop).with_progress(move |progress| {
        sink.send_replace(LoadState::Loading(Some(progress)));
    });
    let model = catch_unwind(AssertUnwindSafe(|| (loader.load)(&cx)))
        .map_err(|_| Error::new(ErrorKind::Unexpected, format!("loading {} panicked", loader.name)))??;
    Ok(loader.loaded.get_or_init(|| model))
}

/// A copy of an error, for another caller.
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

/// The error of a job that was lost to a panic.
pub(crate) fn thread_lost() -> Error {
    Error::new(ErrorKind::Unexpected, "the model failed while it worked on this; please report it")
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
