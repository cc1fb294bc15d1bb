//! Image generators.

use ayni::config::open_image_generator_with;
use ayni::{AnyImageGenerator, GenerateRequest, ImageConfig, ImageResponse, RefineRequest, Setup};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use serde_json::json;

use crate::call::{Given, How, Setting, call};
use crate::convert::{Variables, config, opened, request, shown, to_python};

/// A handle on an image generator.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct ImageGenerator(AnyImageGenerator);

impl ImageGenerator {
    pub(crate) fn handle(&self) -> &AnyImageGenerator {
        &self.0
    }
}

#[pymethods]
impl ImageGenerator {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: &Bound<'_, PyAny>, env: Variables) -> PyResult<Self> {
        let setup = config::<Setup<ImageConfig>>(fields, ImageConfig::BACKENDS)?;
        opened(py, env, |env| open_image_generator_with(setup, env)).map(Self)
    }

    #[staticmethod]
    #[pyo3(signature = (env=None))]
    fn from_env(py: Python<'_>, env: Variables) -> PyResult<Self> {
        opened(py, env, |env| open_image_generator_with(Setup::<ImageConfig>::from_env_with(env)?, env))
            .map(Self)
    }

    fn info(&self, py: Python<'_>) -> Given {
        shown(py, self.0.info())
    }

    /// Gives (a list of (bytes, media type), the other fields of an `ImageResponse`).
    #[pyo3(signature = (fields, setting=None, future=None))]
    fn generate(
        &self,
        py: Python<'_>,
        fields: &Bound<'_, PyAny>,
        setting: Option<&Setting>,
        future: Option<&Bound<'_, PyAny>>,
    ) -> Given {
        let (handle, request) = (self.0.clone(), request::<GenerateRequest>(fields)?);
        let work = move |cx: ayni::Context| async move { handle.generate(&cx, request).await };
        call(py, How { setting, future }, work, made)
    }

    /// As `generate`.
    #[pyo3(signature = (fields, setting=None, future=None))]
    fn refine(
        &self,
        py: Python<'_>,
        fields: &Bound<'_, PyAny>,
        setting: Option<&Setting>,
        future: Option<&Bound<'_, PyAny>>,
    ) -> Given {
        let (handle, request) = (self.0.clone(), request::<RefineRequest>(fields)?);
        let work = move |cx: ayni::Context| async move { handle.refine(&cx, request).await };
        call(py, How { setting, future }, work, made)
    }
}

fn made(py: Python<'_>, response: ImageResponse) -> Given {
    let images = response.images.iter().map(|image| (PyBytes::new(py, image.bytes()), image.media_type()));
    let images = PyList::new(py, images)?;
    let rest = json!({
        "seed": response.seed,
        "size": response.size,
        "scheduler": response.scheduler,
        "steps": response.steps,
        "revised_prompt": response.revised_prompt,
        "usage": response.usage,
        "route": response.route,
    });
    Ok((images, to_python(py, &rest)?).into_pyobject(py)?.into_any().unbind())
}
