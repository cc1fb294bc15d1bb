//! The request: messages, sampling, tools and the form of the answer. An ordered struct with `model` first:
//! the Hugging Face router reads it from the body's first bytes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ask::check_addresses;
use super::message::MessageJson;
use super::options::{
    ReasoningEffortJson, ResponseFormatJson, StopJson, StreamOptionsJson, ToolChoiceJson, ToolJson,
};
use super::rules::MessageStyle;
use crate::chat::{ChatRequest, Message};
use crate::error::Result;
use crate::wire::openai::MAX_MODEL_CHARS;
use crate::wire::openai::body;
use crate::wire::openai::fields::{self, Ignored};

const MAX_MESSAGES: usize = 16_384;
const MAX_TOOLS: usize = 1024;
/// The most answers to one request.
const MAX_CHOICES: u64 = 16;

/// Options that clients of other servers send, and that go to the backend as they are.
pub(super) const PASSED_ON: [&str; 11] = [
    "chat_template_kwargs",
    "guided_grammar",
    "guided_regex",
    "logit_bias",
    "min_p",
    "repetition_penalty",
    "thinking_budget",
    "top_a",
    "typical_p",
    "xtc_probability",
    "xtc_threshold",
];

/// A chat completion that a client asks a server for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CompletionRequest {
    /// The model, by the name that the server gave it.
    pub model: String,
    /// The conversation, and how to answer it.
    pub request: ChatRequest,
    /// Whether to answer with a stream of chunks.
    pub stream: bool,
    /// Whether a stream ends with a chunk that holds the usage.
    pub include_usage: bool,
    /// The fields that count for nothing here: the response names them.
    pub ignored: Vec<String>,
}

impl CompletionRequest {
    /// Reads the body of `POST /chat/completions`. Fields that change nothing about the answer (`user`,
    /// `metadata` …) are taken and left alone; unknown ones are named in [`ignored`](Self::ignored).
    ///
    /// # Errors
    /// `invalid_request` naming the field that is wrong, and for an address that is not public.
    pub fn read(body: &[u8]) -> Result<Self> {
        let body: CompletionBody<'_> = body::read(body)?;
        let ignored = body.further.keys().filter(|name| !PASSED_ON.contains(&name.as_str()));
        Ok(Self {
            ignored: ignored.map(|name| field_name(name)).collect(),
            model: body.model.clone().into_owned(),
            stream: body.stream.unwrap_or_default(),
            include_usage: body.stream_options.as_ref().is_some_and(StreamOptionsJson::include_usage),
            request: body.into_request()?,
        })
    }
}

/// The body of `POST /chat/completions`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub(crate) struct CompletionBody<'a> {
    /// The model that answers.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[serde(deserialize_with = "fields::text::<_, MAX_MODEL_CHARS>")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_MODEL_CHARS)))]
    pub(crate) model: Cow<'a, str>,
    /// The conversation so far, oldest first.
    #[serde(deserialize_with = "fields::list::<_, _, 1, MAX_MESSAGES>")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_MESSAGES)))]
    pub(crate) messages: Vec<MessageJson<'a>>,
    /// Most tokens of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::whole::<_, _, 1, 1_000_000>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000)))]
    pub(crate) max_tokens: Option<u32>,
    /// The newer name of `max_tokens`; it wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::whole::<_, _, 1, 1_000_000>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000)))]
    pub(crate) max_completion_tokens: Option<u32>,
    /// How freely to choose tokens: 0 always takes the likeliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::number::<_, 0, 2>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 2)))]
    pub(crate) temperature: Option<f32>,
    /// Considers only the likeliest tokens that together reach this probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::number::<_, 0, 1>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1)))]
    pub(crate) top_p: Option<f32>,
    /// Considers only this many of the likeliest tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::whole::<_, _, 1, 1_000_000>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000)))]
    pub(crate) top_k: Option<u32>,
    /// Lowers the chance of tokens already used, by how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::number::<_, -2, 2>")]
    #[cfg_attr(feature = "schema", schemars(range(min = -2, max = 2)))]
    pub(crate) frequency_penalty: Option<f32>,
    /// Lowers the chance of tokens already used at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::number::<_, -2, 2>")]
    #[cfg_attr(feature = "schema", schemars(range(min = -2, max = 2)))]
    pub(crate) presence_penalty: Option<f32>,
    /// Makes the choice of tokens repeatable, as far as the backend allows; below zero any seed will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::seed")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<i64>"))]
    pub(crate) seed: Option<u64>,
    /// Ends the answer before this text, or any of these.
    #[serde(default, skip_serializing_if = "StopJson::is_empty")]
    pub(crate) stop: StopJson<'a>,
    /// The tools that the model may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "fields::list::<_, _, 0, MAX_TOOLS>")]
    pub(crate) tools: Vec<ToolJson<'a>>,
    /// `auto`, `none`, `required`, or the function to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tool_choice: Option<ToolChoiceJson<'a>>,
    /// The form of the answer: `text`, `json_object`, or `json_schema` with a schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response_format: Option<ResponseFormatJson<'a>>,
    /// How much to reason before answering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_effort: Option<ReasoningEffortJson>,
    /// Asks for log-probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) logprobs: Option<bool>,
    /// How many alternatives come with each token's log-probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::whole::<_, _, 0, 20>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 20)))]
    pub(crate) top_logprobs: Option<u8>,
    /// Streams the answer as server-sent events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<bool>,
    /// What a stream says besides the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream_options: Option<StreamOptionsJson>,
    /// How many answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::whole::<_, _, 1, MAX_CHOICES>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = MAX_CHOICES)))]
    n: Option<u32>,
    #[serde(default, skip_serializing_if = "Ignored::is_left_out")]
    user: Ignored,
    #[serde(default, skip_serializing_if = "Ignored::is_left_out")]
    metadata: Ignored,
    #[serde(default, skip_serializing_if = "Ignored::is_left_out")]
    store: Ignored,
    #[serde(default, skip_serializing_if = "Ignored::is_left_out")]
    service_tier: Ignored,
    #[serde(default, skip_serializing_if = "Ignored::is_left_out")]
    safety_identifier: Ignored,
    #[serde(default, skip_serializing_if = "Ignored::is_left_out")]
    prompt_cache_key: Ignored,
    /// What else a client sends, in the vendor's own words.
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub(crate) further: Map<String, Value>,
}

