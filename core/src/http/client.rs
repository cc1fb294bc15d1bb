//! A client of one hosted API: its address, its credentials, the meaning of its failures.
//!
//! A backend builds one [`ApiClient`] and makes every call through it. What is the same for all of them — phases, bounds,
//! redirects, the status table, request ids — happens in [`exchange`](super::exchange).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use memchr::memmem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::body::{Body, EventStream, LineStream};
use super::multipart::Multipart;
use super::redact::MASK;
use super::status::{Failure, Verdict};
use super::{HeaderText, HttpRequest, is_credential_header};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::info::CredentialId;
use crate::secret::Secret;

/// The most bytes of one response that are held in memory.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 20;

/// Shorter ones are no secrets, and would be found everywhere.
const MIN_SECRET_BYTES: usize = 4;

/// A vendor's own rules for its failures; `None` leaves a failure to the status table.
pub(crate) type Classify = fn(&Failure<'_>) -> Option<Verdict>;

/// The credential of a request.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    /// None.
    None,
    /// `Authorization: Bearer …`
    Bearer(Secret),
    /// `Authorization: <scheme> …`, where a vendor has a scheme of its own.
    Scheme(&'static str, Secret),
    /// A header of the vendor's own.
    Header(&'static str, Secret),
    /// A parameter of the query string, for vendors that take it nowhere else. It is added to the URL when the request is
    /// sent, so that no other place ever holds it.
    #[cfg_attr(not(feature = "procurement"), allow(dead_code, reason = "only Mercado Público needs it"))]
    Query(&'static str, Secret),
}

impl Auth {
    /// Bearer authentication if there is a credential.
    pub(crate) fn bearer(credential: Option<&Secret>) -> Self {
        credential
            .filter(|secret| !secret.is_empty())
            .map_or(Self::None, |secret| Self::Bearer(secret.clone()))
    }

    fn secret(&self) -> Option<&Secret> {
        match self {
            Self::None => None,
            Self::Bearer(secret)
            | Self::Scheme(_, secret)
            | Self::Header(_, secret)
            | Self::Query(_, secret) => Some(secret),
        }
    }

    /// # Errors
    /// `config_invalid` if HTTP does not allow the credential in a header.
    fn apply(&self, backend: &str, request: &mut HttpRequest) -> Result<()> {
        let (name, value) = match self {
            Self::None => return Ok(()),
            Self::Bearer(secret) => (AUTHORIZATION.as_str(), format!("Bearer {}", secret.expose())),
            Self::Scheme(scheme, secret) => (AUTHORIZATION.as_str(), format!("{scheme} {}", secret.expose())),
            Self::Header(name, secret) => (*name, secret.expose().to_owned()),
            Self::Query(name, secret) => {
                request.url.query_pairs_mut().append_pair(name, secret.expose());
                return Ok(());
            }
        };
        let value = Zeroizing::new(value);
        let field = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok());
        let Some((name, mut value)) = field else {
            return Err(Error::config(format!(
                "the credential of backend '{backend}' holds a character that HTTP does not allow in a header"
            )));
        };
        // Kept out of HTTP/2's compression tables and of debug output.
        value.set_sensitive(true);
        request.headers.insert(name, value);
        Ok(())
    }
}

/// One hosted API.
#[derive(Clone)]
pub(crate) struct ApiClient {
    pub(super) backend: Arc<str>,
    pub(super) base: Url,
    pub(super) classify: Classify,
    auths: Vec<Auth>,
    headers: HeaderMap,
    /// Parameters of every request's query. Never a credential.
    query: Vec<(&'static str, String)>,
}

impl ApiClient {
    /// An API at `base_url`, which must be an http or https URL without query.
    ///
    /// # Errors
    /// `config_invalid` naming `backend` and `base_url`.
    pub(crate) fn new(backend: &str, base_url: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::config(format!("the base URL of backend '{backend}' {why}"))
                .with_context("field", "base_url")
        };
        if base_url.trim().is_empty() {
            return Err(refuse("is not set"));
        }
        let mut base =
            Url::parse(base_url.trim()).map_err(|error| refuse(&format!("is not a URL: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(refuse("must begin with http:// or https:// and name a host"));
        }
        if base.query().is_some() || !base.username().is_empty() || base.password().is_some() {
            return Err(refuse(
                "must hold neither a query string nor credentials; set those in their own fields",
            ));
        }
        base.set_fragment(None);
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        let headers = HeaderMap::new();
        Ok(Self {
            backend: backend.into(),
            base,
            classify: |_| None,
            auths: Vec::new(),
            headers,
            query: Vec::new(),
        })
    }

    /// Adds a credential to every request to this API.
    ///
    /// # Errors
    /// `config_invalid` if HTTP does not allow it in a header.
    pub(crate) fn with_auth(mut self, auth: Auth) -> Result<Self> {
        if !matches!(auth, Auth::None) {
            auth.apply(&self.backend, &mut HttpRequest::new(Method::GET, self.base.clone()))?;
            self.auths.push(auth);
        }
        Ok(self)
    }

    /// Sets a header field of every request to this API.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Adds a parameter to the query of every request to this API. Never a credential.
    pub(crate) fn with_query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Reads this vendor's failures before the status table does.
    pub(crate) fn with_classify(mut self, classify: Classify) -> Self {
        self.classify = classify;
        self
    }

    /// The API's host, with the port where it is not the scheme's own.
    pub(crate) fn host(&self) -> String {
        authority(&self.base)
    }

    /// The API's base URL.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// `text` without this client's own secrets: vendors repeat them in errors and header fields.
    pub(crate) fn without_secrets<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for secret in self.secrets() {
            if text.contains(secret) {
                text = text.replace(secret, MASK).into();
            }
        }
        text
    }

    /// The same of a body.
    pub(crate) fn body_without_secrets<'b>(&self, body: &'b [u8]) -> Cow<'b, [u8]> {
        let mut body = Cow::Borrowed(body);
        for secret in self.secrets() {
            let places: Vec<usize> = memmem::find_iter(&body, secret).collect();
            if places.is_empty() {
                continue;
            }
            let mut clean = Vec::with_capacity(body.len());
            let mut from = 0;
            for place in places {
                clean.extend_from_slice(body.get(from..place).unwrap_or_default());
                clean.extend_from_slice(MASK.as_bytes());
                from = place + secret.len();
            }
            clean.extend_from_slice(body.get(from..).unwrap_or_default());
            body = clean.into();
        }
        body
    }

    /// The credentials, and header fields of the configuration that hold some.
    fn secrets(&self) -> impl Iterator<Item = &str> {
        let fields = self.headers.iter().filter(|(name, _)| is_credential_header(name.as_str()));
        let fields = fields.filter_map(|(_, value)| value.to_str().ok());
        let own = self.auths.iter().filter_map(Auth::secret).map(Secret::expose);
        own.chain(fields).filter(|secret| secret.len() >= MIN_SECRET_BYTES)
    }

    /// The account that pays.
    pub(crate) fn credential(&self) -> Option<CredentialId> {
        let secret = self.auths.iter().find_map(Auth::secret)?;
        Some(CredentialId::new(&self.host(), secret))
    }

    /// A call to `path`, which begins with a slash and may hold a query.
    pub(crate) fn call(&self, method: Method, path: &str) -> ApiCall<'_> {
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(query);
        for (name, value) in &self.query {
            url.query_pairs_mut().append_pair(name, value);
        }
        ApiCall::new(self, method, url)
    }

    /// A GET.
    pub(crate) fn get(&self, path: &str) -> ApiCall<'_> {
        self.call(Method::GET, path)
    }

    /// A POST.
    pub(crate) fn post(&self, path: &str) -> ApiCall<'_> {
        self.call(Method::POST, path)
    }

    /// A call to a URL that an answer of this API named. Credentials go only to the API's own origin; any other host must
    /// be public and use https.
    ///
    /// # Errors
    /// `response_invalid` if the answer named no such URL.
    pub(crate) fn call_named(&self, method: Method, url: &str) -> Result<ApiCall<'_>> {
        let url = self
            .base
            .join(url)
            .map_err(|_| Error::response_invalid("the answer named something that is not a URL"))?;
        super::exchange::check_named_url(&self.base, &url)?;
        Ok(ApiCall::new(self, method, url))
    }

    /// Reads JSON from a body that came as bytes: for answers that may also be an image or a text.
    ///
    /// # Errors
    /// As [`ApiCall::json_reply`].
    pub(crate) fn read_json<T: DeserializeOwned>(&self, reply: &ApiReply<Bytes>) -> Result<T> {
        super::exchange::decode_json(self, reply.status, &reply.headers, &reply.value)
    }

    /// Whether a URL is on the API's own origin, so that credentials may go there.
    pub(crate) fn is_own_origin(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }

    /// Adds the header fields and credentials that go to the API's own origin only.
    ///
    /// # Errors
    /// `config_invalid` if HTTP does not allow a credential in a header.
    pub(crate) fn add_own(&self, request: &mut HttpRequest) -> Result<()> {
        for (name, value) in &self.headers {
            request.headers.insert(name, value.clone());
        }
        self.auths.iter().try_for_each(|auth| auth.apply(&self.backend, request))
    }

    /// The failure that a body describes although the status said success.
    #[cfg_attr(not(feature = "procurement"), allow(dead_code, reason = "only Mercado Público needs it"))]
    pub(crate) fn failed(&self, reply: &ApiReply<Bytes>, body: &[u8]) -> Error {
        let body = super::status::read_error_body(None, &self.body_without_secrets(body));
        super::exchange::failure(self, reply.status, &reply.headers, &body)
    }
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient")
            .field("backend", &self.backend)
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}

