//! What a failed response means: one table for every hosted API, used after a backend's own rules.
//!
//! A message never quotes the vendor, because validation errors repeat the prompt. It is a sentence of ours with the
//! vendor's `code`, `type` and `param`; the masked body is kept separately as the excerpt.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use ::http::HeaderMap;

use super::HeaderText;
pub(crate) use super::error_body::{ErrorBody, read_error_body};
use super::wait::WaitHint;
use crate::error::{ErrorKind, Persistence};

/// A response that failed: by its status, or by an error in the body of a 200.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'a> {
    /// The status of the response, even where it is 200 and the body describes a failure.
    pub(crate) status: u16,
    /// The header fields of the response.
    pub(crate) headers: &'a HeaderMap,
    /// What was read from its body.
    pub(crate) body: &'a ErrorBody,
}

/// What a failure means to the caller.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// What went wrong.
    pub(crate) kind: ErrorKind,
    /// Whether another attempt may help, where that is not what the kind says.
    pub(crate) persistence: Option<Persistence>,
    /// One sentence that names the thing to fix.
    pub(crate) message: Option<String>,
    /// How long to wait, where a rule knows more than [`wait_from`](super::wait::wait_from).
    pub(crate) wait: Option<Duration>,
}

impl Verdict {
    /// A failure of `kind`, temporary or permanent as that kind usually is.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, persistence: None, message: Some(message.into()), wait: None }
    }

    /// Adds what the response says about another attempt: its wait, unless a rule has set one, and its decision whether to
    /// try again, which overrides every rule.
    pub(crate) fn with_hint(mut self, hint: WaitHint) -> Self {
        self.wait = self.wait.or(hint.wait);
        match hint.should_retry {
            Some(true) => self.persistence = Some(Persistence::Temporary),
            Some(false) => self.persistence = Some(Persistence::Permanent),
            None => {}
        }
        self
    }
}

/// The verdict for every vendor: first by code, type and wording of the body, then by the status.
///
/// It sets no wait; [`Verdict::with_hint`] does.
pub(crate) fn default_verdict(failure: &Failure<'_>) -> Verdict {
    let status = effective_status(failure);
    let (kind, sentence) = by_body(failure, status).unwrap_or_else(|| by_status(failure, status));
    Verdict::new(kind, with_details(&sentence, failure.body))
}

