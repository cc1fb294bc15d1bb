//! Reading response bodies: bounded, with an idle time-out, stopped by the context.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use ::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::Value;

use super::client::ApiClient;
use super::exchange::{self, IDLE};
use super::json::JsonLimits;
use super::ndjson::LineParser;
use super::sse::{SseItem, SseParser};
use super::{BodyStream, FrameTooLarge, HeaderText, status};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};

/// The most bytes of one event or line of a stream.
const MAX_EVENT_BYTES: usize = 16 << 20;

/// A response body that is being read.
pub(crate) struct Body {
    cx: Context,
    stream: BodyStream,
    left: usize,
    idle: Duration,
}

impl Body {
    /// A body of at most `max_bytes`.
    pub(crate) fn new(cx: &Context, stream: BodyStream, max_bytes: usize) -> Self {
        Self { cx: cx.clone(), stream, left: max_bytes, idle: cx.phase_timeouts().idle.unwrap_or(IDLE) }
    }

    /// The next piece, or `None` at the end. Fails when none comes within the idle time-out after `idle_since`, when the
    /// body is larger than its bound, and when the context stops the call.
    pub(crate) async fn next(&mut self, idle_since: Instant) -> Result<Option<Bytes>> {
        let waited = self.cx.clock().now().saturating_duration_since(idle_since);
        let left = self.idle.saturating_sub(waited);
        let (cx, stream, idle) = (&self.cx, &mut self.stream, self.idle);
        let piece = cx
            .guard(async {
                cx.clock().timeout(left, stream.next()).await?.ok_or_else(|| {
                    Error::new(
                        ErrorKind::Timeout,
                        format!("no data came for {:.1} s in the middle of the answer", idle.as_secs_f64()),
                    )
                    .with_context("phase", "idle")
                    .with_sent(Sent::Yes)
                })
            })
            .await?;
        match piece {
            None => Ok(None),
            Some(Err(error)) => Err(exchange::transport_failure(error, "the backend")),
            Some(Ok(bytes)) if bytes.len() > self.left => {
                Err(Error::response_invalid("the answer is larger than its bound; the rest was not read"))
            }
            Some(Ok(bytes)) => {
                self.left -= bytes.len();
                Ok(Some(bytes))
            }
        }
    }

