//! Errors of ayni as Python exceptions.

use ayni::{Error, ErrorKind};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::convert::to_python;

/// The exception for an error, its causes included.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).unwrap_or_else(|wrong| wrong)
}

fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    static CLASSES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let classes = CLASSES.import(py, "ayni._errors", "CLASSES")?;
    let exception = PyErr::from_value(
        classes.get_item(error.kind().as_str())?.call((error.to_string(),), Some(&attributes(py, error)?))?,
    );
    exception.set_cause(py, cause(py, std::error::Error::source(error)));
    Ok(exception)
}

fn attributes<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyDict>> {
    let attributes = PyDict::new(py);
    attributes.set_item(intern!(py, "message"), error.message())?;
    attributes.set_item(intern!(py, "retryable"), error.is_temporary())?;
    attributes.set_item(intern!(py, "persistence"), error.persistence().as_str())?;
    attributes.set_item(intern!(py, "retry_after"), error.retry_after().map(|wait| wait.as_secs_f64()))?;
    attributes.set_item(intern!(py, "status"), error.http_status())?;
    attributes.set_item(intern!(py, "backend"), error.backend())?;
    attributes.set_item(intern!(py, "operation"), error.operation().map(ayni::Operation::as_str))?;
    attributes.set_item(intern!(py, "request_id"), error.request_id())?;
    attributes.set_item(intern!(py, "sent"), error.sent().as_str())?;
    attributes.set_item(intern!(py, "partial_text"), error.partial_text())?;
    let failed = serde_json::to_value(error.failed()).unwrap_or_default();
    attributes.set_item(intern!(py, "route"), to_python(py, &failed)?)?;
    let context = PyDict::new(py);
    for (name, value) in error.context() {
        // The first to say something was nearest to the failure.
        if !context.contains(*name)? {
            context.set_item(*name, value)?;
        }
    }
    attributes.set_item(intern!(py, "context"), context)?;
    Ok(attributes)
}

fn cause(py: Python<'_>, source: Option<&(dyn std::error::Error + 'static)>) -> Option<PyErr> {
    let source = source?;
    if let Some(error) = source.downcast_ref::<Error>() {
        return Some(raised(py, error));
    }
    let exception = match source.downcast_ref::<std::io::Error>() {
        Some(error) => PyErr::from(std::io::Error::new(error.kind(), error.to_string())),
        None => PyRuntimeError::new_err(source.to_string()),
    };
    exception.set_cause(py, cause(py, source.source()));
    Some(exception)
}

/// An error of the kind that a mistake in a request has.
pub(crate) fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    raised(py, &Error::new(ErrorKind::InvalidRequest, message))
}
