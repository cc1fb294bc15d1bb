//! The backend: which host is called, with which key, and what its failures mean.

use std::sync::Arc;

use super::config::HuggingFaceConfig;
use super::mapping::{Mapping, MappingEntry, Task};
use super::providers::{self, AUTO, HF_INFERENCE, Scheme};
use super::space::encode_path;
use crate::context::Context;
use crate::embed::EmbeddingSpace;
use crate::error::{Error, ErrorKind, Result};
use crate::http::client::{ApiCall, ApiClient, Auth};
use crate::http::status::{Failure, Verdict};
use crate::http::{HeaderName, header_value};
use crate::info::{BackendInfo, Limits, Route};
use crate::secret::Secret;

/// The backend's name.
pub(super) const NAME: &str = "huggingface";

const ROUTER: &str = "https://router.huggingface.co";

/// Most inputs of one embedding request at hf-inference; the providers take at least as many.
const MAX_BATCH: usize = 32;

/// Hugging Face: hf-inference tasks and the providers behind the router. Cheap to clone; clones share the
/// look-up of the model's provider.
#[derive(Clone, Debug)]
pub struct HuggingFace(pub(super) Arc<State>);

#[derive(Debug)]
pub(super) struct State {
    pub(super) config: HuggingFaceConfig,
    pub(super) info: BackendInfo,
    pub(super) space: EmbeddingSpace,
    pub(super) api: ApiClient,
    pub(super) hub: ApiClient,
    via_router: bool,
    mapping: Mapping,
}

/// The provider of one call, and the model's id there.
#[derive(Debug)]
pub(super) struct ResolvedProvider {
    pub(super) entry: MappingEntry,
    /// The prefix of the provider's paths: `/together` at the router, nothing at its own host.
    prefix: String,
    via_router: bool,
}

impl ResolvedProvider {
    pub(super) fn provider(&self) -> &str {
        &self.entry.provider
    }

    /// The model's id at the provider, encoded for a path.
    pub(super) fn model_path(&self) -> String {
        encode_path(&self.entry.model)
    }

    /// The query that the router needs: fal's queue has a host of its own.
    pub(super) fn router_query(&self) -> Option<&'static str> {
        (self.via_router && self.entry.provider == "fal-ai").then_some("_subdomain=queue")
    }

    /// A path of the provider as a path of the host that is called.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

impl HuggingFace {
    pub(super) fn build(config: &HuggingFaceConfig, key: &Secret, hub_url: &str) -> Result<Self> {
        // hf-inference is part of the router: there is no other host, whatever the token.
        let is_hub_token = key.expose().starts_with("hf_") || config.provider == HF_INFERENCE;
        if is_hub_token && config.direct_url.is_some() {
            let why =
                "`direct_url` is for a key of the provider's own; a Hugging Face token goes to `base_url`";
            return Err(Error::config(why).with_context("field", "direct_url"));
        }
        let hub = ApiClient::new(NAME, hub_url)?;
        let (api, hub) = if is_hub_token {
            let mut api = ApiClient::new(NAME, config.base_url.as_deref().unwrap_or(ROUTER))?
                .with_auth(Auth::bearer(Some(key)))?;
            if let Some(organisation) = &config.bill_to {
                let organisation = header_value("bill_to", organisation)?;
                api = api.with_header(HeaderName::from_static("x-hf-bill-to"), organisation);
            }
            (api, hub.with_auth(Auth::bearer(Some(key)))?)
        } else {
            (direct_api(config, key)?, hub)
        };
        let api = api.with_classify(classify);
        let info = BackendInfo::new(NAME, config.model.as_str())
            .with_host(api.host())
            .with_credential(api.credential())
            .with_limits(limits(&config.provider))
            .with_cold_starts(true);
        Ok(Self(Arc::new(State {
            space: config.embedding_space(),
            config: config.clone(),
            info,
            api,
            hub,
            via_router: is_hub_token,
            mapping: Mapping::default(),
        })))
    }

