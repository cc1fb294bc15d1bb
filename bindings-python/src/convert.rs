//! Converts between Python objects and what serde reads and writes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ayni::config::{read_config, read_request};
use ayni::{EmbedInput, Environment, Error, ErrorKind, ImageData, Result, Setup};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::call::Returned;
use crate::failure::{invalid, to_exception};

/// How deep lists and dictionaries may be nested: deeper ones contain themselves, or are an attack.
const MAX_DEPTH: usize = 100;

/// A Python value as JSON. Bytes become base64, paths text.
pub(crate) fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    at_depth(value, 0)
}

fn at_depth(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    if depth > MAX_DEPTH {
        return Err(PyValueError::new_err(format!("more than {MAX_DEPTH} levels of lists and dictionaries")));
    }
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::from(unicode(text)?));
    }
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(Value::from(truth.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        let whole =
            value.extract::<i64>().map(Value::from).or_else(|_| value.extract::<u64>().map(Value::from));
        // A larger one is wrong wherever a whole number is expected, which serde says with the name of the field.
        return Ok(whole.unwrap_or_else(|_| Value::from(f64::MAX)));
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        let finite = serde_json::Number::from_f64(number.value());
        return finite.map(Value::Number).ok_or_else(|| PyValueError::new_err("a number is not finite"));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Value::from(ImageData::with_media_type(bytes.as_bytes().to_vec(), "").to_base64()));
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        return value.try_iter()?.map(|item| at_depth(&item?, depth + 1)).collect();
    }
    if let Ok(mapping) = value.cast::<PyMapping>() {
        let mut fields = Map::new();
        for pair in mapping.items()?.iter() {
            let (name, field) = pair.extract::<(String, Bound<'_, PyAny>)>()?;
            fields.insert(name, at_depth(&field, depth + 1)?);
        }
        return Ok(Value::Object(fields));
    }
    if let Ok(path) = value.call_method0(intern!(value.py(), "__fspath__")) {
        return Ok(Value::from(path.extract::<String>()?));
    }
    let class = value.get_type().fully_qualified_name()?;
    Err(PyTypeError::new_err(format!("ayni takes no value of the type {class}")))
}

/// A text of Python; it may hold halves of characters, which are no Unicode.
pub(crate) fn unicode<'a>(text: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    text.to_str().map_err(|_| invalid(text.py(), "a text holds a lone surrogate, which is no character"))
}

/// JSON as Python values.
fn to_python(py: Python<'_>, value: &Value) -> Returned {
    Ok(match value {
        Value::Null => py.None(),
        Value::Bool(truth) => PyBool::new(py, *truth).to_owned().into_any().unbind(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into_pyobject(py)?.into_any().unbind(),
            (None, Some(number)) => number.into_pyobject(py)?.into_any().unbind(),
            (None, None) => PyFloat::new(py, number.as_f64().unwrap_or(f64::NAN)).into_any().unbind(),
        },
        Value::String(text) => PyString::new(py, text).into_any().unbind(),
        Value::Array(items) => {
            let items = items.iter().map(|item| to_python(py, item)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, items)?.into_any().unbind()
        }
        Value::Object(fields) => {
            let dictionary = PyDict::new(py);
            for (name, field) in fields {
                dictionary.set_item(name, to_python(py, field)?)?;
            }
            dictionary.into_any().unbind()
        }
    })
}

/// Converts what serde writes of `value` to Python objects.
pub(crate) fn as_python<T: Serialize>(py: Python<'_>, value: T) -> Returned {
    let json = serde_json::to_value(value).map_err(|error| PyValueError::new_err(error.to_string()))?;
    to_python(py, &json)
}

/// Writes `value` as JSON text, which keeps every digit.
pub(crate) fn json_text<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the answer cannot be written as JSON").with_source(error)
    })
}

/// Reads a request from a dictionary of its fields.
pub(crate) fn request<T: DeserializeOwned>(fields: &Bound<'_, PyAny>) -> PyResult<T> {
    read_request(from_python(fields)?).map_err(|error| to_exception(fields.py(), &error))
}

