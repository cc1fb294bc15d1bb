//! A chat request: the conversation and the options of its answer.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::content::{CacheTtl, Content};
use super::message::Message;
use crate::error::{Error, Result};

/// A conversation, and the options of its answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ChatRequest {
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// Instead of a conversation: what the model continues as it is, without a template. Local models do that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<RawPrompt>,
    /// The most tokens of the answer.
    pub max_tokens: Option<u32>,
    /// The sampling temperature: 0 always takes the likeliest token.
    pub temperature: Option<f32>,
    /// Nucleus sampling: considers only the likeliest tokens that together reach this probability.
    pub top_p: Option<f32>,
    /// Considers only this many of the likeliest tokens.
    pub top_k: Option<u32>,
    /// Lowers the probability of tokens that occurred before, in proportion to how often.
    pub frequency_penalty: Option<f32>,
    /// Lowers the probability of tokens that occurred before at all.
    pub presence_penalty: Option<f32>,
    /// The seed of sampling: makes the answer repeatable, as far as the backend allows.
    pub seed: Option<u64>,
    /// Stop sequences: the answer ends before any of these texts.
    pub stop: Vec<String>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Whether the model may, must or must not call tools.
    pub tool_choice: Option<ToolChoice>,
    /// The format of the answer.
    pub output: Option<OutputFormat>,
    /// How much to reason before answering.
    pub reasoning: Option<ReasoningEffort>,
    /// Asks for log-probabilities, with this many alternatives for each token.
    pub logprobs: Option<u8>,
    /// How many answers to give, one by default. The others are in `alternatives` of the response; a stream gives one.
    pub choices: Option<u32>,
    /// Further fields of the request body, sent as they are. Fields that ayni sets itself take precedence.
    pub extra: Map<String, Value>,
}

impl ChatRequest {
    /// A conversation.
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        Self { messages: messages.into_iter().collect(), ..Self::default() }
    }

    /// A text, or the ids of tokens, to continue as they are.
    pub fn raw(input: impl Into<PromptInput>) -> Self {
        Self { prompt: Some(RawPrompt { input: input.into(), echo: false }), ..Self::default() }
    }

    /// With a raw prompt: the answer begins with the prompt, and `logprobs` with those of its tokens.
    pub fn with_echo(mut self) -> Self {
        self.prompt = self.prompt.map(|prompt| RawPrompt { echo: true, ..prompt });
        self
    }

    /// A conversation of one question.
    pub fn user(question: impl Into<Content>) -> Self {
        Self::new([Message::user(question)])
    }

    /// Puts a system message before the conversation.
    pub fn with_system(mut self, instruction: impl Into<Content>) -> Self {
        self.messages.insert(0, Message::system(instruction));
        self
    }

    /// Adds a message at the end.
    pub fn with_message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Limits the answer's tokens.
    pub fn with_max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Sets the temperature.
    pub fn with_temperature(mut self, temperature: f32) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Sets nucleus sampling.
    pub fn with_top_p(mut self, top_p: f32) -> Self {
        self.top_p = Some(top_p);
        self
    }

    /// Sets the seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the stop sequences.
    pub fn with_stop<T: Into<String>>(mut self, stop: impl IntoIterator<Item = T>) -> Self {
        self.stop = stop.into_iter().map(Into::into).collect();
        self
    }

    /// Offers tools.
    pub fn with_tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.tools = tools.into_iter().collect();
        self
    }

    /// Sets whether tools may, must or must not be called.
    pub fn with_tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = Some(choice);
        self
    }

    /// Sets the format of the answer.
    pub fn with_output(mut self, output: OutputFormat) -> Self {
        self.output = Some(output);
        self
    }

    /// Sets how much to reason.
    pub fn with_reasoning(mut self, effort: ReasoningEffort) -> Self {
        self.reasoning = Some(effort);
        self
    }

    /// Asks for log-probabilities, with this many alternatives for each token.
    pub fn with_logprobs(mut self, alternatives: u8) -> Self {
        self.logprobs = Some(alternatives);
        self
    }

    /// Asks for several answers.
    pub fn with_choices(mut self, choices: u32) -> Self {
        self.choices = Some(choices);
        self
    }

    /// Adds a field to the request body.
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Fails on what most backends don't accept: what [`check_messages`](Self::check_messages) refuses, and more than one
    /// answer. A backend that gives several calls `check_messages` alone.
    ///
    /// # Errors
    /// `invalid_request`; `unsupported` for several answers.
    pub fn check(&self) -> Result<()> {
        self.check_messages()?;
        self.check_choices()
    }

    fn check_choices(&self) -> Result<()> {
        match self.choices {
            None | Some(1) => Ok(()),
            Some(0) => Err(Error::invalid_request("`choices` is 0; ask for one answer at least")),
            Some(_) => Err(Error::unsupported_option(
                "choices",
                "`choices` above 1: this backend gives one answer a call, and a stream is one",
            )),
        }
    }

    /// [`check`](Self::check) of a backend that continues raw prompts too.
    #[cfg(feature = "candle")]
    pub(crate) fn check_raw(&self) -> Result<()> {
        match &self.prompt {
            None => self.check(),
            Some(_) if !self.messages.is_empty() || !self.tools.is_empty() => {
                Err(Error::invalid_request("`prompt` stands instead of `messages` and `tools`"))
            }
            Some(_) => self.check_choices(),
        }
    }

    /// Fails on what no backend accepts: no messages, or only empty ones.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check_messages(&self) -> Result<()> {
        if self.prompt.is_some() {
            return Err(Error::unsupported(
                "`prompt`: this backend answers conversations; local models continue texts",
            ));
        }
        if self.messages.is_empty() {
            return Err(Error::invalid_request("the conversation has no messages"));
        }
        if self.messages.iter().all(|message| message.content.is_empty() && message.tool_calls.is_empty()) {
            return Err(Error::invalid_request("every message of the conversation is empty"));
        }
        Ok(())
    }
}

