//! Embedders.

use ayni::{AnyEmbedder, EmbedRequest, EmbedderConfig, Encoding, Setup, open_embedder_with};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::call::{Given, How, Setting, call};
use crate::convert::{Variables, config, information, inputs, opened, read_inputs, request, shown};
use crate::failure::raised;
use crate::vectors::Block;

/// A handle on an embedder.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct Embedder(AnyEmbedder);

#[pymethods]
impl Embedder {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: &Bound<'_, PyAny>, env: Variables) -> PyResult<Self> {
        let setup = config::<Setup<EmbedderConfig>>(fields, EmbedderConfig::BACKENDS)?;
        opened(py, env, |env| open_embedder_with(setup, env)).map(Self)
    }

    #[staticmethod]
    #[pyo3(signature = (env=None))]
    fn from_env(py: Python<'_>, env: Variables) -> PyResult<Self> {
        opened(py, env, |env| open_embedder_with(Setup::<EmbedderConfig>::from_env_with(env)?, env)).map(Self)
    }

    fn info(&self, py: Python<'_>) -> Given {
        information(py, self.0.info())
    }

    fn space(&self, py: Python<'_>) -> Given {
        shown(py, self.0.space())
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
        let encoding = encoding.map_or(Ok(Encoding::F32), str::parse).map_err(|error| raised(py, &error))?;
        let (handle, of) = (self.0.clone(), self.0.clone());
        let work = move |cx: ayni::Context| async move {
            request.inputs = cx.guard(read_inputs(inputs)).await?.into();
            let response = handle.embed(&cx, request).await?;
            let vectors = response.vectors.encoded(encoding)?;
            Ok((vectors, response.truncated, response.usage, response.route))
        };
        call(py, How { setting, future }, work, move |py, (vectors, truncated, usage, route)| {
            let (usage, route, space) = (shown(py, &usage)?, shown(py, &route)?, shown(py, of.space())?);
            Ok((Block::new(vectors), truncated, usage, route, space).into_pyobject(py)?.into_any().unbind())
        })
    }
}
