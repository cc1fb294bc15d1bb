//! `ChatBackend`: hf-inference's text generation.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::Value;

use super::client::{HuggingFace, ResolvedProvider};
use super::mapping::Task;
use super::providers::HF_INFERENCE;
use super::wire::{Details, Generated, StreamLine, TextGeneration};
use crate::chat::{
    ChatBackend, ChatEvent, ChatRequest, ChatResponse, ChatStream, FinishReason, Message, OutputFormat, Part,
    Role, ToolChoice,
};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::http::HeaderText;
use crate::http::body::{EventSource, EventStream, StreamRecord, chat_stream};
use crate::http::client::ApiReply;
use crate::info::{BackendInfo, Route, Usage};

impl ChatBackend for HuggingFace {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        let (served, body) = self.prepare(cx, &request, false).await?;
        let outcome = async {
            let post = self.post(&served, &route_of(&served)).json(&body);
            let reply = post.bytes_reply(cx).await?;
            let generated = self.read_generated(&reply)?;
            Ok(response_of(generated, request.logprobs.is_some(), self.route(&served, reply.request_id)))
        };
        self.finish(outcome.await, &served).await
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        let (served, body) = self.prepare(cx, &request, true).await?;
        let post = self.post(&served, &route_of(&served)).json(&body);
        let reply = self.finish(post.events(cx).await, &served).await?;
        let route = self.route(&served, reply.request_id);
        Ok(chat_stream(TextGenerationEvents {
            stream: reply.value,
            route: Some(route),
            wants_logprobs: request.logprobs.is_some(),
            usage: Usage::default(),
            ended: false,
        }))
    }
}

impl HuggingFace {
    async fn prepare(
        &self,
        cx: &Context,
        request: &ChatRequest,
        stream: bool,
    ) -> Result<(ResolvedProvider, TextGeneration)> {
        request.check()?;
        check_provider(&self.0.config.provider)?;
        check_options(request)?;
        let served = self.resolve(cx, Task::TextGeneration).await?;
        let full = self.0.config.return_full_text;
        Ok((served, TextGeneration::new(request, prompt_of(&request.messages), full, stream)))
    }

    /// The first generated text. A response that is declared as text, or that is not JSON, is the text itself;
    /// truncated JSON is not.
    fn read_generated(&self, reply: &ApiReply<Bytes>) -> Result<Generated> {
        let kind = reply.headers.text("content-type").unwrap_or_default();
        let begins = reply.value.trim_ascii_start().first().copied();
        let is_text = match kind.split(';').next().unwrap_or_default().trim() {
            "text/plain" => serde_json::from_slice::<Value>(&reply.value).is_err(),
            "" | "application/octet-stream" => !matches!(begins, Some(b'{' | b'[' | b'"' | b'<')),
            _ => false,
        };
        match std::str::from_utf8(&reply.value) {
            Ok(text) if is_text && begins.is_some() => {
                Ok(Generated { generated_text: Some(text.to_owned()), details: None })
            }
            _ => generated_of(&self.0.api.read_json::<Value>(reply)?),
        }
    }
}

/// All other providers speak OpenAI's protocol, which is a backend of its own.
fn check_provider(provider: &str) -> Result<()> {
    if provider == HF_INFERENCE {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "backend 'huggingface' chats by hf-inference only; for provider '{provider}' use backend 'openai' with vendor \
         'hf-router', which speaks its protocol"
    )))
}

/// Text generation completes a text: it has no tools, formats or images.
fn check_options(request: &ChatRequest) -> Result<()> {
    let wants_tools = !request.tools.is_empty()
        || matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Tool(_)));
    let has_images = request.messages.iter().any(|message| {
        message
            .content
            .parts()
            .iter()
            .any(|part| !matches!(part, Part::Text { .. } | Part::CachePoint { .. }))
    });
    let wants_format = request.output.as_ref().is_some_and(|output| *output != OutputFormat::Text);
    let has_calls =
        request.messages.iter().any(|message| !message.tool_calls.is_empty() || message.role == Role::Tool);
    let options = [
        ("tools", wants_tools || has_calls),
        ("images", has_images),
        ("output", wants_format),
        ("reasoning", request.reasoning.is_some()),
        ("presence_penalty", request.presence_penalty.is_some()),
    ];
    match options.iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((name, _)) => Err(Error::unsupported_option(
            name,
            format!(
                "text generation on hf-inference takes no `{name}`; backend 'openai' with vendor 'hf-router' has chat models that may"
            ),
        )),
    }
}

fn route_of(served: &ResolvedProvider) -> String {
    format!("/models/{}", served.model_path())
}

