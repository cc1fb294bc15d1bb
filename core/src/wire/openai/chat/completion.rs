//! A whole response, as a server writes it.

use serde::Serialize;
use serde_json::Value;

use super::message::ToolCallJson;
use super::usage::{LogprobsJson, UsageJson};
use crate::chat::{Annotation, ChatResponse, FinishReason, Part, TokenLogprob, ToolCall};

/// What a response and every chunk of it repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CompletionHead {
    /// The response's id: `chatcmpl-…`.
    pub id: String,
    /// When the request was taken, in seconds since 1970.
    pub created: u64,
    /// The model.
    pub model: String,
}

impl CompletionHead {
    /// A head.
    pub fn new(id: impl Into<String>, created: u64, model: impl Into<String>) -> Self {
        Self { id: id.into(), created, model: model.into() }
    }
}

/// A whole response: the body that answers `POST /chat/completions`.
#[derive(Debug, Serialize)]
pub struct Completion<'a> {
    id: &'a str,
    created: u64,
    model: &'a str,
    object: &'static str,
    choices: Vec<ChoiceJson<'a>>,
    usage: Option<UsageJson>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    ignored: &'a [String],
}

#[derive(Debug, Serialize)]
struct ChoiceJson<'a> {
    index: usize,
    message: ResponseMessageJson<'a>,
    finish_reason: &'a str,
    logprobs: Option<LogprobsJson<'a>>,
}

#[derive(Debug, Serialize)]
struct ResponseMessageJson<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: (),
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<AnnotationJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<ImageJson>,
}

/// A source of the answer, in the form of OpenAI's for addresses; in the provider's own words otherwise.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum AnnotationJson<'a> {
    Url { r#type: &'static str, url_citation: UrlCitationJson<'a> },
    Other(&'a Value),
}

#[derive(Debug, Serialize)]
pub(super) struct UrlCitationJson<'a> {
    url: &'a str,
    title: &'a str,
    start_index: u64,
    end_index: u64,
}

impl<'a> AnnotationJson<'a> {
    pub(super) fn write(annotation: &'a Annotation) -> Self {
        match &annotation.url {
            Some(url) => Self::Url {
                r#type: "url_citation",
                url_citation: UrlCitationJson {
                    url,
                    title: annotation.title.as_deref().unwrap_or_default(),
                    start_index: annotation.start.unwrap_or_default(),
                    end_index: annotation.end.unwrap_or_default(),
                },
            },
            None => Self::Other(&annotation.data),
        }
    }
}

/// An image of the answer, as OpenRouter writes it.
#[derive(Debug, Serialize)]
pub(super) struct ImageJson {
    r#type: &'static str,
    image_url: ImageUrlOutJson,
}

#[derive(Debug, Serialize)]
struct ImageUrlOutJson {
    url: String,
}

impl ImageJson {
    /// Nothing for parts that are no images: the protocol has no place for them.
    pub(super) fn write(part: &Part) -> Option<Self> {
        let url = match part {
            Part::Image { image, .. } => image.to_data_url(),
            Part::ImageUrl { url, .. } => url.clone(),
            _ => return None,
        };
        Some(Self { r#type: "image_url", image_url: ImageUrlOutJson { url } })
    }
}

impl<'a> Completion<'a> {
    /// The body for a response. Its model is the one that answered.
    pub fn new(response: &'a ChatResponse, head: &'a CompletionHead) -> Self {
        let mut first = ChoiceJson::write(
            0,
            (&response.text, response.reasoning.as_deref(), &response.tool_calls),
            &response.finish,
            &response.logprobs,
        );
        first.message.annotations = response.annotations.iter().map(AnnotationJson::write).collect();
        first.message.images = response.parts.iter().filter_map(ImageJson::write).collect();
        let others = response.alternatives.iter().zip(1..).map(|(one, index)| {
            let said = (one.text.as_str(), one.reasoning.as_deref(), &one.tool_calls[..]);
            ChoiceJson::write(index, said, &one.finish, &one.logprobs)
        });
        Self {
            id: &head.id,
            created: head.created,
            model: &response.route.model,
            object: "chat.completion",
            choices: std::iter::once(first).chain(others).collect(),
            usage: UsageJson::write(&response.usage),
            ignored: &[],
        }
    }

    /// Names the fields of the request that counted for nothing.
    pub fn with_ignored(mut self, fields: &'a [String]) -> Self {
        self.ignored = fields;
        self
    }
}

impl<'a> ChoiceJson<'a> {
    fn write(
        index: usize,
        (text, reasoning, calls): (&'a str, Option<&'a str>, &'a [ToolCall]),
        finish: &'a FinishReason,
        logprobs: &'a [TokenLogprob],
    ) -> Self {
        let only_calls = text.is_empty() && !calls.is_empty();
        let message = ResponseMessageJson {
            role: "assistant",
            content: (!only_calls).then_some(text),
            refusal: (),
            reasoning_content: reasoning,
            tool_calls: calls.iter().map(ToolCallJson::response).collect(),
            annotations: Vec::new(),
            images: Vec::new(),
        };
        Self { index, message, finish_reason: finish.as_str(), logprobs: LogprobsJson::write(logprobs) }
    }
}
