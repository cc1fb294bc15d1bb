//! The built-in transport. The only file that names reqwest.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ::reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use ::reqwest::{Client, dns, redirect};
use futures_util::StreamExt;
use rustls_platform_verifier::BuilderVerifierExt;

use super::address::is_public;
use super::redact::mask;
use super::{Headers, HttpRequest, HttpResponse, Method, Transport, TransportError, TransportPhase};
use crate::context::BoxFuture;
use crate::error::{Error, ErrorKind, Result};

/// Connections idle for longer are closed: below the 60 s after which common load balancers close theirs, so
/// that a request does not meet a connection on its way out.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// How many clients are kept; the one unused for longest goes first.
const MOST_CLIENTS: usize = 32;

/// The transport that every context without one of its own shares.
pub(super) fn shared() -> Result<Arc<dyn Transport>> {
    static SHARED: OnceLock<Arc<ReqwestTransport>> = OnceLock::new();
    let transport = match SHARED.get() {
        Some(transport) => Arc::clone(transport),
        None => {
            // Built outside the lock: a process that forks meanwhile must not inherit it locked.
            let built = Arc::new(ReqwestTransport::new()?);
            Arc::clone(SHARED.get_or_init(|| built))
        }
    };
    Ok(transport)
}

/// One pool of connections a runtime, process, connect time-out and reach.
///
/// A pooled connection is driven by a task on the runtime that opened it. If that runtime stands still or is
/// gone, or belongs to the parent of a forked process, a request on the connection would wait for ever: so
/// each runtime and process has clients of its own. The connect time-out is part of a client in reqwest.
#[derive(Debug)]
struct ReqwestTransport {
    tls: Tls,
    /// The client used last stands last.
    clients: Mutex<Vec<(ClientKey, Client)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ClientKey {
    process: u32,
    runtime: tokio::runtime::Id,
    connect_timeout: Duration,
    reach: Reach,
}

/// Where a client may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Anywhere, through the system's proxy if it has one.
    Anywhere,
    /// This machine: no proxy could reach it.
    Loopback,
    /// Public addresses. Without proxy, because a proxy would look the name up anew, out of our sight.
    Public,
}

#[derive(Debug)]
struct Tls {
    config: rustls::ClientConfig,
    /// Why no certificate can be verified here. Plain HTTP, so any backend on this machine, still works.
    unusable: Option<String>,
}

impl ReqwestTransport {
    fn new() -> Result<Self> {
        Ok(Self { tls: Tls::new()?, clients: Mutex::new(Vec::new()) })
    }

    fn client(&self, key: ClientKey) -> Result<Client, TransportError> {
        if let Some(client) = self.known(key) {
            return Ok(client);
        }
        // Built without the lock, which is so never held for longer than a search.
        let client = build(key, self.tls.config.clone()).map_err(|error| unsent(innermost(&error)))?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MOST_CLIENTS {
            let (evicted, unused) = clients.remove(0);
            if evicted.process != key.process {
                // Its connections are the parent process's: even closing them would reach into its sockets.
                std::mem::forget(unused);
            }
        }
        clients.push((key, client.clone()));
        Ok(client)
    }

    fn known(&self, key: ClientKey) -> Option<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let position = clients.iter().rposition(|(known, _)| *known == key)?;
        if let Some(behind) = clients.get_mut(position..) {
            behind.rotate_left(1);
        }
        clients.last().map(|(_, client)| client.clone())
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| unsent("the built-in transport works inside a tokio runtime only"))?;
        if let Some(reason) = self.tls.unusable.as_ref().filter(|_| request.url.scheme() == "https") {
            return Err(unsent(reason));
        }
        let key = ClientKey {
            process: std::process::id(),
            runtime: runtime.id(),
            connect_timeout: request.connect_timeout,
            reach: reach(&request)?,
        };
        let client = self.client(key)?;
        let response = client.execute(prepare(request)?).await.map_err(|error| {
            let phase = if error.is_connect() || error.is_builder() {
                TransportPhase::Connect
            } else {
                TransportPhase::Exchange
            };
            failure(phase, &error)
        })?;
        let headers = headers_of(response.headers());
        let status = response.status().as_u16();
        let body =
            response.bytes_stream().map(|chunk| chunk.map_err(|error| failure(TransportPhase::Body, &error)));
        Ok(HttpResponse::new(status, headers, Box::pin(body)))
    }
}

impl Transport for ReqwestTransport {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
        Box::pin(self.exchange(request))
    }
}

