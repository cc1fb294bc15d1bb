//! Opens a configuration: address, credential, header fields, limits.

use super::OpenAi;
use super::config::OpenAiConfig;
use super::profiles::{self, ChatRules, KeyPlace, Profile};
use crate::embed::EmbeddingSpace;
use crate::embed::prompt_set;
use crate::env::{Environment, required_secret};
use crate::error::{Error, Result};
use crate::http::client::{ApiClient, Auth};
use crate::http::{HeaderName, HeaderValue, header_value, is_credential_header};
use crate::info::{BackendInfo, Limits};
use crate::secret::Secret;
use crate::wire::openai::chat::InlineReasoning;

/// Hugging Face's router, which forwards calls to the providers that it bills for.
const HF_ROUTER: &str = "https://router.huggingface.co";

/// Header fields that the transport or a call sets itself.
const RESERVED: [&str; 6] =
    ["accept", "content-type", "content-length", "host", "transfer-encoding", "connection"];

impl OpenAi {
    pub(super) fn open(config: &OpenAiConfig, env: &Environment) -> Result<Self> {
        let profile = profiles::find(config.vendor.trim())?;
        let name = profile.name;
        if config.model.trim().is_empty() && !profile.model_optional {
            return Err(Error::config(format!("`model` is not set: name a model of vendor '{name}'"))
                .with_context("field", "model"));
        }
        let key = key(config, profile, env)?;
        let version = config.api_version.clone().filter(|version| !version.trim().is_empty());
        let version = version.or_else(|| env.first(profile.api_version_env));
        let address = base_url(config, profile, key.as_ref(), env);
        let address = match profile.has_deployments {
            true => with_deployment(address, config.model.trim(), version.is_some()),
            false => address,
        };
        let auth = match (profile.key_place, &key) {
            (KeyPlace::Header(header), Some(key)) => Auth::Header(header, key.clone()),
            (_, key) => Auth::bearer(key.as_ref()),
        };
        let mut api = ApiClient::new(name, &address)?.with_auth(auth)?.with_classify(profile.classify);
        if let Some(version) = version {
            api = api.with_query("api-version", version.trim());
        }
        for (field, value) in header_fields(config, profile, env)? {
            api = api.with_header(field, value);
        }
        let mut config = config.clone();
        // The client holds it: no second copy of the key.
        config.api_key = None;
        Ok(Self { info: info(&config, profile, &api), space: space(&config), api, profile, config })
    }

    /// Where the API is.
    pub fn base_url(&self) -> &str {
        self.api.base().as_str()
    }

    pub(super) fn api(&self) -> &ApiClient {
        &self.api
    }

    pub(super) fn profile(&self) -> &'static Profile {
        self.profile
    }

    pub(super) fn config(&self) -> &OpenAiConfig {
        &self.config
    }

    pub(super) fn backend_info(&self) -> &BackendInfo {
        &self.info
    }

    pub(super) fn embedding_space(&self) -> &EmbeddingSpace {
        &self.space
    }

    /// The error of a vendor that does not offer `what`.
    pub(super) fn not_offered(&self, what: &str) -> Error {
        Error::unsupported(format!("vendor '{}' offers no {what}", self.profile.name))
    }

    /// The rules of chat.
    ///
    /// # Errors
    /// `unsupported` where the vendor does not chat.
    pub(super) fn chat_rules(&self) -> Result<ChatRules> {
        self.profile.chat.ok_or_else(|| self.not_offered("chat"))
    }

    /// Where reasoning stands in the text, with the vendor's habit filled in.
    pub(super) fn inline_reasoning(&self, rules: &ChatRules) -> InlineReasoning {
        match self.config.inline_reasoning {
            InlineReasoning::Auto if rules.inline_reasoning => InlineReasoning::Tagged,
            InlineReasoning::Auto => InlineReasoning::Off,
            chosen => chosen,
        }
    }
}

fn key(config: &OpenAiConfig, profile: &Profile, env: &Environment) -> Result<Option<Secret>> {
    if profile.key_required {
        return required_secret(config.api_key.as_ref(), env, profile.key_env).map(Some);
    }
    let given = config.api_key.clone().filter(|key| !key.is_empty());
    Ok(given.or_else(|| env.secret(profile.key_env)))
}

