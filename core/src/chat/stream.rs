//! A streamed answer.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use futures_core::Stream;
use futures_util::StreamExt;

use super::{ChatResponse, FinishReason, ProviderData, TokenLogprob, ToolCall};
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::{BackendInfo, Route, Usage};

/// One event of a streamed answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ChatEvent {
    /// The first event: who serves.
    Started {
        /// Who serves, and who failed before.
        route: Route,
    },
    /// A piece of the answer.
    Text(String),
    /// A piece of the reasoning.
    Reasoning(String),
    /// The model begins to call a tool.
    ToolCallStarted {
        /// Which call of this answer, from 0.
        index: usize,
        /// The call's name.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// A piece of a call's arguments.
    ToolCallArguments {
        /// Which call of this answer.
        index: usize,
        /// The piece.
        piece: String,
    },
    /// A call is complete.
    ToolCall {
        /// Which call of this answer.
        index: usize,
        /// The call.
        call: ToolCall,
    },
    /// Log-probabilities of the tokens of the last piece.
    Logprobs(Vec<TokenLogprob>),
    /// The last event: the answer is complete.
    Finish {
        /// Why the answer ended.
        reason: FinishReason,
        /// Tokens used, where the backend says so.
        usage: Usage,
        /// Data about the answer that the provider wants back with the next turn.
        provider_data: ProviderData,
    },
}

impl ChatEvent {
    /// An ending without provider data.
    pub fn finish(reason: FinishReason, usage: Usage) -> Self {
        Self::Finish { reason, usage, provider_data: ProviderData::default() }
    }

    /// Whether the caller sees a part of the answer in it, so that the request can no longer be repeated.
    pub(crate) fn delivers(&self) -> bool {
        !matches!(self, Self::Started { .. })
    }
}

/// The events of a streamed answer.
///
/// Whatever the backend does, the events end with exactly one [`ChatEvent::Finish`] or one error: a stream
/// that simply stops is `interrupted`. The text delivered so far is attached to the error.
pub struct ChatStream {
    events: Pin<Box<dyn Stream<Item = Result<ChatEvent>> + Send>>,
    text: String,
    ended: bool,
}

impl ChatStream {
    /// Wraps a backend's events.
    pub fn new(events: impl Stream<Item = Result<ChatEvent>> + Send + 'static) -> Self {
        Self { events: Box::pin(events), text: String::new(), ended: false }
    }

    /// The events of an answer that came in one piece.
    pub fn from_response(response: ChatResponse) -> Self {
        let mut events = vec![ChatEvent::Started { route: response.route }];
        events.extend(response.reasoning.filter(|text| !text.is_empty()).map(ChatEvent::Reasoning));
        if !response.text.is_empty() {
            events.push(ChatEvent::Text(response.text));
        }
        for (index, call) in response.tool_calls.into_iter().enumerate() {
            events.push(ChatEvent::ToolCallStarted { index, id: call.id.clone(), name: call.name.clone() });
            events.push(ChatEvent::ToolCallArguments { index, piece: call.arguments.clone() });
            events.push(ChatEvent::ToolCall { index, call });
        }
        if !response.logprobs.is_empty() {
            events.push(ChatEvent::Logprobs(response.logprobs));
        }
        events.push(ChatEvent::Finish {
            reason: response.finish,
            usage: response.usage,
            provider_data: response.provider_data,
        });
        Self::new(futures_util::stream::iter(events.into_iter().map(Ok)))
    }

    /// Reads to the end and joins the events to one response. `info` names the backend in the route of a
    /// stream that never said who serves.
    ///
    /// # Errors
    /// The stream's error, with the text delivered before it.
    pub async fn collect_response(mut self, info: &BackendInfo) -> Result<ChatResponse> {
        let mut response = ChatResponse::new("", Route::new(info));
        let mut reasoning = String::new();
        while let Some(event) = self.next().await {
            match event? {
                ChatEvent::Started { route } => response.route = route,
                ChatEvent::Text(piece) => response.text.push_str(&piece),
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
        Ok(response)
    }

    fn end_with(&mut self, error: Error) -> Error {
        self.ended = true;
        match self.text.is_empty() {
            true => error,
            false => error.with_partial_text(std::mem::take(&mut self.text)),
        }
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
        let joined = ChatStream::from_response(response.clone()).collect_response(&info).await;
        assert_eq!(joined.expect("complete"), response);
    }
}
