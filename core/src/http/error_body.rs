//! A lenient reader for the error bodies of all hosted APIs.

use serde_json::Value;

use super::redact::mask;

/// The content of an error body, whatever its shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ErrorBody {
    /// The vendor's own sentence. It may repeat the request: never show it unmasked, or without being asked to.
    pub(crate) message: Option<String>,
    /// The vendor's code, as text even where it is a number.
    pub(crate) code: Option<String>,
    /// The vendor's type: `type`, `error_type`, or Google's `status`.
    pub(crate) error_type: Option<String>,
    /// The field of the request that the vendor refuses.
    pub(crate) param: Option<String>,
    /// Whether it is an HTML page. `message` is the page's title then.
    pub(crate) is_html: bool,
    /// At most the first 2 KiB with credentials masked; of an HTML page only the title. `None` when empty.
    pub(crate) excerpt: Option<String>,
    /// The whole body, if it is JSON.
    pub(crate) json: Option<Value>,
}

impl ErrorBody {
    /// The object that describes the error: the body's `error`, else the body; the first of an array.
    pub(crate) fn error(&self) -> Option<&Value> {
        self.json.as_ref().map(error_in)
    }

    /// A whole number beside the message.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.error()?.get(name)?.as_u64()
    }
}

const LONGEST_EXCERPT: usize = 2048;
const LONGEST_TITLE: usize = 120;

/// Reads the body of a failed response. It never fails: a body that cannot be read is kept as an excerpt only.
pub(crate) fn read_error_body(content_type: Option<&str>, body: &[u8]) -> ErrorBody {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii();
    if body.is_empty() {
        return ErrorBody::default();
    }
    if is_html(content_type, body) {
        let title = html_title(body);
        let excerpt = title.as_ref().map_or("HTML page".to_owned(), |title| format!("HTML page: {title}"));
        return ErrorBody { message: title, is_html: true, excerpt: Some(excerpt), ..ErrorBody::default() };
    }
    let excerpt = Some(excerpt_of(body));
    match serde_json::from_slice::<Value>(body) {
        Ok(json) => ErrorBody { excerpt, ..from_json(json) },
        Err(_) => ErrorBody { message: plain_text(body), excerpt, ..ErrorBody::default() },
    }
}

fn from_json(json: Value) -> ErrorBody {
    let root = json.get(0).unwrap_or(&json);
    let error = error_in(&json);
    let first_of = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| error.get(name).and_then(scalar).or_else(|| root.get(name).and_then(scalar)))
    };
    // OAuth puts the code into `error` and the sentence into `error_description`.
    let oauth = root.get("error_description").and_then(scalar);
    let code = first_of(&["code", "error_code"])
        .or_else(|| oauth.as_ref().and_then(|_| root.get("error").and_then(scalar)));
    let invalid_field = root.get("detail").and_then(|detail| detail.get(0));
    let type_of_field = || invalid_field.and_then(|field| field.get("type")).and_then(scalar);
    let error_type = first_of(&["type", "error_type"])
        .or_else(|| error.get("status").and_then(Value::as_str).map(str::to_owned))
        .or_else(type_of_field);
    let param = first_of(&["param"]).or_else(|| invalid_field.and_then(path_of_field));
    let message = oauth.or_else(|| message_in(root));
    ErrorBody { message, code, error_type, param, json: Some(json), ..ErrorBody::default() }
}

fn error_in(json: &Value) -> &Value {
    let root = json.get(0).unwrap_or(json);
    let first = root.get("errors").and_then(|errors| errors.get(0));
    root.get("error").or(first).filter(|error| error.is_object()).unwrap_or(root)
}

/// The vendor's sentence, from any of the known places, outermost first.
fn message_in(value: &Value) -> Option<String> {
    const PLACES: [&str; 8] =
        ["error", "errors", "message", "detail", "msg", "error_message", "description", "title"];
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(items) => {
            let all: Vec<String> = items.iter().take(3).filter_map(message_in).collect();
            (!all.is_empty()).then(|| all.join("; "))
        }
        Value::Object(fields) => PLACES.iter().find_map(|place| fields.get(*place).and_then(message_in)),
        _ => None,
    }
}