/// What a model continues as it is: no template, no roles, control tokens in it are tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RawPrompt {
    /// The text, or the ids of its tokens.
    pub input: PromptInput,
    /// Whether the answer begins with the prompt. With `logprobs`, those of the prompt's tokens come first, from its second
    /// token on; `max_tokens` may then be 0.
    #[serde(default)]
    pub echo: bool,
}

/// A text or tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum PromptInput {
    /// A text. The model's first token is put before it where the model wants one.
    Text(String),
    /// The ids of tokens, used as they are.
    Tokens(Vec<u32>),
}

impl From<&str> for PromptInput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for PromptInput {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u32>> for PromptInput {
    fn from(tokens: Vec<u32>) -> Self {
        Self::Tokens(tokens)
    }
}

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Tool {
    /// The tool's name.
    pub name: String,
    /// What it does: the model decides by it when to call the tool.
    #[serde(default)]
    pub description: String,
    /// The arguments, as a JSON Schema.
    pub parameters: Value,
    /// Whether the arguments must follow the schema strictly, where the backend can guarantee it.
    #[serde(default)]
    pub strict: bool,
    /// A hint: this tool and those before it are worth keeping in the provider's prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheTtl>,
}

impl Tool {
    /// A tool.
    pub fn new(name: impl Into<String>, description: impl Into<String>, parameters: Value) -> Self {
        Self { name: name.into(), description: description.into(), parameters, strict: false, cache: None }
    }

    /// Sets whether the arguments must follow the schema strictly.
    pub fn with_strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Marks the end of the tools that are worth keeping in the provider's prompt cache.
    pub fn with_cache(mut self, ttl: CacheTtl) -> Self {
        self.cache = Some(ttl);
        self
    }
}

/// Whether tools may, must or must not be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolChoice {
    /// The model decides.
    Auto,
    /// No tool is called.
    None,
    /// At least one tool is called.
    Required,
    /// This tool is called.
    Tool(String),
}

/// The format of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputFormat {
    /// Text.
    Text,
    /// Any JSON object.
    Json,
    /// JSON that follows a schema.
    JsonSchema {
        /// A name for the schema.
        name: String,
        /// What the answer is for: the model reads it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// The schema.
        schema: Value,
        /// Whether it must be followed strictly.
        #[serde(default)]
        strict: bool,
    },
}

impl OutputFormat {
    /// JSON that follows a schema. `strict` says whether it must be followed to the letter.
    pub fn json_schema(name: impl Into<String>, schema: Value, strict: bool) -> Self {
        Self::JsonSchema { name: name.into(), description: None, schema, strict }
    }

    /// The schema, with the description in it where it has none of its own: for backends that take no other.
    pub(crate) fn described_schema(&self) -> Option<Cow<'_, Value>> {
        let Self::JsonSchema { description, schema, .. } = self else { return None };
        let (Some(description), Value::Object(fields)) = (description, schema) else {
            return Some(Cow::Borrowed(schema));
        };
        let mut fields = fields.clone();
        fields.entry("description").or_insert_with(|| description.as_str().into());
        Some(Cow::Owned(fields.into()))
    }
}

/// How much to reason before answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReasoningEffort {
    /// Not at all.
    None,
    /// A little.
    Low,
    /// As much as usual.
    Medium,
    /// A lot.
    High,
}

impl ReasoningEffort {
    /// `none`, `low`, `medium` or `high`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}
