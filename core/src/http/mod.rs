//! HTTP as the hosted backends see it.
//!
//! A [`Transport`] moves one request and one response; it uses the types of the crate `http`, and you may bring your own. The
//! built-in one is behind the feature `http`; its settings are [`HttpOptions`]. What is the same for every hosted API —
//! bounds, redirects, phases, decoding, the status table — is in the files beside this one and works over any transport.
//!
//! ```
//! # #[cfg(feature = "http")] {
//! use ayni::Context;
//! use ayni::http::HttpOptions;
//!
//! let options = HttpOptions::default().with_proxy("http://proxy.example:3128").with_no_proxy(["intranet.example"]);
//! let cx = Context::new().with_transport(options.transport()?);
//! # }
//! # Ok::<_, ayni::Error>(())
//! ```

use std::sync::Arc;

use crate::context::Context;
#[cfg(not(feature = "http"))]
use crate::error::Error;
use crate::error::Result;

pub(crate) mod address;
pub(crate) mod body;
pub(crate) mod client;
mod error_body;
pub(crate) mod exchange;
mod headers;
pub(crate) mod json;
mod lines;
#[cfg(test)]
mod lines_tests;
pub(crate) mod multipart;
mod ndjson;
mod options;
pub(crate) mod redact;
#[cfg(feature = "http")]
mod reqwest;
mod sse;
pub(crate) mod status;
#[cfg(feature = "http")]
mod tls;
pub(crate) mod wait;

pub use crate::transport::{
    BodyStream, HttpRequest, HttpResponse, Transport, TransportError, TransportPhase, is_credential_header,
};
pub use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
#[cfg(test)]
pub(crate) use headers::header_map;
pub(crate) use headers::{HeaderText, header_value};
pub use lines::FrameTooLarge;
pub use ndjson::LineParser;
pub use options::HttpOptions;
pub use sse::{SseItem, SseParser};

/// The transport of a call: the one that its context carries, else the built-in one.
///
/// # Errors
/// `unsupported` where the context carries none and the feature `http` is not compiled in.
pub fn transport(cx: &Context) -> Result<Arc<dyn Transport>> {
    match cx.transport() {
        Some(transport) => Ok(Arc::clone(transport)),
        None => built_in(),
    }
}

#[cfg(feature = "http")]
fn built_in() -> Result<Arc<dyn Transport>> {
    reqwest::shared()
}

#[cfg(not(feature = "http"))]
fn built_in() -> Result<Arc<dyn Transport>> {
    Err(Error::unsupported(
        "ayni was built without the feature `http`; enable it, or give the context a transport of your own",
    ))
}
