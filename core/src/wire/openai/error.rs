//! Errors: their HTTP status, and the object that OpenAI's clients read.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::{BODY, MALFORMED, OPTION, PARAM};
use crate::error::{Error, ErrorKind, Persistence};

/// The most characters of a hosted service's own words that an error body repeats.
const MAX_REASON_CHARS: usize = 500;

/// The HTTP status of an error: that of its kind, 422 for a body of the wrong form, and 400 for an option that the backend
/// does not have. Clients repeat what failed with a 5xx; a caller can leave the option out.
pub fn status(error: &Error) -> u16 {
    match error.kind() {
        _ if context(error, BODY) == Some(MALFORMED) => 422,
        ErrorKind::Unsupported if context(error, OPTION).is_some() => 400,
        kind => status_of_kind(kind),
    }
}

/// The HTTP status of a kind of errors.
///
/// A credential that a hosted backend refuses is the service's, not the caller's: 502. A 503 tells clients to
/// come back soon, so what is permanent has another status.
pub fn status_of_kind(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::ContextTooLong => 400,
        ErrorKind::NotFound => 404,
        ErrorKind::Conflict => 409,
        ErrorKind::ContentRejected => 422,
        ErrorKind::RateLimited | ErrorKind::QuotaExceeded => 429,
        ErrorKind::Cancelled => 499,
        ErrorKind::ModelLoad | ErrorKind::DeviceUnavailable | ErrorKind::Unexpected => 500,
        ErrorKind::ConfigInvalid | ErrorKind::Unsupported => 501,
        ErrorKind::Unauthenticated
        | ErrorKind::PermissionDenied
        | ErrorKind::CreditsExhausted
        | ErrorKind::Interrupted
        | ErrorKind::ResponseInvalid
        | ErrorKind::Offline => 502,
        ErrorKind::Unavailable | ErrorKind::ColdStart => 503,
        ErrorKind::Timeout => 504,
        ErrorKind::OutOfMemory => 507,
    }
}

/// The body of a response that reports an error: `{"detail": …, "error": {"kind": …, "message": …}}`.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    detail: &'a str,
    error: ErrorJson<'a>,
    #[serde(skip)]
    status: u16,
}

#[derive(Debug, Serialize)]
struct ErrorJson<'a> {
    kind: ErrorKind,
    message: &'a str,
    r#type: &'static str,
    code: ErrorKind,
    param: Option<&'a str>,
    retryable: bool,
    retry_after: Option<f64>,
    backend: Option<&'a str>,
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<Upstream<'a>>,
}

/// What the hosted service behind a backend answered.
#[derive(Debug, Serialize)]
struct Upstream<'a> {
    status: Option<u16>,
    /// The beginning of its own words, credentials masked. They may repeat what the caller sent; nobody else sees them.
    reason: Option<&'a str>,
}

impl<'a> Upstream<'a> {
    fn of(error: &'a Error) -> Option<Self> {
        let (status, reason) = (error.http_status(), error.response_excerpt());
        let reason = reason
            .map(|text| text.char_indices().nth(MAX_REASON_CHARS).map_or(text, |(end, _)| &text[..end]));
        (status.is_some() || reason.is_some()).then_some(Self { status, reason })
    }
}

impl<'a> ErrorBody<'a> {
    /// The body for an error. `request_id` is the server's own id of the request.
    pub fn new(error: &'a Error, request_id: Option<&'a str>) -> Self {
        Self::with_status(error, request_id, status(error))
    }

    /// The same with another status: servers also refuse requests for reasons of their own.
    pub fn with_status(error: &'a Error, request_id: Option<&'a str>, status: u16) -> Self {
        let message = error.message();
        Self {
            detail: message,
            error: ErrorJson {
                kind: error.kind(),
                message,
                r#type: type_of_status(status),
                code: error.kind(),
                param: context(error, PARAM),
                retryable: error.is_temporary(),
                retry_after: error.retry_after().map(|wait| wait.as_secs_f64()),
                backend: error.backend(),
                request_id,
                upstream: Upstream::of(error),
            },
            status,
        }
    }

    /// The HTTP status of the response.
    pub fn status(&self) -> u16 {
        self.status
    }
}

