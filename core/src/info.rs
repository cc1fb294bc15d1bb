//! The identity of a backend, its limits, and the route of an answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Operation, RouteFailure};

/// Limits that a backend declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Limits {
    /// The most inputs of one embedding request. Handles split larger requests.
    pub max_batch: Option<usize>,
    /// The most requests in flight for one credential.
    pub max_concurrency: Option<usize>,
    /// The most images of one generation request.
    pub max_images: Option<usize>,
}

/// What a local image model draws with: for health addresses and status panels.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ImageModelInfo {
    /// What the model was made for: `standard`, `lcm`, `turbo`, `lightning-4`. It decides which steps are legal.
    pub recipe: String,
    /// The scheduler of requests without one.
    pub scheduler: String,
    /// The steps of requests without any.
    pub steps: u32,
    /// The guidance of requests without one; up to 1 means none.
    pub guidance: f32,
    /// Width and height that the model was trained for.
    pub size: (u32, u32),
    /// What makes it faster or smaller, in words.
    pub optimisations: Vec<String>,
    /// Bytes of the weights in memory.
    pub weights_bytes: u64,
    /// Bytes that images in progress may take beside them, when the model was loaded.
    pub memory_bytes: Option<u64>,
    /// What is done with images in which the safety checker finds something: `off`, `mark`, `blank`, `refuse`.
    pub safety: String,
    /// Whether there is a safety checker, on or off.
    pub has_safety_checker: bool,
}

/// Identity of a backend: fixed when it is built. Of a local model, precision and prompts are known once it is loaded.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct BackendInfo {
    /// The backend's name in configuration, errors, logs and metrics: `groq`, `huggingface`, `scripted`.
    pub backend: Arc<str>,
    /// The model, as the backend spells it.
    pub model: Arc<str>,
    /// The host it talks to; `None` for local backends.
    pub host: Option<Arc<str>>,
    /// The device of a local model: `cpu` or `cuda:0`.
    pub device: Option<Arc<str>>,
    /// The precision in which a local model multiplies: `f32`, `bf16` or `int8`.
    pub precision: Option<Arc<str>>,
    /// Why it is this one: a sentence for people.
    pub precision_reason: Option<Arc<str>>,
    /// Where a local embedder has its prompts from: `repository`, `catalogue` or `none`.
    pub prompts: Option<Arc<str>>,
    /// Whether a local chat model reads images, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads_images: Option<bool>,
    /// What a local image model draws with, once it is loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_model: Option<Arc<ImageModelInfo>>,
    /// Its limits.
    pub limits: Limits,
    /// Which account pays, without the credential itself. Backends with the same one share their limits.
    #[serde(skip)]
    pub credential: Option<CredentialId>,
    /// Whether the first request may have to wait until a model or container has started.
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
            precision: None,
            precision_reason: None,
            prompts: None,
            reads_images: None,
            image_model: None,
            limits: Limits::default(),
            credential: None,
            cold_starts: false,
        }
    }

    /// Sets the host that the backend talks to.
    pub fn with_host(mut self, host: impl Into<Arc<str>>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Sets the device of a local model.
    pub fn with_device(mut self, device: impl Into<Arc<str>>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// Sets the precision of a local model, and why it is this one.
    pub fn with_precision(mut self, precision: impl Into<Arc<str>>, reason: impl Into<Arc<str>>) -> Self {
        (self.precision, self.precision_reason) = (Some(precision.into()), Some(reason.into()));
        self
    }

    /// Sets where a local embedder has its prompts from.
    pub fn with_prompts(mut self, origin: impl Into<Arc<str>>) -> Self {
        self.prompts = Some(origin.into());
        self
    }

    /// Sets what a local image model draws with.
    pub fn with_image_model(mut self, model: ImageModelInfo) -> Self {
        self.image_model = Some(Arc::new(model));
        self
    }

    /// Sets the limits.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets which account pays.
    pub fn with_credential(mut self, credential: Option<CredentialId>) -> Self {
        self.credential = credential;
        self
    }

    /// Sets whether the first request may have to wait until a model or container has started.
    pub fn with_cold_starts(mut self, cold_starts: bool) -> Self {
        self.cold_starts = cold_starts;
        self
    }

    /// Names this backend and `operation` on an error, unless it names others already.
    pub(crate) fn tag(&self, operation: Operation) -> impl FnOnce(Error) -> Error {
        move |error| error.with_operation(operation).with_backend(&*self.backend)
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

/// A fingerprint of host and credential. It tells accounts apart within one process and does not reveal the credential:
/// it is keyed with random bytes drawn at start-up.
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

/// Tokens that a call used, where the backend reports them. `None` means not reported, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the input, those from a prompt cache included.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer, reasoning included at every provider.
    pub output_tokens: Option<u64>,
    /// Tokens of the answer that were spent on reasoning.
    pub reasoning_tokens: Option<u64>,
    /// Input tokens that came from a prompt cache.
    pub cached_tokens: Option<u64>,
    /// Input tokens that were written to a prompt cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// Input tokens of sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_audio_tokens: Option<u64>,
    /// Tokens of the answer that are sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_audio_tokens: Option<u64>,
}

impl Usage {
    /// Usage with input and output known.
    pub fn new(input_tokens: impl Into<Option<u64>>, output_tokens: impl Into<Option<u64>>) -> Self {
        Self { input_tokens: input_tokens.into(), output_tokens: output_tokens.into(), ..Self::default() }
    }

    /// Whether the backend reported anything.
    pub fn is_known(&self) -> bool {
        *self != Self::default()
    }

    /// The counts as named facts of an error: what was used is paid for, even if the answer is of no use.
    pub(crate) fn add_to(&self, error: Error) -> Error {
        let facts = [
            ("input_tokens", self.input_tokens),
            ("output_tokens", self.output_tokens),
            ("reasoning_tokens", self.reasoning_tokens),
            ("cached_tokens", self.cached_tokens),
        ];
        facts.into_iter().fold(error, |error, (name, count)| match count {
            Some(count) => error.with_context(name, count.to_string()),
            None => error,
        })
    }

    /// The sum with `other`; what both leave unknown stays unknown.
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
            cache_write_tokens: add(self.cache_write_tokens, other.cache_write_tokens),
            input_audio_tokens: add(self.input_audio_tokens, other.input_audio_tokens),
            output_audio_tokens: add(self.output_audio_tokens, other.output_audio_tokens),
        }
    }
}

/// Where an answer came from: which backend answered, which failed before, and how many attempts it took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Route {
    /// The backend that answered.
    pub backend: Arc<str>,
    /// The model that answered, as the backend reports it.
    pub model: Arc<str>,
    /// The provider behind a router, where the router reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The backends that failed before it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<RouteFailure>,
    /// How many attempts at the backend that answered.
    pub attempts: u32,
    /// Whether the answer came from the response cache.
    pub cached: bool,
    /// The backend's id of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl Route {
    /// A first attempt, answered by the backend of `info`.
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

    /// Sets the model that answered, where the backend reports it.
    pub fn with_model(mut self, model: Option<&str>) -> Self {
        if let Some(model) = model.filter(|model| !model.is_empty() && **model != *self.model) {
            self.model = model.into();
        }
        self
    }

    /// Sets the provider behind a router.
    pub fn with_provider(mut self, provider: Option<String>) -> Self {
        self.provider = provider;
        self
    }

    /// Sets the backend's id of the request.
    pub fn with_request_id(mut self, request_id: Option<String>) -> Self {
        self.request_id = request_id;
        self
    }

    /// What the route says of a backend that failed.
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
