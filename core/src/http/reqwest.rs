//! The built-in transport. The only file that names reqwest.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ::http::HeaderValue;
use ::reqwest::{Client, NoProxy, Proxy, dns, redirect};
use futures_util::StreamExt;

use super::address::is_public;
use super::headers::header_value;
use super::options::HttpOptions;
use super::redact::mask;
use super::tls::Tls;
use super::{HttpRequest, HttpResponse, Transport, TransportError, TransportPhase};
use crate::context::BoxFuture;
use crate::error::{Error, Result};
use crate::runtime;

/// Idle connections are closed after this time. Common load balancers close theirs after 60 s, and a request must not
/// be sent on a connection that is being closed.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// How many clients are kept; the least recently used one goes first.
const MAX_CLIENTS: usize = 32;

/// The transport of every context that carries none.
pub(super) fn shared() -> Result<Arc<dyn Transport>> {
    static SHARED: OnceLock<Arc<ReqwestTransport>> = OnceLock::new();
    let transport = match SHARED.get() {
        Some(transport) => Arc::clone(transport),
        None => {
            // Built outside the lock: a process that forks meanwhile must not inherit it locked.
            let built = Arc::new(ReqwestTransport::new(&HttpOptions::default())?);
            Arc::clone(SHARED.get_or_init(|| built))
        }
    };
    Ok(transport)
}

/// One pool of connections for each runtime, process, connect time-out and reach.
///
/// A pooled connection is driven by a task on the runtime that opened it. If that runtime is idle or gone, or belongs to
/// the parent of a forked process, a request on the connection would wait for ever. So each runtime and process has its
/// own clients. The connect time-out is part of a client in reqwest.
pub(super) struct ReqwestTransport {
    tls: Tls,
    proxy: ProxyChoice,
    user_agent: HeaderValue,
    /// The most recently used client is last.
    clients: Mutex<Vec<(ClientKey, Client)>>,
}

/// The proxy of requests that may take one.
enum ProxyChoice {
    /// The system's, if it has one.
    System,
    /// None.
    Direct,
    /// The one of the options.
    Given(Box<Proxy>),
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
    /// Anywhere, through the proxy if there is one.
    Anywhere,
    /// This machine, which no proxy could reach.
    Loopback,
    /// Public addresses. Without a proxy, which would look the name up again, unchecked.
    Public,
}

impl ReqwestTransport {
    /// # Errors
    /// `config_invalid` naming the option to mend.
    pub(super) fn new(options: &HttpOptions) -> Result<Self> {
        let user_agent = options.user_agent.as_deref().unwrap_or(concat!("ayni/", env!("CARGO_PKG_VERSION")));
        Ok(Self {
            tls: Tls::new(options)?,
            proxy: ProxyChoice::new(options)?,
            user_agent: header_value("user_agent", user_agent)?,
            clients: Mutex::new(Vec::new()),
        })
    }

    fn client(&self, key: ClientKey) -> Result<Client, TransportError> {
        if let Some(client) = self.known(key) {
            return Ok(client);
        }
        // Checked once per runtime, because reqwest would panic later.
        runtime::check_network().map_err(|error| unusable(error.message()))?;
        // Built outside the lock, which is only held for a search.
        let client = self.build(key).map_err(|error| unsent(innermost(&error)))?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS {
            let (evicted, unused) = clients.remove(0);
            if evicted.process != key.process {
                // Its connections are the parent process's: even closing them would reach into its sockets.
                std::mem::forget(unused);
            }
        }
        clients.push((key, client.clone()));
        Ok(client)
    }

