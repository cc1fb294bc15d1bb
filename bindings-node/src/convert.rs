//! Reads and writes what crosses as JSON text.

use std::collections::BTreeMap;

use ayni::config::{read_config, read_request};
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
    serde_json::from_str(text).map_err(|error| Error::invalid_request(error.to_string()))
}

/// Reads a request.
pub(crate) fn request<T: DeserializeOwned>(text: &str) -> Result<T> {
    read_request(parsed(text)?)
}

/// Reads a configuration.
pub(crate) fn config<T: DeserializeOwned>(text: &str, backends: &[&str]) -> Result<T> {
    let value = parsed(text).map_err(|error| Error::config(error.message()))?;
    read_config(value, backends)
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
