//! One request and its response: phases, redirects, failures.

use std::time::{Duration, SystemTime};

use ::http::header::LOCATION;
use ::http::{HeaderMap, Method};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use super::body::Body;
use super::client::{ApiCall, ApiClient, ApiReply, as_non_null, authority, request_id};
use super::json::JsonLimits;
use super::status::{self, ErrorBody, Failure, Verdict};
use super::{
    HeaderText, HttpRequest, HttpResponse, TransportError, TransportPhase, address, is_credential_header,
    redact, wait,
};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};

/// Time-outs that hold unless the context says otherwise.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(60);
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// How much of an error body is read.
const MAX_ERROR_BYTES: usize = 256 << 10;

/// How many redirects of one call are followed.
const MAX_REDIRECTS: usize = 5;

/// Sends a call, follows its redirects and turns any status but success into the error that it means.
pub(super) async fn exchange(call: ApiCall<'_>, cx: &Context) -> Result<ApiReply<Body>> {
    let ApiCall { api, mut request, max_body, .. } = call;
    request.connect_timeout = cx.phase_timeouts().connect.unwrap_or(CONNECT);
    for _ in 0..=MAX_REDIRECTS {
        let response = send_once(api, request.clone(), cx).await?;
        if is_redirect(&response) {
            request = redirected(api, request, &response)?;
            continue;
        }
        let HttpResponse { status, headers, body, .. } = response;
        let body = Body::new(cx, body, max_body);
        if !status.is_success() {
            return Err(read_failure(api, status.as_u16(), &headers, body).await);
        }
        let id = request_id(&headers).map(|id| api.without_secrets(&id).into_owned());
        return Ok(ApiReply { value: body, status: status.as_u16(), headers, request_id: id });
    }
    Err(Error::response_invalid(format!("the backend redirected more than {MAX_REDIRECTS} times")))
}

/// Sends one request, with the API's own header fields and credentials if it goes to the API's own origin.
async fn send_once(api: &ApiClient, mut request: HttpRequest, cx: &Context) -> Result<HttpResponse> {
    if api.is_own_origin(&request.url) {
        api.add_own(&mut request)?;
    } else {
        request.public_hosts_only = request.url.host() != api.base().host();
    }
    send(cx, request).await
}

/// Sends one request as it is and waits for its status line.
pub(crate) async fn send(cx: &Context, request: HttpRequest) -> Result<HttpResponse> {
    let host = authority(&request.url);
    let first_byte = cx.phase_timeouts().first_byte.unwrap_or(FIRST_BYTE);
    let bound = request.connect_timeout.saturating_add(first_byte);
    let transport = super::transport(cx)?;
    match cx.clock().timeout(bound, transport.send(request)).await? {
        Some(outcome) => outcome.map_err(|error| transport_failure(error, &host)),
        None => Err(Error::new(
            ErrorKind::Timeout,
            format!("{host} gave no answer within {:.1} s", first_byte.as_secs_f64()),
        )
        .with_context("phase", "first_byte")
        .with_sent(Sent::Maybe)),
    }
}

