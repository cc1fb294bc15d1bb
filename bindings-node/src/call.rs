//! The settings of a call, its cancellation and progress, and the promise of its outcome.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ayni::context::PhaseTimeouts;
use ayni::{Cancellation, Context, Error, Progress, Result};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use napi::Env;
#[cfg(debug_assertions)]
use napi::bindgen_prelude::Either;
use napi::bindgen_prelude::{Function, PromiseRaw, ToNapiValue};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;

use crate::convert::json_text;
use crate::failure::{Outcome, guarded, outcome, panicked};

/// Tells JavaScript that there is progress to read. It does not keep the process alive.
type Notify = ThreadsafeFunction<(), (), (), napi::Status, false, true>;

/// Progress that JavaScript has not read yet. Only the first event after a reading tells that there is some, so a quick
/// source fills no queue of Node.js.
struct Waiting {
    events: Mutex<Vec<Progress>>,
    notify: Mutex<Option<Notify>>,
}

impl Waiting {
    fn add(&self, event: Progress) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(event);
        if events.len() == 1
            && let Some(notify) = &*self.notify.lock().unwrap_or_else(PoisonError::into_inner)
        {
            // It fails if the environment is ending; then nobody listens.
            let _ = notify.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

/// The promise of an outcome.
pub(crate) type Promised<'env, T> = PromiseRaw<'env, Outcome<T>>;

/// One call: what limits it, what stops it, what it reports.
#[napi]
pub struct Call {
    timeout_ms: Option<f64>,
    connect_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    idle_ms: Option<f64>,
    cancellation: Cancellation,
    waiting: Option<Arc<Waiting>>,
}

#[napi]
impl Call {
    /// Times are milliseconds; `notify` is called when there is progress to read.
    #[napi(constructor)]
    pub fn new(
        timeout_ms: Option<f64>,
        connect_ms: Option<f64>,
        first_byte_ms: Option<f64>,
        idle_ms: Option<f64>,
        notify: Option<Function<'_, (), ()>>,
    ) -> napi::Result<Self> {
        let notify =
            notify.map(|notify| notify.build_threadsafe_function().weak::<true>().build()).transpose()?;
        let waiting = notify
            .map(|notify| Arc::new(Waiting { events: Mutex::default(), notify: Mutex::new(Some(notify)) }));
        let cancellation = Cancellation::new();
        Ok(Self { timeout_ms, connect_ms, first_byte_ms, idle_ms, cancellation, waiting })
    }

    /// Stops the work.
    #[napi]
    pub fn cancel(&self) {
        self.cancellation.cancel();
    }

    /// The progress since the last reading, as a JSON list.
    #[napi]
    pub fn progress(&self) -> Outcome<String> {
        guarded(|| {
            let Some(waiting) = &self.waiting else { return Ok("[]".to_owned()) };
            let events = std::mem::take(&mut *waiting.events.lock().unwrap_or_else(PoisonError::into_inner));
            json_text(&events)
        })
    }

    /// No progress is read any more.
    #[napi]
    pub fn finish(&self) {
        if let Some(waiting) = &self.waiting {
            drop(waiting.notify.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

impl Call {
    fn context(&self) -> Result<Context> {
        let read = |name: &str, milliseconds: Option<f64>| {
            let duration =
                milliseconds.map(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0));
            duration.transpose().map_err(|_| {
                Error::invalid_request(format!("`{name}` is no number of milliseconds from 0 up"))
            })
        };
        let mut phases = PhaseTimeouts::default();
        phases.connect = read("connectMs", self.connect_ms)?;
        phases.first_byte = read("firstByteMs", self.first_byte_ms)?;
        phases.idle = read("idleMs", self.idle_ms)?;
        let mut cx = Context::new().with_phase_timeouts(phases).with_cancellation(self.cancellation.clone());
        if let Some(timeout) = read("timeoutMs", self.timeout_ms)? {
            cx = cx.with_timeout(timeout);
        }
        Ok(match self.waiting.clone() {
            Some(waiting) => cx.with_progress(move |event: Progress| waiting.add(event)),
            None => cx,
        })
    }
}

/// Makes a call on the worker threads. The promise never rejects: it resolves to the answer or to an object with `error`.
pub(crate) fn promise<'env, T, W>(
    env: &'env Env,
    call: Option<&Call>,
    work: impl FnOnce(Context) -> W + Send + 'static,
) -> napi::Result<Promised<'env, T>>
where
    T: ToNapiValue + Send + 'static,
    W: Future<Output = Result<T>> + Send + 'static,
{
    let cx = call.map_or_else(|| Ok(Context::new()), Call::context);
    // Boxed, so that tokio and napi compile their parts once for each kind of answer, not once for each operation.
    let work: BoxFuture<'static, Result<T>> = Box::pin(async move { work(cx?).await });
    env.spawn_future(async move {
        Ok(outcome(AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(panicked()))))
    })
}

/// The same for work that blocks: it reads files or loads a model.
pub(crate) fn blocking<T: ToNapiValue + Send + 'static>(
    env: &Env,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> napi::Result<Promised<'_, T>> {
    let work: Box<dyn FnOnce() -> Result<T> + Send> = Box::new(work);
    env.spawn_future(async move {
        Ok(match tokio::task::spawn_blocking(move || guarded(work)).await {
            Ok(outcome) => outcome,
            Err(_) => outcome(Err(panicked())),
        })
    })
}

/// Panics in the work of a call or, with `sync`, at once. For tests; not in release builds.
#[cfg(debug_assertions)]
#[napi]
pub fn panic_inside(env: &Env, sync: bool) -> napi::Result<Either<Outcome<u32>, Promised<'_, u32>>> {
    let out_of_bounds = || Ok([0_u32][std::hint::black_box(1)]);
    if sync {
        return Ok(Either::A(guarded(out_of_bounds)));
    }
    promise(env, None, move |_| async move { out_of_bounds() }).map(Either::B)
}
