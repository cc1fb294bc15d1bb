//! Chat, whole and streamed, and the chat modes of an environment.

use std::sync::Arc;

use ayni::chat::TokenLogprob;
use ayni::config::{ChatModes, open_chat_with};
use ayni::{AnyChat, ChatConfig, ChatEvent, ChatRequest, ChatResponse, ChatStream, Error, Result, Setup};
use futures_util::{FutureExt, StreamExt};
use pyo3::prelude::*;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::call::{Given, How, Setting, call};
use crate::convert::{Variables, config, opened, request, shown, to_python};
use crate::failure::raised;
use crate::runtime::runtime;

/// How many events that are there already come with one step of a stream.
const MOST_EVENTS: usize = 64;

/// A handle on a chat backend.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct Chat(AnyChat);

impl Chat {
    pub(crate) fn handle(&self) -> &AnyChat {
        &self.0
    }
}

#[pymethods]
impl Chat {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: &Bound<'_, PyAny>, env: Variables) -> PyResult<Self> {
        let setup = config::<Setup<ChatConfig>>(fields, ChatConfig::BACKENDS)?;
        opened(py, env, |env| open_chat_with(setup, env)).map(Self)
    }

    #[staticmethod]
    #[pyo3(signature = (env=None))]
    fn from_env(py: Python<'_>, env: Variables) -> PyResult<Self> {
        opened(py, env, |env| open_chat_with(Setup::<ChatConfig>::from_env_with(env)?, env)).map(Self)
    }

    fn info(&self, py: Python<'_>) -> Given {
        shown(py, self.0.info())
    }

    /// Gives the fields of a `ChatResponse`.
    #[pyo3(signature = (fields, setting=None, future=None))]
    fn chat(
        &self,
        py: Python<'_>,
        fields: &Bound<'_, PyAny>,
        setting: Option<&Setting>,
        future: Option<&Bound<'_, PyAny>>,
    ) -> Given {
        let (handle, request) = (self.0.clone(), request::<ChatRequest>(fields)?);
        let work = move |cx: ayni::Context| async move { handle.chat(&cx, request).await };
        call(py, How { setting, future }, work, |py, response| to_python(py, &answer(response)))
    }

    /// Gives an `EventStream`.
    #[pyo3(signature = (fields, setting=None, future=None))]
    fn stream(
        &self,
        py: Python<'_>,
        fields: &Bound<'_, PyAny>,
        setting: Option<&Setting>,
        future: Option<&Bound<'_, PyAny>>,
    ) -> Given {
        let (handle, request) = (self.0.clone(), request::<ChatRequest>(fields)?);
        let work = move |cx: ayni::Context| async move { handle.stream(&cx, request).await };
        call(py, How { setting, future }, work, |py, stream| {
            let stream = EventStream(Arc::new(Mutex::new(Some(stream))));
            Ok(stream.into_pyobject(py)?.into_any().unbind())
        })
    }
}

/// The events of a streamed answer. Dropping it stops the work.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct EventStream(Arc<Mutex<Option<ChatStream>>>);

#[pymethods]
impl EventStream {
    /// Gives a list of events: at least one, and those that are there already; none at the end.
    #[pyo3(signature = (future=None))]
    fn next(&self, py: Python<'_>, future: Option<&Bound<'_, PyAny>>) -> Given {
        let stream = Arc::clone(&self.0);
        let work = move |_| async move { next_events(&mut *stream.lock().await).await };
        call(py, How { setting: None, future }, work, |py, (events, failure)| {
            let events: Value = events.into_iter().map(event).collect();
            let failure = failure.map(|error: Error| raised(py, &error).into_value(py));
            Ok((to_python(py, &events)?, failure).into_pyobject(py)?.into_any().unbind())
        })
    }

