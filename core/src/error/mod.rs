//! One error type for every backend, local or hosted.
//!
//! Nothing in ayni decides by parsing a message: what went wrong is [`ErrorKind`], whether another attempt
//! may help is [`Error::is_temporary`], how long to wait is [`Error::retry_after`], and whether the request
//! may already have been served is [`Error::sent`]. The kind strings are the same in Rust, Python, Node,
//! the JSON cases of the behaviour suite and the documentation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod data;
mod input;
mod kind;
mod operation;

pub(crate) use data::as_milliseconds;
pub use kind::ErrorKind;
pub use operation::Operation;

/// The result of every fallible call in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Whether another attempt may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Persistence {
    /// Another attempt cannot help.
    Permanent,
    /// Another attempt may help.
    Temporary,
    /// Another attempt might have helped, but the attempts allowed are used up.
    Exhausted,
}

impl Persistence {
    /// `permanent`, `temporary` or `exhausted`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Temporary => "temporary",
            Self::Exhausted => "exhausted",
        }
    }
}

/// Whether the backend may have received the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sent {
    /// Certainly not: the call failed before a connection was established.
    No,
    /// Perhaps: the connection failed after bytes may have left.
    Maybe,
    /// Certainly: the backend answered.
    Yes,
}

impl Sent {
    /// `no`, `maybe` or `yes`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}

/// One backend that failed before another one answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RouteFailure {
    /// The backend's name.
    pub backend: Arc<str>,
    /// The model it was asked for.
    pub model: Arc<str>,
    /// The kind of its error.
    pub kind: ErrorKind,
}