    /// Reads to the end.
    pub(crate) async fn read_all(mut self) -> Result<Bytes> {
        let mut first = Bytes::new();
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next(self.cx.clock().now()).await? {
            match (first.is_empty(), whole.is_empty()) {
                (true, true) => first = piece,
                (false, _) => {
                    whole.extend_from_slice(&std::mem::take(&mut first));
                    whole.extend_from_slice(&piece);
                }
                (true, false) => whole.extend_from_slice(&piece),
            }
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }

    /// Reads up to `most` bytes of an error body. Of a body that breaks off, what came is enough.
    pub(crate) async fn read_at_most(mut self, most: usize) -> Bytes {
        let mut whole = BytesMut::new();
        while whole.len() < most {
            match self.next(self.cx.clock().now()).await {
                Ok(Some(piece)) => whole.extend_from_slice(&piece),
                Ok(None) | Err(_) => break,
            }
        }
        whole.truncate(most);
        whole.freeze()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Cuts a body into records.
trait Records: Send {
    fn push(&mut self, bytes: Bytes);
    fn finish(&mut self);
    /// The next record that carries data.
    fn next_record(&mut self) -> Option<Result<Bytes, FrameTooLarge>>;
}

impl Records for SseParser {
    fn push(&mut self, bytes: Bytes) {
        Self::push(self, bytes);
    }

    fn finish(&mut self) {
        Self::finish(self);
    }

    fn next_record(&mut self) -> Option<Result<Bytes, FrameTooLarge>> {
        self.find_map(|item| match item {
            Ok(SseItem::Event { data, .. }) if !data.is_empty() => Some(Ok(data)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

impl Records for LineParser {
    fn push(&mut self, bytes: Bytes) {
        Self::push(self, bytes);
    }

    fn finish(&mut self) {
        Self::finish(self);
    }

    fn next_record(&mut self) -> Option<Result<Bytes, FrameTooLarge>> {
        self.next()
    }
}

/// JSON records of a streamed body.
struct RecordStream<R> {
    api: ApiClient,
    body: Body,
    records: R,
    status: u16,
    headers: HeaderMap,
    last_data: Instant,
    whole: Option<BytesMut>,
    ended: bool,
}

impl<R: Records> RecordStream<R> {
    fn open(api: ApiClient, body: Body, records: R, status: u16, headers: &HeaderMap) -> Self {
        let last_data = body.cx.clock().now();
        let media_type = headers.text("content-type").unwrap_or_default();
        let one_piece = media_type.starts_with("application/json") || media_type.starts_with("text/html");
        Self {
            api,
            body,
            records,
            status,
            headers: headers.clone(),
            last_data,
            whole: one_piece.then(BytesMut::new),
            ended: false,
        }
    }

    /// The next record, decoded; `None` at the end of the body or after `[DONE]`.
    async fn next(&mut self) -> Result<Option<StreamRecord>> {
        if self.whole.is_some() {
            return self.read_whole().await;
        }
        loop {
            match self.records.next_record() {
                Some(Ok(record)) => {
                    self.last_data = self.body.cx.clock().now();
                    return self.decode(&record).map(Some);
                }
                Some(Err(error)) => {
                    return Err(Error::response_invalid("one event of the stream is larger than its bound")
                        .with_source(error));
                }
                None if self.ended => return Ok(None),
                None => {}
            }
            match self.body.next(self.last_data).await? {
                Some(piece) => self.records.push(piece),
                None => {
                    self.records.finish();
                    self.ended = true;
                }
            }
        }
    }

    /// Reads the answer of a server that ignores `stream: true` and answers in one piece.
    async fn read_whole(&mut self) -> Result<Option<StreamRecord>> {
        if self.ended {
            return Ok(None);
        }
        let mut whole = self.whole.take().unwrap_or_default();
        while let Some(piece) = self.body.next(self.body.cx.clock().now()).await? {
            whole.extend_from_slice(&piece);
        }
        self.whole = Some(BytesMut::new());
        self.ended = true;
        exchange::decode_json(&self.api, self.status, &self.headers, &whole)
            .map(|value| Some(StreamRecord::Whole(value)))
    }

    /// The failure that an event describes in its own way.
    fn failure(&self, body: &Value) -> Error {
        let body = status::read_error_body(Some("application/json"), body.to_string().as_bytes());
        exchange::failure(&self.api, self.status, &self.headers, &body)
    }

    fn decode(&self, record: &Bytes) -> Result<StreamRecord> {
        let text = record.trim_ascii();
        if text == b"[DONE]" {
            return Ok(StreamRecord::Done);
        }
        if let Some(why) = JsonLimits::ANSWER.exceeded(text) {
            return Err(Error::response_invalid(format!("an event of the stream {why}")));
        }
        let text = &*self.api.body_without_secrets(text);
        let value: Value = serde_json::from_slice(text).map_err(|_| {
            if self.ended {
                return Error::new(ErrorKind::Interrupted, "the stream broke off inside an event")
                    .with_sent(Sent::Yes);
            }
            let page = status::read_error_body(self.headers.text("content-type"), text);
            let what = if page.is_html { "an HTML page" } else { "something that is not JSON" };
            Error::response_invalid(format!("the stream holds {what} where an event belongs"))
        })?;
        match exchange::error_inside(&self.api, self.status, &self.headers, &value) {
            Some(error) => Err(error),
            None => Ok(StreamRecord::Event(value)),
        }
    }
}

/// One record of a streamed answer.
#[derive(Debug)]
pub(crate) enum StreamRecord {
    /// One event.
    Event(Value),
    /// The whole answer in one piece: the server does not stream.
    Whole(Value),
    /// The vendor's mark for the end.
    Done,
}

macro_rules! streams {
    ($($(#[doc = $doc:literal])+ $name:ident over $parser:ident;)+) => {
        $($(#[doc = $doc])+
        pub(crate) struct $name(RecordStream<$parser>);

        impl $name {
            pub(super) fn open(api: ApiClient, body: Body, status: u16, headers: &HeaderMap) -> Self {
                Self(RecordStream::open(api, body, $parser::new(MAX_EVENT_BYTES), status, headers))
            }

            /// The next record, or `None` at the end of the body.
            ///
            /// # Errors
            /// The failure that an error record means, a time-out, a broken connection, or what is not JSON.
            pub(crate) async fn next(&mut self) -> Result<Option<StreamRecord>> {
                self.0.next().await
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        })+
    };
}

streams! {
    /// JSON events of a Server-Sent-Events body.
    EventStream over SseParser;
    /// JSON lines of a newline-delimited body.
    LineStream over LineParser;
}

impl EventStream {
    /// The failure that an event describes in its own way: `body` is the object that says so.
    pub(crate) fn failure(&self, body: &Value) -> Error {
        self.0.failure(body)
    }
}

/// Makes chat events of a vendor's stream, a few at a time.
pub(crate) trait EventSource: Send + 'static {
    /// Reads until there is at least one more event; adds none at the end of the input.
    fn advance(&mut self, events: &mut VecDeque<crate::ChatEvent>)
    -> impl Future<Output = Result<()>> + Send;
}

/// The stream of chat events that `source` makes.
pub(crate) fn chat_stream(source: impl EventSource) -> crate::ChatStream {
    let pump = Pump { source, events: VecDeque::new(), failure: None, ended: false };
    crate::ChatStream::new(futures_util::stream::unfold(pump, |mut pump| async move {
        let event = pump.next().await?;
        Some((event, pump))
    }))
}

/// Hands out a source's events one by one. Events that came before a failure in the same piece come first.
struct Pump<S> {
    source: S,
    events: VecDeque<crate::ChatEvent>,
    failure: Option<Error>,
    ended: bool,
}

impl<S: EventSource> Pump<S> {
    async fn next(&mut self) -> Option<Result<crate::ChatEvent>> {
        if self.events.is_empty() && !self.ended {
            match self.source.advance(&mut self.events).await {
                Ok(()) => self.ended = self.events.is_empty(),
                Err(error) => {
                    self.failure = Some(error);
                    self.ended = true;
                }
            }
        }
        match self.events.pop_front() {
            Some(event) => Some(Ok(event)),
            None => self.failure.take().map(Err),
        }
    }
}
