//! OpenAI's routes: reads request bodies, makes the calls and returns response bodies.

use std::time::Duration;

use ayni::wire::openai::chat::{Completion, CompletionEvents, CompletionHead, CompletionRequest};
use ayni::wire::openai::check_content_type;
use ayni::wire::openai::embeddings::{EmbeddingList, EmbeddingsRequest};
use ayni::wire::openai::error::{self, ErrorBody};
use ayni::wire::openai::images::{ImageList, ImagesRequest};
use ayni::wire::openai::models::{Model, ModelList};
use ayni::{Error, ErrorKind, Persistence, Result};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde::Deserialize;

use crate::call::{Caller, Returned, call, object};
use crate::chat::Chat;
use crate::convert::{as_python, json_text, request};
use crate::embedder::Embedder;
use crate::failure::to_exception;
use crate::image::ImageGenerator;
use crate::runtime::{Slot, drop_stream};

/// Parses a request body without holding the interpreter.
fn parse<T: Send>(
    py: Python<'_>,
    body: &[u8],
    content_type: Option<&str>,
    parse: impl FnOnce(&[u8]) -> Result<T> + Send,
) -> PyResult<T> {
    let outcome = py.detach(|| check_content_type(content_type).and_then(|()| parse(body)));
    outcome.map_err(|error| to_exception(py, &error))
}

fn bytes(py: Python<'_>, body: String) -> Returned {
    Ok(PyBytes::new(py, body.as_bytes()).into_any().unbind())
}

/// A request for a chat completion.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct OpenAiChat(CompletionRequest);

#[pymethods]
impl OpenAiChat {
    #[new]
    fn new(py: Python<'_>, body: &[u8], content_type: Option<&str>) -> PyResult<Self> {
        parse(py, body, content_type, CompletionRequest::read).map(Self)
    }

    #[getter]
    fn model(&self) -> &str {
        &self.0.model
    }

    #[getter]
    fn stream(&self) -> bool {
        self.0.stream
    }

    /// Returns the body of the response.
    fn answer(&self, py: Python<'_>, chat: &Chat, id: &str, created: u64, caller: Caller<'_>) -> Returned {
        let (handle, request) = (chat.0.clone(), self.0.request.clone());
        let head = CompletionHead::new(id, created, self.model());
        let work =
            move |cx| async move { json_text(&Completion::new(&handle.chat(&cx, request).await?, &head)) };
        call(py, caller, work, bytes)
    }

    /// Returns an `OpenAiEvents` after the first event: a failure before it can still set the status.
    fn events(
        &self,
        py: Python<'_>,
        chat: &Chat,
        id: &str,
        created: u64,
        request_id: Option<String>,
        caller: Caller<'_>,
    ) -> Returned {
        let (handle, request, include_usage) = (chat.0.clone(), self.0.request.clone(), self.0.include_usage);
        let head = CompletionHead::new(id, created, self.model());
        let work = move |cx| async move {
            CompletionEvents::open(handle.stream(&cx, request).await?, head, include_usage, request_id).await
        };
        call(py, caller, work, |py, events| object(py, OpenAiEvents(Slot::new(Some(events).into()))))
    }
}

/// The server-sent events of a streamed completion. Dropping it stops the work.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct OpenAiEvents(Slot<CompletionEvents>);

#[pymethods]
impl OpenAiEvents {
    /// Returns the next bytes, none at the end, and the kind of the error that ends the stream with them.
    fn next(&self, py: Python<'_>, caller: Caller<'_>) -> Returned {
        let events = Slot::clone(&self.0);
        let work = move |_| async move {
            Ok(match events.lock().await.as_mut() {
                Some(events) => events.next().await,
                None => None,
            })
        };
        call(py, caller, work, |py, piece| {
            let (text, kind) = piece.map_or_else(Default::default, |piece| (piece.text, piece.error));
            let next = (PyBytes::new(py, text.as_bytes()), kind.map(ErrorKind::as_str));
            Ok(next.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// Stops the work.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        drop_stream(py, &self.0)
    }
}

/// A request for embeddings.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct OpenAiEmbeddings(EmbeddingsRequest);

#[pymethods]
impl OpenAiEmbeddings {
    #[new]
    fn new(py: Python<'_>, body: &[u8], content_type: Option<&str>) -> PyResult<Self> {
        parse(py, body, content_type, EmbeddingsRequest::read).map(Self)
    }

    #[getter]
    fn model(&self) -> &str {
        &self.0.model
    }

    /// Returns the body of the response.
    fn answer(&self, py: Python<'_>, embedder: &Embedder, caller: Caller<'_>) -> Returned {
        let (handle, asked) = (embedder.0.clone(), self.0.clone());
        let work = move |cx: ayni::Context| async move {
            let response = handle.embed(&cx, asked.request).await?;
            json_text(&EmbeddingList::new(&response, &asked.model, asked.encoding_format))
        };
        call(py, caller, work, bytes)
    }
}

/// A request for images.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct OpenAiImages(ImagesRequest);

#[pymethods]
impl OpenAiImages {
    #[new]
    fn new(py: Python<'_>, body: &[u8], content_type: Option<&str>) -> PyResult<Self> {
        parse(py, body, content_type, ImagesRequest::read).map(Self)
    }

    #[getter]
    fn model(&self) -> Option<&str> {
        self.0.model.as_deref()
    }

    /// Returns the body of the response.
    fn answer(&self, py: Python<'_>, images: &ImageGenerator, created: u64, caller: Caller<'_>) -> Returned {
        let (handle, request) = (images.0.clone(), self.0.request.clone());
        let work = move |cx| async move {
            json_text(&ImageList::new(&handle.generate(&cx, request).await?, created))
        };
        call(py, caller, work, bytes)
    }
}

/// The list of models, or the one with `name`.
#[pyfunction]
pub(crate) fn openai_models(
    py: Python<'_>,
    names: Vec<String>,
    created: u64,
    name: Option<&str>,
) -> Returned {
    match name {
        Some(name) => as_python(py, Model::new(name, created)),
        None => as_python(py, ModelList::new(names.iter().map(String::as_str), created)),
    }
}

#[derive(Deserialize)]
struct Failure {
    status: u16,
    kind: ErrorKind,
    message: String,
    retryable: bool,
    retry_after: Option<f64>,
    backend: Option<String>,
    param: Option<String>,
    request_id: Option<String>,
}

/// The JSON of a failure.
#[pyfunction]
pub(crate) fn failure_body(fields: &Bound<'_, PyAny>) -> Returned {
    let failure: Failure = request(fields)?;
    let persistence = if failure.retryable { Persistence::Temporary } else { Persistence::Permanent };
    let mut error = Error::new(failure.kind, failure.message).with_persistence(persistence);
    if let Some(wait) = failure.retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        error = error.with_retry_after(wait);
    }
    if let Some(backend) = failure.backend {
        error = error.with_backend(backend);
    }
    if let Some(param) = failure.param {
        error = error.with_context("param", param);
    }
    as_python(fields.py(), ErrorBody::with_status(&error, failure.request_id.as_deref(), failure.status))
}

/// The HTTP status of every kind of error.
pub(crate) fn statuses(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let statuses = PyDict::new(py);
    for kind in ErrorKind::ALL {
        statuses.set_item(kind.as_str(), error::status_of_kind(*kind))?;
    }
    Ok(statuses)
}
