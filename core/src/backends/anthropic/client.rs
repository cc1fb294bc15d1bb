//! The backend itself: where it is, which model, what its failures mean.

use super::config::AnthropicConfig;
use crate::env::{Environment, required_secret};
use crate::error::{Error, ErrorKind, Result};
use crate::http::client::{ApiClient, Auth};
use crate::http::status::{Failure, Verdict};
use crate::http::{HeaderName, HeaderValue, header_value};
use crate::info::{BackendInfo, Limits};

const BASE_URL: &str = "https://api.anthropic.com";

/// The version of the API that this backend speaks.
const VERSION: &str = "2023-06-01";

/// The most tokens of an answer where nobody says.
const MAX_TOKENS: u32 = 4096;

/// One model of Anthropic's Messages API.
#[derive(Clone, Debug)]
pub struct Anthropic {
    pub(super) api: ApiClient,
    pub(super) info: BackendInfo,
    pub(super) max_tokens: u32,
    pub(super) citations: bool,
}

impl Anthropic {
    pub(super) fn open(config: &AnthropicConfig, env: &Environment) -> Result<Self> {
        let model = config.model.trim();
        if model.is_empty() {
            let message = "`model` is not set: name one, such as claude-sonnet-4-6";
            return Err(Error::config(message).with_context("field", "model"));
        }
        let given = config.base_url.clone().filter(|url| !url.trim().is_empty());
        let base_url = given.or_else(|| env.get("ANTHROPIC_BASE_URL")).unwrap_or_else(|| BASE_URL.to_owned());
        let mut api = ApiClient::new("anthropic", &base_url)?
            .with_auth(auth(config, env)?)?
            .with_classify(classify)
            .with_header(HeaderName::from_static("anthropic-version"), HeaderValue::from_static(VERSION));
        if !config.betas.is_empty() {
            let betas = header_value("betas", &config.betas.join(","))?;
            api = api.with_header(HeaderName::from_static("anthropic-beta"), betas);
        }
        let limits = Limits { max_concurrency: config.max_concurrency, ..Limits::default() };
        let info = BackendInfo::new("anthropic", model)
            .with_host(api.host())
            .with_credential(api.credential())
            .with_limits(limits);
        let max_tokens = config.max_tokens.unwrap_or(MAX_TOKENS);
        Ok(Self { api, info, max_tokens, citations: config.citations })
    }
}

/// A token of the configuration, a key, a token of the environment: the first that is there.
fn auth(config: &AnthropicConfig, env: &Environment) -> Result<Auth> {
    if let Some(token) = config.auth_token.clone().filter(|token| !token.is_empty()) {
        return Ok(Auth::Bearer(token));
    }
    match required_secret(config.api_key.as_ref(), env, &["ANTHROPIC_API_KEY"]) {
        Ok(key) => Ok(Auth::Header("x-api-key", key)),
        Err(error) => env.secret(&["ANTHROPIC_AUTH_TOKEN"]).map(Auth::Bearer).ok_or(error),
    }
}

/// Failures that the common table does not tell: a bill that is due.
fn classify(failure: &Failure<'_>) -> Option<Verdict> {
    (failure.body.error_type.as_deref() == Some("billing_error")).then(|| {
        Verdict::new(
            ErrorKind::CreditsExhausted,
            "Anthropic does not serve the account because of its bill: check billing in the console",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_the_configuration_goes_before_a_key_and_a_key_before_a_token_of_the_environment() {
        let config = AnthropicConfig::new("claude-sonnet-4-6");
        let open = |config: &AnthropicConfig, pairs: &[(&str, &str)]| {
            let opened = config.open(&Environment::from_pairs(pairs.iter().copied()));
            opened.map(|backend| backend.info.credential)
        };
        let (key, token) = (("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_AUTH_TOKEN", "t"));
        assert_eq!(open(&config, &[key, token]).expect("a key"), open(&config, &[key]).expect("a key"));
        let with_token = AnthropicConfig { auth_token: Some("t".into()), ..config.clone() };
        assert_eq!(open(&with_token, &[key]).expect("a token"), open(&config, &[token]).expect("a token"));
        let error = open(&config, &[]).expect_err("no key");
        assert!(error.message().contains("ANTHROPIC_API_KEY is not set"), "{error}");
        assert_eq!(
            open(&AnthropicConfig::new(" "), &[key]).expect_err("no model").kind(),
            ErrorKind::ConfigInvalid
        );
    }
}