/// A failure that a server reports for reasons of its own, as data.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// What went wrong.
    pub kind: ErrorKind,
    /// What to mend.
    pub message: String,
    /// Whether another attempt may help.
    pub retryable: bool,
    /// Seconds until then.
    pub retry_after: Option<f64>,
    /// The backend that failed.
    pub backend: Option<String>,
    /// The field of the request that is wrong.
    pub param: Option<String>,
    /// The server's own id of the request.
    pub request_id: Option<String>,
    /// The status with which the hosted service behind the backend answered.
    #[serde(default)]
    pub upstream_status: Option<u16>,
    /// The beginning of that service's own words.
    #[serde(default)]
    pub upstream_reason: Option<String>,
}

impl Failure {
    /// The body of the response; see [`ErrorBody`].
    pub fn body(self) -> Value {
        let persistence = if self.retryable { Persistence::Temporary } else { Persistence::Permanent };
        let mut error = Error::new(self.kind, self.message).with_persistence(persistence);
        if let Some(wait) = self.retry_after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            error = error.with_retry_after(wait);
        }
        if let Some(backend) = self.backend {
            error = error.with_backend(backend);
        }
        if let Some(param) = self.param {
            error = error.with_context(PARAM, param);
        }
        if let Some(status) = self.upstream_status {
            error = error.with_http_status(status);
        }
        if let Some(reason) = self.upstream_reason {
            error = error.with_response_excerpt(reason);
        }
        let body = ErrorBody::with_status(&error, self.request_id.as_deref(), self.status);
        serde_json::to_value(body).unwrap_or_default()
    }
}

/// How OpenAI's clients name an error.
fn type_of_status(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        0..500 => "invalid_request_error",
        500.. => "server_error",
    }
}

fn context<'a>(error: &'a Error, name: &str) -> Option<&'a str> {
    let found = error.context().iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::http::status::read_error_body;
    use crate::wire::openai::body::malformed;

    #[test]
    fn every_kind_has_a_status_that_tells_clients_whose_fault_it_is() {
        for kind in ErrorKind::ALL {
            assert!((400..=507).contains(&status_of_kind(*kind)), "{kind}");
        }
        assert_eq!(status(&malformed("n", "is missing")), 422);
        assert_eq!(status(&Error::invalid_request("the prompt is empty")), 400);
    }

    #[test]
    fn an_option_that_the_backend_lacks_is_the_callers_to_leave_out() {
        assert_eq!(status(&Error::unsupported_option("seed", "no `seed` here")), 400);
        assert_eq!(status(&Error::unsupported("this service serves no chat")), 501);
    }

    #[test]
    fn what_the_hosted_service_said_reaches_the_caller() {
        let error = Error::new(ErrorKind::InvalidRequest, "the backend refuses the request")
            .with_http_status(400)
            .with_response_excerpt("ñ".repeat(2 * MAX_REASON_CHARS));
        let json = serde_json::to_value(ErrorBody::new(&error, None)).expect("JSON");
        assert_eq!(
            json["error"]["upstream"],
            json!({ "status": 400, "reason": "ñ".repeat(MAX_REASON_CHARS) })
        );
    }

    #[test]
    fn an_error_is_written_whole_and_read_back_by_the_client() {
        let error = Error::new(ErrorKind::RateLimited, "slow down")
            .with_backend("groq")
            .with_retry_after(Duration::from_millis(1500));
        let body = ErrorBody::new(&error, Some("req-1"));
        assert_eq!(body.status(), 429);
        let json = serde_json::to_value(&body).expect("JSON");
        let expected = json!({
            "detail": "slow down",
            "error": {
                "kind": "rate_limited", "message": "slow down", "type": "rate_limit_error",
                "code": "rate_limited", "param": null, "retryable": true, "retry_after": 1.5,
                "backend": "groq", "request_id": "req-1",
            },
        });
        assert_eq!(json, expected);
        let read = read_error_body(Some("application/json"), json.to_string().as_bytes());
        assert_eq!(read.message.as_deref(), Some("slow down"));
        assert_eq!(read.code.as_deref(), Some("rate_limited"));
        let read = malformed("messages.0.role", "is missing");
        let body = serde_json::to_value(ErrorBody::new(&read, None)).expect("JSON");
        assert_eq!(body["error"]["param"], "messages.0.role");
    }
}