/// The conversation as a text to complete: a single question as it is, anything longer as `role: text` lines
/// that end with `assistant:`.
fn prompt_of(messages: &[Message]) -> String {
    match messages {
        [only] if only.role == Role::User => only.content.to_text(),
        _ => {
            let mut lines: Vec<String> = messages
                .iter()
                .map(|message| format!("{}: {}", message.role.as_str(), message.content.to_text()))
                .collect();
            if messages.last().is_none_or(|message| message.role != Role::Assistant) {
                lines.push("assistant:".to_owned());
            }
            lines.join("\n")
        }
    }
}

/// The first generated text, alone or in a list. JSON of another shape is taken as the text.
fn generated_of(value: &Value) -> Result<Generated> {
    let first = match value {
        Value::Array(items) => items.first().unwrap_or(&Value::Null),
        other => other,
    };
    let generated: Generated = serde::Deserialize::deserialize(first).unwrap_or_default();
    match (generated.generated_text.is_some(), first) {
        (true, _) => Ok(generated),
        (false, Value::Null) => Err(Error::response_invalid("the answer holds no text")),
        (false, Value::String(text)) => Ok(Generated { generated_text: Some(text.clone()), details: None }),
        (false, _) => Ok(Generated { generated_text: Some(value.to_string()), details: None }),
    }
}

fn response_of(generated: Generated, wants_logprobs: bool, route: Route) -> ChatResponse {
    let mut response = ChatResponse::new(generated.generated_text.unwrap_or_default(), route);
    if let Some(details) = generated.details {
        let (finish, usage) = ending_of(&details);
        response.finish = finish;
        response.usage = usage;
        if wants_logprobs {
            let alternatives =
                |position: usize| details.top_tokens.get(position).map_or(&[][..], Vec::as_slice);
            let tokens = details.tokens.iter().enumerate();
            response.logprobs = tokens.filter_map(|(at, token)| token.logprob(alternatives(at))).collect();
        }
    }
    response
}

fn ending_of(details: &Details) -> (FinishReason, Usage) {
    let reason = details.finish_reason.as_deref().unwrap_or_default();
    (FinishReason::from_openai(reason), Usage::new(details.input_length, details.generated_tokens))
}

/// The events of a streamed text generation.
#[derive(Debug)]
struct TextGenerationEvents {
    stream: EventStream,
    route: Option<Route>,
    wants_logprobs: bool,
    usage: Usage,
    ended: bool,
}

impl EventSource for TextGenerationEvents {
    async fn advance(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        if let Some(route) = self.route.take() {
            events.push_back(ChatEvent::Started { route });
        }
        while events.is_empty() && !self.ended {
            match self.stream.next().await? {
                None => return Ok(()),
                Some(StreamRecord::Done) => self.end(events, FinishReason::Stop),
                Some(StreamRecord::Whole(value)) => self.take_whole(events, &value)?,
                Some(StreamRecord::Event(value)) => {
                    let line = <StreamLine as serde::Deserialize>::deserialize(value).map_err(|_| {
                        Error::response_invalid(
                            "an event of the stream is not of the shape that the protocol promises",
                        )
                    })?;
                    self.take_line(events, &line);
                }
            }
        }
        Ok(())
    }
}

impl TextGenerationEvents {
    fn take_line(&mut self, events: &mut VecDeque<ChatEvent>, line: &StreamLine) {
        if let Some(token) = &line.token {
            let text = token.text.as_deref().unwrap_or_default();
            if token.special != Some(true) && !text.is_empty() {
                events.push_back(ChatEvent::Text(text.to_owned()));
                let top = line.top_tokens.as_deref().unwrap_or_default();
                if let Some(logprob) = token.logprob(top).filter(|_| self.wants_logprobs) {
                    events.push_back(ChatEvent::Logprobs(vec![logprob]));
                }
            }
        }
        if line.generated_text.is_some() || line.details.is_some() {
            let (reason, usage) =
                line.details.as_ref().map_or((FinishReason::Stop, Usage::default()), ending_of);
            self.usage = usage;
            self.end(events, reason);
        }
    }

    /// Reads a whole response: the server does not stream.
    fn take_whole(&mut self, events: &mut VecDeque<ChatEvent>, value: &Value) -> Result<()> {
        let generated = generated_of(value)?;
        events.extend(generated.generated_text.filter(|text| !text.is_empty()).map(ChatEvent::Text));
        let (reason, usage) =
            generated.details.as_ref().map_or((FinishReason::Stop, Usage::default()), ending_of);
        self.usage = usage;
        self.end(events, reason);
        Ok(())
    }

    fn end(&mut self, events: &mut VecDeque<ChatEvent>, reason: FinishReason) {
        self.ended = true;
        events.push_back(ChatEvent::finish(reason, self.usage));
    }
}
