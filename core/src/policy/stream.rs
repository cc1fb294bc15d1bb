//! A chat stream under a policy.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use futures_core::Stream;
use futures_util::{FutureExt, StreamExt, stream};

use super::cache::CacheSlot;
use super::call::{GovernedCall, GovernedReply, StoredAnswer, call_bytes, json_bytes, provider_bytes};
use super::limit::Permit;
use super::observe::Observation;
use super::timeout::attempt_timed_out;
use crate::chat::{AnyChat, ChatEvent, ChatRequest, ChatStream};
use crate::context::{BoxFuture, Clock, Context};
use crate::error::{Error, Operation, Result};
use crate::info::{BackendInfo, Route, Usage};

/// A request for a stream.
#[derive(Debug)]
pub(super) struct StreamChat(pub(super) ChatRequest);

impl GovernedCall for StreamChat {
    type Handle = AnyChat;
    type Request = ChatRequest;
    type Reply = OpenedStream;
    const OPERATION: Operation = Operation::ChatStream;

    fn request(&self) -> &ChatRequest {
        &self.0
    }

    fn may_be_cached(&self) -> bool {
        true
    }

    async fn send(&self, handle: &AnyChat, cx: &Context) -> Result<OpenedStream> {
        let stream = handle.stream(cx, self.0.clone()).await?;
        OpenedStream::read(stream, handle.info()).await
    }
}

/// A stream whose first delivered event has arrived. From here on the request cannot be sent again; what fails before is
/// an ordinary failure of the attempt.
pub(super) struct OpenedStream {
    route: Route,
    first: Option<ChatEvent>,
    rest: ChatStream,
    /// The permit to be in flight, held until the end.
    permit: Option<Permit>,
    /// The end of the attempt's time, with the error that it is.
    out_of_time: Option<BoxFuture<'static, Error>>,
    recorder: Option<Recorder>,
    observation: Option<Observation>,
}

impl OpenedStream {
    /// Reads until an event delivers something.
    async fn read(mut rest: ChatStream, info: &BackendInfo) -> Result<Self> {
        let mut started = None;
        let first = loop {
            match rest.next().await.transpose()? {
                Some(ChatEvent::Started { route }) => started = Some(route),
                other => break other,
            }
        };
        debug_assert!(first.as_ref().is_none_or(ChatEvent::delivers), "only `Started` delivers nothing");
        Ok(Self::new(started.unwrap_or_else(|| Route::new(info)), first, rest))
    }

    fn new(route: Route, first: Option<ChatEvent>, rest: ChatStream) -> Self {
        Self { route, first, rest, permit: None, out_of_time: None, recorder: None, observation: None }
    }

    pub(super) fn into_stream(self) -> ChatStream {
        let started = Some(ChatEvent::Started { route: self.route.clone() });
        ChatStream::new(GovernedStream { started, opened: self })
    }
}

impl GovernedReply for OpenedStream {
    fn route_mut(&mut self) -> &mut Route {
        &mut self.route
    }

    fn hold_permit(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    fn end_by(&mut self, clock: &Clock, end: Instant) {
        let clock = clock.clone();
        self.out_of_time = Some(Box::pin(async move {
            let slept = clock.sleep(end.saturating_duration_since(clock.now())).await;
            slept.map_or_else(|error| error, |()| attempt_timed_out())
        }));
    }

    fn store_in(&mut self, slot: CacheSlot) {
        self.recorder = Some(Recorder { slot, events: Vec::new(), bytes: 0 });
    }

    fn restore(stored: StoredAnswer) -> Option<Self> {
        let recording = stored.downcast::<Recording>().ok()?;
        let route = recording.route.clone();
        let mut next = 0;
        let events = stream::iter(std::iter::from_fn(move || {
            next += 1;
            recording.events.get(next - 1).cloned().map(Ok)
        }));
        Some(Self::new(route, None, ChatStream::new(events)))
    }

    fn observe(&mut self, observation: Observation) {
        self.observation = Some(observation);
    }
}

impl fmt::Debug for OpenedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedStream").field("route", &self.route).finish_non_exhaustive()
    }
}