/// Why a call failed. One pointer wide.
///
/// `Display` is one line and never holds a prompt, an input, a key or a URL with a query string; `{:?}` adds
/// the context pairs and the chain of causes.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    persistence: Persistence,
    operation: Option<Operation>,
    backend: Option<String>,
    message: String,
    context: Vec<(&'static str, String)>,
    http_status: Option<u16>,
    retry_after: Option<Duration>,
    request_id: Option<String>,
    sent: Sent,
    partial_text: Option<String>,
    response_excerpt: Option<String>,
    failed: Vec<RouteFailure>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind`, temporary or permanent as that kind usually is, before anything was sent.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let persistence = if kind.is_temporary() { Persistence::Temporary } else { Persistence::Permanent };
        Self {
            inner: Box::new(Inner {
                kind,
                persistence,
                operation: None,
                backend: None,
                message: message.into(),
                context: Vec::new(),
                http_status: None,
                retry_after: None,
                request_id: None,
                sent: Sent::No,
                partial_text: None,
                response_excerpt: None,
                failed: Vec::new(),
                source: None,
            }),
        }
    }

    /// The same error, told otherwise.
    #[cfg(feature = "candle")]
    pub(crate) fn map_message(mut self, told: impl FnOnce(&str) -> String) -> Self {
        self.inner.message = told(&self.inner.message);
        self
    }

    /// A configuration error.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ConfigInvalid, message)
    }

    /// An error of the caller's request.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, message)
    }

    /// An operation that is not offered.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// An option of a request that the backend does not have: `option` is its name. Servers leave some of them out, and say
    /// so.
    pub(crate) fn unsupported_option(option: &str, message: impl Into<String>) -> Self {
        Self::unsupported(message).with_context("option", option)
    }

    /// An answer that violates the protocol.
    pub fn response_invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ResponseInvalid, message).with_sent(Sent::Yes)
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether another attempt may help now. False once the attempts allowed are used up.
    pub fn is_temporary(&self) -> bool {
        self.inner.persistence == Persistence::Temporary
    }

    /// Permanent, temporary or exhausted.
    pub fn persistence(&self) -> Persistence {
        self.inner.persistence
    }

    /// The operation that failed; a handle sets it.
    pub fn operation(&self) -> Option<Operation> {
        self.inner.operation
    }

    /// The backend that failed, by the name it has in [`BackendInfo`](crate::BackendInfo).
    pub fn backend(&self) -> Option<&str> {
        self.inner.backend.as_deref()
    }

    /// One sentence for the person who can fix it.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Named facts about the failure, in the order they were added.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.inner.context
    }

    /// The HTTP status, where one arrived.
    pub fn http_status(&self) -> Option<u16> {
        self.inner.http_status
    }

    /// How long to wait before the next attempt, where the backend says so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// The backend's id of the failed request.
    pub fn request_id(&self) -> Option<&str> {
        self.inner.request_id.as_deref()
    }

    /// Whether the backend may have received the request.
    pub fn sent(&self) -> Sent {
        self.inner.sent
    }

    /// The text that a stream delivered before it failed.
    pub fn partial_text(&self) -> Option<&str> {
        self.inner.partial_text.as_deref()
    }

    /// The beginning of the backend's error body with credentials masked, at most 2 KiB.
    ///
    /// Kept apart from the message because a backend may echo the request in it; neither `Display` nor
    /// `Debug` shows it.
    pub fn response_excerpt(&self) -> Option<&str> {
        self.inner.response_excerpt.as_deref()
    }

    /// The backends that were tried, in order, where there was more than one; the last is the one of this error.
    pub fn failed(&self) -> &[RouteFailure] {
        &self.inner.failed
    }

    /// Sets whether another attempt may help, where the backend knows better than the kind.
    pub fn with_persistence(mut self, persistence: Persistence) -> Self {
        self.inner.persistence = persistence;
        self
    }

    /// Names the operation unless it is named already.
    pub fn with_operation(mut self, operation: Operation) -> Self {
        self.inner.operation.get_or_insert(operation);
        self
    }

    /// Names the backend unless it is named already.
    pub fn with_backend(mut self, backend: impl Into<String>) -> Self {
        self.inner.backend.get_or_insert_with(|| backend.into());
        self
    }

    /// Adds a named fact. Never a prompt, an input, a key or a URL with a query string.
    pub fn with_context(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.inner.context.push((name, value.into()));
        self
    }

    /// Sets the HTTP status. An answer arrived, so the request was sent.
    pub fn with_http_status(mut self, status: u16) -> Self {
        self.inner.http_status = Some(status);
        self.inner.sent = Sent::Yes;
        self
    }

    /// Sets how long to wait before the next attempt.
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.inner.retry_after = Some(wait);
        self
    }

    /// Sets the backend's id of the request.
    pub fn with_request_id(mut self, request_id: impl Into<String>) -> Self {
        self.inner.request_id = Some(request_id.into());
        self
    }

    /// Sets whether the backend may have received the request.
    pub fn with_sent(mut self, sent: Sent) -> Self {
        self.inner.sent = sent;
        self
    }

    /// Sets the text that arrived before the failure.
    pub fn with_partial_text(mut self, text: impl Into<String>) -> Self {
        self.inner.partial_text = Some(text.into());
        self
    }

    /// Sets the beginning of the backend's error body. The caller has masked credentials.
    pub fn with_response_excerpt(mut self, excerpt: impl Into<String>) -> Self {
        self.inner.response_excerpt = Some(excerpt.into());
        self
    }

    /// Sets the backends that were tried.
    pub fn with_failed(mut self, failed: Vec<RouteFailure>) -> Self {
        self.inner.failed = failed;
        self
    }

    /// Sets the cause.
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.inner.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        write!(f, "{}", inner.kind)?;
        if inner.persistence != Persistence::Permanent {
            write!(f, " ({})", inner.persistence.as_str())?;
        }
        if let Some(operation) = inner.operation {
            write!(f, " at {operation}")?;
        }
        if let Some(backend) = &inner.backend {
            write!(f, " [{backend}]")?;
        }
        write!(f, ": {}", inner.message)?;
        if let Some(status) = inner.http_status {
            write!(f, "; status={status}")?;
        }
        if let Some(wait) = inner.retry_after {
            write!(f, "; retry_after={:.3}s", wait.as_secs_f64())?;
        }
        if let Some(request_id) = &inner.request_id {
            write!(f, "; request_id={request_id}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        if self.inner.sent != Sent::No {
            write!(f, "\n  sent: {}", self.inner.sent.as_str())?;
        }
        for (name, value) in &self.inner.context {
            write!(f, "\n  {name}: {value}")?;
        }
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.inner.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn every_kind_parses_back_from_its_own_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::parse(kind.as_str()), Some(*kind));
        }
        assert_eq!(ErrorKind::parse("RateLimited"), None);
    }

    #[test]
    fn display_is_one_line_and_hides_the_response_excerpt() {
        let error = Error::new(ErrorKind::RateLimited, "slow down")
            .with_operation(Operation::Chat)
            .with_backend("groq")
            .with_http_status(429)
            .with_retry_after(Duration::from_millis(1500))
            .with_request_id("req-1")
            .with_context("limit", "tokens")
            .with_response_excerpt("prompt echoed here");
        assert_eq!(
            error.to_string(),
            "rate_limited (temporary) at chat [groq]: slow down; status=429; retry_after=1.500s; request_id=req-1"
        );
        let debug = format!("{error:?}");
        assert!(debug.contains("limit: tokens") && debug.contains("sent: yes"), "{debug}");
        assert!(!debug.contains("echoed"), "{debug}");
    }

    #[test]
    fn debug_walks_the_chain_of_causes() {
        let cause = Error::new(ErrorKind::Unavailable, "connection refused");
        let error = Error::new(ErrorKind::Unexpected, "could not open").with_source(cause);
        assert!(format!("{error:?}").contains("caused by: unavailable (temporary): connection refused"));
    }
}
