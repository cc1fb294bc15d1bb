//! What the Hub's refusals mean, and what to do about each.

use std::time::SystemTime;

use crate::error::{Error, ErrorKind};
use crate::http::body::Body;
use crate::http::client::request_id;
use crate::http::status::{ErrorBody, Failure, default_verdict, read_error_body};
use crate::http::wait::wait_from;
use crate::http::{HeaderMap, HeaderText};

/// How much of an error's text is read.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// What was requested.
#[derive(Clone, Copy, Debug)]
pub(super) struct HubRequest<'a> {
    pub(super) id: &'a str,
    pub(super) revision: &'a str,
    /// A file of the repository; `None` for the list of its files.
    pub(super) file: Option<&'a str>,
    /// Where a person can look at the repository.
    pub(super) page: &'a str,
    pub(super) has_token: bool,
}

/// The error that a status, its header fields and its body mean.
pub(super) async fn read(status: u16, headers: &HeaderMap, body: Body, request: &HubRequest<'_>) -> Error {
    let bytes = body.read_at_most(MAX_ERROR_BYTES).await;
    let body = read_error_body(headers.text("content-type"), &bytes);
    error(status, headers, &body, request)
}

fn error(status: u16, headers: &HeaderMap, body: &ErrorBody, request: &HubRequest<'_>) -> Error {
    let (kind, text) = meaning(status, headers, request).unwrap_or_else(|| {
        let verdict = default_verdict(&Failure { status, headers, body });
        let why = verdict.message.unwrap_or_else(|| verdict.kind.meaning().to_owned());
        (verdict.kind, format!("the Hub does not give {}: {why}", what(request)))
    });
    let mut error = Error::new(kind, text).with_http_status(status);
    if let Some(wait) = wait_from(headers, body.json.as_ref(), SystemTime::now()).wait {
        error = error.with_retry_after(wait);
    }
    if let Some(id) = request_id(headers) {
        error = error.with_request_id(id);
    }
    match &body.excerpt {
        Some(excerpt) => error.with_response_excerpt(excerpt.clone()),
        None => error,
    }
}

fn what(request: &HubRequest<'_>) -> String {
    match request.file {
        Some(file) => format!("{file} of '{}'", request.id),
        None => format!("the list of files of '{}'", request.id),
    }
}

fn meaning(status: u16, headers: &HeaderMap, request: &HubRequest<'_>) -> Option<(ErrorKind, String)> {
    use ErrorKind as K;
    let HubRequest { id, revision, page, has_token, .. } = request;
    let code = headers.text("x-error-code").unwrap_or_default();
    Some(match (status, code) {
        (401 | 403, "GatedRepo") if *has_token => {
            let text = "accept the licence there with the account that owns the token in HF_TOKEN";
            (K::PermissionDenied, format!("'{id}' is gated at {page}: {text}"))
        }
        (401 | 403, "GatedRepo") => {
            let text = "accept the licence there and set HF_TOKEN to a token of that account";
            (K::Unauthenticated, format!("'{id}' is gated at {page}: {text}"))
        }
        // The Hub gives the same answer for a repository that the caller may not see.
        (401 | 404, "RepoNotFound") | (404, "") => (K::NotFound, no_repository(request)),
        (404, "RevisionNotFound") => {
            (K::NotFound, format!("'{id}' has no revision '{revision}': {page} lists its branches and tags"))
        }
        (404, "EntryNotFound") => (
            K::NotFound,
            format!("'{id}' has no file {} at '{revision}'", request.file.unwrap_or("like that")),
        ),
        (401, _) if *has_token => (
            K::Unauthenticated,
            format!("the Hub does not accept the token in HF_TOKEN, asked for {}", what(request)),
        ),
        (401, _) => {
            (K::Unauthenticated, format!("the Hub wants a token for {}: set HF_TOKEN", what(request)))
        }
        (403, _) => (
            K::PermissionDenied,
            format!(
                "the token in HF_TOKEN may not read {}: look at {page} and the token's permissions",
                what(request)
            ),
        ),
        (416, _) => {
            (K::ResponseInvalid, format!("the Hub has less of {} than is here already", what(request)))
        }
        (429, _) => {
            let advice = if *has_token {
                "try again later"
            } else {
                "try again later, or set HF_TOKEN to be allowed more"
            };
            (K::RateLimited, format!("the Hub was asked too often: {advice}"))
        }
        (500..=599, _) => (K::Unavailable, format!("the Hub cannot give {} at the moment", what(request))),
        _ => return None,
    })
}

fn no_repository(request: &HubRequest<'_>) -> String {
    let private = match request.has_token {
        true => "or it is private and the token in HF_TOKEN may not read it",
        false => "or it is private, which needs a token in HF_TOKEN",
    };
    format!("there is no model '{}' at {}: the name is wrong, {private}", request.id, request.page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_kind_and_says_what_to_do() {
        for (status, code, has_token, kind, says) in [
            (401, "GatedRepo", false, "unauthenticated", "https://hub.test/org/name: accept the licence"),
            (403, "GatedRepo", true, "permission_denied", "account that owns the token"),
            (401, "RepoNotFound", false, "not_found", "needs a token in HF_TOKEN"),
            (404, "RepoNotFound", true, "not_found", "there is no model 'org/name'"),
            (404, "RevisionNotFound", false, "not_found", "no revision 'v9'"),
            (404, "EntryNotFound", false, "not_found", "no file model.safetensors"),
            (401, "", true, "unauthenticated", "does not accept the token"),
            (401, "", false, "unauthenticated", "set HF_TOKEN"),
            (403, "", true, "permission_denied", "token's permissions"),
            (416, "", false, "response_invalid", "less of model.safetensors"),
            (429, "", false, "rate_limited", "set HF_TOKEN to be allowed more"),
            (500, "", false, "unavailable", "at the moment"),
            (503, "", true, "unavailable", "at the moment"),
            (409, "", true, "conflict", "does not give model.safetensors"),
        ] {
            let headers = crate::http::header_map(&[("X-Error-Code", code), ("Retry-After", "7")]);
            let request = HubRequest {
                id: "org/name",
                revision: "v9",
                file: Some("model.safetensors"),
                page: "https://hub.test/org/name",
                has_token,
            };
            let error = error(status, &headers, &read_error_body(None, b""), &request);
            assert_eq!(error.kind().as_str(), kind, "{status} {code}");
            assert!(error.message().contains(says), "{status} {code}: {error}");
            assert_eq!(error.http_status(), Some(status));
            assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(7)));
        }
    }
}