type Rule = (ErrorKind, Cow<'static, str>);

fn rule(kind: ErrorKind, sentence: &'static str) -> Rule {
    (kind, Cow::Borrowed(sentence))
}

/// The status that the failure should have had: an error inside a 200 is judged by its numeric code, else by its type.
fn effective_status(failure: &Failure<'_>) -> u16 {
    if !(200..300).contains(&failure.status) {
        return failure.status;
    }
    let body = failure.body;
    let numeric = body.code.as_deref().and_then(|code| code.parse().ok());
    let named = || [&body.error_type, &body.code].into_iter().flatten().find_map(|name| status_named(name));
    numeric.filter(|code| (400..600).contains(code)).or_else(named).unwrap_or(failure.status)
}

/// The status that an error type stands for: OpenAI's, Google's, TEI's and TGI's names.
fn status_named(name: &str) -> Option<u16> {
    let name = name.to_ascii_lowercase();
    Some(match name.as_str() {
        "invalid_request_error"
        | "invalid_argument"
        | "validation"
        | "badrequesterror"
        | "tokenizer"
        | "failed_precondition"
        | "empty" => 400,
        "authentication_error" | "unauthenticated" | "invalid_api_key" => 401,
        "permission_error" | "permission_denied" => 403,
        "not_found_error" | "not_found" | "notfounderror" => 404,
        "rate_limit_error" | "rate_limit_exceeded" | "resource_exhausted" | "ratelimiterror" => 429,
        "server_error"
        | "internal_server_error"
        | "internal"
        | "api_error"
        | "generation"
        | "incomplete_generation"
        | "backend" => 500,
        "overloaded"
        | "overloaded_error"
        | "unavailable"
        | "unavailable_error"
        | "unhealthy"
        | "service_unavailable" => 503,
        "timeout" | "timeout_error" | "deadline_exceeded" => 504,
        _ => return None,
    })
}

/// The rules that read the body. Wording counts only at the beginning of the message and only with the statuses that are
/// known to carry it, because the rest may be the caller's own text.
fn by_body(failure: &Failure<'_>, status: u16) -> Option<Rule> {
    let wording = Wording::of(failure.body);
    credits(&wording, status)
        .or_else(|| context_length(&wording, failure.body, status))
        .or_else(|| content_filter(&wording, status))
        .or_else(|| unknown_model(&wording, failure, status))
        .or_else(|| failed_generation(&wording))
        .or_else(|| missing_permission(&wording, failure, status))
        .or_else(|| daily_quota(failure.body, status))
        .or_else(|| cold_start(&wording, failure.body, status))
}

/// The parts of a body that the rules read, in lower case.
struct Wording {
    names: [String; 2],
    message: String,
}

impl Wording {
    fn of(body: &ErrorBody) -> Self {
        const MAX_CHARS: usize = 400;
        let lower = |text: &Option<String>| text.as_deref().unwrap_or_default().to_ascii_lowercase();
        let message = body.message.as_deref().unwrap_or_default();
        let message = message.chars().take(MAX_CHARS).collect::<String>().to_ascii_lowercase();
        Self { names: [lower(&body.code), lower(&body.error_type)], message }
    }

    fn is_named(&self, names: &[&str]) -> bool {
        self.names.iter().any(|name| names.contains(&name.as_str()))
    }

    fn says(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.message.contains(phrase))
    }
}

fn credits(wording: &Wording, status: u16) -> Option<Rule> {
    const NAMES: [&str; 6] = [
        "insufficient_quota",
        "insufficient_credits",
        "insufficient_balance",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credits_exhausted",
    ];
    const PHRASES: [&str; 9] = [
        "monthly included credits",
        "free monthly usage limit",
        "insufficient credit",
        "insufficient balance",
        "insufficient funds",
        "not enough credit",
        "out of credits",
        "no credits",
        "credit balance is too low",
    ];
    let matches_rule =
        wording.is_named(&NAMES) || (matches!(status, 200 | 400 | 402 | 403 | 429) && wording.says(&PHRASES));
    matches_rule.then(spent_credits)
}

fn spent_credits() -> Rule {
    rule(ErrorKind::CreditsExhausted, "the account's credits are spent: add credits or use another account")
}

fn context_length(wording: &Wording, body: &ErrorBody, status: u16) -> Option<Rule> {
    const NAMES: [&str; 4] = [
        "context_length_exceeded",
        "exceed_context_size_error",
        "context_too_long",
        "string_above_max_length",
    ];
    const PHRASES: [&str; 8] = [
        "maximum context length",
        "context window",
        "exceeds the available context size",
        "exceeds the maximum number of tokens",
        "prompt is too long",
        "is too large to process",
        "`inputs` must have less than",
        "`inputs` tokens + `max_new_tokens` must be",
    ];
    let matches_rule =
        wording.is_named(&NAMES) || (matches!(status, 200 | 400 | 413 | 422 | 500) && wording.says(&PHRASES));
    let limits = || match (body.number("n_prompt_tokens"), body.number("n_ctx")) {
        (Some(given), Some(most)) => format!(": {given} tokens where it takes {most}"),
        _ => String::new(),
    };
    matches_rule.then(|| {
        let sentence = format!("the input is longer than the model's context window{}", limits());
        (ErrorKind::ContextTooLong, sentence.into())
    })
}