    /// The provider that serves `task`. hf-inference uses the model's id on the Hub; for other providers the Hub
    /// is asked for their id of the model, unless the configuration names it.
    pub(super) async fn resolve(&self, cx: &Context, task: Task) -> Result<ResolvedProvider> {
        let State { config, hub, mapping, via_router, .. } = &*self.0;
        let provider = config.provider.as_str();
        if provider != AUTO && !providers::serves(provider, task) {
            return Err(providers::no_route(provider, task));
        }
        let known_model = match provider {
            HF_INFERENCE => Some(config.provider_model.as_ref().unwrap_or(&config.model)),
            _ => config.provider_model.as_ref(),
        };
        let entry = match known_model {
            Some(model) => MappingEntry {
                provider: provider.to_owned(),
                model: model.clone(),
                ..MappingEntry::default()
            },
            None => mapping.find(cx, hub, (&config.model, provider), task).await?,
        };
        let prefix = if *via_router { format!("/{}", encode_path(&entry.provider)) } else { String::new() };
        Ok(ResolvedProvider { entry, prefix, via_router: *via_router })
    }

    /// A POST to a path of the provider's.
    pub(super) fn post(&self, served: &ResolvedProvider, path: &str) -> ApiCall<'_> {
        self.0.api.post(&served.path(path))
    }

    /// Where a response came from.
    pub(super) fn route(&self, served: &ResolvedProvider, request_id: Option<String>) -> Route {
        Route::new(&self.0.info)
            .with_provider(Some(served.entry.provider.clone()))
            .with_request_id(request_id)
    }

    /// Adds this backend's facts to a failure, and forgets the mapping if the failure shows that it is wrong.
    pub(super) async fn finish<T>(&self, outcome: Result<T>, served: &ResolvedProvider) -> Result<T> {
        match outcome {
            Ok(value) => Ok(value),
            Err(error) => {
                if error.kind() == ErrorKind::NotFound {
                    self.0.mapping.forget().await;
                }
                Err(error.with_context("provider", served.provider()))
            }
        }
    }
}

/// The client for a provider's own key, which is never sent to the Hub.
fn direct_api(config: &HuggingFaceConfig, key: &Secret) -> Result<ApiClient> {
    let invalid = |field: &'static str, why: String| Error::config(why).with_context("field", field);
    if config.provider == AUTO {
        let why =
            "`provider` 'auto' needs a Hugging Face token (hf_…); with a key of a provider's own, name it";
        return Err(invalid("provider", why.to_owned()));
    }
    if config.bill_to.is_some() {
        let why = "`bill_to` needs a Hugging Face token (hf_…); a provider's own key bills its own account";
        return Err(invalid("bill_to", why.to_owned()));
    }
    let profile = providers::profile(&config.provider);
    let url = config.direct_url.as_deref().or(profile.map(|profile| profile.direct_url));
    let url = url.ok_or_else(|| {
        let why = format!(
            "the key is no Hugging Face token (hf_…), and ayni does not know the host of provider '{}': set `direct_url`",
            config.provider
        );
        invalid("direct_url", why)
    })?;
    let auth = match profile.map(|profile| profile.scheme) {
        Some(Scheme::Key) => Auth::Scheme("Key", key.clone()),
        _ => Auth::bearer(Some(key)),
    };
    ApiClient::new(NAME, url)?.with_auth(auth)
}

fn limits(provider: &str) -> Limits {
    let limits = Limits::default().with_max_batch(MAX_BATCH);
    match providers::profile(provider).and_then(|profile| profile.max_images) {
        Some(most) => limits.with_max_images(most),
        None => limits,
    }
}

/// What failures of hf-inference and the router mean where the common table of statuses says too little.
fn classify(failure: &Failure<'_>) -> Option<Verdict> {
    const REFUSALS: [&str; 3] = ["nsfw", "flagged as sensitive", "safety checker"];
    let message = failure.body.message.as_deref().unwrap_or_default();
    let message = message.chars().take(400).collect::<String>().to_ascii_lowercase();
    match failure.status {
        400 if message.contains("not supported for task") => {
            Some(Verdict::new(ErrorKind::NotFound, "the provider does not serve this model for this task"))
        }
        200..=299 | 400 | 422 if REFUSALS.iter().any(|refusal| message.contains(refusal)) => {
            Some(Verdict::new(ErrorKind::ContentRejected, "the provider's safety filter refused the request"))
        }
        404 => Some(Verdict::new(
            ErrorKind::NotFound,
            "model not available from this provider: it is not deployed there, its id is wrong, or it is private",
        )),
        _ => None,
    }
}
