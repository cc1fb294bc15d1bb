//! The backend itself: where it is, which model, what its failures mean.

use serde_json::Value;

use super::config::GeminiConfig;
use crate::embed::EmbeddingSpace;
use crate::env::{Environment, required_secret};
use crate::error::{Error, ErrorKind, Result};
use crate::http::client::{ApiClient, Auth};
use crate::http::status::{Failure, Verdict};
use crate::info::{BackendInfo, Limits};

const BASE_URL: &str = "https://generativelanguage.googleapis.com/v1beta";

/// The most inputs of one `:batchEmbedContents`.
const MAX_BATCH: usize = 100;

/// One model of Google's native API, for chat or embeddings.
#[derive(Clone, Debug)]
pub struct Gemini {
    pub(super) api: ApiClient,
    pub(super) info: BackendInfo,
    pub(super) space: EmbeddingSpace,
    /// The model's resource name: `models/gemini-2.5-flash`.
    pub(super) resource: String,
    /// The width that every embedding request asks for.
    pub(super) dimensions: Option<usize>,
}

impl Gemini {
    pub(super) fn open(config: &GeminiConfig, env: &Environment) -> Result<Self> {
        let resource = resource_name(&config.model)?;
        let model = resource.strip_prefix("models/").unwrap_or(&resource);
        if config.dimensions == Some(0) {
            return Err(Error::config("`dimensions` is 0; a vector needs at least one number"));
        }
        let api = ApiClient::new("gemini", config.base_url.as_deref().unwrap_or(BASE_URL))?;
        let auth = auth(config, &api.host(), env)?;
        let api = api.with_auth(auth)?.with_classify(classify);
        let mut limits = Limits::default().with_max_batch(MAX_BATCH);
        limits.max_concurrency = config.max_concurrency;
        let info = BackendInfo::new("gemini", model)
            .with_host(api.host())
            .with_credential(api.credential())
            .with_limits(limits);
        let space = EmbeddingSpace::new(model).with_dimensions(config.dimensions.or(native_width(model)));
        Ok(Self { api, info, space, dimensions: config.dimensions, resource })
    }

    /// The path of one of the model's methods.
    pub(super) fn method(&self, name: &str) -> String {
        format!("/{}:{name}", self.resource)
    }
}

/// A Google Cloud token where there is one, else the key of the API.
fn auth(config: &GeminiConfig, host: &str, env: &Environment) -> Result<Auth> {
    let of_cloud = || {
        host.ends_with("aiplatform.googleapis.com").then(|| env.secret(&["VERTEX_ACCESS_TOKEN"])).flatten()
    };
    if let Some(token) = config.access_token.clone().filter(|token| !token.is_empty()).or_else(of_cloud) {
        return Ok(Auth::Bearer(token));
    }
    let key = required_secret(config.api_key.as_ref(), env, &["GOOGLE_API_KEY", "GEMINI_API_KEY"])?;
    Ok(Auth::Header("x-goog-api-key", key))
}

/// The model as the API's paths spell it.
fn resource_name(model: &str) -> Result<String> {
    let model = model.trim();
    if model.is_empty() {
        return Err(Error::config("`model` is not set: name one, such as gemini-2.5-flash"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
    if !model.chars().all(plain) || model.split('/').any(|step| matches!(step, "" | "." | "..")) {
        return Err(Error::config(format!("`model` is '{model}', which is not the name of a Gemini model")));
    }
    Ok(if model.contains('/') { model.to_owned() } else { format!("models/{model}") })
}

/// The full width of embedding models whose width is fixed and known.
fn native_width(model: &str) -> Option<usize> {
    match model {
        "gemini-embedding-001" => Some(3072),
        "text-embedding-004" => Some(768),
        _ => None,
    }
}

/// Failures whose status misleads: a bad key is a 400, and so are a blocked country and a lost signature.
fn classify(failure: &Failure<'_>) -> Option<Verdict> {
    if failure.status != 400 {
        return None;
    }
    let message = failure.body.message.as_deref().unwrap_or_default();
    let details = failure.body.error().and_then(|error| error.get("details")).and_then(Value::as_array);
    let reason_is = |reason: &str| {
        let mut all = details.into_iter().flatten();
        all.any(|detail| detail.get("reason").and_then(Value::as_str) == Some(reason))
    };
    if reason_is("API_KEY_INVALID") || message.starts_with("API key ") {
        return Some(Verdict::new(
            ErrorKind::Unauthenticated,
            "Google does not accept the API key: check GOOGLE_API_KEY and GEMINI_API_KEY (the first one wins)",
        ));
    }
    if message.starts_with("User location is not supported") {
        return Some(Verdict::new(
            ErrorKind::PermissionDenied,
            "Google does not offer this API to the country that the request came from",
        ));
    }
    if message.contains("missing a `thought_signature`") || message.contains("missing a thought_signature") {
        return Some(Verdict::new(
            ErrorKind::InvalidRequest,
            "a tool call came back without its thought signature: send `provider_data` of messages and tool calls back unchanged",
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_with_or_without_its_collection_and_never_escapes_its_path() {
        assert_eq!(resource_name(" gemini-2.5-flash ").ok().as_deref(), Some("models/gemini-2.5-flash"));
        assert_eq!(resource_name("tunedModels/mine-1").ok().as_deref(), Some("tunedModels/mine-1"));
        for model in ["", "a?key=1", "../files", "models//x", "a b", "x:y"] {
            let error = resource_name(model).expect_err(model);
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{model}");
        }
    }

    #[test]
    fn googles_own_variable_wins_and_an_unset_key_is_named() {
        let config = GeminiConfig::new("gemini-2.5-flash");
        let both = Environment::from_pairs([("GEMINI_API_KEY", "b"), ("GOOGLE_API_KEY", "a")]);
        let only_google = Environment::from_pairs([("GOOGLE_API_KEY", "a")]);
        let credential = |env: &Environment| config.open(env).expect("a key").info.credential;
        assert_eq!(credential(&both), credential(&only_google));
        let error = config.open(&Environment::empty()).expect_err("no key");
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().contains("GOOGLE_API_KEY"), "{error}");
    }
}
