//! A streamed answer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use futures_core::Stream;
use futures_util::StreamExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Annotation, ChatResponse, FinishReason, Part, ProviderData, ResponseMetadata, TokenLogprob, ToolCall,
};
use crate::error::{Error, ErrorKind, Operation, Result, Sent};
use crate::info::{BackendInfo, Route, Usage};

/// One event of a streamed answer. In JSON its `type` says what it is, and the rest of its fields are beside it:
/// `{"type": "text", "text": "ho"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChatEvent {
    /// The first event: who serves.
    Started {
        /// Who serves, and who failed before.
        route: Route,
    },
    /// A piece of the answer's text.
    Text(
        #[serde(with = "text_field")]
        #[cfg_attr(feature = "schema", schemars(with = "text_field::Owned"))]
        String,
    ),
    /// A piece of the reasoning.
    Reasoning(
        #[serde(with = "text_field")]
        #[cfg_attr(feature = "schema", schemars(with = "text_field::Owned"))]
        String,
    ),
    /// The model starts a tool call.
    ToolCallStarted {
        /// The index of the call in this answer, from 0.
        index: usize,
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// A piece of a call's arguments.
    ToolCallArguments {
        /// The index of the call in this answer.
        index: usize,
        /// The piece.
        piece: String,
    },
    /// A tool call is complete.
    ToolCall {
        /// The index of the call in this answer.
        index: usize,
        /// The call.
        call: ToolCall,
    },
    /// A part of the answer that is neither text nor a tool call: an image, a file, a tool that the provider ran.
    Part {
        /// The part.
        part: Part,
    },
    /// A source of the answer.
    Annotation {
        /// The source.
        annotation: Annotation,
    },
    /// What the provider says about the answer. It comes once, before the last event.
    Metadata {
        /// What it says.
        metadata: ResponseMetadata,
    },
    /// Log-probabilities of the tokens of the last piece.
    Logprobs(
        #[serde(with = "logprobs_field")]
        #[cfg_attr(feature = "schema", schemars(with = "logprobs_field::Owned"))]
        Vec<TokenLogprob>,
    ),
    /// The last event: the answer is complete.
    Finish {
        /// Why the answer ended.
        reason: FinishReason,
        /// Tokens used, where the backend reports them.
        usage: Usage,
        /// Data about the answer that the provider wants back with the next request.
        provider_data: ProviderData,
    },
}

/// Gives what an event carries a name of its own beside `type`.
macro_rules! named_fields {
    ($($module:ident: $field:ident of $type:ty;)+) => {$(
        mod $module {
            use super::*;

            #[derive(Serialize)]
            struct Borrowed<'a> {
                $field: &'a $type,
            }

            #[derive(Deserialize)]
            #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
            pub(super) struct Owned {
                $field: $type,
            }

            pub(super) fn serialize<S: Serializer>($field: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                Borrowed { $field }.serialize(serializer)
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                Owned::deserialize(deserializer).map(|fields| fields.$field)
            }
        }
    )+};
}

named_fields! {
    text_field: text of String;
    logprobs_field: logprobs of Vec<TokenLogprob>;
}

impl ChatEvent {
    /// An ending without provider data.
    pub fn finish(reason: FinishReason, usage: Usage) -> Self {
        Self::Finish { reason, usage, provider_data: ProviderData::default() }
    }

    /// Whether the event shows the caller a part of the answer, so that the request can no longer be repeated.
    pub(crate) fn delivers(&self) -> bool {
        !matches!(self, Self::Started { .. })
    }
}

/// The events of a streamed answer.
///
/// Whatever the backend does, the events end with exactly one [`ChatEvent::Finish`] or one error; a stream that just
/// stops ends with `interrupted`. The text delivered so far is attached to the error.
pub struct ChatStream {
    events: Pin<Box<dyn Stream<Item = Result<ChatEvent>> + Send>>,
    text: String,
    ended: bool,
    /// The backend that its errors name.
    backend: Option<Arc<str>>,
}

impl ChatStream {
    /// Wraps a backend's events.
    pub fn new(events: impl Stream<Item = Result<ChatEvent>> + Send + 'static) -> Self {
        Self { events: Box::pin(events), text: String::new(), ended: false, backend: None }
    }

    /// Names `backend` on errors that name no other.
    pub(super) fn of_backend(mut self, backend: &Arc<str>) -> Self {
        self.backend.get_or_insert_with(|| Arc::clone(backend));
        self
    }

