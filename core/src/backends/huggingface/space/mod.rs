//! Hugging Face Spaces as servers: where they are, what state they are in, how to wake them.
//!
//! A Space sleeps after a time without visits and wakes up on the next one, which takes from half a minute to
//! several. The responses of a sleeping host are not documented (503, an HTML page with 200, a redirect), so its
//! state is read from the Hub.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::http::Method;
use crate::http::client::{ApiClient, Auth};
use crate::http::status::{Failure, Verdict};

mod config;
mod stage;
mod waking;

pub use config::{SpaceConfig, SpaceTokenHeader};
pub use stage::SpaceStage;
pub(crate) use waking::Waking;

/// The backend's name in errors about Spaces.
const NAME: &str = "huggingface";

/// A Space, or any other server that may have to wake up first. Cheap to clone.
///
/// ```
/// use ayni::Environment;
/// use ayni::backends::huggingface::SpaceConfig;
///
/// let space = SpaceConfig::new("My.Org/CLIP_v2").open(&Environment::empty())?;
/// assert_eq!(space.host(), "my-org-clip-v2.hf.space");
/// # Ok::<_, ayni::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Space {
    name: Name,
    hub: ApiClient,
    app: ApiClient,
    has_token: bool,
    ping_path: String,
    wake_time: Duration,
}

/// What is known about a Space's name.
#[derive(Clone, Debug)]
enum Name {
    /// `owner/name`.
    Id(String),
    /// The first part of its host; and its id, once the Hub has been asked.
    Subdomain(String, Arc<OnceLock<String>>),
    /// Not a Space.
    Unknown,
}

/// The Hub's record of a Space.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SpaceRecord {
    id: Option<String>,
    host: Option<String>,
    subdomain: Option<String>,
    runtime: Option<RuntimeRecord>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RuntimeRecord {
    stage: Option<String>,
}

impl Space {
    /// The host that it is served on.
    pub fn host(&self) -> String {
        self.app.host()
    }

    /// Where it is served, without a slash at the end.
    pub fn url(&self) -> String {
        self.app.base().as_str().trim_end_matches('/').to_owned()
    }

    /// `owner/name`, as far as it is known.
    pub fn id(&self) -> Option<&str> {
        match &self.name {
            Name::Id(id) => Some(id),
            Name::Subdomain(_, id) => id.get().map(String::as_str),
            Name::Unknown => None,
        }
    }

    /// Whether it is a Space, whose state the Hub knows.
    pub fn is_space(&self) -> bool {
        !matches!(self.name, Name::Unknown)
    }

    /// Its state.
    ///
    /// # Errors
    /// `not_found` where it does not exist, or is private and no token is set; `unsupported` where it is not a
    /// Space; otherwise the Hub's failure.
    pub async fn stage(&self, cx: &Context) -> Result<SpaceStage> {
        let runtime = match self.id() {
            Some(id) => self.runtime(cx, id).await?,
            None => {
                let record = self.look_up(cx).await?;
                match (record.runtime, self.id()) {
                    (Some(runtime), _) => runtime,
                    (None, Some(id)) => self.runtime(cx, id).await?,
                    (None, None) => RuntimeRecord::default(),
                }
            }
        };
        let stage = runtime.stage.filter(|stage| !stage.is_empty());
        let stage = stage
            .ok_or_else(|| self.named(Error::response_invalid("the Hub tells no state of the Space")))?;
        Ok(SpaceStage::parse(&stage))
    }

    /// The exact address that serves it. The one made from its name can be wrong: the Hub adds a suffix where two
    /// names would give the same address.
    ///
    /// # Errors
    /// As [`stage`](Self::stage).
    pub async fn exact_url(&self, cx: &Context) -> Result<String> {
        let record = self.look_up(cx).await?;
        let host = record.host.filter(|host| !host.is_empty());
        let from_subdomain = || record.subdomain.map(|subdomain| format!("https://{subdomain}.hf.space"));
        Ok(host.or_else(from_subdomain).unwrap_or_else(|| self.url()))
    }

    /// Waits until it serves: visits it if it sleeps, and polls its state at the Hub every few seconds. Reports
    /// progress. Bounded by the context's deadline and the configured wake time.
    ///
    /// # Errors
    /// `unavailable`, permanent, where it is paused, broken or being deleted, saying what to do; `cold_start`,
    /// exhausted, when the wake time is over; those of [`stage`](Self::stage); `timeout` or `cancelled`.
    pub async fn wait_until_running(&self, cx: &Context) -> Result<()> {
        let mut waking = Waking::new(self, cx);
        loop {
            let stage = match self.stage(cx).await {
                Ok(stage) if stage.is_running() => return Ok(()),
                Ok(stage) => Some(stage),
                Err(error) if error.is_temporary() => None,
                Err(error) => return Err(error),
            };
            if stage.as_ref().is_none_or(SpaceStage::wants_a_visit) {
                self.visit(cx).await;
            }
            waking.pause(cx, stage).await.map_err(|error| error.with_operation(Operation::Health))?;
        }
    }

