//! HTTP as the hosted backends see it.
//!
//! The types here name no HTTP library. [`Transport`] moves one request and one response; the built-in one is
//! behind the `http` feature and lives in the only file that names reqwest. Everything that is the same for
//! every hosted API — bounds, redirects, phases, decoding, the status table — is in the files beside this one
//! and works over any transport.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;

use crate::context::BoxFuture;
#[cfg(not(feature = "http"))]
use crate::error::Error;
use crate::error::{Result, Sent};

mod address;
pub(crate) mod body;
pub(crate) mod client;
mod error_body;
pub(crate) mod exchange;
mod lines;
#[cfg(test)]
mod lines_tests;
pub(crate) mod multipart;
mod ndjson;
pub(crate) mod redact;
#[cfg(feature = "http")]
mod reqwest;
mod sse;
pub(crate) mod status;
pub(crate) mod wait;

pub use lines::FrameTooLarge;
pub use ndjson::LineParser;
pub use sse::{SseItem, SseParser};

/// An HTTP method that the hosted APIs use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Reads.
    Get,
    /// Asks for work.
    Post,
    /// Cancels a queued job at some providers.
    Put,
    /// Removes.
    Delete,
    /// Reads the header only.
    Head,
}

impl Method {
    /// The method as it stands in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
        }
    }
}

/// Header fields in order. Names compare without case. `Debug` masks the credentials among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field, keeping others of the same name.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Sets a field, replacing others of the same name.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.push(name, value);
    }

    /// Removes every field of this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
    }

    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every field.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether a field of this name carries a credential and must not be shown or sent to another host.
    pub fn is_credential(name: &str) -> bool {
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
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|(name, value)| (name, if Self::is_credential(name) { "***" } else { value })),
            )
            .finish()
    }
}

/// One request, ready to send. `Debug` shows neither the query string nor the body.
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The whole URL.
    pub url: url::Url,
    /// The header fields.
    pub headers: Headers,
    /// The body; empty for none.
    pub body: Bytes,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
    /// Whether only public addresses may be connected to: set for URLs that a backend's answer named.
    pub public_hosts_only: bool,
}

impl HttpRequest {
    /// A request without header fields or body.
    pub fn new(method: Method, url: url::Url) -> Self {
        Self {
            method,
            url,
            headers: Headers::new(),
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
            .field("headers", &self.headers)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The bytes of a response as they arrive, already decompressed.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>> + Send>>;

/// A response whose body has not been read yet.
#[non_exhaustive]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
    /// The body.
    pub body: BodyStream,
}

impl HttpResponse {
    /// A response.
    pub fn new(status: u16, headers: Headers, body: BodyStream) -> Self {
        Self { status, headers, body }
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Where in an exchange the transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportPhase {
    /// No connection stood: nothing was sent.
    Connect,
    /// The connection failed while or after sending, before a status line came.
    Exchange,
    /// The connection failed inside the body.
    Body,
}

/// A failure below HTTP: no answer, or half of one. Holds no URL.
#[derive(Debug)]
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
            TransportPhase::Connect => Sent::No,
            TransportPhase::Exchange => Sent::Maybe,
            TransportPhase::Body => Sent::Yes,
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TransportError {}

/// Moves one request and one response. It follows no redirect, retries nothing and knows no API.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends `request` and waits for the status line and header fields. Dropping the future or the response's
    /// body closes the connection.
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>>;
}

/// The transport of a context that names none.
pub(crate) fn default_transport() -> Result<Arc<dyn Transport>> {
    #[cfg(feature = "http")]
    return reqwest::shared();
    #[cfg(not(feature = "http"))]
    Err(Error::unsupported("built without the `http` feature; give the context a transport of your own"))
}
