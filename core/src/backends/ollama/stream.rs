//! A streamed response: one JSON object per line.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use super::chat::response;
use super::wire::{ChatLine, LineMessage};
use crate::chat::{ChatEvent, ChatStream};
use crate::error::{Error, Result};
use crate::http::body::{EventSource, LineStream, StreamRecord};
use crate::info::Route;

/// Turns lines into chat events.
pub(super) struct LineEvents {
    lines: LineStream,
    /// Until the first line has named the model.
    route: Option<Route>,
    calls: usize,
}

impl LineEvents {
    pub(super) fn new(lines: LineStream, route: Route) -> Self {
        Self { lines, route: Some(route), calls: 0 }
    }

    fn start(&mut self, model: Option<&str>, events: &mut VecDeque<ChatEvent>) {
        if let Some(route) = self.route.take() {
            events.push_back(ChatEvent::Started { route: route.with_model(model) });
        }
    }

    fn read_line(&mut self, value: Value, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let mut line = parse(value)?;
        self.start(line.model.as_deref(), events);
        if let Some(message) = line.message.take() {
            self.read_message(message, events);
        }
        if let Some(logprobs) = line.logprobs.take().filter(|list| !list.is_empty()) {
            events.push_back(ChatEvent::Logprobs(logprobs.into_iter().map(Into::into).collect()));
        }
        if line.done == Some(true) {
            events.push_back(ChatEvent::finish(line.finish(self.calls > 0), line.usage()));
        }
        Ok(())
    }

    fn read_message(&mut self, message: LineMessage, events: &mut VecDeque<ChatEvent>) {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        events.extend(said(message.thinking).map(ChatEvent::Reasoning));
        events.extend(said(message.content).map(ChatEvent::Text));
        for call in message.tool_calls.unwrap_or_default() {
            let index = self.calls;
            let call = call.into_call(index);
            self.calls += 1;
            events.push_back(ChatEvent::ToolCallStarted {
                index,
                id: call.id.clone(),
                name: call.name.clone(),
            });
            events.push_back(ChatEvent::ToolCallArguments { index, piece: call.arguments.clone() });
            events.push_back(ChatEvent::ToolCall { index, call });
        }
    }

    /// Reads a whole response: the server, or a proxy, does not stream.
    async fn read_whole(&mut self, value: Value, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        use futures_util::TryStreamExt;

        let line = parse(value)?;
        let Some(route) = self.route.take() else {
            return Err(Error::response_invalid("a whole answer came in the middle of a stream"));
        };
        let route = route.with_model(line.model.as_deref());
        let whole: Vec<ChatEvent> = ChatStream::from_response(response(line, route)?).try_collect().await?;
        events.extend(whole);
        Ok(())
    }
}

impl EventSource for LineEvents {
    async fn advance(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        while events.is_empty() {
            match self.lines.next().await? {
                Some(StreamRecord::Event(value)) => self.read_line(value, events)?,
                Some(StreamRecord::Whole(value)) => self.read_whole(value, events).await?,
                Some(StreamRecord::Done) => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

fn parse(value: Value) -> Result<ChatLine> {
    ChatLine::deserialize(value).map_err(|_| {
        Error::response_invalid("a line of the answer is not of the shape that the protocol promises")
    })
}
