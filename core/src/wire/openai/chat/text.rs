//! The older API `/completions`: prompts that a model continues without a template. Evaluation harnesses score models by it.

use std::borrow::Cow;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::completion::CompletionHead;
use super::options::StopJson;
use super::request::{PASSED_ON, field_name};
use super::usage::UsageJson;
use crate::chat::{AnyChat, ChatRequest, FinishReason, PromptInput, RawPrompt, TokenLogprob};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::info::Usage;
use crate::wire::openai::MAX_MODEL_CHARS;
use crate::wire::openai::body::{self, about};
use crate::wire::openai::fields::{self, Ignored};

const MAX_PROMPTS: usize = 1024;
/// The most tokens of an answer to a request that does not say, as OpenAI has it.
const DEFAULT_MAX_TOKENS: u32 = 16;

/// Prompts that a client wants continued.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TextCompletionRequest {
    /// The model, by the name that the server gave it.
    pub model: String,
    /// One request for each prompt.
    pub requests: Vec<ChatRequest>,
    /// Fields that are not known here; the answer names them.
    pub ignored: Vec<String>,
}

/// The body of `POST /completions`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub(crate) struct TextCompletionBody<'a> {
    /// The model that answers.
    #[serde(deserialize_with = "fields::text::<_, MAX_MODEL_CHARS>")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_MODEL_CHARS)))]
    model: Cow<'a, str>,
    /// What is continued.
    prompt: PromptsJson,
    /// Most tokens of the answer, 16 by default; 0 with `echo` scores the prompt alone.
    #[serde(default, deserialize_with = "fields::whole::<_, _, 0, 1_000_000>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1_000_000)))]
    max_tokens: Option<u32>,
    /// How freely to choose tokens: 0 always takes the likeliest.
    #[serde(default, deserialize_with = "fields::number::<_, 0, 2>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 2)))]
    temperature: Option<f32>,
    /// Considers only the likeliest tokens that together reach this probability.
    #[serde(default, deserialize_with = "fields::number::<_, 0, 1>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1)))]
    top_p: Option<f32>,
    /// Lowers the chance of tokens already used, by how often.
    #[serde(default, deserialize_with = "fields::number::<_, -2, 2>")]
    #[cfg_attr(feature = "schema", schemars(range(min = -2, max = 2)))]
    frequency_penalty: Option<f32>,
    /// Lowers the chance of tokens already used at all.
    #[serde(default, deserialize_with = "fields::number::<_, -2, 2>")]
    #[cfg_attr(feature = "schema", schemars(range(min = -2, max = 2)))]
    presence_penalty: Option<f32>,
    /// Makes the choice of tokens repeatable.
    #[serde(default, deserialize_with = "fields::seed")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<i64>"))]
    seed: Option<u64>,
    /// Ends the answer before this text, or any of these.
    #[serde(default)]
    stop: StopJson<'a>,
    /// How many answers to each prompt.
    #[serde(default, deserialize_with = "fields::whole::<_, _, 1, 16>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 16)))]
    n: Option<u32>,
    /// Asks for log-probabilities, with so many alternatives to each token.
    #[serde(default, deserialize_with = "fields::whole::<_, _, 0, 20>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 20)))]
    logprobs: Option<u8>,
    /// Begins the answer with the prompt, and the log-probabilities with its tokens'.
    #[serde(default)]
    echo: Option<bool>,
    /// Not offered: the answer comes whole.
    #[serde(default)]
    stream: Option<bool>,
    /// Not offered unless it is 1.
    #[serde(default, deserialize_with = "fields::whole::<_, _, 1, 128>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 128)))]
    best_of: Option<u32>,
    #[serde(default)]
    #[allow(dead_code, reason = "taken and left alone")]
    user: Ignored,
    /// What else a client sends, in the vendor's own words: `logit_bias`, `min_p` …
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    further: Map<String, Value>,
}

/// A text, tokens, or a list of either.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected a text, token ids, or a list of either")]
enum PromptsJson {
    One(PromptInput),
    Several(Vec<PromptInput>),
}

