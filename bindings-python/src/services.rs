//! The models and the health of hosted services.

use ayni::local::Hardware;
use ayni::{ChatConfig, EmbedderConfig, Error, ImageConfig, Setup};
use pyo3::prelude::*;

use crate::call::{Caller, Returned, call};
use crate::convert::{Variables, as_python, config, open_detached};
use crate::failure::to_exception;

/// The models that the vendor of a configuration offers.
#[pyfunction]
pub(crate) fn models(
    py: Python<'_>,
    fields: &Bound<'_, PyAny>,
    env: Variables,
    caller: Caller<'_>,
) -> Returned {
    let ChatConfig::OpenAi(vendor) = config::<Setup<ChatConfig>>(fields, &["openai"])?.backend else {
        return Err(to_exception(py, &Error::unsupported("only the backend 'openai' lists models")));
    };
    let vendor = open_detached(py, env, |env| vendor.open(env))?;
    call(py, caller, move |cx| async move { vendor.models(&cx).await }, as_python)
}

/// What the service of a configuration reports about itself.
#[pyfunction]
pub(crate) fn health(
    py: Python<'_>,
    fields: &Bound<'_, PyAny>,
    env: Variables,
    caller: Caller<'_>,
) -> Returned {
    const OFFERED: [&str; 2] = ["clip_service", "image_engine"];
    let not_offered =
        || to_exception(py, &Error::unsupported("`health` is offered by clip_service and image_engine"));
    let name = fields.get_item("backend").and_then(|name| name.extract::<String>());
    if matches!(name.as_deref(), Ok("image_engine")) {
        let backend = config::<Setup<ImageConfig>>(fields, &OFFERED)?.backend;
        let ImageConfig::ImageEngine(engine) = backend else { return Err(not_offered()) };
        let engine = open_detached(py, env, |env| engine.open(env))?;
        return call(py, caller, move |cx| async move { Ok(engine.status(&cx).await) }, as_python);
    }
    let backend = config::<Setup<EmbedderConfig>>(fields, &OFFERED)?.backend;
    let EmbedderConfig::ClipService(clip) = backend else { return Err(not_offered()) };
    let clip = open_detached(py, env, |env| clip.open(env))?;
    call(py, caller, move |cx| async move { clip.health(&cx).await }, as_python)
}

/// What models in this process compute with.
#[pyfunction]
pub(crate) fn hardware(py: Python<'_>, env: Variables) -> Returned {
    as_python(py, open_detached(py, env, Hardware::detect)?)
}

/// The architectures of embedding models that run in this process, the well-known models, and the sample models.
#[pyfunction]
pub(crate) fn known_models(py: Python<'_>) -> Returned {
    as_python(
        py,
        (ayni::local::embedding_architectures(), ayni::embed::known_models(), ayni::local::sample_models()),
    )
}

/// The events of the native code since the last call, as soon as there are some; `None` where another subscriber has them.
#[pyfunction]
pub(crate) fn next_events(py: Python<'_>, seconds: f64) -> Returned {
    let timeout = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    as_python(py, py.detach(|| ayni::policy::EventLog::global().map(|log| log.next(timeout))))
}

/// The counters of all calls of this process, as Prometheus reads them.
#[pyfunction]
pub(crate) fn prometheus_text() -> String {
    ayni::policy::Metrics::global().prometheus_text()
}
