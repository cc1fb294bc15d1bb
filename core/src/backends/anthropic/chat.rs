//! `POST /v1/messages`.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use super::answer::AnswerBuilder;
use super::client::Anthropic;
use super::request;
use super::wire::{EventIn, MessageIn};
use crate::chat::{ChatBackend, ChatEvent, ChatRequest, ChatResponse, ChatStream};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::http::body::{EventSource, EventStream, StreamRecord, chat_stream};
use crate::info::BackendInfo;

const ROUTE: &str = "/v1/messages";

impl ChatBackend for Anthropic {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        let body = request::body(self, &request, false)?;
        let reply = self.api.post(ROUTE).json(&body).json_reply::<MessageIn>(cx).await?;
        let mut answer = AnswerBuilder::new(self.info.clone(), reply.request_id);
        let mut events = VecDeque::new();
        answer.whole(reply.value, &mut events)?;
        let events = futures_util::stream::iter(events.into_iter().map(Ok));
        ChatStream::new(events).collect_response(&self.info).await
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        let body = request::body(self, &request, true)?;
        let reply = self.api.post(ROUTE).json(&body).events(cx).await?;
        let answer = AnswerBuilder::new(self.info.clone(), reply.request_id);
        Ok(chat_stream(MessageStream { records: reply.value, answer, ended: false }))
    }
}

struct MessageStream {
    records: EventStream,
    answer: AnswerBuilder,
    ended: bool,
}

impl EventSource for MessageStream {
    async fn advance(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        while events.is_empty() && !self.ended {
            let outcome = self.read(events).await;
            outcome.map_err(|error| self.answer.identified(error))?;
        }
        Ok(())
    }
}

impl MessageStream {
    async fn read(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        match self.records.next().await {
            Ok(Some(StreamRecord::Event(value))) => {
                let event = EventIn::deserialize(value).map_err(|_| wrong_shape())?;
                self.ended = self.answer.event(event, events)?;
                Ok(())
            }
            Ok(Some(StreamRecord::Whole(value))) => self.whole(value, events),
            Ok(Some(StreamRecord::Done) | None) => self.end(events),
            // The answer is complete, even if the connection failed afterwards.
            Err(_) if self.answer.has_ended() => self.end(events),
            Err(error) => Err(error),
        }
    }

    /// The answer of a server that does not stream.
    fn whole(&mut self, value: Value, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        self.ended = true;
        let message = MessageIn::deserialize(value).map_err(|_| wrong_shape())?;
        self.answer.whole(message, events)
    }

    fn end(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        self.ended = true;
        self.answer.end(events)
    }
}

fn wrong_shape() -> Error {
    Error::response_invalid("the answer is JSON, but not of the shape that Anthropic promises")
}
