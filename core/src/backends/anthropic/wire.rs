//! The JSON of `/v1/messages`, as Anthropic spells it. In a response every field may be missing.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chat::FinishReason;
use crate::info::Usage;

/// The body of a request, except for the caller's further fields.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    pub(super) model: &'a str,
    pub(super) max_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system: Option<Turn<'a>>,
    pub(super) messages: Vec<MessageOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_k: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<ToolOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_choice: Option<ToolChoiceOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thinking: Option<Value>,
    #[serde(skip_serializing_if = "OutputConfig::is_empty")]
    pub(super) output_config: OutputConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct MessageOut<'a> {
    pub(super) role: &'static str,
    pub(super) content: Turn<'a>,
}

/// What a turn says: a text, or blocks.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Turn<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<Value>),
}

#[derive(Serialize)]
pub(super) struct ToolOut<'a> {
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) description: &'a str,
    pub(super) input_schema: Cow<'a, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<Value>,
}

#[derive(Serialize)]
pub(super) struct ToolChoiceOut<'a> {
    pub(super) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
}

#[derive(Default, Serialize)]
pub(super) struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<FormatOut<'a>>,
}

#[derive(Serialize)]
pub(super) struct FormatOut<'a> {
    pub(super) r#type: &'static str,
    pub(super) schema: Cow<'a, Value>,
}

impl OutputConfig<'_> {
    fn is_empty(&self) -> bool {
        self.effort.is_none() && self.format.is_none()
    }
}

/// A whole answer, or what its stream says at the beginning.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MessageIn {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) content: Option<Vec<Map<String, Value>>>,
    #[serde(flatten)]
    pub(super) ending: Ending,
    pub(super) usage: Option<UsageIn>,
}

/// Why an answer ended.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ending {
    pub(super) stop_reason: Option<String>,
    pub(super) stop_sequence: Option<String>,
    pub(super) stop_details: Value,
    pub(super) container: Value,
}

/// One event of a stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventIn {
    pub(super) r#type: String,
    pub(super) index: usize,
    pub(super) message: Option<MessageIn>,
    pub(super) content_block: Option<Map<String, Value>>,
    pub(super) delta: Value,
    pub(super) usage: Option<UsageIn>,
}

/// Token counts; in a stream the later ones are the counts so far, and leave out what does not change.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UsageIn {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
    pub(super) service_tier: Option<String>,
    pub(super) server_tool_use: Value,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl UsageIn {
    /// Adds what `later` says.
    pub(super) fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.cache_creation_input_tokens =
            later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
        self.service_tier = later.service_tier.or(self.service_tier.take());
        if !later.server_tool_use.is_null() {
            self.server_tool_use = later.server_tool_use;
        }
    }

    /// Anthropic counts cached input beside the rest; here it is a part of it, as at every other provider.
    pub(super) fn to_usage(&self) -> Usage {
        let cached = [self.cache_creation_input_tokens, self.cache_read_input_tokens];
        let parts = [self.input_tokens, cached[0], cached[1]];
        let input = parts
            .into_iter()
            .flatten()
            .fold(None, |sum: Option<u64>, count| Some(sum.unwrap_or_default().saturating_add(count)));
        let mut usage = Usage::new(input, self.output_tokens);
        usage.cache_write_tokens = cached[0];
        usage.cached_tokens = cached[1];
        usage.reasoning_tokens = self.output_tokens_details.and_then(|details| details.thinking_tokens);
        usage
    }
}

/// The reason that `stop_reason` names.
pub(super) fn finish_reason(text: &str) -> FinishReason {
    match text {
        "end_turn" | "stop_sequence" => FinishReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}