fn content_filter(wording: &Wording, status: u16) -> Option<Rule> {
    const NAMES: [&str; 6] = [
        "content_filter",
        "content_policy_violation",
        "moderation_blocked",
        "responsibleaipolicyviolation",
        "content_filter_error",
        "image_generation_user_error",
    ];
    const PHRASES: [&str; 4] = [
        "content management policy",
        "content_policy_violation",
        "rejected by the safety system",
        "rejected as a result of our safety system",
    ];
    let matches_rule =
        wording.is_named(&NAMES) || (matches!(status, 200 | 400 | 403 | 422 | 451) && wording.says(&PHRASES));
    matches_rule
        .then(|| rule(ErrorKind::ContentRejected, "a safety filter of the backend refused the request"))
}

fn unknown_model(wording: &Wording, failure: &Failure<'_>, status: u16) -> Option<Rule> {
    const UNSUPPORTED: [&str; 2] = ["not supported by any provider", "not supported by provider"];
    if wording.is_named(&["model_not_supported"])
        || (matches!(status, 200 | 400 | 404 | 422) && wording.says(&UNSUPPORTED))
    {
        return Some(rule(
            ErrorKind::NotFound,
            "no enabled provider serves this model: name another, or enable one that does in the account's settings",
        ));
    }
    if wording.is_named(&["model_not_found", "model_decommissioned", "model_not_available"]) {
        return Some(rule(
            ErrorKind::NotFound,
            "the backend does not have this model: check the model's name and the account's access to it",
        ));
    }
    if matches!(status, 200 | 400 | 404 | 422) && names_unsupported_model(&wording.message) {
        return Some(rule(
            ErrorKind::NotFound,
            "the backend does not serve this model: check the model's name and the account's access to it",
        ));
    }
    // The Hub answers 401 for what an anonymous caller may not see, also for what does not exist.
    match failure.headers.text("x-error-code")? {
        "RepoNotFound" | "EntryNotFound" | "RevisionNotFound" => Some(rule(
            ErrorKind::NotFound,
            "the repository, revision or file does not exist, or it is private and the token may not read it",
        )),
        _ => None,
    }
}

/// `model X is not supported`, in the words of many vendors. What comes after may say of what else.
fn names_unsupported_model(message: &str) -> bool {
    let Some((before, _)) = message.split_once(" is not supported") else { return false };
    let mut words = before.split_whitespace().rev();
    let name = words.next().unwrap_or_default();
    let noun = words.next().unwrap_or_default().trim_matches([':', '\'', '"', '`']);
    noun == "model" || (name == "model" && noun == "this")
}

/// What the model wrote is of no use, or its template does not know what to do with the conversation: the request is
/// right, and another model may serve it.
fn failed_generation(wording: &Wording) -> Option<Rule> {
    if wording.is_named(&["tool_use_failed"]) {
        return Some(rule(
            ErrorKind::ResponseInvalid,
            "the model wrote something else where it should have called a tool",
        ));
    }
    wording
        .is_named(&["template_error"])
        .then(|| rule(ErrorKind::Unsupported, "the model's chat template does not take this conversation"))
}

fn missing_permission(wording: &Wording, failure: &Failure<'_>, status: u16) -> Option<Rule> {
    if failure.headers.text("x-error-code") == Some("GatedRepo") {
        return Some(rule(
            ErrorKind::PermissionDenied,
            "the model is gated: accept its licence on its page with the account that owns the token",
        ));
    }
    let matches_rule = matches!(status, 200 | 403)
        && wording.says(&["sufficient permissions"])
        && wording.says(&["inference providers"]);
    matches_rule.then(|| {
        rule(
            ErrorKind::PermissionDenied,
            "the token may not do this: give the fine-grained token the permission \"Make calls to Inference Providers\"",
        )
    })
}

/// A spent daily quota. Google sends a short wait with it, which cannot help.
fn daily_quota(body: &ErrorBody, status: u16) -> Option<Rule> {
    let details = body.error()?.get("details")?.as_array()?;
    let violations = details.iter().filter_map(|detail| detail.get("violations")?.as_array()).flatten();
    let is_daily = |violation: &serde_json::Value| {
        violation.get("quotaId").and_then(serde_json::Value::as_str).is_some_and(|id| id.contains("PerDay"))
    };
    (matches!(status, 200 | 429) && violations.into_iter().any(is_daily)).then(|| {
        rule(ErrorKind::QuotaExceeded, "the daily quota is used up: wait until tomorrow or raise the quota")
    })
}

