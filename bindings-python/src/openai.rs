//! OpenAI's routes: bodies and handles cross, core reads and answers.

use ayni::wire::openai::error::{self, Failure};
use ayni::wire::openai::models::{Model, ModelList};
use ayni::wire::openai::{ServedEvents, ServedHandle, ServedRequest};
use ayni::{Context, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::call::{Caller, Returned, call, object};
use crate::chat::Chat;
use crate::convert::{as_python, request};
use crate::embedder::Embedder;
use crate::failure::to_exception;
use crate::image::ImageGenerator;
use crate::runtime::{Slot, drop_stream};

/// The handle that answers.
#[derive(FromPyObject)]
pub(crate) enum Served<'py> {
    Chat(PyRef<'py, Chat>),
    Embedder(PyRef<'py, Embedder>),
    Images(PyRef<'py, ImageGenerator>),
}

impl Served<'_> {
    fn handle(&self) -> ServedHandle {
        match self {
            Self::Chat(chat) => ServedHandle::Chat(chat.0.clone()),
            Self::Embedder(embedder) => ServedHandle::Embedder(embedder.0.clone()),
            Self::Images(images) => ServedHandle::Images(images.0.clone()),
        }
    }
}

/// A request to one of the routes.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct OpenAiRequest(ServedRequest);

#[pymethods]
impl OpenAiRequest {
    /// Parses the body without holding the interpreter.
    #[new]
    fn new(py: Python<'_>, route: &str, body: &[u8], content_type: Option<&str>) -> PyResult<Self> {
        let read = py.detach(|| ServedRequest::read(route, content_type, body));
        read.map(Self).map_err(|error| to_exception(py, &error))
    }

    #[getter]
    fn model(&self) -> Option<&str> {
        self.0.model()
    }

    #[getter]
    fn stream(&self) -> bool {
        self.0.streams()
    }

    /// Returns the body of the response.
    fn answer(
        &self,
        py: Python<'_>,
        served: Served<'_>,
        id: String,
        created: u64,
        caller: Caller<'_>,
    ) -> Returned {
        let (handle, asked) = (served.handle(), self.0.clone());
        let work = move |cx: Context| async move { asked.answer(&cx, &handle, &id, created).await };
        call(py, caller, work, |py, body| Ok(PyBytes::new(py, body.as_bytes()).into_any().unbind()))
    }

    /// Returns an `OpenAiEvents` after the first event: a failure before it can still set the status.
    fn events(
        &self,
        py: Python<'_>,
        served: Served<'_>,
        id: String,
        created: u64,
        request_id: Option<String>,
        caller: Caller<'_>,
    ) -> Returned {
        let (handle, asked) = (served.handle(), self.0.clone());
        let work =
            move |cx: Context| async move { asked.events(&cx, &handle, (&id, created), request_id).await };
        call(py, caller, work, |py, events| object(py, OpenAiEvents(Slot::new(Some(events).into()))))
    }
}

/// The server-sent events of a streamed answer. Dropping it stops the work.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct OpenAiEvents(Slot<ServedEvents>);

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

/// Checks a body that Python reads: content type, form, depth, parts.
#[pyfunction]
pub(crate) fn check_body(py: Python<'_>, body: &[u8], content_type: Option<&str>) -> PyResult<()> {
    let checked = py.detach(|| ayni::wire::openai::check_body(body, content_type));
    checked.map_err(|error| to_exception(py, &error))
}

/// The JSON of a failure.
#[pyfunction]
pub(crate) fn failure_body(fields: &Bound<'_, PyAny>) -> Returned {
    as_python(fields.py(), request::<Failure>(fields)?.body())
}

/// The HTTP status of every kind of error.
pub(crate) fn statuses(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let statuses = PyDict::new(py);
    for kind in ErrorKind::ALL {
        statuses.set_item(kind.as_str(), error::status_of_kind(*kind))?;
    }
    Ok(statuses)
}
