//! Errors of ayni as Python exceptions.

use ayni::{Error, ErrorKind};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::convert::as_python;

/// The exception for an error, with its causes.
pub(crate) fn to_exception(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).unwrap_or_else(|wrong| wrong)
}

fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    static CLASSES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASSES.import(py, "ayni._errors", "CLASSES")?.get_item(error.kind().as_str())?;
    let fields = (error.to_string(), as_python(py, error)?);
    let exception = PyErr::from_value(class.call_method1(intern!(py, "_of"), fields)?);
    exception.set_cause(py, cause(py, std::error::Error::source(error)));
    Ok(exception)
}

fn cause(py: Python<'_>, source: Option<&(dyn std::error::Error + 'static)>) -> Option<PyErr> {
    let source = source?;
    if let Some(error) = source.downcast_ref::<Error>() {
        return Some(to_exception(py, error));
    }
    let exception = match source.downcast_ref::<std::io::Error>() {
        Some(error) => PyErr::from(std::io::Error::new(error.kind(), error.to_string())),
        None => PyRuntimeError::new_err(source.to_string()),
    };
    exception.set_cause(py, cause(py, source.source()));
    Some(exception)
}

/// The exception for a mistake in a request.
pub(crate) fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    to_exception(py, &Error::new(ErrorKind::InvalidRequest, message))
}