/// The path of a refused field, such as `body.messages.0.content`, from FastAPI's `loc`.
fn path_of_field(field: &Value) -> Option<String> {
    let steps = field.get("loc")?.as_array()?;
    Some(steps.iter().filter_map(scalar).collect::<Vec<_>>().join("."))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn is_html(content_type: Option<&str>, body: &[u8]) -> bool {
    const STARTS: [&[u8]; 4] = [b"<!doctype html", b"<html", b"<head", b"<body"];
    let begins = |start: &[u8]| body.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    let declared = content_type.is_some_and(|value| value.to_ascii_lowercase().contains("html"));
    // Some gateways say HTML and send JSON.
    (declared && !matches!(body.first(), Some(b'{' | b'['))) || STARTS.into_iter().any(begins)
}

fn html_title(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    // ASCII lower case keeps the length, so that positions agree.
    let lower = text.to_ascii_lowercase();
    let tag = lower.find("<title")?;
    let start = tag + lower.get(tag..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find('<')?;
    let title = text.get(start..end)?.split_whitespace().collect::<Vec<_>>().join(" ");
    let title = mask(beginning(&title, LONGEST_TITLE));
    (!title.is_empty()).then_some(title)
}

fn plain_text(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    (!text.starts_with('<')).then(|| beginning(text, LONGEST_EXCERPT).to_owned())
}

fn excerpt_of(body: &[u8]) -> String {
    let head = body.get(..LONGEST_EXCERPT).unwrap_or(body);
    let masked = mask(&String::from_utf8_lossy(head));
    beginning(&masked, LONGEST_EXCERPT).to_owned()
}

/// At most `bytes` of `text`, ending at a character boundary.
fn beginning(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &str) -> ErrorBody {
        read_error_body(Some("application/json"), body.as_bytes())
    }

    #[test]
    fn the_sentence_is_found_in_every_known_shape() {
        for (body, expected) in [
            (r#"{"error":"s"}"#, "s"),
            (r#"{"error":["s"]}"#, "s"),
            (r#"{"error":["s","t"]}"#, "s; t"),
            (r#"{"error":"invalid_grant","error_description":"s"}"#, "s"),
            (r#"{"errors":[{"message":"s"}]}"#, "s"),
            (r#"{"error":{"message":"s","type":"t","code":"c","param":"p"}}"#, "s"),
            (r#"{"error":"s","error_type":"overloaded"}"#, "s"),
            (r#"{"detail":"s"}"#, "s"),
            (r#"{"detail":[{"loc":["body","inputs"],"msg":"s","type":"missing"}]}"#, "s"),
            (r#"{"message":"s"}"#, "s"),
            (r#"{"object":"error","message":"s","type":"BadRequestError","code":400}"#, "s"),
            (r#"[{"error":{"code":429,"message":"s","status":"RESOURCE_EXHAUSTED"}}]"#, "s"),
            (r#"{"error":true,"message":"s"}"#, "s"),
            ("s", "s"),
            (r#""s""#, "s"),
        ] {
            assert_eq!(read(body).message.as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn code_type_and_param_are_found_in_every_known_shape() {
        for (body, code, error_type, param) in [
            (
                r#"{"error":{"message":"s","type":"t","code":"c","param":"p"}}"#,
                Some("c"),
                Some("t"),
                Some("p"),
            ),
            (
                r#"{"error":{"code":503,"message":"m","type":"unavailable_error"}}"#,
                Some("503"),
                Some("unavailable_error"),
                None,
            ),
            (
                r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]"#,
                Some("429"),
                Some("RESOURCE_EXHAUSTED"),
                None,
            ),
            (r#"{"error":"s","error_type":"overloaded"}"#, None, Some("overloaded"), None),
            (
                r#"{"object":"error","message":"s","type":"NotFoundError","code":404}"#,
                Some("404"),
                Some("NotFoundError"),
                None,
            ),
            (r#"{"error":"invalid_grant","error_description":"s"}"#, Some("invalid_grant"), None, None),
            (
                r#"{"detail":[{"loc":["body","inputs",0],"msg":"s","type":"missing"}]}"#,
                None,
                Some("missing"),
                Some("body.inputs.0"),
            ),
            (r#"{"error":{"message":"s","type":null,"code":null,"param":null}}"#, None, None, None),
        ] {
            let read = read(body);
            assert_eq!(read.code.as_deref(), code, "{body}");
            assert_eq!(read.error_type.as_deref(), error_type, "{body}");
            assert_eq!(read.param.as_deref(), param, "{body}");
        }
    }

    #[test]
    fn an_html_page_gives_its_title_and_nothing_else() {
        let page =
            b"<!DOCTYPE html><html><head><TITLE>\n 503 Service\tUnavailable </TITLE></head><body>secret text";
        let read = read_error_body(None, page);
        assert!(read.is_html && read.json.is_none());
        assert_eq!(read.message.as_deref(), Some("503 Service Unavailable"));
        assert_eq!(read.excerpt.as_deref(), Some("HTML page: 503 Service Unavailable"));
        let untitled = read_error_body(Some("text/html; charset=utf-8"), b"<center>nginx</center>");
        assert_eq!(untitled.excerpt.as_deref(), Some("HTML page"));
        assert!(!read_error_body(Some("text/html"), br#"{"error":"s"}"#).is_html);
    }

    #[test]
    fn the_excerpt_is_masked_and_bounded() {
        let body = format!(r#"{{"error":"bad key hf_abcdef {}"}}"#, "é".repeat(3000));
        let excerpt = read(&body).excerpt.expect("not empty");
        assert!(excerpt.contains("hf_***") && !excerpt.contains("abcdef"));
        assert!(excerpt.len() <= LONGEST_EXCERPT);
    }

    #[test]
    fn an_empty_body_says_nothing() {
        assert_eq!(read_error_body(None, b" \r\n"), ErrorBody::default());
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(body in proptest::collection::vec(any::<u8>(), 0..300), html: bool) {
            read_error_body(html.then_some("text/html"), &body);
        }

        #[test]
        fn any_page_can_be_read(body in "<html>(<title|>|</|İ|[a-z ]){0,20}") {
            read_error_body(None, body.as_bytes());
        }
    }
}
