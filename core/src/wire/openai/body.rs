//! Reads the body of a request to a server. The first fault ends the work, names the field that is wrong and
//! says nothing of what was sent.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_path_to_error::{Path, Segment, Track};

use crate::error::{Error, Result};
use crate::http::json::JsonLimits;

/// The most characters of a field's name that an error repeats: unknown fields are named by the caller.
const MAX_FIELD_CHARS: usize = 120;

/// Reads a JSON body.
///
/// # Errors
/// `invalid_request` about the form of the body (see [`malformed`]).
pub(super) fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T> {
    if bytes.trim_ascii().is_empty() {
        return Err(malformed("", "the body is empty"));
    }
    if let Some(why) = JsonLimits::REQUEST.exceeded(bytes) {
        return Err(malformed("", &format!("the body {why}")));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let mut track = Track::new();
    let read = T::deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let read = read.map_err(|error| fault(&track.path(), &error))?;
    json.end().map_err(|error| fault(&Track::new().path(), &error))?;
    Ok(read)
}

/// Refuses a request whose body is not declared as JSON. Browsers send other types across origins without
/// asking the server first.
///
/// # Errors
/// `invalid_request` about the form of the body.
pub fn check_content_type(content_type: Option<&str>) -> Result<()> {
    let declared = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    let declared = declared.trim().to_ascii_lowercase();
    let is_json = declared == "application/json"
        || (declared.starts_with("application/") && declared.ends_with("+json"));
    match is_json {
        true => Ok(()),
        false => Err(malformed("", "the body needs the content type application/json")),
    }
}

/// Checks a body that something else than this module reads: its content type, that it is JSON, how deep it is nested and how
/// much memory it would take.
///
/// # Errors
/// `invalid_request` about the form of the body.
pub fn check_body(bytes: &[u8], content_type: Option<&str>) -> Result<()> {
    check_content_type(content_type)?;
    read::<IgnoredAny>(bytes).map(drop)
}

/// An error about the form of a body: `field` is the path of what is wrong, empty for the whole.
/// [`status`](super::error::status) tells it from other errors of a request.
pub(super) fn malformed(field: &str, what: &str) -> Error {
    let error = match field {
        "" => Error::invalid_request(what),
        _ => about(field, Error::invalid_request(format!("`{field}`: {what}"))),
    };
    error.with_context(BODY, MALFORMED)
}

/// Names the field of the body that an error is about.
pub(super) fn about(field: &str, error: Error) -> Error {
    error.with_context(PARAM, field)
}

/// The context of errors that names the field of the request.
pub(super) const PARAM: &str = "param";
/// The context of errors about an option that the backend does not have.
pub(super) const OPTION: &str = "option";
/// The context of errors about the form of a body, and its value.
pub(super) const BODY: &str = "body";
pub(super) const MALFORMED: &str = "malformed";

fn fault(path: &Path, error: &serde_json::Error) -> Error {
    if !error.is_data() {
        let (line, column) = (error.line(), error.column());
        return malformed("", &format!("the body is not JSON: see line {line}, column {column}"));
    }
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(place.as_str()).unwrap_or(&text);
    let named = |start: &str| text.strip_prefix(start)?.split('`').next().map(|name| join(path, Some(name)));
    if let Some(field) = named("missing field `") {
        malformed(&field, "is missing")
    } else if let Some(field) = named("duplicate field `") {
        malformed(&field, "is there twice")
    } else if text.starts_with("unknown field `") {
        malformed(&join(path, None), "is not a field of this request")
    } else {
        // Before "expected" stands what was found, which may be a prompt.
        let expected = text.rfind(", expected ").and_then(|at| text.get(at + 2..));
        malformed(&join(path, None), expected.unwrap_or(text))
    }
}

/// `messages.0.role`.
fn join(path: &Path, last: Option<&str>) -> String {
    let mut steps: Vec<String> = path
        .iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect();
    steps.extend(last.map(str::to_owned));
    steps.join(".").chars().take(MAX_FIELD_CHARS).collect()
}
