//! Image generators.

use ayni::config::open_image_generator_with;
use ayni::{AnyImageGenerator, GenerateRequest, ImageConfig, ImageResponse, RefineRequest, Setup};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::call::{Caller, Returned, call};
use crate::convert::{Variables, as_python, open_handle, request};

/// A handle on an image generator.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct ImageGenerator(pub(crate) AnyImageGenerator);

#[pymethods]
impl ImageGenerator {
    #[new]
    #[pyo3(signature = (fields, env=None))]
    fn new(py: Python<'_>, fields: Option<&Bound<'_, PyAny>>, env: Variables) -> PyResult<Self> {
        let from_env = Setup::<ImageConfig>::from_env_with;
        open_handle(py, fields, env, ImageConfig::BACKENDS, from_env, open_image_generator_with).map(Self)
    }

    fn info(&self, py: Python<'_>) -> Returned {
        as_python(py, self.0.info())
    }

    fn ready(&self, py: Python<'_>, caller: Caller<'_>) -> Returned {
        let handle = self.0.clone();
        call(py, caller, move |cx| async move { handle.ready(&cx).await }, as_python)
    }

    /// Returns (a list of (bytes, media type), the other fields of an `ImageResponse`).
    fn generate(&self, py: Python<'_>, fields: &Bound<'_, PyAny>, caller: Caller<'_>) -> Returned {
        let (handle, request) = (self.0.clone(), request::<GenerateRequest>(fields)?);
        call(py, caller, move |cx| async move { handle.generate(&cx, request).await }, image_response)
    }

    /// Returns what `generate` does.
    fn refine(&self, py: Python<'_>, fields: &Bound<'_, PyAny>, caller: Caller<'_>) -> Returned {
        let (handle, request) = (self.0.clone(), request::<RefineRequest>(fields)?);
        call(py, caller, move |cx| async move { handle.refine(&cx, request).await }, image_response)
    }
}

/// The images cross as bytes, the rest of the response through serde.
fn image_response(py: Python<'_>, mut response: ImageResponse) -> Returned {
    let images = std::mem::take(&mut response.images);
    let images = images.iter().map(|image| (PyBytes::new(py, image.bytes()), image.media_type()));
    Ok((PyList::new(py, images)?, as_python(py, response)?).into_pyobject(py)?.into_any().unbind())
}
