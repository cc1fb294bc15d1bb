//! `:generateContent` and `:streamGenerateContent`.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::client::Gemini;
use super::request::{self, CALL_ID, SIGNATURE, TEXT_PARTS};
use super::wire::{self, Candidate, FunctionCall, Part, Reply, UsageMetadata};
use crate::chat::{
    ChatBackend, ChatEvent, ChatRequest, ChatResponse, ChatStream, FinishReason, ProviderData, ToolCall,
};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::http::body::{EventSource, EventStream, StreamRecord, chat_stream};
use crate::info::{BackendInfo, Route, Usage};

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
    said_something: bool,
    calls: usize,
    /// The pieces of the text: their lengths, and the signature that came with each.
    pieces: Vec<(usize, Option<String>)>,
    usage: UsageMetadata,
    finish: Option<String>,
}

impl AnswerBuilder {
    fn new(info: BackendInfo, request_id: Option<String>) -> Self {
        Self {
            info,
            request_id,
            started: false,
            said_something: false,
            calls: 0,
            pieces: Vec::new(),
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
        if let Some(reason) = reply.prompt_feedback.and_then(|feedback| feedback.block_reason) {
            let message = "Gemini refused the prompt before answering";
            return Err(self.rejected(message, "block_reason", &reason));
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

    fn take_candidate(&mut self, candidate: Candidate, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
        for part in parts {
            self.take_part(part, events)?;
        }
        if let Some(logprobs) = candidate.logprobs_result {
            events.push_back(ChatEvent::Logprobs(logprobs.into_tokens()));
        }
        if let Some(reason) = candidate.finish_reason.filter(|reason| !reason.is_empty()) {
            self.finish = Some(reason);
        }
        Ok(())
    }

    fn take_part(&mut self, part: Part, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        if part.inline_data.is_some() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the model answered with an image, which a chat answer cannot carry: use a model that answers with text",
            )
            .with_sent(Sent::Yes));
        }
        if let Some(call) = part.function_call {
            self.take_call(call, part.thought_signature, events);
            return Ok(());
        }
        let text = part.text.unwrap_or_default();
        if part.thought == Some(true) {
            if !text.is_empty() {
                events.push_back(ChatEvent::Reasoning(text));
            }
            return Ok(());
        }
        self.note_piece(text.len(), part.thought_signature);
        if !text.is_empty() {
            self.said_something = true;
            events.push_back(ChatEvent::Text(text));
        }
        Ok(())
    }

    fn note_piece(&mut self, length: usize, signature: Option<String>) {
        match self.pieces.last_mut() {
            Some((total, None)) if signature.is_none() => *total += length,
            _ if length == 0 && signature.is_none() => {}
            _ => self.pieces.push((length, signature)),
        }
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

    /// The last event; `None` if no finish reason came, which is an interruption.
    fn end(&mut self) -> Result<Option<ChatEvent>> {
        let Some(finish) = self.finish.take() else {
            return Ok(None);
        };
        let reason = wire::finish_reason(&finish, self.calls > 0);
        if reason == FinishReason::ContentFilter && !self.said_something {
            return Err(self.rejected("Gemini's filter withheld the whole answer", "finish_reason", &finish));
        }
        let usage: Usage = self.usage.into_usage();
        Ok(Some(ChatEvent::Finish { reason, usage, provider_data: self.signed_pieces() }))
    }

    /// The lengths of the pieces, kept only if a signature has to go back to its piece.
    fn signed_pieces(&mut self) -> ProviderData {
        let pieces = std::mem::take(&mut self.pieces);
        if pieces.iter().all(|(_, signature)| signature.is_none()) {
            return ProviderData::new();
        }
        let piece = |(length, signature): (usize, Option<String>)| {
            let mut piece = Map::from_iter([("length".to_owned(), Value::from(length))]);
            if let Some(signature) = signature {
                piece.insert(SIGNATURE.to_owned(), Value::from(signature));
            }
            Value::Object(piece)
        };
        let pieces = pieces.into_iter().map(piece).collect();
        ProviderData::from_iter([(TEXT_PARTS.to_owned(), Value::Array(pieces))])
    }

    fn rejected(&self, message: &str, name: &'static str, reason: &str) -> Error {
        let is_word = reason.len() <= 64 && reason.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let reason = if is_word { reason } else { "unknown" };
        let error = Error::new(ErrorKind::ContentRejected, format!("{message} ({reason})"))
            .with_context(name, reason)
            .with_sent(Sent::Yes);
        match &self.request_id {
            Some(id) => error.with_request_id(id.clone()),
            None => error,
        }
    }
}
