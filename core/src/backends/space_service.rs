//! A service in a Hugging Face Space, which may be asleep: what `clip_service` and `image_engine` share.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backends::huggingface::{Space, SpaceConfig, Waking};
use crate::context::Context;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Operation, Persistence, Result};
use crate::http::client::{ApiClient, ApiReply, Auth};
use crate::http::status::{Failure, Verdict};
use crate::info::BackendInfo;
use crate::secret::Secret;

/// A service that may have to wake up before it answers.
#[derive(Clone, Debug)]
pub(crate) struct SpaceService {
    pub(crate) api: ApiClient,
    pub(crate) space: Space,
    backend: &'static str,
    first_byte: Duration,
}

/// Where a service is and how to access it.
pub(crate) struct ServiceAddress<'a> {
    pub(crate) backend: &'static str,
    pub(crate) url: &'a str,
    /// The environment variables that may have the URL.
    pub(crate) url_variables: &'static [&'static str],
    pub(crate) api_key: Option<Secret>,
    pub(crate) hf_token: Option<Secret>,
    pub(crate) space: Option<&'a str>,
    pub(crate) hub_url: Option<String>,
    pub(crate) timeout_seconds: f64,
    pub(crate) wake_seconds: f64,
}

impl SpaceService {
    pub(crate) fn open(address: ServiceAddress<'_>, env: &Environment) -> Result<Self> {
        let ServiceAddress { backend, url_variables, hf_token, .. } = address;
        let given = Some(address.url.trim()).filter(|url| !url.is_empty()).map(str::to_owned);
        let url = given.or_else(|| env.first(url_variables)).ok_or_else(|| {
            let names = url_variables.join(" or ");
            Error::config(format!("the address of the {backend} backend is not set: set `url`, or {names}"))
                .with_context("field", "url")
        })?;
        let api_key = address.api_key.filter(|key| !key.is_empty());
        let api = ApiClient::new(backend, &url)?
            .with_auth(api_key.map_or(Auth::None, |key| Auth::Header("X-API-Key", key)))?
            .with_auth(Auth::bearer(hf_token.as_ref()))?
            .with_classify(classify);
        let space = match address.space {
            Some(id) => SpaceConfig::new(id).with_url(url),
            None => SpaceConfig::new(url),
        };
        let space = space
            .with_hub_url(address.hub_url)
            .with_token(hf_token)
            .with_wake_seconds(address.wake_seconds)
            .open(env)?;
        let first_byte = Duration::try_from_secs_f64(address.timeout_seconds)
            .ok()
            .filter(|timeout| !timeout.is_zero())
            .ok_or_else(|| Error::config("`timeout_seconds` must be a number of seconds above 0"))?;
        Ok(Self { api, space, backend, first_byte })
    }

    pub(crate) fn info(&self, model: &str) -> BackendInfo {
        BackendInfo::new(self.backend, model)
            .with_host(self.api.host())
            .with_credential(self.api.credential())
            .with_cold_starts(true)
    }

    /// Posts and reads JSON. While the service wakes up, it reports progress, waits and tries again, because the service has
    /// not begun the work.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        cx: &Context,
        path: &str,
        body: &impl Serialize,
    ) -> Result<ApiReply<T>> {
        let cx = &self.with_timeout(cx);
        let mut waking = Waking::new(&self.space, cx);
        loop {
            match self.api.post(path).json(body).json_reply(cx).await {
                Ok(reply) => return Ok(reply),
                Err(error) => {
                    waking.after(cx, error).await.map_err(|error| self.as_own_error(error))?;
                }
            }
        }
    }

    /// Gets and reads JSON, without retries.
    pub(crate) async fn get<T: DeserializeOwned>(&self, cx: &Context, path: &str) -> Result<ApiReply<T>> {
        let reply = self.api.get(path).json_reply(&self.with_timeout(cx)).await;
        reply.map_err(|error| error.with_operation(Operation::Health))
    }

    fn with_timeout(&self, cx: &Context) -> Context {
        let mut phases = cx.phase_timeouts();
        phases.first_byte =
            Some(phases.first_byte.map_or(self.first_byte, |given| given.min(self.first_byte)));
        cx.clone().with_phase_timeouts(phases)
    }

    /// Converts an error of waiting for the Space to this backend's own. The Space is in its context.
    fn as_own_error(&self, error: Error) -> Error {
        if error.backend() == Some(self.backend) {
            return error;
        }
        let message = match error.kind() {
            ErrorKind::Timeout => format!("{} was still waking up when the deadline passed", self.api.host()),
            _ => error.message().to_owned(),
        };
        let mut own =
            Error::new(error.kind(), message).with_persistence(error.persistence()).with_sent(error.sent());
        for (name, value) in error.context() {
            own = own.with_context(name, value.clone());
        }
        own.with_source(error)
    }
}

/// Classifies the failures of a service in a Space.
fn classify(failure: &Failure<'_>) -> Option<Verdict> {
    let is_html = failure.body.is_html;
    match failure.status {
        401 => Some(Verdict::new(
            ErrorKind::Unauthenticated,
            "the service does not accept the API key: check `api_key` (sent as X-API-Key), and `hf_token` for a private Space",
        )),
        404 if is_html => Some(Verdict::new(
            ErrorKind::NotFound,
            "nothing is served at this address: check `url`; a private Space answers so to those without its `hf_token`",
        )),
        503 if says_out_of_memory(failure) => Some(out_of_memory()),
        503 => Some(Verdict::new(ErrorKind::ColdStart, "the service is waking up")),
        200..=299 if is_html => Some(Verdict::new(
            ErrorKind::ColdStart,
            "the service is waking up: the page of a Space that is starting came back instead of JSON",
        )),
        400..=599 if says_out_of_memory(failure) => Some(out_of_memory()),
        _ => None,
    }
}

fn says_out_of_memory(failure: &Failure<'_>) -> bool {
    let body = failure.body;
    let named = [&body.code, &body.error_type].into_iter().flatten().any(|name| name == "out_of_memory");
    let message = body.message.as_deref().unwrap_or_default();
    named || message.chars().take(400).collect::<String>().to_ascii_lowercase().contains("out of memory")
}

fn out_of_memory() -> Verdict {
    let mut verdict = Verdict::new(
        ErrorKind::OutOfMemory,
        "the service ran out of memory: ask for less (resolution `standard`, a smaller image); its answer may say what fits",
    );
    verdict.persistence = Some(Persistence::Permanent);
    verdict
}
