//! Embedders.

use std::sync::{Arc, PoisonError};

use ayni::config::open_embedder_with;
use ayni::embed::{EmbedStream, EncodedVectors};
use ayni::{
    AnyEmbedder, Context, EmbedInput, EmbedRequest, EmbedResponse, EmbedRole, EmbedderConfig, Encoding,
    Result, Setup,
};
use futures_util::{StreamExt, stream};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use tokio::sync::mpsc;

use crate::call::{Caller, Returned, call, object};
use crate::convert::{Variables, as_python, inputs, open_handle, read_inputs, request, unicode};
use crate::failure::to_exception;
use crate::runtime::{Slot, drop_stream};
use crate::vectors::Block;

/// A handle on an embedder.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct Embedder(pub(crate) AnyEmbedder);

#[pymethods]
impl Embedder {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: Option<&Bound<'_, PyAny>>, env: Variables) -> PyResult<Self> {
        let from_env = Setup::<EmbedderConfig>::from_env_with;
        open_handle(py, fields, env, EmbedderConfig::BACKENDS, from_env, open_embedder_with).map(Self)
    }

    fn info(&self, py: Python<'_>) -> Returned {
        as_python(py, self.0.info())
    }

    fn space(&self, py: Python<'_>) -> Returned {
        as_python(py, self.0.space())
    }

    fn ready(&self, py: Python<'_>, caller: Caller<'_>) -> Returned {
        let handle = self.0.clone();
        call(py, caller, move |cx| async move { handle.ready(&cx).await }, as_python)
    }

    fn window(&self) -> Option<usize> {
        self.0.window()
    }

    fn count_tokens(
        &self,
        py: Python<'_>,
        text: &Bound<'_, PyString>,
        role: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        let (role, text) = (request::<Option<EmbedRole>>(role)?, unicode(text)?);
        py.detach(|| self.0.count_tokens(role, text)).map_err(|error| to_exception(py, &error))
    }

    /// Returns the fields of a `Parity`.
    fn verify(&self, py: Python<'_>, caller: Caller<'_>) -> Returned {
        let handle = self.0.clone();
        call(py, caller, move |cx| async move { handle.verify(&cx).await }, as_python)
    }

    /// Returns (block, truncated, usage, route, space).
    fn embed(
        &self,
        py: Python<'_>,
        list: &Bound<'_, PyList>,
        options: &Bound<'_, PyAny>,
        encoding: Option<&str>,
        caller: Caller<'_>,
    ) -> Returned {
        let mut request: EmbedRequest = request(options)?;
        let inputs = inputs(list)?;
        let encoding = read_encoding(py, encoding)?;
        let (handle, of) = (self.0.clone(), self.0.clone());
        let work = move |cx: Context| async move {
            request.inputs = cx.guard(read_inputs(inputs)).await?.into();
            encoded(handle.embed(&cx, request).await?, encoding)
        };
        call(py, caller, work, move |py, answer| response(py, &of, answer))
    }

    /// Returns a `VectorStream`.
    fn embed_stream(
        &self,
        py: Python<'_>,
        options: &Bound<'_, PyAny>,
        encoding: Option<&str>,
        caller: Caller<'_>,
    ) -> Returned {
        let request: EmbedRequest = request(options)?;
        let encoding = read_encoding(py, encoding)?;
        let handle = self.0.clone();
        let work = move |cx: Context| async move { Ok(VectorStream::start(handle, &cx, request, encoding)) };
        call(py, caller, work, object)
    }
}

/// A stream of inputs and the stream of their vectors. Dropping it stops the work.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct VectorStream {
    inputs: std::sync::Mutex<Option<mpsc::Sender<Vec<EmbedInput>>>>,
    parts: Slot<EmbedStream<'static>>,
    of: AnyEmbedder,
    encoding: Encoding,
}

impl VectorStream {
    fn start(of: AnyEmbedder, cx: &Context, request: EmbedRequest, encoding: Encoding) -> Self {
        let (sender, receiver) = mpsc::channel::<Vec<EmbedInput>>(1);
        let next = |mut receiver: mpsc::Receiver<_>| async { Some((receiver.recv().await?, receiver)) };
        let inputs = stream::unfold(receiver, next).flat_map(stream::iter);
        let parts = Slot::new(Some(of.embed_stream(cx, request, inputs)).into());
        Self { inputs: std::sync::Mutex::new(Some(sender)), parts, of, encoding }
    }
}

#[pymethods]
impl VectorStream {
    /// Adds inputs once the stream has room. Returns false if it has ended.
    fn push(&self, py: Python<'_>, list: &Bound<'_, PyList>, caller: Caller<'_>) -> Returned {
        let inputs = inputs(list)?;
        let sender = self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let work = move |_| async move {
            let Some(sender) = sender else { return Ok(false) };
            Ok(sender.send(read_inputs(inputs).await?).await.is_ok())
        };
        call(py, caller, work, as_python)
    }

    /// No inputs follow.
    fn finish(&self) {
        drop(self.inputs.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Returns what `embed` does for the next inputs; `None` at the end.
    fn next(&self, py: Python<'_>, caller: Caller<'_>) -> Returned {
        let (parts, of, encoding) = (Arc::clone(&self.parts), self.of.clone(), self.encoding);
        let work = move |_| async move {
            let mut parts = parts.lock().await;
            let Some(stream) = parts.as_mut() else { return Ok(None) };
            stream.next().await.transpose()?.map(|part| encoded(part.response, encoding)).transpose()
        };
        call(py, caller, work, move |py, answer| match answer {
            Some(answer) => response(py, &of, answer),
            None => Ok(py.None()),
        })
    }

    /// Stops the work.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.finish();
        drop_stream(py, &self.parts)
    }
}

fn read_encoding(py: Python<'_>, name: Option<&str>) -> PyResult<Encoding> {
    name.map_or(Ok(Encoding::F32), str::parse).map_err(|error| to_exception(py, &error))
}

/// Vectors in their encoding, and the rest of the answer.
type Answer = (EncodedVectors, EmbedResponse);

fn encoded(response: EmbedResponse, encoding: Encoding) -> Result<Answer> {
    Ok((response.vectors.encoded(encoding)?, response))
}

fn response(py: Python<'_>, of: &AnyEmbedder, (vectors, response): Answer) -> Returned {
    let EmbedResponse { truncated, usage, route, .. } = response;
    // The request may have asked for shorter vectors than the embedder's own.
    let space = of.space().clone().with_dimensions(vectors.width());
    let (usage, route, space) = (as_python(py, usage)?, as_python(py, route)?, as_python(py, space)?);
    Ok((Block::new(vectors), truncated, usage, route, space).into_pyobject(py)?.into_any().unbind())
}
