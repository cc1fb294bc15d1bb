//! Request and response bodies of hf-inference.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chat::{ChatRequest, TokenLogprob};
use crate::wire::numbers::decimal;

/// Feature extraction takes its options at the root, not under `parameters`.
#[derive(Debug, Serialize)]
pub(super) struct FeatureExtraction<'a> {
    pub(super) inputs: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) normalize: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_name: Option<&'a str>,
    pub(super) truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dimensions: Option<usize>,
}

#[derive(Debug, Serialize)]
pub(super) struct TextGeneration {
    pub(super) inputs: String,
    pub(super) parameters: Map<String, Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) stream: bool,
}

impl TextGeneration {
    /// The body for a request whose options have been checked.
    pub(super) fn new(request: &ChatRequest, inputs: String, return_full_text: bool, stream: bool) -> Self {
        let mut parameters = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                parameters.insert(name.to_owned(), value);
            }
        };
        set("max_new_tokens", request.max_tokens.map(Value::from));
        // The server refuses a temperature of zero: greedy decoding is `do_sample: false`.
        match request.temperature {
            Some(zero) if zero <= 0.0 => set("do_sample", Some(Value::Bool(false))),
            other => set("temperature", other.map(|value| decimal(value).into())),
        }
        set("top_p", request.top_p.map(|value| decimal(value).into()));
        set("top_k", request.top_k.map(Value::from));
        set("frequency_penalty", request.frequency_penalty.map(|value| decimal(value).into()));
        set("seed", request.seed.map(Value::from));
        set("stop", (!request.stop.is_empty()).then(|| request.stop.clone().into()));
        set("return_full_text", Some(Value::Bool(return_full_text)));
        if let Some(alternatives) = request.logprobs {
            set("details", Some(Value::Bool(true)));
            set("top_n_tokens", (alternatives > 0).then(|| Value::from(alternatives)));
        }
        for (name, value) in &request.extra {
            parameters.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Self { inputs, parameters, stream }
    }
}

/// A whole response of text generation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Generated {
    pub(super) generated_text: Option<String>,
    pub(super) details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    pub(super) finish_reason: Option<String>,
    pub(super) generated_tokens: Option<u64>,
    pub(super) input_length: Option<u64>,
    pub(super) tokens: Vec<Token>,
    pub(super) top_tokens: Vec<Vec<Token>>,
}

/// One event of a streamed response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StreamLine {
    pub(super) token: Option<Token>,
    pub(super) top_tokens: Option<Vec<Token>>,
    pub(super) generated_text: Option<String>,
    pub(super) details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Token {
    pub(super) text: Option<String>,
    pub(super) logprob: Option<f64>,
    pub(super) special: Option<bool>,
}

impl Token {
    /// The token as the caller sees it, with its alternatives.
    pub(super) fn logprob(&self, top: &[Self]) -> Option<TokenLogprob> {
        let of = |token: &Self| Some((token.text.clone()?, token.logprob?));
        let (text, logprob) = of(self)?;
        Some(TokenLogprob::new(text, logprob).with_top(top.iter().filter_map(of).collect()))
    }
}
