//! The backend: who is called, with what key, and how failures read.

use std::sync::Arc;

use super::config::HuggingFaceConfig;
use super::mapping::{Entry, Mapping, Task};
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

/// hf-inference takes this many inputs of one embedding request; the providers take at least as many.
const MAX_BATCH: usize = 32;

/// Hugging Face: hf-inference tasks and the providers behind the router. Cheap to clone; clones share the
/// look-up of who serves the model.
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

/// Who serves one call, and under which name it knows the model.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) entry: Entry,
    /// What comes before the provider's own paths: `/together` at the router, nothing at its own host.
    prefix: String,
    via_router: bool,
}

impl Served {
    pub(super) fn provider(&self) -> &str {
        &self.entry.provider
    }

    /// The model's id at the provider, as a part of a path.
    pub(super) fn model_path(&self) -> String {
        encode_path(&self.entry.model)
    }

    /// What the router wants to know beside a path: fal's queue is a host of its own.
    pub(super) fn router_query(&self) -> Option<&'static str> {
        (self.via_router && self.entry.provider == "fal-ai").then_some("_subdomain=queue")
    }

    /// A path of the provider's, as a path of the API that is called.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

impl HuggingFace {
    pub(super) fn build(config: &HuggingFaceConfig, key: &Secret, hub_url: &str) -> Result<Self> {
        // hf-inference lives on the router: whatever kind of token it is, there is no other host.
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

    /// Who serves `task`. hf-inference knows models by their id on the Hub; for every other provider the Hub
    /// is asked, unless the configuration names the model's id there.
    pub(super) async fn served(&self, cx: &Context, task: Task) -> Result<Served> {
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
            Some(model) => Entry { provider: provider.to_owned(), model: model.clone(), ..Entry::default() },
            None => mapping.find(cx, hub, (&config.model, provider), task).await?,
        };
        let prefix = if *via_router { format!("/{}", encode_path(&entry.provider)) } else { String::new() };
        Ok(Served { entry, prefix, via_router: *via_router })
    }

    /// A POST to a path of the provider's.
    pub(super) fn post(&self, served: &Served, path: &str) -> ApiCall<'_> {
        self.0.api.post(&served.path(path))
    }

    /// Where an answer came from.
    pub(super) fn route(&self, served: &Served, request_id: Option<String>) -> Route {
        Route::new(&self.0.info)
            .with_provider(Some(served.entry.provider.clone()))
            .with_request_id(request_id)
    }

    /// Adds what only this backend knows to a failure, and drops the mapping that it proves wrong.
    pub(super) async fn finish<T>(&self, outcome: Result<T>, served: &Served) -> Result<T> {
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

/// The client for a key of the provider's own. The Hub never sees such a key.
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
    let row = providers::row(&config.provider);
    let url = config.direct_url.as_deref().or(row.map(|row| row.direct_url));
    let url = url.ok_or_else(|| {
        let why = format!(
            "the key is no Hugging Face token (hf_…), and ayni does not know the host of provider '{}': set `direct_url`",
            config.provider
        );
        invalid("direct_url", why)
    })?;
    let auth = match row.map(|row| row.scheme) {
        Some(Scheme::Key) => Auth::Scheme("Key", key.clone()),
        _ => Auth::bearer(Some(key)),
    };
    ApiClient::new(NAME, url)?.with_auth(auth)
}

fn limits(provider: &str) -> Limits {
    let limits = Limits::default().with_max_batch(MAX_BATCH);
    match providers::row(provider).and_then(|row| row.max_images) {
        Some(most) => limits.with_max_images(most),
        None => limits,
    }
}

/// What statuses and bodies of hf-inference and the router mean where the common table would say less.
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
