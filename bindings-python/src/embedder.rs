//! Embedders.

use std::sync::{Arc, PoisonError};

use ayni::embed::{EmbedStream, EncodedVectors};
use ayni::local::LocalEmbedder;
use ayni::{
    AnyEmbedder, Context, EmbedInput, EmbedRequest, EmbedResponse, EmbedRole, EmbedderConfig, Encoding,
    Environment, Error, Result, Setup,
};
use futures_util::{StreamExt, stream};
use pyo3::prelude::*;
use pyo3::types::PyList;
use tokio::sync::{Mutex, mpsc};

use crate::call::{Given, How, Setting, call};
use crate::convert::{Variables, config, inputs, opened, read_inputs, request, shown};
use crate::failure::raised;
use crate::runtime::runtime;
use crate::vectors::Block;

/// A handle on an embedder.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct Embedder {
    handle: AnyEmbedder,
    /// For what only a model in this process does.
    local: Option<Arc<LocalEmbedder>>,
}

fn open(setup: Setup<EmbedderConfig>, env: &Environment) -> Result<Embedder> {
    let (primary, local) = match &setup.backend {
        EmbedderConfig::Local(config) => {
            let local = Arc::new(LocalEmbedder::open(config, env)?);
            (AnyEmbedder::new(Arc::clone(&local)), Some(local))
        }
        other => (other.open(env)?, None),
    };
    let fallback = setup.fallback.iter().map(|backend| backend.open(env)).collect::<Result<Vec<_>>>()?;
    Ok(Embedder { handle: setup.policy.embedder(primary, fallback)?, local })
}

impl Embedder {
    pub(crate) fn handle(&self) -> &AnyEmbedder {
        &self.handle
    }
}

#[pymethods]
impl Embedder {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: &Bound<'_, PyAny>, env: Variables) -> PyResult<Self> {
        let setup = config::<Setup<EmbedderConfig>>(fields, EmbedderConfig::BACKENDS)?;
        opened(py, env, |env| open(setup, env))
    }

    #[staticmethod]
    #[pyo3(signature = (env=None))]
    fn from_env(py: Python<'_>, env: Variables) -> PyResult<Self> {
        opened(py, env, |env| open(Setup::<EmbedderConfig>::from_env_with(env)?, env))
    }

    fn info(&self, py: Python<'_>) -> Given {
        shown(py, self.handle.info())
    }

    fn space(&self, py: Python<'_>) -> Given {
        shown(py, self.handle.space())
    }

    /// Waits until a model in this process is loaded; anything else is ready.
    #[pyo3(signature = (setting=None, future=None))]
    fn ready(&self, py: Python<'_>, setting: Option<&Setting>, future: Option<&Bound<'_, PyAny>>) -> Given {
        let local = self.local.clone();
        let work = move |cx: Context| async move {
            match local {
                Some(local) => local.ready(&cx).await,
                None => Ok(()),
            }
        };
        call(py, How { setting, future }, work, |py, ()| Ok(py.None()))
    }

    /// How many tokens a text has, and the most that are not cut.
    fn count_tokens(&self, py: Python<'_>, text: &str, role: &Bound<'_, PyAny>) -> PyResult<(usize, usize)> {
        let role: Option<EmbedRole> = request(role)?;
        let elsewhere = || Error::unsupported("only a model in this process counts tokens");
        let counted = self.local.as_ref().ok_or_else(elsewhere);
        let counted = counted.and_then(|local| Ok((local.count_tokens(role, text)?, local.window()?)));
        counted.map_err(|error| raised(py, &error))
    }

    /// Gives (block, truncated, usage, route, space).
    #[pyo3(signature = (list, options, encoding=None, setting=None, future=None))]
    fn embed(
        &self,
        py: Python<'_>,
        list: &Bound<'_, PyList>,
        options: &Bound<'_, PyAny>,
        encoding: Option<&str>,
        setting: Option<&Setting>,
        future: Option<&Bound<'_, PyAny>>,
    ) -> Given {
        let mut request: EmbedRequest = request(options)?;
        let inputs = inputs(list)?;
        let encoding = read_encoding(py, encoding)?;
        let (handle, of) = (self.handle.clone(), self.handle.clone());
        let work = move |cx: Context| async move {
            request.inputs = cx.guard(read_inputs(inputs)).await?.into();
            encoded(handle.embed(&cx, request).await?, encoding)
        };
        call(py, How { setting, future }, work, move |py, answer| given(py, &of, answer))
    }

    /// Gives a `VectorStream`.
    #[pyo3(signature = (options, encoding=None, setting=None, future=None))]
    fn embed_stream(
        &self,
        py: Python<'_>,
        options: &Bound<'_, PyAny>,
        encoding: Option<&str>,
        setting: Option<&Setting>,
        future: Option<&Bound<'_, PyAny>>,
    ) -> Given {
        let request: EmbedRequest = request(options)?;
        let encoding = read_encoding(py, encoding)?;
        let handle = self.handle.clone();
        let work = move |cx: Context| async move { Ok(VectorStream::start(handle, &cx, request, encoding)) };
        call(py, How { setting, future }, work, |py, stream| {
            Ok(stream.into_pyobject(py)?.into_any().unbind())
        })
    }
}