/// The events that the caller sees.
struct GovernedStream {
    started: Option<ChatEvent>,
    opened: OpenedStream,
}

impl Stream for GovernedStream {
    type Item = Result<ChatEvent>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if let Some(started) = self.started.take() {
            return Poll::Ready(Some(Ok(started)));
        }
        let opened = &mut self.opened;
        let event = match opened.first.take() {
            Some(first) => Some(Ok(first)),
            None => std::task::ready!(opened.poll_rest(task)),
        };
        opened.follow(event.as_ref());
        Poll::Ready(event)
    }
}

impl OpenedStream {
    fn poll_rest(&mut self, task: &mut TaskContext<'_>) -> Poll<Option<Result<ChatEvent>>> {
        let rest = &mut self.rest;
        let next = match &self.observation {
            Some(observation) => observation.in_span(|| rest.poll_next_unpin(task)),
            None => rest.poll_next_unpin(task),
        };
        if next.is_ready() {
            return next;
        }
        match &mut self.out_of_time {
            Some(end) => end.poll_unpin(task).map(|error| {
                // Nothing more is read, and the connection closes.
                self.rest = ChatStream::new(stream::empty());
                Some(Err(error.with_operation(Operation::ChatStream).with_backend(&*self.route.backend)))
            }),
            None => Poll::Pending,
        }
    }

    /// Follows the stream. At its end, the permit and everything else is released.
    fn follow(&mut self, event: Option<&Result<ChatEvent>>) {
        match event {
            Some(Ok(event)) => {
                if self.recorder.as_mut().is_some_and(|recorder| !recorder.takes(event)) {
                    self.recorder = None;
                }
                let ChatEvent::Finish { usage, .. } = event else { return };
                self.complete(*usage);
            }
            Some(Err(error)) => {
                if let Some(observation) = self.observation.take() {
                    observation.fail(error);
                }
            }
            None => {}
        }
        self.permit = None;
        self.recorder = None;
        self.out_of_time = None;
    }

    fn complete(&mut self, usage: Usage) {
        if let Some(recorder) = self.recorder.take() {
            recorder.store(&self.route);
        }
        if let Some(observation) = self.observation.take() {
            observation.succeed(&self.route, usage);
        }
    }
}

/// The events of a stream for the cache, until they are complete or too many.
struct Recorder {
    slot: CacheSlot,
    events: Vec<ChatEvent>,
    bytes: usize,
}

/// The events of a complete stream.
struct Recording {
    route: Route,
    events: Vec<ChatEvent>,
}

impl Recorder {
    /// Records an event, unless the stream has grown too large for the cache.
    fn takes(&mut self, event: &ChatEvent) -> bool {
        self.bytes += event_bytes(event);
        let fits = self.bytes <= self.slot.room();
        if fits {
            self.events.push(event.clone());
        }
        fits
    }

    fn store(self, route: &Route) {
        let Self { slot, events, bytes } = self;
        slot.insert(bytes, || Arc::new(Recording { route: route.clone(), events }));
    }
}

fn event_bytes(event: &ChatEvent) -> usize {
    size_of::<ChatEvent>()
        + match event {
            ChatEvent::Text(text) | ChatEvent::Reasoning(text) => text.len(),
            ChatEvent::ToolCallStarted { id, name, .. } => id.len() + name.len(),
            ChatEvent::ToolCallArguments { piece, .. } => piece.len(),
            ChatEvent::ToolCall { call, .. } => call_bytes(call),
            ChatEvent::Logprobs(tokens) => {
                tokens.iter().map(|token| token.token.len() * (1 + token.top.len()) + 32).sum()
            }
            ChatEvent::Finish { provider_data, .. } => provider_bytes(provider_data),
            ChatEvent::Part { part } => json_bytes(part),
            ChatEvent::Annotation { annotation } => json_bytes(annotation),
            ChatEvent::Metadata { metadata } => metadata.bytes(),
            ChatEvent::Started { .. } => 0,
        }
}