    /// Stops the work.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let stream = Arc::clone(&self.0);
        // A step may hold the stream; it lets go of it when it is done or stopped.
        runtime(py)?.spawn(async move { drop(stream.lock().await.take()) });
        Ok(())
    }
}

/// The next events, and the error after them.
async fn next_events(place: &mut Option<ChatStream>) -> Result<(Vec<ChatEvent>, Option<Error>)> {
    let Some(stream) = place else { return Ok((Vec::new(), None)) };
    let mut events = Vec::new();
    let mut next = stream.next().await;
    loop {
        match next {
            Some(Ok(event)) => events.push(event),
            Some(Err(error)) => {
                *place = None;
                return Ok((events, Some(error)));
            }
            None => {
                *place = None;
                return Ok((events, None));
            }
        }
        if events.len() >= MOST_EVENTS {
            return Ok((events, None));
        }
        match stream.next().now_or_never() {
            Some(more) => next = more,
            None => return Ok((events, None)),
        }
    }
}

fn answer(response: ChatResponse) -> Value {
    json!({
        "text": response.text,
        "reasoning": response.reasoning,
        "tool_calls": response.tool_calls,
        "finish": response.finish.as_str(),
        "usage": response.usage,
        "logprobs": logprobs(&response.logprobs),
        "provider_data": response.provider_data,
        "route": response.route,
    })
}

fn logprobs(tokens: &[TokenLogprob]) -> Value {
    let one =
        |token: &TokenLogprob| json!({ "token": token.token, "logprob": token.logprob, "top": token.top });
    tokens.iter().map(one).collect()
}

/// An event as its type and its fields.
fn event(event: ChatEvent) -> Value {
    match event {
        ChatEvent::Started { route } => json!(["started", { "route": route }]),
        ChatEvent::Text(text) => json!(["text", { "text": text }]),
        ChatEvent::Reasoning(text) => json!(["reasoning", { "text": text }]),
        ChatEvent::ToolCallStarted { index, id, name } => {
            json!(["tool_call_started", { "index": index, "id": id, "name": name }])
        }
        ChatEvent::ToolCallArguments { index, piece } => {
            json!(["tool_call_arguments", { "index": index, "piece": piece }])
        }
        ChatEvent::ToolCall { index, call } => json!(["tool_call", { "index": index, "call": call }]),
        ChatEvent::Logprobs(tokens) => json!(["logprobs", { "logprobs": logprobs(&tokens) }]),
        ChatEvent::Finish { reason, usage, provider_data } => json!([
            "finish",
            { "reason": reason.as_str(), "usage": usage, "provider_data": provider_data },
        ]),
        _ => json!(["other", {}]),
    }
}

/// The chat modes of an environment.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct Modes(Arc<ChatModes>);

#[pymethods]
impl Modes {
    #[new]
    #[pyo3(signature = (env=None))]
    fn new(py: Python<'_>, env: Variables) -> PyResult<Self> {
        opened(py, env, |env| ChatModes::from_env_with(env).map(Arc::new)).map(Self)
    }

    fn names(&self) -> Vec<&'static str> {
        self.0.names()
    }

    fn default_mode(&self) -> Option<&'static str> {
        self.0.default_mode()
    }

    fn describe(&self, py: Python<'_>) -> Given {
        shown(py, &self.0.describe())
    }

    #[pyo3(signature = (mode=None))]
    fn open(&self, py: Python<'_>, mode: Option<&str>) -> PyResult<Chat> {
        py.detach(|| self.0.open(mode)).map(Chat).map_err(|error| raised(py, &error))
    }

    #[pyo3(signature = (setting=None, future=None))]
    fn warm_up(&self, py: Python<'_>, setting: Option<&Setting>, future: Option<&Bound<'_, PyAny>>) -> Given {
        let modes = Arc::clone(&self.0);
        let work = move |cx: ayni::Context| async move { modes.warm_up(&cx).await };
        call(py, How { setting, future }, work, |py, ()| Ok(py.None()))
    }
}
