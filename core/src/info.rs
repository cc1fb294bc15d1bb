//! Who a backend is, what it can do, and who served an answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, RouteFailure};

/// Limits that a backend declares about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Limits {
    /// Most inputs of one embedding request. Handles split larger requests.
    pub max_batch: Option<usize>,
    /// Most requests in flight for one credential.
    pub max_concurrency: Option<usize>,
    /// Most images of one generation request.
    pub max_images: Option<usize>,
}

/// Identity of a backend: fixed when it is built, never changed.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct BackendInfo {
    /// The backend's name in configuration, errors, logs and metrics: `groq`, `huggingface`, `scripted`.
    pub backend: Arc<str>,
    /// The model that it serves, as the backend spells it.
    pub model: Arc<str>,
    /// The host it talks to; `None` for local backends.
    pub host: Option<Arc<str>>,
    /// Of a model in this process: what it runs on, `cpu` or `cuda:0`.
    pub device: Option<Arc<str>>,
    /// What it declares about its limits.
    pub limits: Limits,
    /// Which account pays, without saying what the credential is; limits are shared by all backends with
    /// the same one.
    #[serde(skip)]
    pub credential: Option<CredentialId>,
    /// Whether a first request may have to wait for a model or a container to start.
    pub cold_starts: bool,
}

impl BackendInfo {
    /// A local backend without limits.
    pub fn new(backend: impl Into<Arc<str>>, model: impl Into<Arc<str>>) -> Self {
        Self {
            backend: backend.into(),
            model: model.into(),
            host: None,
            device: None,
            limits: Limits::default(),
            credential: None,
            cold_starts: false,
        }
    }

    /// Names the host that the backend talks to.
    pub fn with_host(mut self, host: impl Into<Arc<str>>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Says what the model runs on.
    pub fn with_device(mut self, device: impl Into<Arc<str>>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// Declares limits.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Says which account pays.
    pub fn with_credential(mut self, credential: Option<CredentialId>) -> Self {
        self.credential = credential;
        self
    }

    /// Says that a first request may wait for a start.
    pub fn with_cold_starts(mut self, cold_starts: bool) -> Self {
        self.cold_starts = cold_starts;
        self
    }
}

impl Limits {
    /// Sets the most inputs of one embedding request.
    pub fn with_max_batch(mut self, inputs: usize) -> Self {
        self.max_batch = Some(inputs);
        self
    }

    /// Sets the most requests in flight for one credential.
    pub fn with_max_concurrency(mut self, requests: usize) -> Self {
        self.max_concurrency = Some(requests);
        self
    }

    /// Sets the most images of one generation request.
    pub fn with_max_images(mut self, images: usize) -> Self {
        self.max_images = Some(images);
        self
    }
}

/// A fingerprint of (host, credential). It tells accounts apart within one process and cannot be turned
/// back into the credential: it is keyed with random bytes made at start-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CredentialId(u64);

impl CredentialId {
    /// The fingerprint of `credential` at `host`.
    pub fn new(host: &str, credential: &crate::Secret) -> Self {
        use std::hash::{BuildHasher, RandomState};
        use std::sync::OnceLock;
        static KEY: OnceLock<RandomState> = OnceLock::new();
        Self(KEY.get_or_init(RandomState::new).hash_one((host, credential.expose())))
    }
}

/// Tokens that a call used, where the backend says so. `None` is "not said", never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the input.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer, reasoning included where the backend counts it there.
    pub output_tokens: Option<u64>,
    /// Tokens spent on reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Input tokens that a prompt cache supplied.
    pub cached_tokens: Option<u64>,
}

impl Usage {
    /// Usage with input and output known.
    pub fn new(input_tokens: impl Into<Option<u64>>, output_tokens: impl Into<Option<u64>>) -> Self {
        Self { input_tokens: input_tokens.into(), output_tokens: output_tokens.into(), ..Self::default() }
    }

    /// Whether the backend said anything at all.
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }

    /// The sum with `other`; what neither knows stays unknown.
    pub fn plus(self, other: Self) -> Self {
        fn add(a: Option<u64>, b: Option<u64>) -> Option<u64> {
            match (a, b) {
                (None, None) => None,
                (a, b) => Some(a.unwrap_or(0).saturating_add(b.unwrap_or(0))),
            }
        }
        Self {
            input_tokens: add(self.input_tokens, other.input_tokens),
            output_tokens: add(self.output_tokens, other.output_tokens),
            reasoning_tokens: add(self.reasoning_tokens, other.reasoning_tokens),
            cached_tokens: add(self.cached_tokens, other.cached_tokens),
        }
    }
}

/// Where an answer came from: who served, who failed before, how many attempts it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Route {
    /// The backend that served.
    pub backend: Arc<str>,
    /// The model that served, as the backend reports it.
    pub model: Arc<str>,
    /// The provider behind a router, where the router says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The backends that failed before it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<RouteFailure>,
    /// Attempts at the backend that served.
    pub attempts: u32,
    /// Whether the answer came out of the response cache.
    pub cached: bool,
    /// The backend's own name for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Route {
    /// A first attempt served by the backend that `info` describes.
    pub fn new(info: &BackendInfo) -> Self {
        Self {
            backend: Arc::clone(&info.backend),
            model: Arc::clone(&info.model),
            provider: None,
            failed: Vec::new(),
            attempts: 1,
            cached: false,
            request_id: None,
        }
    }

    /// Names the model that answered, where the backend says so.
    pub fn with_model(mut self, model: Option<&str>) -> Self {
        if let Some(model) = model.filter(|model| !model.is_empty() && **model != *self.model) {
            self.model = model.into();
        }
        self
    }

    /// Names the provider behind a router.
    pub fn with_provider(mut self, provider: Option<String>) -> Self {
        self.provider = provider;
        self
    }

    /// Keeps the backend's own name for the request.
    pub fn with_request_id(mut self, request_id: Option<String>) -> Self {
        self.request_id = request_id;
        self
    }

    /// Records that a backend failed before this one.
    pub(crate) fn failed_before(info: &BackendInfo, error: &Error) -> RouteFailure {
        RouteFailure {
            backend: Arc::clone(&info.backend),
            model: Arc::clone(&info.model),
            kind: error.kind(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn a_credential_id_tells_accounts_apart_and_shows_no_secret() {
        let a = CredentialId::new("api.groq.com", &Secret::new("gsk_one"));
        assert_eq!(a, CredentialId::new("api.groq.com", &Secret::new("gsk_one")));
        assert_ne!(a, CredentialId::new("api.groq.com", &Secret::new("gsk_two")));
        assert_ne!(a, CredentialId::new("api.openai.com", &Secret::new("gsk_one")));
        assert!(!format!("{a:?}").contains("gsk"));
    }

    #[test]
    fn unknown_usage_stays_unknown_in_a_sum() {
        let sum = Usage::new(3, None).plus(Usage::new(4, None));
        assert_eq!(sum, Usage::new(7, None));
        assert!(!Usage::default().plus(Usage::default()).is_known());
    }
}
