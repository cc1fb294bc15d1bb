//! What comes with an answer: its sources, and what the provider says about it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A source that a part of an answer rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Annotation {
    /// What kind of source it is.
    pub kind: AnnotationKind,
    /// Where the source is.
    pub url: Option<String>,
    /// The source's title, or a file's name.
    pub title: Option<String>,
    /// The provider's id of the file.
    pub file_id: Option<String>,
    /// The words of the source that support the answer.
    pub quote: Option<String>,
    /// The first character of the answer's text that the source supports.
    pub start: Option<u64>,
    /// The character after the last one.
    pub end: Option<u64>,
    /// The annotation in the provider's own words.
    pub data: Value,
}

/// What kind of source an [`Annotation`] names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AnnotationKind {
    /// A page of the web.
    Url,
    /// A file that was uploaded, or that the provider made.
    File,
    /// A document of the conversation.
    Document,
    /// Something else: [`Annotation::data`] says what.
    #[default]
    Other,
}

impl Annotation {
    /// A source of `kind`, in the provider's own words.
    pub fn new(kind: AnnotationKind, data: Value) -> Self {
        Self { kind, data, ..Self::default() }
    }

    /// Sets which characters of the answer the source supports.
    pub fn with_range(mut self, start: Option<u64>, end: Option<u64>) -> Self {
        (self.start, self.end) = (start, end);
        self
    }
}

/// What a provider says about an answer besides the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct ResponseMetadata {
    /// The provider's id of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The tier of service that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// The configuration of the model that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Why the answer ended, as the provider spells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Why the answer ended, in a sentence of the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_message: Option<String>,
    /// Why the answer ended, as the provider behind a router spells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_finish_reason: Option<String>,
    /// What the answer cost, in the currency of the account (US dollars at OpenRouter).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// What the provider's filters say about prompt and answer.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub filter_results: Value,
    /// What else came with the answer, by the provider's names.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub further: Map<String, Value>,
}

impl ResponseMetadata {
    /// Whether the provider said nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what `later` says: its values win, and what it leaves out stays.
    pub(crate) fn merge(&mut self, later: Self) {
        fn set<T>(old: &mut Option<T>, new: Option<T>) {
            if new.is_some() {
                *old = new;
            }
        }
        set(&mut self.id, later.id);
        set(&mut self.service_tier, later.service_tier);
        set(&mut self.fingerprint, later.fingerprint);
        set(&mut self.finish_reason, later.finish_reason);
        set(&mut self.finish_message, later.finish_message);
        set(&mut self.native_finish_reason, later.native_finish_reason);
        set(&mut self.cost, later.cost);
        match (&mut self.filter_results, later.filter_results) {
            (_, Value::Null) => {}
            (Value::Object(old), Value::Object(new)) => old.extend(new),
            (old, new) => *old = new,
        }
        self.further.extend(later.further);
    }

    /// The approximate memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        if self.is_empty() { 0 } else { serde_json::to_vec(self).map_or(0, |json| json.len()) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_comes_later_wins_and_removes_nothing() {
        let read = |data: Value| serde_json::from_value::<ResponseMetadata>(data).expect("metadata");
        let mut metadata =
            read(json!({ "id": "1", "filter_results": { "prompt": 1 }, "further": { "a": 1 } }));
        let later =
            read(json!({ "service_tier": "flex", "filter_results": { "answer": 2 }, "further": { "b": 2 } }));
        metadata.merge(later);
        let expected = json!({
            "id": "1", "service_tier": "flex",
            "filter_results": { "prompt": 1, "answer": 2 }, "further": { "a": 1, "b": 2 },
        });
        assert_eq!(serde_json::to_value(&metadata).expect("JSON"), expected);
        assert_eq!(serde_json::to_value(ResponseMetadata::default()).expect("JSON"), json!({}));
    }
}
