//! OpenAI's routes: bodies that are read, calls that answer them, responses as bytes.

use std::sync::Arc;
use std::time::Duration;

use ayni::wire::openai::chat::{ChunkWriter, Completion, CompletionHead, CompletionRequest};
use ayni::wire::openai::check_content_type;
use ayni::wire::openai::embeddings::{EmbeddingList, EmbeddingsRequest};
use ayni::wire::openai::error::{self, ErrorBody};
use ayni::wire::openai::images::{ImageList, ImagesRequest};
use ayni::wire::openai::models::{Model, ModelList};
use ayni::{ChatStream, Error, ErrorKind, Persistence, Result};
use futures_util::{FutureExt, StreamExt};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::call::{Given, How, call};
use crate::chat::Chat;
use crate::convert::shown;
use crate::embedder::Embedder;
use crate::failure::raised;
use crate::image::ImageGenerator;
use crate::runtime::runtime;

/// How much of a stream that is there already comes in one step.
const MAX_STEP_BYTES: usize = 16 * 1024;

type Future<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// A body that is read away from the interpreter.
fn read<T: Send>(
    py: Python<'_>,
    body: &[u8],
    content_type: Option<&str>,
    read: impl FnOnce(&[u8]) -> Result<T> + Send,
) -> PyResult<T> {
    let outcome = py.detach(|| check_content_type(content_type).and_then(|()| read(body)));
    outcome.map_err(|error| raised(py, &error))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::new(ErrorKind::Unexpected, error.to_string()))
}

fn bytes(py: Python<'_>, body: &[u8]) -> Given {
    Ok(PyBytes::new(py, body).into_any().unbind())
}

/// A chat completion that was asked for.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct OpenAiChat(CompletionRequest);

#[pymethods]
impl OpenAiChat {
    #[new]
    #[pyo3(signature = (body, content_type=None))]
    fn new(py: Python<'_>, body: &[u8], content_type: Option<&str>) -> PyResult<Self> {
        read(py, body, content_type, CompletionRequest::read).map(Self)
    }

    #[getter]
    fn model(&self) -> &str {
        &self.0.model
    }

    #[getter]
    fn stream(&self) -> bool {
        self.0.stream
    }

    /// Gives the body of the response.
    #[pyo3(signature = (chat, id, created, future=None))]
    fn answer(&self, py: Python<'_>, chat: &Chat, id: String, created: u64, future: Future<'_, '_>) -> Given {
        let (handle, request) = (chat.handle().clone(), self.0.request.clone());
        let head = CompletionHead::new(id, created, self.model());
        let work = move |cx: ayni::Context| async move {
            json(&Completion::new(&handle.chat(&cx, request).await?, &head))
        };
        call(py, How { setting: None, future }, work, |py, body| bytes(py, &body))
    }

    /// Gives an `OpenAiEvents` once the first event is there: until then a failure has a status.
    #[pyo3(signature = (chat, id, created, request_id=None, future=None))]
    fn events(
        &self,
        py: Python<'_>,
        chat: &Chat,
        id: String,
        created: u64,
        request_id: Option<String>,
        future: Future<'_, '_>,
    ) -> Given {
        let (handle, request) = (chat.handle().clone(), self.0.request.clone());
        let writer = ChunkWriter::new(CompletionHead::new(id, created, self.model()), self.0.include_usage);
        let work = move |cx: ayni::Context| async move {
            let mut stream = handle.stream(&cx, request).await?;
            let mut written = writer.start();
            if let Some(first) = stream.next().await {
                written += &writer.event(&first?);
            }
            Ok(OpenAiEvents(Arc::new(Mutex::new(Some(Events { stream, writer, written, request_id })))))
        };
        call(py, How { setting: None, future }, work, |py, events| {
            Ok(events.into_pyobject(py)?.into_any().unbind())
        })
    }
}

/// The server-sent events of a streamed completion. Dropping it stops the work.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct OpenAiEvents(Arc<Mutex<Option<Events>>>);

#[derive(Debug)]
struct Events {
    stream: ChatStream,
    writer: ChunkWriter,
    /// What is written and was not given yet.
    written: String,
    request_id: Option<String>,
}

