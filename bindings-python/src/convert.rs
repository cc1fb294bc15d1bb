//! Values between Python and serde.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ayni::{EmbedInput, Environment, Error, ErrorKind, ImageData, Progress, Result};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::call::Given;
use crate::failure::{invalid, raised};

/// How deep lists and dictionaries may be nested in each other: deeper ones hold themselves, or are an attack.
const MOST_DEPTH: usize = 100;

/// A Python value as JSON. Bytes become base64, paths text.
pub(crate) fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Value> {
    at_depth(value, 0)
}

fn at_depth(value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Value> {
    if depth > MOST_DEPTH {
        return Err(PyValueError::new_err(format!(
            "more than {MOST_DEPTH} levels of lists and dictionaries"
        )));
    }
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Value::from(text.to_str()?));
    }
    if let Ok(truth) = value.cast::<PyBool>() {
        return Ok(Value::from(truth.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return value.extract::<i64>().map(Value::from).or_else(|_| value.extract::<u64>().map(Value::from));
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        let finite = serde_json::Number::from_f64(number.value());
        return finite.map(Value::Number).ok_or_else(|| PyValueError::new_err("a number is not finite"));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Value::from(ImageData::with_media_type(bytes.as_bytes().to_vec(), "").to_base64()));
    }
    if let Ok(items) = value.cast::<PyList>() {
        return items.iter().map(|item| at_depth(&item, depth + 1)).collect();
    }
    if let Ok(items) = value.cast::<PyTuple>() {
        return items.iter().map(|item| at_depth(&item, depth + 1)).collect();
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
    Err(PyTypeError::new_err(format!(
        "ayni takes no value of the type {}",
        value.get_type().fully_qualified_name()?
    )))
}

/// JSON as Python values.
pub(crate) fn to_python(py: Python<'_>, value: &Value) -> Given {
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

/// What serde writes of `value`, as Python values.
pub(crate) fn shown(py: Python<'_>, value: &impl Serialize) -> Given {
    let json = serde_json::to_value(value).map_err(|error| PyValueError::new_err(error.to_string()))?;
    to_python(py, &json)
}

/// A request from a dictionary of its fields.
pub(crate) fn request<T: DeserializeOwned>(fields: &Bound<'_, PyAny>) -> PyResult<T> {
    read(from_python(fields)?).map_err(|message| invalid(fields.py(), message))
}

/// A configuration from a dictionary of its fields.
pub(crate) fn config<T: DeserializeOwned>(fields: &Bound<'_, PyAny>, backends: &[&str]) -> PyResult<T> {
    let wrong = |message: String| raised(fields.py(), &Error::new(ErrorKind::ConfigInvalid, message));
    let value = from_python(fields)?;
    if value.get("backend").is_none() {
        let valid = backends.join(", ");
        return Err(wrong(format!("`backend` is missing from the configuration; valid: {valid}")));
    }
    read(value).map_err(wrong)
}

/// Reads an object, or says which of its fields is wrong.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    let error = match T::deserialize(&value) {
        Ok(read) => return Ok(read),
        Err(error) => without_values(&error),
    };
    // serde names fields that it does not know, but not those whose value is wrong: those without which it is not.
    let is_cause = |name: &&String| {
        let mut rest = value.clone();
        rest.as_object_mut().and_then(|fields| fields.shift_remove(*name));
        *name != "backend"
            && T::deserialize(rest).map_or_else(|other| without_values(&other) != error, |_| true)
    };
    let cause = value.as_object().and_then(|fields| fields.keys().find(is_cause));
    Err(match cause.filter(|name| !error.contains(&format!("`{name}`"))) {
        Some(name) => format!("`{name}`: {error}"),
        None => error,
    })
}

/// What serde has to say, without the value that it says it of: a prompt, or a key.
fn without_values(error: &serde_json::Error) -> String {
    let message = error.to_string();
    for wrong in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some(start) = message.find(wrong)
            && let Some(end) = message.rfind(", expected ").filter(|end| *end > start)
        {
            let value = &message[start + wrong.len()..end];
            let kind = value.split(['"', '`']).next().unwrap_or_default().trim();
            return format!("{}{wrong}{kind}{}", &message[..start], &message[end..]);
        }
    }
    message
}

/// The variables that a configuration is completed from: those that are given, or the process's.
pub(crate) type Variables = Option<BTreeMap<String, String>>;

