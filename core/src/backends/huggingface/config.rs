//! Configuration of the `huggingface` backend.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::HuggingFace;
use super::providers::HF_INFERENCE;
use crate::embed::{EmbeddingSpace, Pooling};
use crate::env::{Environment, required_secret};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// Hugging Face: hf-inference tasks and the providers behind the router.
///
/// With a Hugging Face token (`hf_…`) calls go through the router and are billed there; any other key is the
/// provider's own and is sent to the provider's own host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HuggingFaceConfig {
    /// The model's id on the Hub: `owner/name`, without a `:provider` at the end.
    pub model: String,
    /// The provider: `hf-inference` (the default), another one by its name at Hugging Face, or `auto` for the
    /// first one that the Hub lists for the model.
    pub provider: String,
    /// The model's id at the provider; by default the Hub is asked for it.
    pub provider_model: Option<String>,
    /// The router's address; `https://router.huggingface.co` by default.
    pub base_url: Option<String>,
    /// The Hub's address; `HF_ENDPOINT`, then `https://huggingface.co` by default.
    pub hub_url: Option<String>,
    /// The provider's own address, for a key of the provider's own.
    pub direct_url: Option<String>,
    /// The credential; `HF_API_TOKEN`, then `HF_TOKEN` by default.
    pub api_key: Option<Secret>,
    /// The organisation that pays, of which the token's owner is a member.
    pub bill_to: Option<String>,
    /// Shortens vectors to this width, for models trained to allow it.
    pub dimensions: Option<usize>,
    /// Whether vectors have unit length. ayni normalises them itself.
    pub normalise: bool,
    /// The name of the prompt that the model puts before queries (hf-inference only).
    pub query_prompt: Option<String>,
    /// The name of the prompt that the model puts before documents (hf-inference only).
    pub document_prompt: Option<String>,
    /// How to pool the vectors of tokens that some models return. If unset, such responses are refused.
    pub pooling: Option<Pooling>,
    /// The space of the vectors; by default it is made from model, width, normalisation, pooling and prompts.
    pub space: Option<EmbeddingSpace>,
    /// The pause between two polls of a queued job's state, in seconds.
    pub poll_seconds: f64,
    /// How long to wait for a queued job, in seconds.
    pub poll_limit_seconds: f64,
    /// Whether the answer of text generation begins with the prompt.
    pub return_full_text: bool,
}

impl Default for HuggingFaceConfig {
    fn default() -> Self {
        Self {
            model: String::new(),
            provider: HF_INFERENCE.to_owned(),
            provider_model: None,
            base_url: None,
            hub_url: None,
            direct_url: None,
            api_key: None,
            bill_to: None,
            dimensions: None,
            normalise: true,
            query_prompt: None,
            document_prompt: None,
            pooling: None,
            space: None,
            poll_seconds: 0.5,
            poll_limit_seconds: 300.0,
            return_full_text: false,
        }
    }
}

impl HuggingFaceConfig {
    /// A model served by hf-inference.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Sets the provider.
    pub fn with_provider(mut self, provider: impl Into<String>) -> Self {
        self.provider = provider.into();
        self
    }

    /// Sets the credential.
    pub fn with_api_key(mut self, key: impl Into<Secret>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// Sets the router's address.
    pub fn with_base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// Sets the Hub's address.
    pub fn with_hub_url(mut self, url: impl Into<String>) -> Self {
        self.hub_url = Some(url.into());
        self
    }

    /// Sets the organisation that pays.
    pub fn with_bill_to(mut self, organisation: impl Into<String>) -> Self {
        self.bill_to = Some(organisation.into());
        self
    }

    /// Sets how to pool the vectors of tokens.
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = Some(pooling);
        self
    }

    /// Sets the width of the vectors.
    pub fn with_dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Opens the backend. Nothing is sent yet.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to fix; `unsupported` for a provider's own key
    /// where ayni does not know the provider's host.
    pub fn open(&self, env: &Environment) -> Result<HuggingFace> {
        self.check()?;
        let key = required_secret(self.api_key.as_ref(), env, &["HF_API_TOKEN", "HF_TOKEN"])?;
        let hub_url = self.hub_url.clone().or_else(|| env.get("HF_ENDPOINT"));
        HuggingFace::build(self, &key, hub_url.as_deref().unwrap_or("https://huggingface.co"))
    }

    fn check(&self) -> Result<()> {
        let invalid = |field: &'static str, why: &str| Err(Error::config(why).with_context("field", field));
        if self.model.trim().is_empty() {
            return invalid("model", "`model` is not set: name a model by its id on the Hub");
        }
        if let Some((model, suffix)) = self.model.split_once(':') {
            let why =
                format!("`model` is '{model}:{suffix}'; name the provider in `provider`, not after the id");
            return invalid("model", &why);
        }
        if self.provider.trim().is_empty() {
            return invalid("provider", "`provider` is empty: name a provider, or `auto`");
        }
        if self.provider_model.is_some() && self.provider == super::providers::AUTO {
            return invalid("provider_model", "`provider_model` needs a `provider` other than `auto`");
        }
        if self.dimensions == Some(0) {
            return invalid("dimensions", "`dimensions` is zero");
        }
        for (field, seconds) in
            [("poll_seconds", self.poll_seconds), ("poll_limit_seconds", self.poll_limit_seconds)]
        {
            if seconds <= 0.0 || Duration::try_from_secs_f64(seconds).is_err() {
                return invalid(field, &format!("`{field}` is no length of time"));
            }
        }
        Ok(())
    }

    /// The space that the fields describe, or the one given.
    pub(super) fn embedding_space(&self) -> EmbeddingSpace {
        if let Some(space) = &self.space {
            return space.clone();
        }
        let mut space = EmbeddingSpace::new(self.model.as_str())
            .with_dimensions(self.dimensions)
            .with_normalised(self.normalise);
        space.pooling = self.pooling;
        let named = |role: &str, name: &Option<String>| name.as_ref().map(|name| format!("{role}={name}"));
        let prompts: Vec<String> =
            [named("query", &self.query_prompt), named("document", &self.document_prompt)]
                .into_iter()
                .flatten()
                .collect();
        space.prompt_set = (!prompts.is_empty()).then(|| prompts.join(" "));
        space
    }
}