/// The messages of a conversation that stands alone.
///
/// # Errors
/// `invalid_request` naming the field that is wrong.
pub(crate) fn read_messages(messages: &Value) -> Result<Vec<Message>> {
    #[derive(Deserialize)]
    struct Conversation<'a> {
        #[serde(deserialize_with = "fields::list::<_, _, 1, MAX_MESSAGES>")]
        messages: Vec<MessageJson<'a>>,
    }

    let json = serde_json::json!({ "messages": messages }).to_string();
    let conversation: Conversation<'_> = body::read(json.as_bytes())?;
    conversation.messages.into_iter().map(MessageJson::into_message).collect()
}

/// The name of a field as the response may repeat it.
pub(super) fn field_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

impl<'a> CompletionBody<'a> {
    /// The body that asks `model` for what `request` says. A backend changes it where its vendor departs from
    /// the protocol.
    ///
    /// # Errors
    /// `unsupported` naming a part of a message that the vendor does not take.
    pub(crate) fn write(model: &'a str, request: &'a ChatRequest, style: &MessageStyle<'_>) -> Result<Self> {
        let messages = request.messages.iter().map(|message| MessageJson::write(message, style));
        Ok(Self {
            model: model.into(),
            messages: messages.collect::<Result<_>>()?,
            max_tokens: request.max_tokens,
            temperature: request.temperature,
            top_p: request.top_p,
            top_k: request.top_k,
            frequency_penalty: request.frequency_penalty,
            presence_penalty: request.presence_penalty,
            seed: request.seed,
            stop: StopJson::write(&request.stop),
            tools: request.tools.iter().map(|tool| ToolJson::write(tool, style.rules.cache_points)).collect(),
            tool_choice: request.tool_choice.as_ref().map(ToolChoiceJson::write),
            response_format: request.output.as_ref().and_then(ResponseFormatJson::write),
            reasoning_effort: request.reasoning.map(ReasoningEffortJson::of),
            logprobs: request.logprobs.map(|_| true),
            top_logprobs: request.logprobs.filter(|alternatives| *alternatives > 0),
            n: request.choices.filter(|choices| *choices != 1),
            ..Self::default()
        })
    }

    /// The request that a client made.
    fn into_request(self) -> Result<ChatRequest> {
        let messages = self.messages.into_iter().map(MessageJson::into_message);
        let mut request = ChatRequest::new(messages.collect::<Result<Vec<_>>>()?);
        check_addresses(&request)?;
        request.choices = self.n.filter(|n| *n != 1);
        let passed_on = |(name, value): &(String, Value)| {
            PASSED_ON.contains(&name.as_str()) && !value.is_null() && *value != Value::Object(Map::new())
        };
        request.extra = self.further.into_iter().filter(passed_on).collect();
        request.max_tokens = self.max_completion_tokens.or(self.max_tokens);
        request.temperature = self.temperature;
        request.top_p = self.top_p;
        request.top_k = self.top_k;
        request.frequency_penalty = self.frequency_penalty;
        request.presence_penalty = self.presence_penalty;
        request.seed = self.seed;
        request.stop = self.stop.into_texts();
        request.tools = self.tools.into_iter().map(ToolJson::into_tool).collect::<Result<_>>()?;
        request.tool_choice = self.tool_choice.map(ToolChoiceJson::into_choice).transpose()?;
        request.output = self.response_format.map(ResponseFormatJson::into_output).transpose()?;
        request.reasoning = self.reasoning_effort.map(ReasoningEffortJson::into_effort);
        let wants_logprobs = self.logprobs == Some(true);
        request.logprobs = wants_logprobs.then(|| self.top_logprobs.unwrap_or_default());
        Ok(request)
    }
}
