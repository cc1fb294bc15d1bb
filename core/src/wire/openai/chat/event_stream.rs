//! A streamed response as pieces of text, ready to be sent.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use futures_core::Stream;
use futures_util::stream::{SelectAll, select_all};
use futures_util::{FutureExt, StreamExt};

use super::completion::CompletionHead;
use super::stream_writer::ChunkWriter;
use crate::chat::{ChatEvent, ChatStream};
use crate::error::{ErrorKind, Result};
use crate::info::Usage;

/// How much text one piece collects from events that have arrived already.
const MAX_PIECE_BYTES: usize = 16 * 1024;

/// The server-sent events of a streamed response. Dropping it stops the work.
///
/// ```
/// use ayni::backends::scripted::Scripted;
/// use ayni::wire::openai::chat::{CompletionEvents, CompletionHead};
/// use ayni::{AnyChat, ChatRequest, Context};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let chat = AnyChat::new(Scripted::default());
/// let stream = chat.stream(&Context::new(), ChatRequest::user("hola")).await?;
/// let head = CompletionHead::new("chatcmpl-1", 0, "m");
/// let mut events = CompletionEvents::open(stream, head, false, None).await?;
/// let mut body = String::new();
/// while let Some(piece) = events.next().await {
///     body += &piece.text;
/// }
/// assert!(body.contains("hola") && body.ends_with("data: [DONE]\n\n"));
/// # Ok::<_, ayni::Error>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CompletionEvents {
    /// The answers that go on, each with its index.
    streams: SelectAll<Numbered>,
    writer: ChunkWriter,
    usage: Usage,
    /// How many answers there are, and how many of them are complete.
    count: usize,
    finished: usize,
    /// Text that was written and not handed out yet.
    written: String,
    request_id: Option<String>,
}

/// A stream, and which of several answers it is.
#[derive(Debug)]
struct Numbered(usize, ChatStream);

impl Stream for Numbered {
    type Item = (usize, Result<ChatEvent>);

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        let index = self.0;
        self.1.poll_next_unpin(task).map(|event| event.map(|event| (index, event)))
    }
}

/// A piece of a streamed response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventsPiece {
    /// One or more server-sent events.
    pub text: String,
    /// The kind of the error that ends the stream with this piece.
    pub error: Option<ErrorKind>,
}

impl CompletionEvents {
    /// Waits for the first event: a failure before it can still set the status of the response. `request_id` is the
    /// server's own id of the request, for an error in the stream.
    ///
    /// # Errors
    /// That of the stream, if it begins with one.
    pub async fn open(
        stream: ChatStream,
        head: CompletionHead,
        include_usage: bool,
        request_id: Option<String>,
    ) -> Result<Self> {
        Self::open_all(vec![stream], head, include_usage, request_id, &[]).await
    }

    /// The same of several answers; `ignored` names the fields of the request that count for nothing.
    pub(crate) async fn open_all(
        streams: Vec<ChatStream>,
        head: CompletionHead,
        include_usage: bool,
        request_id: Option<String>,
        ignored: &[String],
    ) -> Result<Self> {
        let writer = ChunkWriter::new(head, include_usage);
        let mut written = String::new();
        for index in 0..streams.len() {
            written += &writer.start_of(index, if index == 0 { ignored } else { &[] });
        }
        let count = streams.len();
        let streams =
            select_all(streams.into_iter().enumerate().map(|(index, stream)| Numbered(index, stream)));
        let mut events =
            Self { streams, writer, usage: Usage::default(), count, finished: 0, written, request_id };
        if let Some((index, first)) = events.streams.next().await {
            events.write(index, &first?);
        }
        Ok(events)
    }

    /// Waits for the next event and adds those that have arrived; `None` at the end.
    pub async fn next(&mut self) -> Option<EventsPiece> {
        let mut error = None;
        while !self.streams.is_empty() {
            let next = match self.written.len() {
                // Some events have no form in the protocol: then there is still nothing to send.
                0 => self.streams.next().await,
                MAX_PIECE_BYTES.. => break,
                _ => match self.streams.next().now_or_never() {
                    Some(next) => next,
                    None => break,
                },
            };
            match next {
                Some((index, Ok(event))) => self.write(index, &event),
                Some((_, Err(failure))) => {
                    self.written += &self.writer.error(&failure, self.request_id.as_deref());
                    error = Some(failure.kind());
                    self.streams.clear();
                }
                None => break,
            }
        }
        let text = std::mem::take(&mut self.written);
        (!text.is_empty()).then_some(EventsPiece { text, error })
    }

    fn write(&mut self, index: usize, event: &ChatEvent) {
        self.written += &self.writer.event_of(index, event);
        if let ChatEvent::Finish { usage, .. } = event {
            self.usage = self.usage.plus(*usage);
            // Nothing comes after the last event of an answer.
            self.finished += 1;
            if self.finished == self.count {
                self.written += &self.writer.end(&self.usage);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::chat::FinishReason;
    use crate::error::Error;

    async fn pieces(events: Vec<Result<ChatEvent>>) -> Result<Vec<EventsPiece>> {
        let head = CompletionHead::new("chatcmpl-1", 0, "m");
        let stream = ChatStream::new(stream::iter(events));
        let mut events = CompletionEvents::open(stream, head, false, Some("req-1".into())).await?;
        let mut pieces = Vec::new();
        while let Some(piece) = events.next().await {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    #[tokio::test]
    async fn what_has_arrived_goes_out_in_one_piece() {
        let finish = ChatEvent::finish(FinishReason::Stop, Usage::default());
        let events = vec![Ok(ChatEvent::Text("ho".into())), Ok(ChatEvent::Text("la".into())), Ok(finish)];
        let pieces = pieces(events).await.expect("a stream");
        assert_eq!((pieces.len(), pieces[0].error), (1, None));
        assert!(pieces[0].text.contains("\"la\"") && pieces[0].text.ends_with("data: [DONE]\n\n"));
    }

    #[tokio::test]
    async fn an_error_ends_the_stream_with_its_kind_unless_it_comes_first() {
        let gone = || Err(Error::new(ErrorKind::Unavailable, "gone"));
        let pieces_before = pieces(vec![Ok(ChatEvent::Text("ho".into())), gone()]).await.expect("a stream");
        let last = pieces_before.last().expect("an end");
        assert_eq!(last.error, Some(ErrorKind::Unavailable));
        assert!(last.text.contains("req-1") && last.text.contains("gone"));
        assert_eq!(pieces(vec![gone()]).await.expect_err("at once").kind(), ErrorKind::Unavailable);
    }
}