    /// A new client. It repeats nothing but what an HTTP/2 server has refused unprocessed.
    fn build(&self, key: ClientKey) -> ::reqwest::Result<Client> {
        let builder = Client::builder()
            .tls_backend_preconfigured(self.tls.config.clone())
            .user_agent(self.user_agent.clone())
            .redirect(redirect::Policy::none())
            .referer(false)
            .gzip(true)
            .connect_timeout(key.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT);
        match (key.reach, &self.proxy) {
            (Reach::Anywhere, ProxyChoice::System) => builder,
            (Reach::Anywhere, ProxyChoice::Given(proxy)) => builder.proxy(Proxy::clone(proxy)),
            (Reach::Anywhere, ProxyChoice::Direct) | (Reach::Loopback, _) => builder.no_proxy(),
            (Reach::Public, _) => builder.no_proxy().dns_resolver(PublicResolver),
        }
        .build()
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
        let runtime = runtime::current().map_err(|error| unusable(error.message()))?;
        if let Some(reason) = self.tls.unusable.as_ref().filter(|_| request.url.scheme() == "https") {
            return Err(unusable(reason));
        }
        let key = ClientKey {
            process: std::process::id(),
            runtime: runtime.id(),
            connect_timeout: request.connect_timeout,
            reach: reach(&request)?,
        };
        let client = self.client(key)?;
        let mut response = client.execute(prepare(request)).await.map_err(|error| {
            let phase = if error.is_connect() || error.is_builder() {
                TransportPhase::Connect
            } else {
                TransportPhase::Exchange
            };
            failure(phase, &error)
        })?;
        let headers = std::mem::take(response.headers_mut());
        let status = response.status();
        let body =
            response.bytes_stream().map(|chunk| chunk.map_err(|error| failure(TransportPhase::Body, &error)));
        Ok(HttpResponse::new(status, headers, Box::pin(body)))
    }
}

/// Shows nothing: a proxy holds credentials.
impl fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestTransport").finish_non_exhaustive()
    }
}

impl Transport for ReqwestTransport {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
        Box::pin(self.exchange(request))
    }
}

impl ProxyChoice {
    /// # Errors
    /// `config_invalid` naming the option to mend.
    fn new(options: &HttpOptions) -> Result<Self> {
        let Some(given) = &options.proxy else {
            if !options.no_proxy.is_empty() {
                return Err(Error::config("`no_proxy` is set, but `proxy` is not"));
            }
            if options.proxy_username.is_some() || options.proxy_password.is_some() {
                return Err(Error::config("`proxy_username` or `proxy_password` is set, but `proxy` is not"));
            }
            return Ok(if options.system_proxy { Self::System } else { Self::Direct });
        };
        let url = url::Url::parse(given.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url.filter(url::Url::has_host) else {
            return Err(Error::config("`proxy` must be a URL such as http://proxy.example:3128"));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::config(
                "`proxy` must not hold credentials; they belong into `proxy_username` and `proxy_password`",
            ));
        }
        let proxy =
            Proxy::all(url).map_err(|_| Error::config("`proxy` is not a URL that a proxy can have"))?;
        let proxy = proxy.no_proxy(NoProxy::from_string(&options.no_proxy.join(",")));
        let proxy = match (&options.proxy_username, &options.proxy_password) {
            (None, None) => proxy,
            (name, password) => proxy.basic_auth(
                name.as_deref().unwrap_or_default(),
                password.as_ref().map_or("", |password| password.expose()),
            ),
        };
        Ok(Self::Given(Box::new(proxy)))
    }
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

/// Looks names up and keeps the public addresses only. The connection goes to the addresses that were checked, without a
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

fn prepare(request: HttpRequest) -> ::reqwest::Request {
    let mut prepared = ::reqwest::Request::new(request.method, request.url);
    *prepared.headers_mut() = request.headers;
    if !request.body.is_empty() {
        *prepared.body_mut() = Some(request.body.into());
    }
    prepared
}

fn unusable(message: impl Into<String>) -> TransportError {
    TransportError::new(TransportPhase::Setup, message)
}

fn unsent(message: impl Into<String>) -> TransportError {
    TransportError::new(TransportPhase::Connect, message)
}

fn failure(phase: TransportPhase, error: &::reqwest::Error) -> TransportError {
    TransportError { timed_out: error.is_timeout(), ..TransportError::new(phase, innermost(error)) }
}

/// What the innermost cause says. The outer errors only add the URL and "error sending request".
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

#[cfg(test)]
#[path = "options_tests.rs"]
mod options_tests;