    /// Visits it at an interval, so that it does not fall asleep, until the call is cancelled or its deadline
    /// passes. Failed visits are ignored.
    pub async fn keep_alive(&self, cx: &Context, every: Duration) {
        loop {
            self.visit(cx).await;
            if cx.sleep(every).await.is_err() {
                return;
            }
        }
    }

    /// Sends a cheap request. The response does not matter: the visit does.
    async fn visit(&self, cx: &Context) {
        const PATIENCE: Duration = Duration::from_secs(5);
        let mut phases = cx.phase_timeouts();
        phases.first_byte = Some(phases.first_byte.unwrap_or(PATIENCE).min(PATIENCE));
        let cx = cx.clone().with_phase_timeouts(phases);
        if let Err(error) = self.app.get(&self.ping_path).send(&cx).await {
            tracing::debug!(
                host = self.host(),
                kind = error.kind().as_str(),
                "the visit to the Space failed"
            );
        }
    }

    async fn runtime(&self, cx: &Context, id: &str) -> Result<RuntimeRecord> {
        let call = self.hub.get(&format!("/api/spaces/{}/runtime", encode_path(id)));
        let reply = call.json_reply(cx).await;
        reply.map(|reply| reply.value).map_err(|error| self.hint(error))
    }

    async fn look_up(&self, cx: &Context) -> Result<SpaceRecord> {
        let path = match &self.name {
            Name::Id(id) => format!("/api/spaces/{}", encode_path(id)),
            Name::Subdomain(subdomain, _) => format!("/api/spaces/by-subdomain/{}", encode_path(subdomain)),
            Name::Unknown => {
                let error =
                    Error::unsupported(format!("{} is no Hugging Face Space; it has no state", self.host()));
                return Err(self.named(error));
            }
        };
        let reply = self.hub.call(Method::GET, &path).json_reply::<SpaceRecord>(cx).await;
        let record = reply.map_err(|error| self.hint(error))?.value;
        if let (Name::Subdomain(_, known), Some(id)) = (&self.name, &record.id) {
            let _ = known.set(id.clone());
        }
        Ok(record)
    }

    /// The Hub does not tell strangers whether a private Space exists.
    fn hint(&self, error: Error) -> Error {
        let error = error.with_operation(Operation::Health);
        let hidden = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unauthenticated);
        if !hidden || (self.has_token && error.kind() == ErrorKind::Unauthenticated) {
            return error;
        }
        let message = if self.has_token {
            "the Space does not exist, or the token may not read it: check its name and the token's permissions"
        } else {
            "the Space does not exist or is private: check its name, or set a token that may read it"
        };
        let mut hinted =
            self.named(Error::new(ErrorKind::NotFound, message)).with_operation(Operation::Health);
        if let Some(status) = error.http_status() {
            hinted = hinted.with_http_status(status);
        }
        if let Some(id) = error.request_id() {
            hinted = hinted.with_request_id(id);
        }
        hinted
    }

    fn named(&self, error: Error) -> Error {
        error.with_backend(NAME).with_context("space_host", self.host())
    }
}

/// What failures mean while the Space does not serve.
fn classify_not_ready(failure: &Failure<'_>) -> Option<Verdict> {
    match failure.status {
        502 | 503 => {
            Some(Verdict::new(ErrorKind::ColdStart, "the service is not ready yet: it wakes up or starts"))
        }
        200..=299 if failure.body.is_html => Some(Verdict::new(
            ErrorKind::ColdStart,
            "the service is not ready yet: an HTML page came back instead of JSON",
        )),
        404 if failure.body.is_html => Some(Verdict::new(
            ErrorKind::NotFound,
            "nothing is served here: check the address; a private Space answers so to those without a token",
        )),
        _ => None,
    }
}

/// Encodes a Hub id for a path: slashes stay, characters that would end or change the path are escaped.
pub(super) fn encode_path(text: &str) -> String {
    let mut url = match Url::parse("https://x/") {
        Ok(url) => url,
        Err(_) => return String::new(),
    };
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().extend(text.split('/'));
    }
    url.path().trim_start_matches('/').to_owned()
}

/// The HTTP clients of a Space.
fn clients(hub_url: &str, app_url: &str, token: Auth, app_token: Auth) -> Result<(ApiClient, ApiClient)> {
    let hub = ApiClient::new(NAME, hub_url)?.with_auth(token)?;
    let app = ApiClient::new(NAME, app_url)?.with_auth(app_token)?.with_classify(classify_not_ready);
    Ok((hub, app))
}

#[cfg(test)]
mod tests;
