//! `:generateContent` and `:streamGenerateContent`.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::Gemini;
use super::contents::CALL_ID;
use super::kept::{KeptParts, PARTS, SIGNATURE, read_part};
use super::request;
use super::sources::Sources;
use super::wire::{self, Candidate, FunctionCall, PromptFeedback, Reply, UsageMetadata};
use crate::chat::{
    ChatBackend, ChatEvent, ChatRequest, ChatResponse, ChatStream, FinishReason, ProviderData,
    ResponseMetadata, ToolCall,
};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::http::body::{EventSource, EventStream, StreamRecord, chat_stream};
use crate::info::{BackendInfo, Route};

impl ChatBackend for Gemini {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        self.answer(cx, &request).await
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        self.open_stream(cx, &request).await
    }
}

impl Gemini {
    async fn answer(&self, cx: &Context, request: &ChatRequest) -> Result<ChatResponse> {
        let body = request::body(&self.info.model, request)?;
        let call = self.api.post(&self.method("generateContent")).json(&body);
        let reply = call.json_reply::<Value>(cx).await?;
        let mut answer = AnswerBuilder::new(self.info.clone(), reply.request_id);
        let mut events = VecDeque::new();
        answer.take(reply.value, &mut events)?;
        if !answer.has_candidate {
            return Err(Error::response_invalid("the answer holds no candidate with content"));
        }
        if answer.finish.is_none() {
            answer.finish = Some("STOP".to_owned());
        }
        events.extend(answer.end()?);
        let events = futures_util::stream::iter(events.into_iter().map(Ok));
        ChatStream::new(events).collect_response(&self.info).await
    }

    async fn open_stream(&self, cx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let body = request::body(&self.info.model, request)?;
        let call = self.api.post(&self.method("streamGenerateContent")).query("alt", "sse").json(&body);
        let reply = call.events(cx).await?;
        let answer = AnswerBuilder::new(self.info.clone(), reply.request_id);
        Ok(chat_stream(GeminiStream { records: reply.value, answer, ended: false }))
    }
}

struct GeminiStream {
    records: EventStream,
    answer: AnswerBuilder,
    ended: bool,
}

impl EventSource for GeminiStream {
    async fn advance(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        while events.is_empty() && !self.ended {
            self.read(events).await?;
        }
        Ok(())
    }
}

impl GeminiStream {
    async fn read(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        match self.records.next().await {
            Ok(Some(StreamRecord::Event(value) | StreamRecord::Whole(value))) => {
                self.answer.take(value, events)
            }
            Ok(Some(StreamRecord::Done) | None) => self.end(events),
            // The response is complete, even if the connection failed afterwards.
            Err(_) if self.answer.finish.is_some() => self.end(events),
            Err(error) => Err(error),
        }
    }

    fn end(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        self.ended = true;
        events.extend(self.answer.end()?);
        Ok(())
    }
}

/// Assembles one response, from one piece or many.
struct AnswerBuilder {
    info: BackendInfo,
    request_id: Option<String>,
    started: bool,
    /// Whether some candidate had content, be it empty, or a reason to end.
    has_candidate: bool,
    said_something: bool,
    calls: usize,
    /// The answer's text, for the sources that name places in it.
    text: String,
    kept: KeptParts,
    sources: Sources,
    metadata: ResponseMetadata,
    usage: UsageMetadata,
    finish: Option<String>,
}

impl AnswerBuilder {
    fn new(info: BackendInfo, request_id: Option<String>) -> Self {
        Self {
            info,
            request_id,
            started: false,
            has_candidate: false,
            said_something: false,
            calls: 0,
            text: String::new(),
            kept: KeptParts::default(),
            sources: Sources::default(),
            metadata: ResponseMetadata::default(),
            usage: UsageMetadata::default(),
            finish: None,
        }
    }