impl Tls {
    /// ring is named because no provider may be installed for the whole process, or another one.
    fn new() -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = || {
            rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| Error::new(ErrorKind::Unexpected, format!("TLS cannot be set up: {error}")))
        };
        let (mut config, unusable) = match builder()?.with_platform_verifier() {
            Ok(verified) => (verified.with_no_client_auth(), None),
            Err(error) => {
                let none = builder()?.with_root_certificates(rustls::RootCertStore::empty());
                let reason =
                    format!("this machine's CA certificates cannot be read, https is not possible: {error}");
                (none.with_no_client_auth(), Some(reason))
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config, unusable })
    }
}

/// The only thing that such a client sends twice is what an HTTP/2 server has refused unprocessed.
fn build(key: ClientKey, tls: rustls::ClientConfig) -> ::reqwest::Result<Client> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("ayni/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .referer(false)
        .gzip(true)
        .connect_timeout(key.connect_timeout)
        .pool_idle_timeout(POOL_IDLE);
    match key.reach {
        Reach::Anywhere => builder,
        Reach::Loopback => builder.no_proxy(),
        Reach::Public => builder.no_proxy().dns_resolver(PublicResolver),
    }
    .build()
}

/// # Errors
/// If only public hosts may be connected to and the URL names an address that is not.
fn reach(request: &HttpRequest) -> Result<Reach, TransportError> {
    let address = match request.url.host() {
        Some(url::Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(url::Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(url::Host::Domain(_)) | None => None,
    };
    if request.public_hosts_only {
        return match address {
            Some(ip) if !is_public(ip) => Err(unsent(NOT_PUBLIC)),
            _ => Ok(Reach::Public),
        };
    }
    let named_localhost = request.url.host_str().is_some_and(|host| host.eq_ignore_ascii_case("localhost"));
    let local = named_localhost || address.is_some_and(|ip| ip.is_loopback());
    Ok(if local { Reach::Loopback } else { Reach::Anywhere })
}

const NOT_PUBLIC: &str = "the host is not on the public internet, and only such hosts may be reached here";

/// Looks names up and keeps the public addresses only. The connection goes to what was checked: there is no
/// second look-up that could answer differently.
#[derive(Debug)]
struct PublicResolver;

impl dns::Resolve for PublicResolver {
    fn resolve(&self, name: dns::Name) -> dns::Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NOT_PUBLIC.into());
            }
            let addresses: dns::Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

fn prepare(request: HttpRequest) -> Result<::reqwest::Request, TransportError> {
    let method = match request.method {
        Method::Get => ::reqwest::Method::GET,
        Method::Post => ::reqwest::Method::POST,
        Method::Put => ::reqwest::Method::PUT,
        Method::Delete => ::reqwest::Method::DELETE,
        Method::Head => ::reqwest::Method::HEAD,
    };
    let mut prepared = ::reqwest::Request::new(method, request.url);
    for (name, value) in request.headers.iter() {
        let (field, value) = header(name, value)
            .ok_or_else(|| unsent(format!("the header field '{}' cannot be sent", name.escape_debug())))?;
        prepared.headers_mut().append(field, value);
    }
    if !request.body.is_empty() {
        *prepared.body_mut() = Some(request.body.into());
    }
    Ok(prepared)
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let field = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut sent = HeaderValue::from_str(value).ok()?;
    // Kept out of HTTP/2's compression tables and of debug output.
    sent.set_sensitive(Headers::is_credential(name));
    Some((field, sent))
}

fn headers_of(map: &HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in map {
        headers.push(name.as_str(), String::from_utf8_lossy(value.as_bytes()));
    }
    headers
}

fn unsent(message: impl Into<String>) -> TransportError {
    TransportError::new(TransportPhase::Connect, message)
}

fn failure(phase: TransportPhase, error: &::reqwest::Error) -> TransportError {
    TransportError { timed_out: error.is_timeout(), ..TransportError::new(phase, innermost(error)) }
}

/// What the last cause says. The outer errors add the URL and "error sending request", nothing of use.
fn innermost(error: &::reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    let mut message = None;
    while let Some(error) = cause {
        message = Some(error.to_string()).filter(|text| !text.is_empty()).or(message);
        cause = error.source();
    }
    mask(&message.unwrap_or_else(|| "the exchange failed".to_owned()))
}

#[cfg(test)]
#[path = "reqwest_tests.rs"]
mod tests;