fn cold_start(wording: &Wording, body: &ErrorBody, status: u16) -> Option<Rule> {
    const PHRASES: [&str; 6] = [
        "currently loading",
        "loading model",
        "model is loading",
        "is starting",
        "warming up",
        "scaled to zero",
    ];
    let matches_rule = body.error().is_some_and(|error| error.get("estimated_time").is_some())
        || body.json.as_ref().is_some_and(|json| json.get("estimated_time").is_some())
        || wording.says(&PHRASES);
    (matches!(status, 200 | 500 | 502 | 503) && matches_rule)
        .then(|| rule(ErrorKind::ColdStart, "the model is loading: wait and try again"))
}

fn by_status(failure: &Failure<'_>, status: u16) -> Rule {
    use ErrorKind as K;
    match status {
        200..=299 => rule(K::Unavailable, "the backend reported an error inside a successful response"),
        300..=399 => rule(K::ResponseInvalid, "the backend redirected to another URL, which is not followed"),
        401 => rule(K::Unauthenticated, "the credential is missing or not accepted: check the key or token"),
        402 => spent_credits(),
        403 => rule(
            K::PermissionDenied,
            "the credential may not do this: check its permissions and the account's access to the model",
        ),
        404 | 410 => {
            rule(K::NotFound, "the model or route does not exist here: check model name and base URL")
        }
        405 => rule(K::Unsupported, "the backend does not offer this route: check the base URL"),
        407 => rule(K::Unauthenticated, "the proxy asks for credentials: check the proxy's URL"),
        408 => rule(K::Timeout, "the backend gave up waiting for the request"),
        409 => rule(K::Conflict, "the request contradicts the state of the resource"),
        413 | 414 | 431 => {
            rule(K::InvalidRequest, "the request is too large for the backend: send less at a time")
        }
        424 => rule(K::Unavailable, "the model behind the backend failed"),
        425 | 429 => rule(K::RateLimited, "too many requests for the moment"),
        451 => rule(K::PermissionDenied, "the backend may not serve this for legal reasons"),
        498 => rule(K::Unavailable, "the capacity of this service tier is used up for the moment"),
        499 => rule(K::Unavailable, "the backend closed the request before it was served"),
        400..=499 => rule(K::InvalidRequest, "the backend refuses the request as invalid"),
        501 => rule(K::Unsupported, "the backend does not offer this operation"),
        504 | 524 => {
            rule(K::Unavailable, "a gateway gave up waiting for the backend: long answers need streaming")
        }
        500..=599 if failure.body.is_html => {
            rule(K::Unavailable, "a gateway answered in place of the backend, with an HTML page")
        }
        500..=599 => rule(K::Unavailable, "the backend failed to serve the request"),
        _ => rule(K::ResponseInvalid, "the backend answered with a status that HTTP does not know"),
    }
}

/// The sentence with what the vendor calls the error, as far as that is a name and not a text.
fn with_details(sentence: &str, body: &ErrorBody) -> String {
    let mut message = sentence.to_owned();
    let named = [("code", &body.code), ("type", &body.error_type), ("param", &body.param)];
    let mut separator = " (";
    for (name, value) in named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))) {
        if is_name(value) {
            // Writing to a string cannot fail.
            let _ = write!(message, "{separator}{name}: {}", super::redact::mask(value));
            separator = ", ";
        }
    }
    if separator == ", " {
        message.push(')');
    }
    message
}

fn is_name(text: &str) -> bool {
    const LONGEST: usize = 64;
    !text.is_empty()
        && text.len() <= LONGEST
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:[]".contains(c))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
