//! Models: the list that a server offers, read with what vendors add to it.

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// A model of a server's list: the body that answers `GET /models/{model}`.
#[derive(Debug, Serialize)]
pub struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl<'a> Model<'a> {
    /// The model `id`, served since `created` (in seconds since 1970).
    pub fn new(id: &'a str, created: u64) -> Self {
        Self { id, object: "model", created, owned_by: "ayni" }
    }
}

/// The list of a server's models: the body that answers `GET /models`.
#[derive(Debug, Serialize)]
pub struct ModelList<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

impl<'a> ModelList<'a> {
    /// The list of the models `ids`, served since `created` (in seconds since 1970).
    pub fn new(ids: impl IntoIterator<Item = &'a str>, created: u64) -> Self {
        Self { object: "list", data: ids.into_iter().map(|id| Model::new(id, created)).collect() }
    }
}

/// A model that a vendor offers, as far as the vendor describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The name to put into a configuration.
    pub id: String,
    /// Who published it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<String>,
    /// When it was published, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// Tokens of its context window; behind a router the largest of its providers'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// What it reads: `text`, `image` …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub input_modalities: Vec<String>,
    /// What it writes: `text`, `image` …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output_modalities: Vec<String>,
    /// Who serves it behind a router.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ModelProvider>,
}

/// A provider that serves a model behind a router.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelProvider {
    /// The provider's name, which may follow the model's after a colon.
    pub provider: String,
    /// `live` or `error`, by the router's last check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Tokens of the context window there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u64>,
    /// Dollars for a million tokens of input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_price: Option<f64>,
    /// Dollars for a million tokens of output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_price: Option<f64>,
    /// Whether it costs nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_free: Option<bool>,
    /// Whether the provider lets the model call tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supports_tools: Option<bool>,
    /// Whether the provider keeps answers to a JSON Schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supports_structured_output: Option<bool>,
    /// Milliseconds to the first token, by the router's last check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_latency_ms: Option<f64>,
    /// Tokens a second, by the router's last check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<f64>,
}

/// Reads a list of models. Entries without a name are left out.
///
/// # Errors
/// `response_invalid` where it is no list.
pub(crate) fn read(response: Value) -> Result<Vec<ModelInfo>> {
    // Together answers with a bare list.
    let list = match response {
        Value::Array(list) => Some(list),
        Value::Object(mut object) => match object.remove("data").or_else(|| object.remove("models")) {
            Some(Value::Array(list)) => Some(list),
            _ => None,
        },
        _ => None,
    };
    let list = list.ok_or_else(|| Error::response_invalid("the answer is no list of models"))?;
    Ok(list.iter().filter_map(model).collect())
}

fn model(entry: &Value) -> Option<ModelInfo> {
    let architecture = entry.get("architecture").unwrap_or(&Value::Null);
    let providers: Vec<ModelProvider> =
        entry.get("providers").and_then(Value::as_array).into_iter().flatten().filter_map(provider).collect();
    Some(ModelInfo {
        id: text(entry, "id").or_else(|| text(entry, "name"))?,
        owned_by: text(entry, "owned_by").or_else(|| text(entry, "organization")),
        created: entry.get("created").and_then(Value::as_u64),
        context_length: context_length(entry)
            .or_else(|| providers.iter().filter_map(|provider| provider.context_length).max()),
        input_modalities: texts(architecture, "input_modalities"),
        output_modalities: texts(architecture, "output_modalities"),
        providers,
    })
}

/// The context window under the name that the vendor has for it.
fn context_length(entry: &Value) -> Option<u64> {
    const NAMES: [&str; 4] = ["context_length", "context_window", "max_model_len", "max_context_length"];
    let trained = || entry.get("meta")?.get("n_ctx_train")?.as_u64();
    NAMES.iter().find_map(|name| entry.get(*name)?.as_u64()).or_else(trained)
}

fn provider(entry: &Value) -> Option<ModelProvider> {
    let price = |name: &str| entry.get("pricing")?.get(name)?.as_f64();
    let flag = |name: &str| entry.get(name).and_then(Value::as_bool);
    let number = |name: &str| entry.get(name).and_then(Value::as_f64);
    Some(ModelProvider {
        provider: text(entry, "provider")?,
        status: text(entry, "status"),
        context_length: context_length(entry),
        input_price: price("input"),
        output_price: price("output"),
        is_free: flag("is_free"),
        supports_tools: flag("supports_tools"),
        supports_structured_output: flag("supports_structured_output"),
        first_token_latency_ms: number("first_token_latency_ms"),
        throughput: number("throughput"),
    })
}

fn text(entry: &Value, name: &str) -> Option<String> {
    entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(entry: &Value, name: &str) -> Vec<String> {
    let list = entry.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let list = serde_json::to_value(ModelList::new(["a", "b"], 7)).expect("JSON");
        let model = |id: &str| ModelInfo {
            id: id.to_owned(),
            owned_by: Some("ayni".to_owned()),
            created: Some(7),
            ..ModelInfo::default()
        };
        assert_eq!(read(list).expect("a list"), [model("a"), model("b")]);
    }
}