    /// Adds one reply, or the list of them that a server without `alt=sse` sends.
    fn take(&mut self, value: Value, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        if let Value::Array(replies) = value {
            return replies.into_iter().try_for_each(|reply| self.take(reply, events));
        }
        let reply = Reply::deserialize(value).map_err(|_| {
            Error::response_invalid("the answer is JSON, but not of the shape that Gemini promises")
        })?;
        self.take_reply(reply, events)
    }

    fn take_reply(&mut self, reply: Reply, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        if let Some(id) = reply.response_id {
            self.request_id = Some(id);
        }
        if let Some(usage) = reply.usage_metadata {
            self.usage = usage;
        }
        if let Some(feedback) = reply.prompt_feedback {
            self.take_feedback(feedback)?;
        }
        if !self.started {
            self.started = true;
            let route = Route::new(&self.info).with_model(reply.model_version.as_deref());
            events.push_back(ChatEvent::Started { route: route.with_request_id(self.request_id.clone()) });
        }
        match reply.candidates.unwrap_or_default().into_iter().next() {
            Some(candidate) => self.take_candidate(candidate, events),
            None => Ok(()),
        }
    }

    fn take_feedback(&mut self, feedback: PromptFeedback) -> Result<()> {
        let PromptFeedback { block_reason, block_reason_message, safety_ratings } = feedback;
        if let Some(reason) = block_reason {
            let message = "Gemini refused the prompt before answering";
            return Err(self.rejected(message, "block_reason", &reason, block_reason_message));
        }
        if safety_ratings.is_some() {
            let filter_results = json!({ "prompt": safety_ratings });
            self.metadata.merge(ResponseMetadata { filter_results, ..ResponseMetadata::default() });
        }
        Ok(())
    }

    fn take_candidate(&mut self, candidate: Candidate, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        self.has_candidate |= candidate.content.is_some() || candidate.finish_reason.is_some();
        let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
        for part in parts {
            self.take_part(part, events);
        }
        for (kept, new) in [
            (&mut self.sources.grounding, candidate.grounding_metadata),
            (&mut self.sources.url_context, candidate.url_context_metadata),
            (&mut self.sources.citations, candidate.citation_metadata),
        ] {
            if !new.is_null() {
                *kept = new;
            }
        }
        let filter_results = match candidate.safety_ratings {
            Value::Null => Value::Null,
            ratings => json!({ "answer": ratings }),
        };
        self.metadata.merge(ResponseMetadata {
            finish_message: candidate.finish_message.filter(|message| !message.is_empty()),
            filter_results,
            ..ResponseMetadata::default()
        });
        if let Some(logprobs) = candidate.logprobs_result {
            events.push_back(ChatEvent::Logprobs(logprobs.into_tokens()));
        }
        if let Some(reason) = candidate.finish_reason.filter(|reason| !reason.is_empty()) {
            self.finish = Some(reason);
        }
        Ok(())
    }

    fn take_part(&mut self, part: Map<String, Value>, events: &mut VecDeque<ChatEvent>) {
        let is_thought = part.get("thought") == Some(&Value::Bool(true));
        let signature = part.get(SIGNATURE).and_then(Value::as_str).map(str::to_owned);
        let text = part.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(call) = part.get("functionCall") {
            let call = FunctionCall::deserialize(call).unwrap_or_default();
            self.take_call(call, signature, events);
        } else if is_thought {
            // Pictures among the thoughts are drafts, not the answer.
            if !text.is_empty() {
                events.push_back(ChatEvent::Reasoning(text));
            }
        } else if let Some(read) = read_part(&part) {
            self.said_something = true;
            // Code that the model has the provider run may come with a text.
            if !text.is_empty() {
                self.take_text(text, events);
            }
            events.push_back(ChatEvent::Part { part: read });
        } else if !text.is_empty() {
            self.take_text(text, events);
        }
        self.kept.push(part);
    }

