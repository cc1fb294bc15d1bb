//! What moves HTTP requests: the contract of a transport, and the request and response that it moves.
//!
//! The words are those of the crate `http`. The built-in transport is in [`ayni::http`](crate::http), behind the feature
//! `http`; a [`Context`](crate::Context) may carry another one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ::http::{HeaderMap, Method, StatusCode};
use bytes::Bytes;
use futures_core::Stream;

use crate::error::{Result, Sent};

/// A boxed future, as object-safe traits return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Moves one request and one response. It follows no redirect, retries nothing and knows no API.
///
/// ```
/// use ayni::context::BoxFuture;
/// use ayni::http::{
///     HeaderMap, HttpRequest, HttpResponse, StatusCode, Transport, TransportError, TransportPhase,
/// };
///
/// /// A network that is down.
/// #[derive(Debug)]
/// struct Down;
///
/// impl Transport for Down {
///     fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
///         Box::pin(async move {
///             if request.url.path() == "/health" {
///                 let body = Box::pin(futures_util::stream::empty());
///                 return Ok(HttpResponse::new(StatusCode::NO_CONTENT, HeaderMap::new(), body));
///             }
///             Err(TransportError::new(TransportPhase::Connect, "the network is down"))
///         })
///     }
/// }
/// ```
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends `request` and waits for the status line and the header fields. Dropping the future or the response's body
    /// closes the connection.
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>>;
}

/// One request, ready to send. `Debug` shows neither the query string, nor credentials, nor the body.
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: url::Url,
    /// The header fields. Values that are credentials are marked as sensitive.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Whether to connect to public addresses only: set for URLs that a backend's answer named.
    pub public_hosts_only: bool,
}

impl HttpRequest {
    /// A request without header fields or body.
    pub fn new(method: Method, url: url::Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            connect_timeout: Duration::from_secs(10),
            public_hosts_only: false,
        }
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("path", &self.url.path())
            .field("headers", &Masked(&self.headers))
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The bytes of a response as they arrive, already decompressed.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// A response whose body has not been read yet. `Debug` shows no credentials.
#[non_exhaustive]
pub struct HttpResponse {
    /// The status code.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: BodyStream,
}

impl HttpResponse {
    /// A response.
    pub fn new(status: StatusCode, headers: HeaderMap, body: BodyStream) -> Self {
        Self { status, headers, body }
    }
}

#[cfg(test)]
impl HttpResponse {
    /// A response for tests, with its whole body in one piece.
    pub(crate) fn of(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let body = futures_util::stream::iter([Ok(body.into())]);
        Self::new(
            StatusCode::from_u16(status).expect("a status"),
            crate::http::header_map(headers),
            Box::pin(body),
        )
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("headers", &Masked(&self.headers))
            .finish_non_exhaustive()
    }
}

/// Whether a header field of this name carries a credential, which must be neither shown nor sent to another host.
pub fn is_credential_header(name: &str) -> bool {
    const CREDENTIALS: [&str; 9] = [
        "authorization",
        "x-hf-authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "cookie",
        "set-cookie",
        "ticket",
        "proxy-authorization",
    ];
    CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential))
}

/// Header fields as `Debug` shows them: credentials masked.
struct Masked<'a>(&'a HeaderMap);

impl fmt::Debug for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_map();
        for (name, value) in self.0 {
            let is_credential = value.is_sensitive() || is_credential_header(name.as_str());
            if is_credential {
                fields.entry(name, &"***")
            } else {
                fields.entry(name, value)
            };
        }
        fields.finish()
    }
}

/// Where in an exchange a transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportPhase {
    /// The transport cannot work here: its settings are wrong, or there is no runtime for it. Nothing was sent, another
    /// attempt cannot help, and the message says what to do.
    Setup,
    /// No connection was made: nothing was sent.
    Connect,
    /// The connection failed while or after the request was sent, before a status line came.
    Exchange,
    /// The connection failed inside the body.
    Body,
}

/// A failure below HTTP: no answer, or half of one. Holds no URL.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    /// Where it failed.
    pub phase: TransportPhase,
    /// Whether it was a time-out of the transport itself.
    pub timed_out: bool,
    /// What the operating system or the library said, without URL.
    pub message: String,
}

impl TransportError {
    /// A failure.
    pub fn new(phase: TransportPhase, message: impl Into<String>) -> Self {
        Self { phase, timed_out: false, message: message.into() }
    }

    /// Whether the backend may have received the request.
    pub fn sent(&self) -> Sent {
        match self.phase {
            TransportPhase::Setup | TransportPhase::Connect => Sent::No,
            TransportPhase::Exchange => Sent::Maybe,
            TransportPhase::Body => Sent::Yes,
        }
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    #[test]
    fn debug_shows_neither_credentials_nor_queries_nor_bodies() {
        let mut headers = HeaderMap::new();
        let mut marked = HeaderValue::from_static("CANARY");
        marked.set_sensitive(true);
        headers.insert("x-bread", marked);
        for name in ["authorization", "cookie", "set-cookie", "x-api-key", "ticket"] {
            headers.append(name, HeaderValue::from_static("CANARY"));
        }
        headers.append("accept", HeaderValue::from_static("text/plain"));
        let url = "https://x.test/a?key=CANARY".parse().expect("a URL");
        let request = HttpRequest {
            headers: headers.clone(),
            body: Bytes::from_static(b"CANARY"),
            ..HttpRequest::new(Method::POST, url)
        };
        let response = HttpResponse::new(StatusCode::OK, headers, Box::pin(futures_util::stream::empty()));
        for shown in [format!("{request:?}"), format!("{response:?}")] {
            assert!(!shown.contains("CANARY"), "{shown}");
            assert!(
                shown.contains("\"accept\": \"text/plain\"") && shown.contains("\"x-bread\": \"***\""),
                "{shown}"
            );
        }
    }

    #[test]
    fn the_phase_says_whether_the_request_was_sent() {
        let sent = |phase| TransportError::new(phase, "x").sent();
        assert_eq!([sent(TransportPhase::Setup), sent(TransportPhase::Connect)], [Sent::No, Sent::No]);
        assert_eq!([sent(TransportPhase::Exchange), sent(TransportPhase::Body)], [Sent::Maybe, Sent::Yes]);
    }
}