/// Inputs that come, and vectors that go. Dropping it stops the work.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct VectorStream {
    inputs: std::sync::Mutex<Option<mpsc::Sender<Vec<EmbedInput>>>>,
    parts: Arc<Mutex<Option<EmbedStream<'static>>>>,
    of: AnyEmbedder,
    encoding: Encoding,
}

impl VectorStream {
    fn start(of: AnyEmbedder, cx: &Context, request: EmbedRequest, encoding: Encoding) -> Self {
        let (sender, receiver) = mpsc::channel::<Vec<EmbedInput>>(1);
        let next = |mut receiver: mpsc::Receiver<_>| async { Some((receiver.recv().await?, receiver)) };
        let inputs = stream::unfold(receiver, next).flat_map(stream::iter);
        let parts = Arc::new(Mutex::new(Some(of.embed_stream(cx, request, inputs))));
        Self { inputs: std::sync::Mutex::new(Some(sender)), parts, of, encoding }
    }
}

#[pymethods]
impl VectorStream {
    /// Gives the stream inputs once it has room; false if it takes none any more.
    #[pyo3(signature = (list, future=None))]
    fn push(&self, py: Python<'_>, list: &Bound<'_, PyList>, future: Option<&Bound<'_, PyAny>>) -> Given {
        let inputs = inputs(list)?;
        let sender = self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let work = move |_| async move {
            let Some(sender) = sender else { return Ok(false) };
            Ok(sender.send(read_inputs(inputs).await?).await.is_ok())
        };
        call(py, How { setting: None, future }, work, |py, is_taken| shown(py, &is_taken))
    }

    /// No inputs follow.
    fn finish(&self) {
        drop(self.inputs.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Gives what `embed` gives, for the next of the inputs; none at the end.
    #[pyo3(signature = (future=None))]
    fn next(&self, py: Python<'_>, future: Option<&Bound<'_, PyAny>>) -> Given {
        let (parts, of, encoding) = (Arc::clone(&self.parts), self.of.clone(), self.encoding);
        let work = move |_| async move {
            let mut parts = parts.lock().await;
            let Some(stream) = parts.as_mut() else { return Ok(None) };
            stream.next().await.transpose()?.map(|part| encoded(part.response, encoding)).transpose()
        };
        call(py, How { setting: None, future }, work, move |py, answer| match answer {
            Some(answer) => given(py, &of, answer),
            None => Ok(py.None()),
        })
    }

    /// Stops the work.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.finish();
        let parts = Arc::clone(&self.parts);
        runtime(py)?.spawn(async move { drop(parts.lock().await.take()) });
        Ok(())
    }
}

fn read_encoding(py: Python<'_>, name: Option<&str>) -> PyResult<Encoding> {
    name.map_or(Ok(Encoding::F32), str::parse).map_err(|error| raised(py, &error))
}

/// Vectors in their encoding, and the rest of the answer.
type Answer = (EncodedVectors, EmbedResponse);

fn encoded(response: EmbedResponse, encoding: Encoding) -> Result<Answer> {
    Ok((response.vectors.encoded(encoding)?, response))
}

fn given(py: Python<'_>, of: &AnyEmbedder, (vectors, response): Answer) -> Given {
    let (usage, route) = (shown(py, &response.usage)?, shown(py, &response.route)?);
    let space = shown(py, of.space())?;
    let answer = (Block::new(vectors), response.truncated, usage, route, space);
    Ok(answer.into_pyobject(py)?.into_any().unbind())
}
