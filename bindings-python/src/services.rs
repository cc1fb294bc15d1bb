//! What hosted services say about themselves: their models, their health.

use std::sync::Arc;

use ayni::backends::clip_service::ClipService;
use ayni::backends::image_engine::ImageEngine;
use ayni::backends::openai::OpenAi;
use ayni::{ChatConfig, Context, EmbedderConfig, Environment, Error, ErrorKind, ImageConfig, Result, Setup};
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::Value;

use crate::call::{Given, How, Setting, call};
use crate::convert::{Variables, config, opened, shown, to_python};
use crate::failure::raised;

/// The models that a vendor offers.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct Models(Arc<OpenAi>);

#[pymethods]
impl Models {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: &Bound<'_, PyAny>, env: Variables) -> PyResult<Self> {
        let setup = config::<Setup<ChatConfig>>(fields, &["openai"])?;
        let open = |env: &Environment| match setup.backend {
            ChatConfig::OpenAi(config) => config.open(env).map(Arc::new),
            _ => Err(Error::unsupported("only the backend 'openai' lists models")),
        };
        opened(py, env, open).map(Self)
    }

    #[pyo3(signature = (setting=None, future=None))]
    fn models(&self, py: Python<'_>, setting: Option<&Setting>, future: Option<&Bound<'_, PyAny>>) -> Given {
        let vendor = Arc::clone(&self.0);
        let work = move |cx: Context| async move { vendor.models(&cx).await };
        call(py, How { setting, future }, work, |py, models| shown(py, &models))
    }
}

/// A service that can be asked how it is.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct Health(Arc<Service>);

#[derive(Debug)]
enum Service {
    Clip(ClipService),
    Engine(ImageEngine),
}

#[pymethods]
impl Health {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: &Bound<'_, PyAny>, env: Variables) -> PyResult<Self> {
        const OFFERED: [&str; 2] = ["clip_service", "image_engine"];
        let named = fields.get_item("backend").and_then(|name| name.extract::<String>());
        let service = if matches!(named.as_deref(), Ok("image_engine")) {
            let backend = config::<Setup<ImageConfig>>(fields, &OFFERED)?.backend;
            let ImageConfig::ImageEngine(engine) = backend else { return Err(not_offered(py)) };
            opened(py, env, |env| engine.open(env).map(Service::Engine))?
        } else {
            let backend = config::<Setup<EmbedderConfig>>(fields, &OFFERED)?.backend;
            let EmbedderConfig::ClipService(clip) = backend else { return Err(not_offered(py)) };
            opened(py, env, |env| clip.open(env).map(Service::Clip))?
        };
        Ok(Self(Arc::new(service)))
    }

    #[pyo3(signature = (setting=None, future=None))]
    fn health(&self, py: Python<'_>, setting: Option<&Setting>, future: Option<&Bound<'_, PyAny>>) -> Given {
        let service = Arc::clone(&self.0);
        let work = move |cx: Context| async move {
            match &*service {
                Service::Clip(clip) => as_json(&clip.health(&cx).await?),
                Service::Engine(engine) => as_json(&engine.status(&cx).await),
            }
        };
        call(py, How { setting, future }, work, |py, health| to_python(py, &health))
    }
}

fn not_offered(py: Python<'_>) -> PyErr {
    raised(py, &Error::unsupported("`health` is offered by clip_service and image_engine"))
}

fn as_json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the answer cannot be written as JSON").with_source(error)
    })
}

/// The counters of all calls of this process, as Prometheus reads them.
#[pyfunction]
pub(crate) fn prometheus_text() -> String {
    ayni::policy::Metrics::global().prometheus_text()
}
