//! The native routes' JSON.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::chat::{FinishReason, ProviderData, TokenLogprob, ToolCall};
use crate::info::Usage;

/// A duration as Go writes it, or seconds: `-1` and `0` must be numbers in the JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeepAlive<'a>(pub(super) &'a str);

impl Serialize for KeepAlive<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.trim().parse::<i64>() {
            Ok(seconds) => serializer.serialize_i64(seconds),
            Err(_) => serializer.serialize_str(self.0.trim()),
        }
    }
}

/// The body of `POST /api/chat`, except for further fields.
#[derive(Debug, Serialize)]
pub(super) struct ChatBody<'a> {
    pub(super) model: &'a str,
    pub(super) messages: Vec<WireMessage>,
    pub(super) stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) think: Option<Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) options: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keep_alive: Option<KeepAlive<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_logprobs: Option<u8>,
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
}

/// A message as it is sent.
#[derive(Debug, Default, Serialize)]
pub(super) struct WireMessage {
    pub(super) role: &'static str,
    pub(super) content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thinking: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) images: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<SentCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct WireTool<'a> {
    pub(super) r#type: &'static str,
    pub(super) function: WireFunction<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct WireFunction<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) description: &'a str,
    pub(super) parameters: &'a Value,
}

/// A tool call as it is sent: the arguments are an object. Ollama wants no other data of a call back.
#[derive(Debug, Serialize)]
pub(super) struct SentCall {
    pub(super) id: String,
    pub(super) function: SentFunction,
}

#[derive(Debug, Serialize)]
pub(super) struct SentFunction {
    pub(super) name: String,
    pub(super) arguments: Value,
}

/// A response, or a line of a streamed one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ChatLine {
    pub(super) model: Option<String>,
    pub(super) message: Option<LineMessage>,
    pub(super) done: Option<bool>,
    pub(super) done_reason: Option<String>,
    pub(super) prompt_eval_count: Option<u64>,
    pub(super) eval_count: Option<u64>,
    pub(super) logprobs: Option<Vec<LineLogprob>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LineMessage {
    pub(super) content: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) tool_calls: Option<Vec<LineCall>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LineCall {
    id: Option<String>,
    function: LineFunction,
    #[serde(flatten)]
    provider_data: ProviderData,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LineFunction {
    name: Option<String>,
    arguments: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LineLogprob {
    token: Option<String>,
    logprob: Option<f64>,
    top_logprobs: Option<Vec<Self>>,
}

impl ChatLine {
    pub(super) fn usage(&self) -> Usage {
        Usage::new(self.prompt_eval_count, self.eval_count)
    }

    /// Why the response ended. With tool calls the server says `stop`.
    pub(super) fn finish(&self, calls_tools: bool) -> FinishReason {
        match FinishReason::from_openai(self.done_reason.as_deref().unwrap_or_default()) {
            FinishReason::Stop if calls_tools => FinishReason::ToolCalls,
            reason => reason,
        }
    }
}

impl LineCall {
    /// The call at `index` of the response. Arguments become JSON text; a missing id is made up.
    pub(super) fn into_call(self, index: usize) -> ToolCall {
        let arguments = match self.function.arguments {
            None | Some(Value::Null) => "{}".to_owned(),
            Some(Value::String(text)) => text,
            Some(object) => object.to_string(),
        };
        let id = self.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{index}"));
        ToolCall::new(id, self.function.name.unwrap_or_default(), arguments)
            .with_provider_data(self.provider_data)
    }
}

impl From<LineLogprob> for TokenLogprob {
    fn from(line: LineLogprob) -> Self {
        let pair =
            |line: LineLogprob| (line.token.unwrap_or_default(), line.logprob.unwrap_or(f64::NEG_INFINITY));
        let top = line.top_logprobs.unwrap_or_default().into_iter().map(pair).collect();
        Self::new(line.token.unwrap_or_default(), line.logprob.unwrap_or(f64::NEG_INFINITY)).with_top(top)
    }
}

/// The body of `POST /api/embed`.
#[derive(Debug, Serialize)]
pub(super) struct EmbedBody<'a> {
    pub(super) model: &'a str,
    pub(super) input: Vec<std::borrow::Cow<'a, str>>,
    pub(super) truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dimensions: Option<usize>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) options: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keep_alive: Option<KeepAlive<'a>>,
}

/// The response to `POST /api/embed`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EmbedReply {
    pub(super) model: Option<String>,
    pub(super) embeddings: Option<Vec<Value>>,
    pub(super) prompt_eval_count: Option<u64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn seconds_to_keep_a_model_are_numbers_and_durations_are_text() {
        for (text, wire) in [("-1", json!(-1)), (" 0 ", json!(0)), ("10m", json!("10m"))] {
            assert_eq!(serde_json::to_value(KeepAlive(text)).expect("JSON"), wire);
        }
    }

    #[test]
    fn arguments_are_text_here_and_what_else_came_with_a_call_is_kept() {
        let line: LineCall = serde_json::from_value(json!({
            "id": "", "signature": "x", "function": { "index": 0, "name": "look", "arguments": { "b": 1, "a": 2 } }
        }))
        .expect("a call");
        let call = line.into_call(3);
        assert_eq!((call.id.as_str(), call.name.as_str()), ("call_3", "look"));
        assert_eq!(call.arguments, r#"{"b":1,"a":2}"#, "in the order of the model");
        assert_eq!(call.provider_data.get("signature"), Some(&json!("x")));
    }
}