impl TextCompletionRequest {
    /// Reads the body of `POST /completions`.
    ///
    /// # Errors
    /// `invalid_request` naming the field that is wrong; `unsupported` for `stream` and `best_of`.
    pub fn read(body: &[u8]) -> Result<Self> {
        let body: TextCompletionBody<'_> = body::read(body)?;
        let prompts = match body.prompt {
            PromptsJson::One(prompt) => vec![prompt],
            PromptsJson::Several(prompts) => prompts,
        };
        if prompts.is_empty() || prompts.len() > MAX_PROMPTS {
            let text = format!("`prompt`: expected 1 to {MAX_PROMPTS} prompts");
            return Err(about("prompt", Error::invalid_request(text)));
        }
        if body.stream == Some(true) {
            return Err(about(
                "stream",
                Error::unsupported("`stream` is not offered here: the answer comes whole"),
            ));
        }
        if body.best_of.is_some_and(|best_of| best_of != body.n.unwrap_or(1)) {
            return Err(about("best_of", Error::unsupported("`best_of` is not offered")));
        }
        let mut request = ChatRequest {
            max_tokens: Some(body.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
            temperature: body.temperature,
            top_p: body.top_p,
            frequency_penalty: body.frequency_penalty,
            presence_penalty: body.presence_penalty,
            seed: body.seed,
            stop: body.stop.into_texts(),
            choices: body.n,
            logprobs: body.logprobs,
            ..ChatRequest::default()
        };
        let mut ignored = Vec::new();
        for (name, value) in body.further {
            match name.as_str() {
                _ if value.is_null() || value.as_object().is_some_and(Map::is_empty) => {}
                known if PASSED_ON.contains(&known) => {
                    request.extra.insert(name, value);
                }
                other => ignored.push(field_name(other)),
            }
        }
        let echo = body.echo.unwrap_or_default();
        let of = |input| ChatRequest { prompt: Some(RawPrompt { input, echo }), ..request.clone() };
        Ok(Self { model: body.model.into_owned(), requests: prompts.into_iter().map(of).collect(), ignored })
    }

    /// The body of the response.
    ///
    /// # Errors
    /// Those of the handle.
    pub(crate) async fn answer(self, cx: &Context, chat: &AnyChat, head: &CompletionHead) -> Result<Value> {
        let echoes = self.requests.iter().any(|request| request.prompt.as_ref().is_some_and(|raw| raw.echo));
        let wants_logprobs = self.requests.iter().any(|request| request.logprobs.is_some());
        let answers = try_join_all(self.requests.into_iter().map(|request| chat.chat(cx, request))).await?;
        let (mut choices, mut usage) = (Vec::new(), Usage::default());
        for answer in &answers {
            let others =
                answer.alternatives.iter().map(|other| (&other.text, &other.logprobs, &other.finish));
            for (text, logprobs, finish) in
                [(&answer.text, &answer.logprobs, &answer.finish)].into_iter().chain(others)
            {
                choices.push(ChoiceJson {
                    text,
                    index: choices.len(),
                    logprobs: wants_logprobs.then(|| TextLogprobsJson::write(text, logprobs, echoes)),
                    finish_reason: finish,
                });
            }
            usage = usage.plus(answer.usage);
        }
        let model = answers.first().map_or(head.model.as_str(), |answer| &answer.route.model);
        let mut body = json!({
            "id": head.id, "object": "text_completion", "created": head.created, "model": model,
            "choices": choices, "usage": UsageJson::write(&usage),
        });
        if let (false, Some(members)) = (self.ignored.is_empty(), body.as_object_mut()) {
            members.insert("ignored".to_owned(), self.ignored.into());
        }
        Ok(body)
    }
}

#[derive(Debug, Serialize)]
struct ChoiceJson<'a> {
    text: &'a str,
    index: usize,
    logprobs: Option<TextLogprobsJson<'a>>,
    finish_reason: &'a FinishReason,
}

/// Log-probabilities as this API has them: in lists side by side. Nothing is known of the first token of a prompt.
#[derive(Debug, Serialize)]
struct TextLogprobsJson<'a> {
    tokens: Vec<&'a str>,
    token_logprobs: Vec<Option<f64>>,
    top_logprobs: Vec<Option<Map<String, Value>>>,
    text_offset: Vec<usize>,
}

impl<'a> TextLogprobsJson<'a> {
    fn write(text: &'a str, logprobs: &'a [TokenLogprob], echoes: bool) -> Self {
        let mut tokens: Vec<&str> = logprobs.iter().map(|token| token.token.as_str()).collect();
        let mut values: Vec<Option<f64>> = logprobs.iter().map(|token| Some(token.logprob)).collect();
        let mut top: Vec<_> = logprobs
            .iter()
            .map(|token| {
                Some(token.top.iter().map(|(text, value)| (text.clone(), (*value).into())).collect())
            })
            .collect();
        if echoes {
            let rest = tokens.concat();
            tokens.insert(0, text.strip_suffix(rest.as_str()).unwrap_or_default());
            values.insert(0, None);
            top.insert(0, None);
        }
        let offsets = tokens.iter().scan(0, |next, token| {
            let offset = *next;
            *next += token.chars().count();
            Some(offset)
        });
        Self { text_offset: offsets.collect(), tokens, token_logprobs: values, top_logprobs: top }
    }
}