#[pymethods]
impl OpenAiEvents {
    /// Gives what comes next as bytes, none at the end, and the kind of the error that ended the stream, if one did.
    #[pyo3(signature = (future=None))]
    fn next(&self, py: Python<'_>, future: Future<'_, '_>) -> Given {
        let events = Arc::clone(&self.0);
        let work = move |_| async move { Ok(next_step(&mut *events.lock().await).await) };
        call(py, How { setting: None, future }, work, |py, (text, kind)| {
            let step = (PyBytes::new(py, text.as_bytes()), kind.map(ErrorKind::as_str));
            Ok(step.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// Stops the work.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let events = Arc::clone(&self.0);
        // A step may hold the lock; it releases it when it is done or stopped.
        runtime(py)?.spawn(async move { drop(events.lock().await.take()) });
        Ok(())
    }
}

/// Waits for one event and takes those that are there already.
async fn next_step(place: &mut Option<Events>) -> (String, Option<ErrorKind>) {
    let Some(events) = place else { return (String::new(), None) };
    let mut next = if events.written.is_empty() { Some(events.stream.next().await) } else { None };
    loop {
        match next {
            Some(Some(Ok(event))) => events.written += &events.writer.event(&event),
            Some(Some(Err(error))) => {
                let mut text = std::mem::take(&mut events.written);
                text += &events.writer.error(&error, events.request_id.as_deref());
                *place = None;
                return (text, Some(error.kind()));
            }
            Some(None) => {
                let text = std::mem::take(&mut events.written);
                *place = None;
                return (text, None);
            }
            None => {}
        }
        if events.written.len() >= MAX_STEP_BYTES {
            return (std::mem::take(&mut events.written), None);
        }
        next = match events.stream.next().now_or_never() {
            Some(more) => Some(more),
            // Some events have no form in the protocol.
            None if events.written.is_empty() => Some(events.stream.next().await),
            None => return (std::mem::take(&mut events.written), None),
        };
    }
}

/// Embeddings that were asked for.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct OpenAiEmbeddings(EmbeddingsRequest);

#[pymethods]
impl OpenAiEmbeddings {
    #[new]
    #[pyo3(signature = (body, content_type=None))]
    fn new(py: Python<'_>, body: &[u8], content_type: Option<&str>) -> PyResult<Self> {
        read(py, body, content_type, EmbeddingsRequest::read).map(Self)
    }

    #[getter]
    fn model(&self) -> &str {
        &self.0.model
    }

    /// Gives the body of the response.
    #[pyo3(signature = (embedder, future=None))]
    fn answer(&self, py: Python<'_>, embedder: &Embedder, future: Future<'_, '_>) -> Given {
        let (handle, asked) = (embedder.handle().clone(), self.0.clone());
        let work = move |cx: ayni::Context| async move {
            let response = handle.embed(&cx, asked.request).await?;
            json(&EmbeddingList::new(&response, &asked.model, asked.encoding_format))
        };
        call(py, How { setting: None, future }, work, |py, body| bytes(py, &body))
    }
}

/// Images that were asked for.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct OpenAiImages(ImagesRequest);

#[pymethods]
impl OpenAiImages {
    #[new]
    #[pyo3(signature = (body, content_type=None))]
    fn new(py: Python<'_>, body: &[u8], content_type: Option<&str>) -> PyResult<Self> {
        read(py, body, content_type, ImagesRequest::read).map(Self)
    }

    #[getter]
    fn model(&self) -> Option<&str> {
        self.0.model.as_deref()
    }

    /// Gives the body of the response.
    #[pyo3(signature = (generator, created, future=None))]
    fn answer(
        &self,
        py: Python<'_>,
        generator: &ImageGenerator,
        created: u64,
        future: Future<'_, '_>,
    ) -> Given {
        let (handle, request) = (generator.handle().clone(), self.0.request.clone());
        let work = move |cx: ayni::Context| async move {
            json(&ImageList::new(&handle.generate(&cx, request).await?, created))
        };
        call(py, How { setting: None, future }, work, |py, body| bytes(py, &body))
    }
}

/// The models of a list, or the one with `name`.
#[pyfunction]
#[pyo3(signature = (names, created, name=None))]
pub(crate) fn openai_models(py: Python<'_>, names: Vec<String>, created: u64, name: Option<&str>) -> Given {
    match name {
        Some(name) => shown(py, &Model::new(name, created)),
        None => shown(py, &ModelList::new(names.iter().map(String::as_str), created)),
    }
}

/// The JSON of a failure.
#[pyfunction]
#[pyo3(signature = (status, kind, message, retryable=false, retry_after=None, backend=None, param=None, request_id=None))]
#[allow(clippy::too_many_arguments, reason = "the fields of the object")]
pub(crate) fn failure_body(
    py: Python<'_>,
    status: u16,
    kind: &str,
    message: &str,
    retryable: bool,
    retry_after: Option<f64>,
    backend: Option<&str>,
    param: Option<&str>,
    request_id: Option<&str>,
) -> Given {
    let persistence = if retryable { Persistence::Temporary } else { Persistence::Permanent };
    let kind = ErrorKind::parse(kind).unwrap_or(ErrorKind::Unexpected);
    let mut error = Error::new(kind, message).with_persistence(persistence);
    if let Some(wait) = retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        error = error.with_retry_after(wait);
    }
    if let Some(backend) = backend {
        error = error.with_backend(backend);
    }
    if let Some(param) = param {
        error = error.with_context("param", param);
    }
    shown(py, &ErrorBody::with_status(&error, request_id, status))
}

/// The status of every kind of error.
pub(crate) fn statuses(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let statuses = PyDict::new(py);
    for kind in ErrorKind::ALL {
        statuses.set_item(kind.as_str(), error::status_of_kind(*kind))?;
    }
    Ok(statuses)
}