/// The base URL of the configuration, else of the environment, else the vendor's own. A Hugging Face token must
/// not be sent to anybody else, so with one the vendor is called through Hugging Face's router.
fn base_url(config: &OpenAiConfig, profile: &Profile, key: Option<&Secret>, env: &Environment) -> String {
    let given = config.base_url.clone().filter(|url| !url.trim().is_empty());
    if let Some(url) = given.or_else(|| env.first(profile.base_url_env)) {
        return url;
    }
    let own = profile.base_url.unwrap_or_default();
    match profile.hf_provider {
        Some(provider) if key.is_some_and(|key| key.expose().starts_with("hf_")) => {
            let (_, route) = own.trim_start_matches("https://").split_once('/').unwrap_or_default();
            format!("{HF_ROUTER}/{provider}/{route}")
        }
        _ => own.to_owned(),
    }
}

/// The address of a resource with the path of the API: a version needs the deployment's own path, and without one the
/// path is the same for all. An address with a path is taken as it is.
fn with_deployment(address: String, model: &str, has_version: bool) -> String {
    let is_bare = url::Url::parse(&address).is_ok_and(|url| url.path() == "/");
    let resource = address.trim_end_matches('/');
    match (is_bare, has_version) {
        (false, _) => address,
        (true, true) => format!("{resource}/openai/deployments/{model}"),
        (true, false) => format!("{resource}/openai/v1"),
    }
}

fn header_fields(
    config: &OpenAiConfig,
    profile: &Profile,
    env: &Environment,
) -> Result<Vec<(HeaderName, HeaderValue)>> {
    let from_env = |index: usize| profile.account_env.and_then(|names| env.get(names.get(index).copied()?));
    let named = [
        ("openai-organization", "organization", config.organization.clone().or_else(|| from_env(0))),
        ("openai-project", "project", config.project.clone().or_else(|| from_env(1))),
        ("x-hf-bill-to", "bill_to", config.bill_to.clone()),
    ];
    let mut fields = Vec::new();
    for (header, field, value) in named {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            fields.push((HeaderName::from_static(header), header_value(field, &value)?));
        }
    }
    for (header, value) in &config.headers {
        if is_credential_header(header) {
            return Err(refuse(
                "headers",
                format!("`headers` must not hold the credential '{header}'; it belongs in `api_key`"),
            ));
        }
        if RESERVED.iter().any(|reserved| header.eq_ignore_ascii_case(reserved)) {
            return Err(refuse(
                "headers",
                format!("`headers` must not hold '{header}', which ayni sets itself"),
            ));
        }
        let name = HeaderName::from_bytes(header.as_bytes()).map_err(|_| {
            refuse("headers", "`headers` holds a name that HTTP does not allow for a header".to_owned())
        })?;
        fields.push((name, header_value("headers", value)?));
    }
    Ok(fields)
}

fn refuse(field: &'static str, message: String) -> Error {
    Error::config(message).with_context("field", field)
}

fn info(config: &OpenAiConfig, profile: &Profile, api: &ApiClient) -> BackendInfo {
    let limits = Limits {
        max_batch: config.max_batch.or_else(|| profile.embeddings.and_then(|rules| rules.max_batch)),
        max_images: profile.images.and_then(|rules| rules.max_images),
        max_concurrency: config.max_concurrency.or(profile.max_concurrency),
    };
    BackendInfo::new(profile.name, config.model.trim())
        .with_host(api.host())
        .with_limits(limits)
        .with_credential(api.credential())
        .with_cold_starts(profile.cold_starts)
}