    fn take_text(&mut self, text: String, events: &mut VecDeque<ChatEvent>) {
        self.said_something = true;
        self.text.push_str(&text);
        events.push_back(ChatEvent::Text(text));
    }

    fn take_call(&mut self, call: FunctionCall, signature: Option<String>, events: &mut VecDeque<ChatEvent>) {
        let index = self.calls;
        self.calls += 1;
        self.said_something = true;
        let mut data = ProviderData::new();
        if let Some(id) = &call.id {
            data.insert(CALL_ID.to_owned(), Value::from(id.clone()));
        }
        if let Some(signature) = signature {
            data.insert(SIGNATURE.to_owned(), Value::from(signature));
        }
        // Older models give calls no id.
        let id = call.id.unwrap_or_else(|| match &self.request_id {
            Some(answer) => format!("{answer}-{index}"),
            None => format!("call-{index}"),
        });
        let name = call.name.unwrap_or_default();
        let arguments = call.args.unwrap_or_else(|| Value::Object(Map::new())).to_string();
        events.push_back(ChatEvent::ToolCallStarted { index, id: id.clone(), name: name.clone() });
        events.push_back(ChatEvent::ToolCallArguments { index, piece: arguments.clone() });
        let call = ToolCall::new(id, name, arguments).with_provider_data(data);
        events.push_back(ChatEvent::ToolCall { index, call });
    }

    /// The last events; none if no finish reason came, which is an interruption.
    fn end(&mut self) -> Result<Vec<ChatEvent>> {
        let Some(finish) = self.finish.take() else {
            return Ok(Vec::new());
        };
        let reason = wire::finish_reason(&finish, self.calls > 0);
        if reason == FinishReason::ContentFilter && !self.said_something {
            let sentence = self.metadata.finish_message.take();
            let message = "Gemini's filter withheld the whole answer";
            return Err(self.rejected(message, "finish_reason", &finish, sentence));
        }
        let mut events: Vec<ChatEvent> = Vec::new();
        let annotations = self.sources.annotations(&self.text).into_iter();
        events.extend(annotations.map(|annotation| ChatEvent::Annotation { annotation }));
        events.push(ChatEvent::Metadata { metadata: self.metadata(finish) });
        let kept = std::mem::take(&mut self.kept).finish();
        let provider_data = kept.map(|parts| (PARTS.to_owned(), parts)).into_iter().collect();
        events.push(ChatEvent::Finish { reason, usage: self.usage.to_usage(), provider_data });
        Ok(events)
    }

    fn metadata(&mut self, finish: String) -> ResponseMetadata {
        let mut metadata = std::mem::take(&mut self.metadata);
        metadata.id.clone_from(&self.request_id);
        metadata.finish_reason = Some(finish);
        metadata.service_tier = self.usage.traffic_type.take();
        for (name, value) in [
            ("groundingMetadata", self.sources.grounding.take()),
            ("urlContextMetadata", self.sources.url_context.take()),
            ("citationMetadata", self.sources.citations.take()),
        ] {
            if !value.is_null() {
                metadata.further.insert(name.to_owned(), value);
            }
        }
        metadata
    }

    /// A refusal: Google's sentence is what the error delivers, and what was used is among its facts.
    fn rejected(&self, message: &str, name: &'static str, reason: &str, sentence: Option<String>) -> Error {
        let is_word = reason.len() <= 64 && reason.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let reason = if is_word { reason } else { "unknown" };
        let error = Error::new(ErrorKind::ContentRejected, format!("{message} ({reason})"))
            .with_context(name, reason)
            .with_sent(Sent::Yes);
        let error = match sentence.filter(|sentence| !sentence.is_empty()) {
            Some(sentence) => error.with_partial_text(sentence),
            None => error,
        };
        let error = self.usage.to_usage().add_to(error);
        match &self.request_id {
            Some(id) => error.with_request_id(id.clone()),
            None => error,
        }
    }
}
