//! Which Space, and how to reach it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{Name, Space, clients};
use crate::env::Environment;
use crate::error::{Error, Result};
use crate::http::client::Auth;
use crate::secret::Secret;

/// Which Space, and how to reach it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SpaceConfig {
    /// `owner/name`, or the address `https://….hf.space`. Any other address is a server whose
    /// state the Hub does not know.
    pub space: String,
    /// Where it is served; made from `space` by default.
    pub url: Option<String>,
    /// The Hub's address; `HF_ENDPOINT`, then `https://huggingface.co` by default.
    pub hub_url: Option<String>,
    /// A Hugging Face token, for a private Space. Never read from the environment: a Space runs somebody else's
    /// program, which sees the token.
    pub token: Option<Secret>,
    /// In which header field the Space gets the token.
    pub token_header: SpaceTokenHeader,
    /// What a visit asks for.
    pub ping_path: String,
    /// How long to wait for it to wake up, in seconds.
    pub wake_seconds: f64,
}

/// In which header field a Space gets the Hugging Face token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SpaceTokenHeader {
    /// `Authorization: Bearer …`
    #[default]
    Authorization,
    /// `X-HF-Authorization: Bearer …`, where the program in the Space has an `Authorization` of its own.
    HuggingFace,
}

impl Default for SpaceConfig {
    fn default() -> Self {
        Self {
            space: String::new(),
            url: None,
            hub_url: None,
            token: None,
            token_header: SpaceTokenHeader::default(),
            ping_path: "/health".to_owned(),
            wake_seconds: 180.0,
        }
    }
}

impl SpaceConfig {
    /// A public Space by its name or address.
    pub fn new(space: impl Into<String>) -> Self {
        Self { space: space.into(), ..Self::default() }
    }

    /// Says where it is served.
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Says where the Hub is.
    pub fn with_hub_url(mut self, url: impl Into<Option<String>>) -> Self {
        self.hub_url = url.into();
        self
    }

    /// Sets the token of a private Space.
    pub fn with_token(mut self, token: impl Into<Option<Secret>>) -> Self {
        self.token = token.into();
        self
    }

    /// Says in which header field the Space gets the token.
    pub fn with_token_header(mut self, header: SpaceTokenHeader) -> Self {
        self.token_header = header;
        self
    }

    /// Says what a visit asks for.
    pub fn with_ping_path(mut self, path: impl Into<String>) -> Self {
        self.ping_path = path.into();
        self
    }

    /// Says how long to wait for it to wake up.
    pub fn with_wake_seconds(mut self, seconds: f64) -> Self {
        self.wake_seconds = seconds;
        self
    }

    /// Opens the Space. Nothing is sent yet.
    ///
    /// # Errors
    /// `config_invalid` naming the field to fix.
    pub fn open(&self, env: &Environment) -> Result<Space> {
        let (name, made_url) = read_name(self.space.trim())?;
        let hub_url = self.hub_url.clone().or_else(|| env.get("HF_ENDPOINT"));
        let hub_url = hub_url.unwrap_or_else(|| "https://huggingface.co".to_owned());
        let token = self.token.as_ref().filter(|token| !token.is_empty());
        let app_token = match (token, self.token_header) {
            (Some(token), SpaceTokenHeader::HuggingFace) => {
                Auth::Header("X-HF-Authorization", Secret::new(format!("Bearer {}", token.expose())))
            }
            (token, _) => Auth::bearer(token),
        };
        let app_url = self.url.as_deref().unwrap_or(&made_url);
        let (hub, app) = clients(&hub_url, app_url, Auth::bearer(token), app_token)?;
        let wake_time = Duration::try_from_secs_f64(self.wake_seconds).map_err(|_| {
            Error::config("`wake_seconds` is no length of time").with_context("field", "wake_seconds")
        })?;
        if !self.ping_path.starts_with('/') {
            return Err(
                Error::config("`ping_path` must begin with a slash").with_context("field", "ping_path")
            );
        }
        let ping_path = self.ping_path.clone();
        Ok(Space { name, hub, app, has_token: token.is_some(), ping_path, wake_time })
    }
}

/// The name in `text`, and the address that it makes.
fn read_name(text: &str) -> Result<(Name, String)> {
    if text.starts_with("http://") || text.starts_with("https://") {
        let url = Url::parse(text).map_err(|_| invalid("is not a URL"))?;
        let subdomain = url.host_str().and_then(|host| host.strip_suffix(".hf.space"));
        let name = match subdomain {
            Some(subdomain) => Name::Subdomain(subdomain.to_owned(), Arc::new(OnceLock::new())),
            None => Name::Unknown,
        };
        return Ok((name, text.to_owned()));
    }
    let is_part =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    match text.split_once('/') {
        Some((owner, name)) if is_part(owner) && is_part(name) => {
            let readable = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
            let subdomain: String = text.chars().map(readable).collect();
            Ok((Name::Id(text.to_owned()), format!("https://{subdomain}.hf.space")))
        }
        _ => Err(invalid("is neither `owner/name` nor an address that begins with https://")),
    }
}

fn invalid(why: &str) -> Error {
    Error::config(format!("the Space's name {why}")).with_context("field", "space")
}
