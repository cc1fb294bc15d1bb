//! Chat, whole and streamed, and the chat modes of an environment.

use std::sync::Arc;

use ayni::config::{ChatModes, open_chat_with};
use ayni::{AnyChat, ChatConfig, ChatEvent, ChatRequest, ChatStream, Error, Result, Setup};
use futures_util::{FutureExt, StreamExt};
use pyo3::prelude::*;

use crate::call::{Caller, Returned, call, object};
use crate::convert::{Variables, as_python, open_detached, open_handle, request};
use crate::failure::to_exception;
use crate::runtime::{Slot, drop_stream};

/// The most events that `EventStream.next` gives at once.
const MAX_EVENTS: usize = 64;

/// A handle on a chat backend.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct Chat(pub(crate) AnyChat);

#[pymethods]
impl Chat {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: Option<&Bound<'_, PyAny>>, env: Variables) -> PyResult<Self> {
        let from_env = Setup::<ChatConfig>::from_env_with;
        open_handle(py, fields, env, ChatConfig::BACKENDS, from_env, open_chat_with).map(Self)
    }

    fn info(&self, py: Python<'_>) -> Returned {
        as_python(py, self.0.info())
    }

    fn ready(&self, py: Python<'_>, caller: Caller<'_>) -> Returned {
        let handle = self.0.clone();
        call(py, caller, move |cx| async move { handle.ready(&cx).await }, as_python)
    }

    fn window(&self) -> Option<usize> {
        self.0.window()
    }

    fn count_tokens(&self, py: Python<'_>, fields: &Bound<'_, PyAny>) -> PyResult<usize> {
        let request = request::<ChatRequest>(fields)?;
        py.detach(|| self.0.count_tokens(&request)).map_err(|error| to_exception(py, &error))
    }

    /// Returns the fields of a `ChatResponse`.
    fn chat(&self, py: Python<'_>, fields: &Bound<'_, PyAny>, caller: Caller<'_>) -> Returned {
        let (handle, request) = (self.0.clone(), request::<ChatRequest>(fields)?);
        call(py, caller, move |cx| async move { handle.chat(&cx, request).await }, as_python)
    }

    /// Returns an `EventStream`.
    fn stream(&self, py: Python<'_>, fields: &Bound<'_, PyAny>, caller: Caller<'_>) -> Returned {
        let (handle, request) = (self.0.clone(), request::<ChatRequest>(fields)?);
        let work = move |cx| async move { handle.stream(&cx, request).await };
        call(py, caller, work, |py, stream| object(py, EventStream(Slot::new(Some(stream).into()))))
    }
}

/// The events of a streamed answer. Dropping it stops the work.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct EventStream(Slot<ChatStream>);

#[pymethods]
impl EventStream {
    /// Returns the events that have arrived, at least one unless the stream has ended, and the error after them.
    fn next(&self, py: Python<'_>, caller: Caller<'_>) -> Returned {
        let stream = Arc::clone(&self.0);
        let work = move |_| async move { next_events(&mut *stream.lock().await).await };
        call(py, caller, work, |py, (events, failure)| {
            let failure = failure.map(|error: Error| to_exception(py, &error).into_value(py));
            Ok((as_python(py, events)?, failure).into_pyobject(py)?.into_any().unbind())
        })
    }

    /// Stops the work.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        drop_stream(py, &self.0)
    }
}

/// The next events, and the error after them.
async fn next_events(slot: &mut Option<ChatStream>) -> Result<(Vec<ChatEvent>, Option<Error>)> {
    let Some(stream) = slot else { return Ok((Vec::new(), None)) };
    let mut events = Vec::new();
    let mut next = stream.next().await;
    loop {
        match next {
            Some(Ok(event)) => events.push(event),
            end => {
                *slot = None;
                return Ok((events, end.and_then(Result::err)));
            }
        }
        if events.len() >= MAX_EVENTS {
            return Ok((events, None));
        }
        match stream.next().now_or_never() {
            Some(more) => next = more,
            None => return Ok((events, None)),
        }
    }
}

/// The chat modes of an environment.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct Modes(Arc<ChatModes>);

#[pymethods]
impl Modes {
    #[new]
    #[pyo3(signature = (env=None))]
    fn new(py: Python<'_>, env: Variables) -> PyResult<Self> {
        open_detached(py, env, |env| ChatModes::from_env_with(env).map(Arc::new)).map(Self)
    }

    fn default_mode(&self) -> Option<&'static str> {
        self.0.default_mode()
    }

    fn describe(&self, py: Python<'_>) -> Returned {
        as_python(py, self.0.describe())
    }

    #[pyo3(signature = (mode=None))]
    fn open(&self, py: Python<'_>, mode: Option<&str>) -> PyResult<Chat> {
        py.detach(|| self.0.open(mode)).map(Chat).map_err(|error| to_exception(py, &error))
    }

    fn warm_up(&self, py: Python<'_>, caller: Caller<'_>) -> Returned {
        let modes = Arc::clone(&self.0);
        call(py, caller, move |cx| async move { modes.warm_up(&cx).await }, as_python)
    }
}
