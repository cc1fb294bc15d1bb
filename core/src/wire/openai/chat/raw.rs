//! A response as it comes, whole or a chunk of a stream. Every field may be missing, null or of another type.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::annotations::read_annotation;
use super::delta::Delta;
use super::usage::{read_logprobs, read_usage};
use crate::chat::{Annotation, ResponseMetadata, TokenLogprob};
use crate::info::Usage;

/// A whole response, or one chunk of a streamed one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawCompletion {
    #[serde(deserialize_with = "lenient")]
    id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub(super) model: Option<String>,
    /// The provider behind a router, where the router says so.
    #[serde(deserialize_with = "lenient")]
    pub(super) provider: Option<String>,
    #[serde(deserialize_with = "lenient")]
    service_tier: Option<String>,
    #[serde(deserialize_with = "lenient")]
    system_fingerprint: Option<String>,
    choices: Option<Vec<Option<RawChoice>>>,
    usage: Value,
    x_groq: Value,
    /// What Azure's filters say about the prompt.
    prompt_filter_results: Value,
    /// Perplexity's sources.
    citations: Value,
    #[serde(flatten)]
    further: Map<String, Value>,
}

/// One of the alternative responses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawChoice {
    index: Value,
    message: Value,
    delta: Value,
    /// The text of a completion by the older protocol.
    #[serde(deserialize_with = "lenient")]
    text: Option<String>,
    #[serde(deserialize_with = "lenient")]
    finish_reason: Option<String>,
    #[serde(deserialize_with = "lenient")]
    native_finish_reason: Option<String>,
    content_filter_results: Value,
    logprobs: Value,
}

impl RawCompletion {
    /// The choices, in the order of their indices.
    pub(super) fn take_choices(&mut self) -> Vec<RawChoice> {
        let mut choices: Vec<RawChoice> =
            self.choices.take().unwrap_or_default().into_iter().flatten().collect();
        choices.sort_by_key(|choice| choice.index.as_u64().unwrap_or_default());
        choices
    }

    /// The model, where the response names it.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref().filter(|model| !model.is_empty())
    }

    /// Tokens used, wherever the vendor says so.
    pub(super) fn usage(&self) -> Usage {
        let usage = read_usage(&self.usage);
        if usage.is_known() { usage } else { read_usage(self.x_groq.get("usage").unwrap_or(&Value::Null)) }
    }

    /// The sources that stand beside the choices.
    pub(super) fn take_annotations(&mut self) -> Vec<Annotation> {
        match self.citations.take() {
            Value::Array(list) => list.into_iter().map(read_annotation).collect(),
            _ => Vec::new(),
        }
    }

    /// What the vendor says about the response.
    pub(super) fn take_metadata(&mut self) -> ResponseMetadata {
        const FRAME: [&str; 4] = ["object", "created", "obfuscation", "error"];
        let text = |text: &mut Option<String>| text.take().filter(|text| !text.is_empty());
        let mut further = std::mem::take(&mut self.further);
        further.retain(|name, value| !FRAME.contains(&name.as_str()) && !is_nothing(value));
        let mut metadata = ResponseMetadata {
            id: text(&mut self.id),
            service_tier: text(&mut self.service_tier),
            fingerprint: text(&mut self.system_fingerprint),
            cost: self.usage.get("cost").and_then(Value::as_f64),
            further,
            ..ResponseMetadata::default()
        };
        if !is_nothing(&self.prompt_filter_results) {
            metadata.filter_results = json!({ "prompt": self.prompt_filter_results.take() });
        }
        metadata
    }
}

impl RawChoice {
    /// The message of a whole response, or the delta of a chunk. Some servers put the one where the other
    /// belongs; the older protocol has a text.
    pub(super) fn take_delta(&mut self) -> Delta {
        let delta = self.delta.take();
        let mut read = Delta::read(if delta.is_object() { delta } else { self.message.take() });
        if let (Some(text), true) = (self.text.take(), read.text.is_empty()) {
            read.text = text;
        }
        read
    }

    /// Whether there is a message at all, though it may be an empty one.
    pub(super) fn has_message(&self) -> bool {
        self.message.is_object() || self.delta.is_object() || self.text.is_some()
    }

    /// Why the response ended, if this says so. An empty text, which some servers put into every chunk, does not.
    pub(super) fn finish_reason(&self) -> Option<&str> {
        self.finish_reason.as_deref().filter(|reason| !reason.is_empty())
    }

    /// The log-probabilities.
    pub(super) fn logprobs(&self) -> Vec<TokenLogprob> {
        read_logprobs(&self.logprobs)
    }

    /// Adds what the choice says about itself.
    pub(super) fn describe(&mut self, metadata: &mut ResponseMetadata) {
        let mut own = ResponseMetadata {
            finish_reason: self.finish_reason().map(str::to_owned),
            native_finish_reason: self.native_finish_reason.take().filter(|reason| !reason.is_empty()),
            ..ResponseMetadata::default()
        };
        if !is_nothing(&self.content_filter_results) {
            own.filter_results = json!({ "answer": self.content_filter_results.take() });
        }
        metadata.merge(own);
    }
}

/// Whether a value says nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// The value if it has the type expected, else nothing.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(T::deserialize(value).unwrap_or_default())
}
