//! Image generators.

use ayni::config::open_image_generator_with;
use ayni::local::ImageReplay;
use ayni::{
    AnyImageGenerator, Error, GenerateRequest, ImageConfig, ImageData, ImageResponse, RefineRequest, Setup,
};
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

    /// Draws the first image again by its receipt; the others are those that it was made from. Returns ((bytes, media
    /// type), the other fields of an `ImageReplay`).
    fn replay(&self, py: Python<'_>, images: Vec<Vec<u8>>, caller: Caller<'_>) -> Returned {
        let handle = self.0.clone();
        let again = move |cx| async move {
            let images = images.into_iter().map(ImageData::new).collect::<Result<Vec<_>, _>>()?;
            let (image, sources) =
                images.split_first().ok_or_else(|| Error::invalid_request("there is no image"))?;
            ImageReplay::of(&handle, &cx, image, sources).await
        };
        call(py, caller, again, replayed)
    }
}

/// As above.
fn replayed(py: Python<'_>, replay: ImageReplay) -> Returned {
    let image = (PyBytes::new(py, replay.image.bytes()), replay.image.media_type());
    Ok((image, as_python(py, &replay)?).into_pyobject(py)?.into_any().unbind())
}

/// The images cross as bytes, the rest of the response through serde.
fn image_response(py: Python<'_>, mut response: ImageResponse) -> Returned {
    let images = std::mem::take(&mut response.images);
    let images = images.iter().map(|image| (PyBytes::new(py, image.bytes()), image.media_type()));
    Ok((PyList::new(py, images)?, as_python(py, response)?).into_pyobject(py)?.into_any().unbind())
}