fn space(config: &OpenAiConfig) -> EmbeddingSpace {
    let default = || EmbeddingSpace::new(config.model.trim());
    let space = config.space.clone().unwrap_or_else(default);
    let dimensions = space.dimensions.or(config.dimensions);
    let mut space = space.with_dimensions(dimensions);
    let prompts = || prompt_set(config.query_prompt.as_deref(), config.document_prompt.as_deref());
    space.prompt_set = space.prompt_set.or_else(prompts);
    space
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn open(config: OpenAiConfig, env: &[(&str, &str)]) -> Result<OpenAi> {
        config.open(&Environment::from_pairs(env.iter().copied()))
    }

    #[test]
    fn the_first_variable_that_is_set_holds_the_key() {
        let config = OpenAiConfig::vendor("hf-router", "m");
        let both = open(config.clone(), &[("HF_API_TOKEN", "hf_a"), ("HF_TOKEN", "hf_b")]).expect("a key");
        let first = open(config.clone().with_api_key("hf_a"), &[]).expect("a key");
        assert_eq!(both.info.credential, first.info.credential);
        let second = open(config.clone(), &[("HF_TOKEN", "hf_b")]).expect("a key");
        assert_ne!(second.info.credential, first.info.credential);
        let error = open(config, &[]).expect_err("no key");
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().contains("HF_API_TOKEN is not set"), "{error}");
    }

    #[test]
    fn a_hugging_face_token_goes_to_hugging_face_only() {
        for (vendor, key, url) in [
            ("groq", "gsk_x", "https://api.groq.com/openai/v1"),
            ("groq", "hf_x", "https://router.huggingface.co/groq/openai/v1"),
            ("together", "hf_x", "https://router.huggingface.co/together/v1"),
            ("featherless", "hf_x", "https://router.huggingface.co/featherless-ai/v1"),
            ("zai", "hf_x", "https://router.huggingface.co/zai-org/api/paas/v4"),
        ] {
            let backend = open(OpenAiConfig::vendor(vendor, "m").with_api_key(key), &[]).expect(vendor);
            assert_eq!(backend.base_url(), url);
        }
    }

    #[test]
    fn openai_reads_its_address_from_the_environment_and_no_other_vendor_does() {
        let env = [
            ("OPENAI_BASE_URL", "https://proxy.test/v1"),
            ("OPENAI_API_KEY", "sk-x"),
            ("GROQ_API_KEY", "gsk_x"),
        ];
        let backend = open(OpenAiConfig::new("gpt-4o-mini"), &env).expect("a backend");
        assert_eq!(backend.base_url(), "https://proxy.test/v1");
        let backend = open(OpenAiConfig::vendor("groq", "m"), &env).expect("a backend");
        assert_eq!(backend.base_url(), "https://api.groq.com/openai/v1");
    }

    #[test]
    fn an_azure_resource_gets_the_path_of_its_deployment_where_a_version_is_named() {
        for (address, version, url) in [
            ("https://a.openai.azure.com", None, "https://a.openai.azure.com/openai/v1"),
            ("https://a.openai.azure.com/", Some("v"), "https://a.openai.azure.com/openai/deployments/m"),
            ("https://a.test/proxy/v1", Some("v"), "https://a.test/proxy/v1"),
        ] {
            let mut config = OpenAiConfig::vendor("azure", "m").with_api_key("k").with_base_url(address);
            config.api_version = version.map(str::to_owned);
            assert_eq!(open(config, &[]).expect(url).base_url(), url);
        }
        let env = [("AZURE_OPENAI_ENDPOINT", "https://b.openai.azure.com"), ("AZURE_OPENAI_API_KEY", "k")];
        let backend = open(OpenAiConfig::vendor("azure", "m"), &env).expect("a backend");
        assert_eq!(backend.base_url(), "https://b.openai.azure.com/openai/v1");
    }

    #[test]
    fn credentials_and_illegal_text_are_refused_in_headers() {
        for (name, value) in [
            ("Authorization", "Bearer canary"),
            ("X-API-Key", "canary"),
            ("a b", "c"),
            ("a", "b\r\nc: d"),
            ("Host", "x"),
        ] {
            let config = OpenAiConfig::vendor("ollama", "m").with_header(name, value);
            let error = open(config, &[]).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{name}");
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (config, named) in [
            (OpenAiConfig::vendor("ollama", " "), "model"),
            (OpenAiConfig::vendor("custom", "m"), "base URL"),
            (OpenAiConfig::vendor("nonesuch", "m"), "nonesuch"),
        ] {
            let error = open(config, &[]).expect_err(named);
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
            assert!(error.message().contains(named), "{error}");
        }
        assert!(open(OpenAiConfig::vendor("llamacpp", ""), &[]).is_ok());
    }

    #[test]
    fn a_backend_shows_no_key() {
        let backend = open(OpenAiConfig::new("m").with_api_key("sk-canary"), &[]).expect("a backend");
        assert!(!format!("{backend:?}").contains("canary"));
    }
}