/// The URL's host, with the port where it is not the scheme's own.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// One call, not sent yet.
pub(crate) struct ApiCall<'a> {
    pub(super) api: &'a ApiClient,
    pub(super) request: HttpRequest,
    pub(super) max_body: usize,
    failed: Option<Error>,
}

impl<'a> ApiCall<'a> {
    fn new(api: &'a ApiClient, method: Method, url: Url) -> Self {
        let mut request = HttpRequest::new(method, url);
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        Self { api, request, max_body: MAX_BODY_BYTES, failed: None }
    }

    /// Sends a JSON body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.bytes(bytes, "application/json"),
            Err(error) => {
                self.failed =
                    Some(Error::invalid_request(format!("the request cannot be written as JSON: {error}")));
                self
            }
        }
    }

    /// Sends bytes of a media type.
    pub(crate) fn bytes(mut self, body: impl Into<Bytes>, media_type: &str) -> Self {
        self.request.body = body.into();
        self.header(CONTENT_TYPE, media_type)
    }

    /// Sends a form with files.
    pub(crate) fn multipart(self, form: Multipart) -> Self {
        let (media_type, body) = form.finish();
        self.bytes(body, &media_type)
    }

    /// Sets a header field. A value that HTTP does not allow fails the call with `invalid_request`.
    pub(crate) fn header(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => {
                self.request.headers.insert(name, value);
            }
            Err(_) => {
                let message = format!("HTTP does not allow the value of the header field '{name}'");
                self.failed = Some(Error::invalid_request(message));
            }
        }
        self
    }

    /// Adds a query parameter. Never a credential.
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.request.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Sets the media type of the answer.
    pub(crate) fn accept(self, media_type: &str) -> Self {
        self.header(ACCEPT, media_type)
    }

    /// Sets the most bytes of the response.
    pub(crate) fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sends the call and gives the response once its status says that it succeeded.
    ///
    /// # Errors
    /// Whatever the transport, the phases, the vendor's failures and the status table say.
    pub(crate) async fn send(mut self, cx: &Context) -> Result<ApiReply<Body>> {
        let backend = Arc::clone(&self.api.backend);
        let outcome = match self.failed.take() {
            Some(error) => Err(error),
            // Boxed: it is large, and every call of a backend would hold it inside its own future.
            None => cx.guard(Box::pin(super::exchange::exchange(self, cx))).await,
        };
        outcome.map_err(|error| error.with_backend(&*backend))
    }

    /// Sends the call and reads a JSON answer. An error body on a success status is the error it says.
    ///
    /// # Errors
    /// As [`send`](Self::send), and `response_invalid` for what is not the JSON expected.
    pub(crate) async fn json_reply<T: DeserializeOwned>(self, cx: &Context) -> Result<ApiReply<T>> {
        let (api, backend) = (self.api, Arc::clone(&self.api.backend));
        let reply = self.send(cx).await?;
        let read = async {
            let (status, headers, request_id) = (reply.status, reply.headers, reply.request_id);
            let bytes = reply.value.read_all().await?;
            let value = super::exchange::decode_json(api, status, &headers, &bytes)?;
            Ok(ApiReply { value, status, headers, request_id })
        };
        let outcome: Result<ApiReply<T>> = cx.guard(read).await;
        outcome.map_err(|error| error.with_backend(&*backend))
    }

    /// Sends the call and reads the whole body.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) async fn bytes_reply(self, cx: &Context) -> Result<ApiReply<Bytes>> {
        let backend = Arc::clone(&self.api.backend);
        let reply = self.send(cx).await?;
        let (status, headers, request_id) = (reply.status, reply.headers, reply.request_id);
        let outcome = cx.guard(reply.value.read_all()).await;
        let value = outcome.map_err(|error| error.with_backend(&*backend))?;
        Ok(ApiReply { value, status, headers, request_id })
    }

    /// Sends the call and reads Server-Sent Events. A JSON answer instead is read as one event.
    ///
    /// # Errors
    /// As [`send`](Self::send); for an HTML page, what the vendor's rules say.
    pub(crate) async fn events(self, cx: &Context) -> Result<ApiReply<EventStream>> {
        let api = self.api.clone();
        let reply = self.accept("text/event-stream").send(cx).await?;
        let (status, headers, request_id) = (reply.status, reply.headers, reply.request_id);
        let value = EventStream::open(api, reply.value, status, &headers);
        Ok(ApiReply { value, status, headers, request_id })
    }

    /// Sends the call and reads newline-delimited JSON.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub(crate) async fn lines(self, cx: &Context) -> Result<ApiReply<LineStream>> {
        let api = self.api.clone();
        let reply = self.accept("application/x-ndjson").send(cx).await?;
        let (status, headers, request_id) = (reply.status, reply.headers, reply.request_id);
        let value = LineStream::open(api, reply.value, status, &headers);
        Ok(ApiReply { value, status, headers, request_id })
    }
}