/// Reads a configuration from a dictionary of its fields.
pub(crate) fn config<T: DeserializeOwned>(fields: &Bound<'_, PyAny>, backends: &[&str]) -> PyResult<T> {
    read_config(from_python(fields)?, backends).map_err(|error| to_exception(fields.py(), &error))
}

/// The environment variables that complete a configuration; `None` for the process's own.
pub(crate) type Variables = Option<BTreeMap<String, String>>;

/// Opens a handle from a dictionary of fields, or from environment variables alone.
pub(crate) fn open_handle<C: Send, H: Send>(
    py: Python<'_>,
    fields: Option<&Bound<'_, PyAny>>,
    env: Variables,
    backends: &[&str],
    from_env: fn(&Environment) -> Result<Setup<C>>,
    open: impl FnOnce(Setup<C>, &Environment) -> Result<H> + Send,
) -> PyResult<H>
where
    Setup<C>: DeserializeOwned,
{
    let setup = fields.map(|fields| config::<Setup<C>>(fields, backends)).transpose()?;
    open_detached(py, env, |env| open(setup.map_or_else(|| from_env(env), Ok)?, env))
}

/// Opens a handle without holding the interpreter: it may read files or load a model.
pub(crate) fn open_detached<H: Send>(
    py: Python<'_>,
    env: Variables,
    open: impl FnOnce(&Environment) -> Result<H> + Send,
) -> PyResult<H> {
    let env = env.map_or_else(Environment::process, Environment::from_pairs);
    py.detach(|| open(&env)).map_err(|error| to_exception(py, &error))
}

/// An input to embed, or the path of its file.
pub(crate) enum Input {
    Ready(EmbedInput),
    File(usize, PathBuf),
}

/// The inputs of a request: texts, encoded images as bytes, and paths of image files.
pub(crate) fn inputs(list: &Bound<'_, PyList>) -> PyResult<Vec<Input>> {
    list.iter().enumerate().map(|(index, item)| input(index, &item)).collect()
}

fn input(index: usize, item: &Bound<'_, PyAny>) -> PyResult<Input> {
    if let Ok(text) = item.cast::<PyString>() {
        let text = text.to_str().map_err(|_| {
            invalid(item.py(), format!("input {index} holds a lone surrogate, which is no character"))
        })?;
        return Ok(Input::Ready(EmbedInput::Text(text.to_owned())));
    }
    if let Ok(bytes) = item.cast::<PyBytes>() {
        let image = image_at(index, bytes.as_bytes().to_vec());
        return image.map(Input::Ready).map_err(|error| to_exception(item.py(), &error));
    }
    Ok(Input::File(index, item.extract()?))
}

fn image_at(index: usize, bytes: Vec<u8>) -> Result<EmbedInput> {
    let image = ImageData::new(bytes).map_err(|error| error.with_context("input", index.to_string()))?;
    Ok(EmbedInput::Image(image))
}

/// Reads the files among the inputs on a blocking thread.
pub(crate) async fn read_inputs(inputs: Vec<Input>) -> Result<Vec<EmbedInput>> {
    let has_files = inputs.iter().any(|input| matches!(input, Input::File(..)));
    let read = move || inputs.into_iter().map(read_input).collect();
    if !has_files {
        return read();
    }
    let lost = |_| Error::new(ErrorKind::Unexpected, "the thread that read the files has ended");
    tokio::task::spawn_blocking(read).await.map_err(lost)?
}

fn read_input(input: Input) -> Result<EmbedInput> {
    match input {
        Input::Ready(input) => Ok(input),
        Input::File(index, path) => {
            let why =
                |error: &std::io::Error| format!("input {index}: {} cannot be read: {error}", path.display());
            let bytes = std::fs::read(&path)
                .map_err(|error| Error::invalid_request(why(&error)).with_source(error))?;
            image_at(index, bytes)
        }
    }
}