    /// A whole answer as events.
    pub fn from_response(response: ChatResponse) -> Self {
        let mut events = vec![ChatEvent::Started { route: response.route }];
        events.extend(response.reasoning.filter(|text| !text.is_empty()).map(ChatEvent::Reasoning));
        if response.parts.is_empty() && !response.text.is_empty() {
            events.push(ChatEvent::Text(response.text));
        }
        events.extend(response.parts.into_iter().map(|part| match part {
            Part::Text { text } => ChatEvent::Text(text),
            part => ChatEvent::Part { part },
        }));
        for (index, call) in response.tool_calls.into_iter().enumerate() {
            events.push(ChatEvent::ToolCallStarted { index, id: call.id.clone(), name: call.name.clone() });
            events.push(ChatEvent::ToolCallArguments { index, piece: call.arguments.clone() });
            events.push(ChatEvent::ToolCall { index, call });
        }
        if !response.logprobs.is_empty() {
            events.push(ChatEvent::Logprobs(response.logprobs));
        }
        events
            .extend(response.annotations.into_iter().map(|annotation| ChatEvent::Annotation { annotation }));
        if !response.metadata.is_empty() {
            events.push(ChatEvent::Metadata { metadata: response.metadata });
        }
        events.push(ChatEvent::Finish {
            reason: response.finish,
            usage: response.usage,
            provider_data: response.provider_data,
        });
        Self::new(futures_util::stream::iter(events.into_iter().map(Ok)))
    }

    /// Reads the stream to its end and joins its events into one response. `info` names the backend in the route of a
    /// stream without a `Started` event.
    ///
    /// # Errors
    /// The stream's error, with the text delivered before it.
    pub async fn collect_response(mut self, info: &BackendInfo) -> Result<ChatResponse> {
        let mut response = ChatResponse::new("", Route::new(info));
        let mut reasoning = String::new();
        while let Some(event) = self.next().await {
            match event? {
                ChatEvent::Started { route } => response.route = route,
                ChatEvent::Text(piece) => add_text(&mut response, piece),
                ChatEvent::Part { part } => response.parts.push(part),
                ChatEvent::Annotation { annotation } => response.annotations.push(annotation),
                ChatEvent::Metadata { metadata } => response.metadata = metadata,
                ChatEvent::Reasoning(piece) => reasoning.push_str(&piece),
                ChatEvent::ToolCall { call, .. } => response.tool_calls.push(call),
                ChatEvent::Logprobs(tokens) => response.logprobs.extend(tokens),
                ChatEvent::ToolCallStarted { .. } | ChatEvent::ToolCallArguments { .. } => {}
                ChatEvent::Finish { reason, usage, provider_data } => {
                    response.finish = reason;
                    response.usage = usage;
                    response.provider_data = provider_data;
                }
            }
        }
        response.reasoning = Some(reasoning).filter(|text| !text.is_empty());
        if matches!(response.parts.as_slice(), [Part::Text { .. }]) {
            response.parts.clear();
        }
        Ok(response)
    }

    fn end_with(&mut self, error: Error) -> Error {
        self.ended = true;
        let error = match &self.backend {
            Some(backend) => error.with_operation(Operation::ChatStream).with_backend(&**backend),
            None => error,
        };
        match self.text.is_empty() {
            true => error,
            false => error.with_partial_text(std::mem::take(&mut self.text)),
        }
    }
}

/// Adds a piece to the text, and to the parts, among which it has its place.
fn add_text(response: &mut ChatResponse, piece: String) {
    response.text.push_str(&piece);
    match response.parts.last_mut() {
        Some(Part::Text { text }) => text.push_str(&piece),
        _ => response.parts.push(Part::Text { text: piece }),
    }
}

