//! Chat by OpenAI's API `responses`.

use std::collections::VecDeque;

use serde_json::Value;

use super::OpenAi;
use crate::chat::{ChatEvent, ChatRequest, ChatResponse, ChatStream};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::http::body::{EventSource, EventStream, StreamRecord, chat_stream};
use crate::http::client::ApiCall;
use crate::info::Route;
use crate::wire::openai::responses::{ResponseReader, ResponsesStyle, responses_body};

const ROUTE: &str = "/responses";

impl OpenAi {
    /// Answers in one piece.
    pub(super) async fn respond(&self, cx: &Context, request: &ChatRequest) -> Result<ChatResponse> {
        let reply = self.responses_call(request, false)?.json_reply::<Value>(cx).await?;
        let mut reader = self.response_reader(reply.request_id);
        let mut events = VecDeque::new();
        reader.whole(reply.value, &mut events).map_err(|error| reader.identified(error))?;
        let events = futures_util::stream::iter(events.into_iter().map(Ok));
        ChatStream::new(events).collect_response(self.backend_info()).await
    }

    /// Answers in a stream of events.
    pub(super) async fn respond_streaming(&self, cx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let reply = self.responses_call(request, true)?.events(cx).await?;
        let reader = self.response_reader(reply.request_id);
        Ok(chat_stream(ResponseSource { records: reply.value, reader, ended: false }))
    }

    fn response_reader(&self, request_id: Option<String>) -> ResponseReader {
        ResponseReader::new(Route::new(self.backend_info()).with_request_id(request_id))
    }

    fn responses_call(&self, request: &ChatRequest, stream: bool) -> Result<ApiCall<'_>> {
        let rules = self.chat_rules()?;
        if !rules.responses {
            return Err(self.not_offered("API `responses`; leave `chat_api` out"));
        }
        let style = ResponsesStyle {
            vendor: self.profile().name,
            store: self.config().store,
            developer_role: rules.messages.developer_role,
        };
        let body = responses_body(self.config().model.trim(), request, &style, stream)?;
        Ok(self.api().post(ROUTE).json(&body))
    }
}

struct ResponseSource {
    records: EventStream,
    reader: ResponseReader,
    ended: bool,
}

impl EventSource for ResponseSource {
    async fn advance(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        while events.is_empty() && !self.ended {
            let outcome = self.read(events).await;
            outcome.map_err(|error| self.reader.identified(error))?;
        }
        Ok(())
    }
}

impl ResponseSource {
    async fn read(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        match self.records.next().await {
            Ok(Some(StreamRecord::Event(event))) => {
                if let Some(failure) = self.reader.event(event, events)? {
                    return Err(self.records.failure(&failure));
                }
                self.ended = self.reader.has_ended();
            }
            Ok(Some(StreamRecord::Whole(response))) => {
                self.ended = true;
                self.reader.whole(response, events)?;
            }
            Ok(Some(StreamRecord::Done) | None) => {
                self.ended = true;
                let message = "the answer broke off: the stream ended without its last event";
                return Err(Error::new(ErrorKind::Interrupted, message).with_sent(Sent::Yes));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
