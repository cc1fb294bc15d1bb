//! Reads and writes what crosses as JSON text.

use std::collections::BTreeMap;

use ayni::{Environment, Error, ErrorKind, Result, Setup};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Writes `value` as JSON text, which keeps every digit.
pub(crate) fn json_text<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the answer cannot be written as JSON").with_source(error)
    })
}

fn parsed(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::invalid_request(without_values(&error)))
}

/// Reads a request.
pub(crate) fn request<T: DeserializeOwned>(text: &str) -> Result<T> {
    read(parsed(text)?).map_err(Error::invalid_request)
}

/// Reads a configuration.
pub(crate) fn config<T: DeserializeOwned>(text: &str, backends: &[&str]) -> Result<T> {
    let wrong = |message: String| Error::new(ErrorKind::ConfigInvalid, message);
    let value = parsed(text).map_err(|error| wrong(error.message().to_owned()))?;
    if value.get("backend").is_none() {
        let valid = backends.join(", ");
        return Err(wrong(format!("`backend` is missing from the configuration; valid: {valid}")));
    }
    read(value).map_err(wrong)
}

/// Reads a value; the error names the field that is wrong.
fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    let error = match T::deserialize(&value) {
        Ok(read) => return Ok(read),
        Err(error) => without_values(&error),
    };
    // serde names unknown fields, but not a field whose value is wrong: that one is found by leaving it out.
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

/// serde's message without the value it is about, which may be a prompt or a key.
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

/// The environment variables that complete a configuration: a JSON object, or the process's own.
pub(crate) fn environment(variables: Option<&str>) -> Result<Environment> {
    let Some(variables) = variables else { return Ok(Environment::process()) };
    Ok(Environment::from_pairs(request::<BTreeMap<String, String>>(variables)?))
}

/// Opens a handle from a configuration, or from environment variables alone.
pub(crate) fn open_handle<C, H>(
    fields: Option<&str>,
    variables: Option<&str>,
    backends: &[&str],
    from_env: fn(&Environment) -> Result<Setup<C>>,
    open: impl FnOnce(Setup<C>, &Environment) -> Result<H>,
) -> Result<H>
where
    Setup<C>: DeserializeOwned,
{
    let env = environment(variables)?;
    let setup = match fields {
        Some(fields) => config::<Setup<C>>(fields, backends)?,
        None => from_env(&env)?,
    };
    open(setup, &env)
}