impl Stream for ChatStream {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match self.events.as_mut().poll_next(task) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(next) => next,
        };
        Poll::Ready(Some(match next {
            Some(Ok(event)) => {
                match &event {
                    ChatEvent::Text(piece) => self.text.push_str(piece),
                    ChatEvent::Finish { .. } => self.ended = true,
                    _ => {}
                }
                Ok(event)
            }
            Some(Err(error)) => Err(self.end_with(error)),
            None => {
                let error = Error::new(ErrorKind::Interrupted, "the answer broke off before its end");
                Err(self.end_with(error.with_sent(Sent::Yes)))
            }
        }))
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use serde_json::json;

    use super::*;

    async fn collect(events: Vec<Result<ChatEvent>>) -> Vec<Result<ChatEvent>> {
        ChatStream::new(stream::iter(events)).collect().await
    }

    #[tokio::test]
    async fn a_stream_that_simply_stops_is_interrupted_and_keeps_its_text() {
        let events = collect(vec![Ok(ChatEvent::Text("ho".into())), Ok(ChatEvent::Text("la".into()))]).await;
        let error = events.last().expect("an end").as_ref().expect_err("interrupted");
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert_eq!(error.partial_text(), Some("hola"));
        assert_eq!(events.len(), 3);
    }

    #[tokio::test]
    async fn nothing_follows_a_finish_or_an_error() {
        let finish = ChatEvent::finish(FinishReason::Stop, Usage::default());
        let events = collect(vec![Ok(finish.clone()), Ok(finish), Ok(ChatEvent::Text("late".into()))]).await;
        assert_eq!(events.len(), 1);
        let error = || Err(Error::new(ErrorKind::Unavailable, "gone"));
        assert_eq!(collect(vec![error(), error()]).await.len(), 1);
    }

    #[tokio::test]
    async fn a_response_survives_the_way_through_events() {
        let info = BackendInfo::new("scripted", "m");
        let mut response = ChatResponse::new("answer", Route::new(&info));
        response.reasoning = Some("because".into());
        response.tool_calls.push(ToolCall::new("1", "look", "{}"));
        response.finish = FinishReason::ToolCalls;
        response.usage = Usage::new(3, 4);
        response.annotations.push(Annotation::default().with_range(Some(0), Some(3)));
        response.metadata.id = Some("r-1".into());
        let joined = ChatStream::from_response(response.clone()).collect_response(&info).await;
        assert_eq!(joined.expect("complete"), response);
    }

    #[tokio::test]
    async fn parts_keep_their_places_among_the_text() {
        let info = BackendInfo::new("scripted", "m");
        let raw = Part::Raw { data: json!({ "chart": 1 }) };
        let mut response = ChatResponse::new("one two", Route::new(&info));
        response.parts = vec![Part::text("one "), raw.clone(), Part::text("two")];
        let joined = ChatStream::from_response(response.clone()).collect_response(&info).await;
        assert_eq!(joined.expect("complete"), response);
        assert_eq!(response.to_message().content.parts(), &response.parts[..]);
        let pieces = ["on", "e "].map(|piece| Ok(ChatEvent::Text(piece.into())));
        let rest = [Ok(ChatEvent::Part { part: raw }), Ok(ChatEvent::Text("two".into()))];
        let finish = [Ok(ChatEvent::finish(FinishReason::Stop, Usage::default()))];
        let streamed = ChatStream::new(stream::iter(pieces.into_iter().chain(rest).chain(finish)));
        let joined = streamed.collect_response(&info).await.expect("complete");
        assert_eq!((joined.text, joined.parts), (response.text, response.parts));
    }

    #[test]
    fn events_are_written_with_their_type_beside_their_fields() {
        let info = BackendInfo::new("scripted", "m");
        let logprobs = vec![TokenLogprob::new("ho", -0.5).with_top(vec![("ho".into(), -0.5)])];
        let route = json!({"backend": "scripted", "model": "m", "attempts": 1, "cached": false});
        let call = json!({"id": "1", "name": "look", "arguments": "{}"});
        let written = [
            (ChatEvent::Started { route: Route::new(&info) }, json!({"type": "started", "route": route})),
            (ChatEvent::Text("ho".into()), json!({"type": "text", "text": "ho"})),
            (ChatEvent::Reasoning("hm".into()), json!({"type": "reasoning", "text": "hm"})),
            (
                ChatEvent::ToolCallStarted { index: 0, id: "1".into(), name: "look".into() },
                json!({"type": "tool_call_started", "index": 0, "id": "1", "name": "look"}),
            ),
            (
                ChatEvent::ToolCallArguments { index: 0, piece: "{}".into() },
                json!({"type": "tool_call_arguments", "index": 0, "piece": "{}"}),
            ),
            (
                ChatEvent::ToolCall { index: 0, call: ToolCall::new("1", "look", "{}") },
                json!({"type": "tool_call", "index": 0, "call": call}),
            ),
            (
                ChatEvent::Part { part: Part::FileId { id: "f".into() } },
                json!({"type": "part", "part": {"type": "file_id", "id": "f"}}),
            ),
            (
                ChatEvent::Metadata { metadata: ResponseMetadata { cost: Some(0.5), ..Default::default() } },
                json!({"type": "metadata", "metadata": {"cost": 0.5}}),
            ),
            (
                ChatEvent::Annotation { annotation: Annotation::default() },
                json!({"type": "annotation", "annotation": Annotation::default()}),
            ),
            (
                ChatEvent::Logprobs(logprobs),
                json!({"type": "logprobs", "logprobs": [{"token": "ho", "logprob": -0.5, "top": [["ho", -0.5]]}]}),
            ),
            (
                ChatEvent::finish(FinishReason::Other("pause".into()), Usage::new(3, None)),
                json!({"type": "finish", "reason": "pause", "usage": Usage::new(3, None), "provider_data": {}}),
            ),
        ];
        for (event, data) in written {
            assert_eq!(serde_json::to_value(&event).expect("JSON"), data);
            assert_eq!(serde_json::from_value::<ChatEvent>(data).expect("an event"), event);
        }
    }

    #[test]
    fn a_response_is_written_field_by_field_and_read_back() {
        let info = BackendInfo::new("scripted", "m");
        let mut response = ChatResponse::new("answer", Route::new(&info));
        response.tool_calls.push(ToolCall::new("1", "look", "{}"));
        response.finish = FinishReason::ToolCalls;
        let data = serde_json::to_value(&response).expect("JSON");
        assert_eq!((&data["text"], &data["finish"]), (&json!("answer"), &json!("tool_calls")));
        assert_eq!((&data["reasoning"], &data["logprobs"]), (&json!(null), &json!([])));
        assert_eq!(serde_json::from_value::<ChatResponse>(data).expect("a response"), response);
    }
}
