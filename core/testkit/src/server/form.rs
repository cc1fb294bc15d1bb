//! Reads multipart forms and compares their fields.

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use serde_json::{Value, json};

use super::request::Received;
use crate::matcher::differences_at;

/// A field of a form.
#[derive(Debug)]
pub(super) struct Field {
    name: String,
    filename: Option<String>,
    content_type: Option<String>,
    bytes: Vec<u8>,
}

impl Field {
    fn value(&self) -> Value {
        match &self.filename {
            None => Value::String(String::from_utf8_lossy(&self.bytes).into_owned()),
            Some(filename) => json!({
                "file": true,
                "filename": filename,
                "content_type": self.content_type,
                "base64": BASE64.encode(&self.bytes),
            }),
        }
    }
}

/// The fields of a multipart body; `None` if the request has none.
pub(super) fn fields(request: &Received) -> Option<Vec<Field>> {
    let content_type = request.header("content-type")?;
    let boundary = content_type.strip_prefix("multipart/form-data")?.split("boundary=").nth(1)?;
    let boundary = boundary.split(';').next()?.trim().trim_matches('"');
    // All boundaries but the first follow a line break; with one in front, the first does too.
    let body = [b"\r\n", request.body.as_slice()].concat();
    let mut parts = split(&body, format!("\r\n--{boundary}").as_bytes()).into_iter();
    parts.next()?;
    let mut fields = Vec::new();
    for part in parts {
        if part.starts_with(b"--") {
            return Some(fields);
        }
        fields.push(field(part.strip_prefix(b"\r\n")?)?);
    }
    None
}

/// Differences between a field in a case's `form` and the fields of the request.
pub(super) fn compare(name: &str, expected: &Value, fields: &[Field]) -> Vec<String> {
    let mut received: Vec<Value> =
        fields.iter().filter(|field| field.name == name).map(Field::value).collect();
    let actual = match received.len() {
        0 => None,
        1 if !expected.is_array() => received.pop(),
        _ => Some(Value::Array(received)),
    };
    differences_at(&format!("form.{name}"), expected, actual.as_ref())
}

fn field(part: &[u8]) -> Option<Field> {
    let end = part.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, bytes) = (std::str::from_utf8(part.get(..end)?).ok()?, part.get(end + 4..)?);
    let header = |name: &str| {
        head.split("\r\n").find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let disposition = header("content-disposition")?;
    let parameter = |name: &str| {
        let rest = disposition.split_once(&format!("; {name}=\""))?.1;
        Some(rest.split('"').next()?.to_owned())
    };
    Some(Field {
        name: parameter("name")?,
        filename: parameter("filename"),
        content_type: header("content-type"),
        bytes: bytes.to_vec(),
    })
}

fn split<'a>(mut rest: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        let (part, behind) = rest.split_at(at);
        parts.push(part);
        rest = behind.get(mark.len()..).unwrap_or_default();
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Host;

    fn form(body: &str) -> Received {
        Received {
            host: Host::Main,
            method: "POST".into(),
            path: "/".into(),
            query: Vec::new(),
            headers: vec![("content-type".into(), "multipart/form-data; boundary=XX".into())],
            body: body.as_bytes().to_vec(),
        }
    }

    const BODY: &str = "--XX\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na --XX b\r\n\
        --XX\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\n\
        Content-Type: image/png\r\n\r\nPNG\r\n--XX--\r\n";

    #[test]
    fn fields_and_files_are_compared_by_name() {
        let fields = fields(&form(BODY)).expect("a form");
        let same = |name: &str, expected: Value| compare(name, &expected, &fields);
        assert!(same("prompt", json!("a --XX b")).is_empty());
        let file = json!({"file": true, "content_type": "image/png", "base64": "UE5H"});
        assert!(same("image", file.clone()).is_empty());
        assert!(same("image", json!([file])).is_empty());
        assert!(same("mask", json!(null)).is_empty());
        assert_eq!(same("prompt", json!("c")), ["form.prompt: expected \"c\", got \"a --XX b\""]);
        assert_eq!(same("mask", json!("m")), ["form.mask: expected \"m\", got nothing"]);
    }

    #[test]
    fn a_form_without_its_last_boundary_is_none() {
        assert!(fields(&form(BODY.trim_end().trim_end_matches("--XX--"))).is_none());
        assert!(fields(&form("")).is_none());
    }
}