/// Opens a handle away from the interpreter: it may read files, or load a model.
pub(crate) fn opened<H: Send>(
    py: Python<'_>,
    env: Variables,
    open: impl FnOnce(&Environment) -> Result<H> + Send,
) -> PyResult<H> {
    let env = env.map_or_else(Environment::process, Environment::from_pairs);
    py.detach(|| open(&env)).map_err(|error| raised(py, &error))
}

/// A number of seconds.
pub(crate) fn seconds(name: &str, value: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| Error::invalid_request(format!("`{name}` is no number of seconds from 0 up")))
}

/// Something to embed, or the file that it is in.
#[derive(Debug)]
pub(crate) enum Input {
    Ready(EmbedInput),
    File(PathBuf),
}

/// The inputs of a request: texts, encoded images as bytes, and paths of image files.
pub(crate) fn inputs(list: &Bound<'_, PyList>) -> PyResult<Vec<Input>> {
    list.iter().enumerate().map(|(index, item)| input(index, &item)).collect()
}

fn input(index: usize, item: &Bound<'_, PyAny>) -> PyResult<Input> {
    if let Ok(text) = item.cast::<PyString>() {
        return Ok(Input::Ready(EmbedInput::Text(text.to_str()?.to_owned())));
    }
    if let Ok(bytes) = item.cast::<PyBytes>() {
        let image = ImageData::new(bytes.as_bytes().to_vec());
        let image =
            image.map_err(|error| raised(item.py(), &error.with_context("input", index.to_string())))?;
        return Ok(Input::Ready(EmbedInput::Image(image)));
    }
    Ok(Input::File(item.extract()?))
}

/// Reads the files among the inputs, away from the async threads.
pub(crate) async fn read_inputs(inputs: Vec<Input>) -> Result<Vec<EmbedInput>> {
    if inputs.iter().all(|input| matches!(input, Input::Ready(_))) {
        return inputs.into_iter().map(read_input).collect();
    }
    let read = move || inputs.into_iter().map(read_input).collect();
    let lost = |_| Error::new(ErrorKind::Unexpected, "the thread that read the files is gone");
    tokio::task::spawn_blocking(read).await.map_err(lost)?
}

fn read_input(input: Input) -> Result<EmbedInput> {
    match input {
        Input::Ready(input) => Ok(input),
        Input::File(path) => {
            let bytes = std::fs::read(&path).map_err(|error| {
                Error::invalid_request(format!("{} cannot be read: {error}", path.display()))
                    .with_source(error)
            })?;
            ImageData::new(bytes).map(EmbedInput::Image)
        }
    }
}

/// A progress event as `ayni.Progress` has it.
pub(crate) fn progress_event(py: Python<'_>, event: &Progress) -> Given {
    static CLASS: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();
    let class = CLASS.import(py, "ayni._results", "Progress")?;
    let fields = PyDict::new(py);
    let mut preview = None;
    let value = match event {
        Progress::Waiting { reason, elapsed } => {
            json!({ "type": "waiting", "reason": reason, "elapsed": elapsed.as_secs_f64() })
        }
        Progress::Retrying { attempt, kind, wait } => {
            json!({ "type": "retrying", "attempt": attempt, "kind": kind, "wait": wait.as_secs_f64() })
        }
        Progress::FallingBack { from, to, kind } => {
            json!({ "type": "falling_back", "from_backend": from, "to_backend": to, "kind": kind })
        }
        Progress::Inputs { done, of } => json!({ "type": "inputs", "done": done, "of": of }),
        Progress::ImageStep { step, of, preview: image } => {
            preview = image.as_ref().map(|image| PyBytes::new(py, image));
            json!({ "type": "image_step", "done": step, "of": of })
        }
        Progress::Reading { file, rows, done, of } => {
            json!({ "type": "reading", "file": file, "rows": rows, "done": done, "of": of })
        }
        Progress::Download { file, done, of } => {
            json!({ "type": "download", "file": file, "done": done, "of": of })
        }
        _ => json!({ "type": "other" }),
    };
    for (name, field) in value.as_object().into_iter().flatten() {
        fields.set_item(name, to_python(py, field)?)?;
    }
    if let Some(preview) = preview {
        fields.set_item(intern!(py, "preview"), preview)?;
    }
    Ok(class.call((), Some(&fields))?.unbind())
}