impl fmt::Debug for ApiCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiCall").field("request", &self.request).finish_non_exhaustive()
    }
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct ApiReply<T> {
    /// What was read of the body.
    pub(crate) value: T,
    /// The status, 2xx.
    pub(crate) status: u16,
    /// The header fields.
    pub(crate) headers: HeaderMap,
    /// The vendor's own name for the request.
    pub(crate) request_id: Option<String>,
}

/// The vendor's own name for a request, from the response.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<String> {
    ["x-request-id", "x-amzn-trace-id", "x-amz-cf-id", "x-goog-request-id"]
        .iter()
        .find_map(|name| headers.text(name))
        .filter(|id| !id.is_empty())
        .map(|id| id.chars().take(200).collect())
}

/// The value of a field that holds JSON of any kind, or nothing.
pub(crate) fn as_non_null(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_base_url_is_checked_when_the_client_is_built() {
        for url in ["", "  ", "localhost:8080", "ftp://x/", "https://", "https://x/?key=1", "https://a:b@x/"]
        {
            let error = ApiClient::new("openai", url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{url}");
            assert!(error.message().contains("openai"), "{error}");
        }
    }

    #[test]
    fn paths_join_whether_or_not_the_base_ends_in_a_slash() {
        for base in ["https://x.test/v1", "https://x.test/v1/"] {
            let api = ApiClient::new("openai", base).expect("a URL");
            let call = api.get("/models?a=1").query("b", "ü");
            assert_eq!(call.request.url.as_str(), "https://x.test/v1/models?a=1&b=%C3%BC");
        }
    }

    #[test]
    fn a_credential_that_no_header_can_carry_is_refused_when_the_client_is_built() {
        for auth in [
            Auth::Bearer(Secret::new("sk-can\nary")),
            Auth::Scheme("Key", Secret::new("can\0ary")),
            Auth::Header("X-Bread", Secret::new("can\rary")),
        ] {
            let api = ApiClient::new("openai", "https://x.test").expect("a URL");
            let error = api.with_auth(auth).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
            assert!(error.message().contains("openai") && !format!("{error:?}").contains("ary"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_header_value_that_http_does_not_allow_fails_the_call() {
        let api = ApiClient::new("openai", "https://x.test").expect("a URL");
        let call = api.get("/models").header(ACCEPT, "text/plain\r\nx: y");
        let error = call.send(&Context::new()).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains("'accept'"), "{error}");
    }

    #[test]
    fn a_clients_own_secrets_are_taken_out_whatever_they_look_like() {
        let api = ApiClient::new("openai", "https://x.test").expect("a URL");
        let api = api.with_auth(Auth::Bearer(Secret::new("correct horse"))).expect("a credential");
        let api = api.with_auth(Auth::Query("ticket", Secret::new("F853"))).expect("a credential");
        assert_eq!(api.without_secrets("no correct horse, F853F853"), "no ***, ******");
        let body = api.body_without_secrets(b"\xff{\"code\":\"correct horse\"}F853");
        assert_eq!(&*body, b"\xff{\"code\":\"***\"}***");
        assert!(matches!(api.body_without_secrets(b"correct"), Cow::Borrowed(_)));
    }

    #[test]
    fn debug_shows_no_credential() {
        let api = ApiClient::new("openai", "https://x.test").expect("a URL");
        let api = api.with_auth(Auth::Bearer(Secret::new("sk-canary"))).expect("a credential");
        let mut call = api.get("/models");
        call.api.add_own(&mut call.request).expect("a credential");
        assert_eq!(call.request.headers.text("authorization"), Some("Bearer sk-canary"));
        assert!(call.request.headers["authorization"].is_sensitive());
        let shown = format!("{api:?} {call:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
