//! Reads requests and configurations that came as data, for bindings and servers: errors name the field that is wrong, and
//! never hold its value.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};

/// Reads a request from its fields.
///
/// # Errors
/// `invalid_request` naming the field that is wrong.
///
/// ```
/// use ayni::EmbedRequest;
/// use ayni::config::read_request;
///
/// let error = read_request::<EmbedRequest>(serde_json::json!({ "dimensions": "wide" })).unwrap_err();
/// assert_eq!(error.message(), "`dimensions`: invalid type: string, expected usize");
/// ```
pub fn read_request<T: DeserializeOwned>(fields: Value) -> Result<T> {
    read(fields).map_err(Error::invalid_request)
}

/// Reads a configuration from its fields, of which `backend` names one of `backends`.
///
/// # Errors
/// `config_invalid` naming the field that is wrong.
pub fn read_config<T: DeserializeOwned>(fields: Value, backends: &[&str]) -> Result<T> {
    if fields.get("backend").is_none() {
        let valid = backends.join(", ");
        return Err(Error::config(format!("`backend` is missing from the configuration; valid: {valid}")));
    }
    read(fields).map_err(Error::config)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ErrorKind;
    use crate::config::{EmbedderConfig, Setup};
    use crate::embed::EmbedRequest;

    #[test]
    fn the_field_that_is_wrong_is_named_and_its_value_is_not() {
        let read = |fields: Value| read_request::<EmbedRequest>(fields).unwrap_err().message().to_owned();
        for (fields, told) in [
            (json!({ "dimensions": -1 }), "`dimensions`: invalid value: integer"),
            (json!({ "dimensions": 1e300 }), "`dimensions`: invalid type: floating point"),
            (json!({ "role": "sk-secret" }), "`role`"),
            (json!({ "widht": 3 }), "`widht`"),
        ] {
            let message = read(fields);
            assert!(message.contains(told), "{message}");
            assert!(!message.contains("\"sk-"), "{message}");
        }
        let config = |fields: Value| read_config::<Setup<EmbedderConfig>>(fields, EmbedderConfig::BACKENDS);
        let error = config(json!({ "model": "m" })).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().contains("scripted, openai"), "{error}");
        let error = config(json!({ "backend": "scripted", "dimensions": "x" })).unwrap_err();
        assert!(error.message().starts_with("`dimensions`"), "{error}");
    }
}