/// Whether a response sends the request to another URL.
pub(crate) fn is_redirect(response: &HttpResponse) -> bool {
    matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// What a failure below HTTP means.
pub(crate) fn transport_failure(error: TransportError, host: &str) -> Error {
    let sent = error.sent();
    let (kind, message, phase) = match (error.phase, error.timed_out) {
        (TransportPhase::Setup, _) => (ErrorKind::ConfigInvalid, redact::mask(&error.message), "setup"),
        (TransportPhase::Connect, true) => {
            (ErrorKind::Timeout, format!("could not connect to {host} in time"), "connect")
        }
        (TransportPhase::Connect, false) => {
            (ErrorKind::Unavailable, format!("could not connect to {host}"), "connect")
        }
        (TransportPhase::Exchange, true) => {
            (ErrorKind::Timeout, format!("{host} gave no answer in time"), "first_byte")
        }
        (TransportPhase::Exchange, false) => (
            ErrorKind::Unavailable,
            format!("the connection to {host} broke before an answer came"),
            "exchange",
        ),
        (TransportPhase::Body, true) => {
            (ErrorKind::Timeout, format!("the answer of {host} stopped arriving"), "idle")
        }
        (TransportPhase::Body, false) => {
            (ErrorKind::Interrupted, format!("the connection to {host} broke inside the answer"), "body")
        }
    };
    Error::new(kind, message).with_context("phase", phase).with_sent(sent).with_source(error)
}

/// The request that a redirect asks for. Within the API's origin any request may be repeated as it is; another host gets
/// only reads, without credentials.
fn redirected(api: &ApiClient, request: HttpRequest, response: &HttpResponse) -> Result<HttpRequest> {
    let refuse = |why: String| {
        Error::response_invalid(why)
            .with_http_status(response.status.as_u16())
            .with_context("host", authority(&request.url))
    };
    let target = response.headers.text(LOCATION.as_str());
    let Some(target) = target.and_then(|location| request.url.join(location).ok()) else {
        return Err(refuse("the backend redirected without saying where to".to_owned()));
    };
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let repeats = reads || matches!(response.status.as_u16(), 307 | 308);
    if !repeats {
        return Err(refuse(format!(
            "the backend redirected a {} request, which cannot be repeated",
            request.method
        )));
    }
    if !api.is_own_origin(&target) {
        if !reads {
            return Err(refuse(format!(
                "the backend redirected to another host, {}, which is not followed",
                authority(&target)
            )));
        }
        check_named_url(api.base(), &target)?;
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        if !value.is_sensitive() && !is_credential_header(name.as_str()) {
            headers.append(name, value.clone());
        }
    }
    Ok(HttpRequest { url: target, headers, ..request })
}

/// Refuses a URL that an answer named unless it is on the API's own host, or public and https.
pub(crate) fn check_named_url(base: &Url, url: &Url) -> Result<()> {
    if url.host() == base.host() && matches!(url.scheme(), "http" | "https") {
        return Ok(());
    }
    let refuse = |why: &str| {
        Error::response_invalid(format!("the answer named a URL that {why}; it was not fetched"))
            .with_context("host", authority(url))
    };
    if url.scheme() != "https" {
        return Err(refuse("is neither https nor on the backend's own host"));
    }
    let public = match url.host() {
        Some(Host::Ipv4(ip)) => address::is_public(ip.into()),
        Some(Host::Ipv6(ip)) => address::is_public(ip.into()),
        Some(Host::Domain(name)) => !matches!(name, "localhost") && !name.ends_with(".localhost"),
        None => false,
    };
    if public { Ok(()) } else { Err(refuse("is on a private address")) }
}

async fn read_failure(api: &ApiClient, status: u16, headers: &HeaderMap, body: Body) -> Error {
    let bytes = body.read_at_most(MAX_ERROR_BYTES).await;
    let body = status::read_error_body(headers.text("content-type"), &api.body_without_secrets(&bytes));
    failure(api, status, headers, &body)
}

/// The error that a status, its header fields and its body mean: the vendor's rules first, then the table.
pub(super) fn failure(api: &ApiClient, status: u16, headers: &HeaderMap, body: &ErrorBody) -> Error {
    let failure = Failure { status, headers, body };
    let hint = wait::wait_from(headers, body.json.as_ref(), SystemTime::now());
    let verdict =
        (api.classify)(&failure).unwrap_or_else(|| status::default_verdict(&failure)).with_hint(hint);
    let Verdict { kind, persistence, message, wait } = verdict;
    // Once more as text: in JSON a secret may be written with escapes.
    let clean = |text: &str| api.without_secrets(text).into_owned();
    let message = message.map_or_else(|| kind.meaning().to_owned(), |message| clean(&message));
    let mut error = Error::new(kind, message).with_http_status(status);
    if let Some(persistence) = persistence {
        error = error.with_persistence(persistence);
    }
    if let Some(wait) = wait {
        error = error.with_retry_after(wait);
    }
    if let Some(id) = request_id(headers) {
        error = error.with_request_id(clean(&id));
    }
    if let Some(code) = &body.code {
        error = error.with_context("code", clean(code));
    }
    // Groq says what the model wrote where it should have called a tool.
    if let Some(Value::String(written)) = body.error().and_then(|error| error.get("failed_generation")) {
        error = error.with_partial_text(clean(written));
    }
    if let Some(excerpt) = &body.excerpt {
        error = error.with_response_excerpt(clean(excerpt));
    }
    error
}

/// Reads a JSON answer; an HTML page or an error body on a success status is the failure that it means.
pub(super) fn decode_json<T: DeserializeOwned>(
    api: &ApiClient,
    status: u16,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<T> {
    if let Some(why) = JsonLimits::ANSWER.exceeded(bytes) {
        return Err(Error::response_invalid(format!("the answer {why}")).with_http_status(status));
    }
    let bytes = &*api.body_without_secrets(bytes);
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => return Err(not_json(api, status, headers, bytes, &error)),
    };
    if let Some(error) = error_inside(api, status, headers, &value) {
        return Err(error);
    }
    T::deserialize(value).map_err(|error| {
        Error::response_invalid("the answer is JSON, but not of the shape that the protocol promises")
            .with_http_status(status)
            .with_source(redacted(&error))
    })
}

fn not_json(
    api: &ApiClient,
    status: u16,
    headers: &HeaderMap,
    bytes: &[u8],
    error: &serde_json::Error,
) -> Error {
    let body = status::read_error_body(headers.text("content-type"), bytes);
    if body.is_html {
        let page = Failure { status, headers, body: &body };
        if (api.classify)(&page).is_some() {
            return failure(api, status, headers, &body);
        }
        return Error::response_invalid("an HTML page came back instead of JSON; is the base URL right?")
            .with_http_status(status);
    }
    let message = if std::str::from_utf8(bytes).is_err() {
        "the answer is not valid UTF-8".to_owned()
    } else if error.is_eof() {
        format!("the answer is JSON that breaks off after {} bytes", bytes.len())
    } else {
        format!("the answer is not JSON (line {}, column {})", error.line(), error.column())
    };
    let mut invalid = Error::response_invalid(message).with_http_status(status);
    if let Some(id) = request_id(headers) {
        invalid = invalid.with_request_id(api.without_secrets(&id));
    }
    invalid
}

/// The failure inside an answer whose status says success: `{"error": …}`, alone or as the only element of a list. The
/// body's own code or type replaces the status.
pub(super) fn error_inside(
    api: &ApiClient,
    status: u16,
    headers: &HeaderMap,
    value: &Value,
) -> Option<Error> {
    let object = match value {
        Value::Array(list) if list.len() == 1 => list.first()?,
        other => other,
    };
    let inside = as_non_null(object.get("error")).or_else(|| match object.get("object") {
        Some(Value::String(kind)) if kind == "error" => Some(object),
        _ => None,
    })?;
    if says_nothing(inside) {
        return None;
    }
    let body = status::read_error_body(Some("application/json"), value.to_string().as_bytes());
    Some(failure(api, status, headers, &body))
}

/// Whether every field is empty: some servers write every field that they know, also the error of a success.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.iter().all(says_nothing),
        Value::Object(fields) => !fields.is_empty() && fields.values().all(says_nothing),
        _ => false,
    }
}

/// A decoding error without the answer's values, which may repeat the prompt.
fn redacted(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let expectation = text.find("expected").and_then(|at| text.get(at..)).unwrap_or("unexpected value");
    match error.to_string().strip_prefix("missing field") {
        Some(field) => format!("missing field{field}"),
        None => expectation.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn urls_that_answers_name_must_be_public_or_the_backends_own() {
        let base = url("https://api.example.test/v1");
        for allowed in
            ["https://cdn.example.test/a.png", "https://api.example.test/b", "http://api.example.test/c"]
        {
            assert!(check_named_url(&base, &url(allowed)).is_ok(), "{allowed}");
        }
        for refused in [
            "http://cdn.example.test/a.png",
            "https://127.0.0.1/a",
            "https://10.0.0.8/a",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/a",
            "https://[fd00::1]/a",
            "https://localhost/a",
            "file:///etc/passwd",
        ] {
            let error = check_named_url(&base, &url(refused)).expect_err(refused);
            assert_eq!(error.kind(), ErrorKind::ResponseInvalid, "{refused}");
        }
    }
}
