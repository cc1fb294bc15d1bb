//! The events of a streamed answer.

use std::collections::VecDeque;

use crate::chat::ChatEvent;
use crate::error::{Error, ErrorKind, Result};
use crate::http::body::{EventSource, EventStream, StreamRecord};
use crate::wire::openai::chat::{ChunkReader, CompletionReader};

/// Turns the chunks of a response into chat events.
#[derive(Debug)]
pub(super) struct ChatSource {
    chunks: EventStream,
    reader: ChunkReader,
    ended: bool,
}

impl ChatSource {
    pub(super) fn new(chunks: EventStream, reader: CompletionReader) -> Self {
        Self { chunks, reader: ChunkReader::new(reader), ended: false }
    }

    async fn read_on(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        while events.is_empty() && !self.ended {
            match self.chunks.next().await {
                Ok(Some(StreamRecord::Event(chunk))) => self.reader.chunk(chunk, events)?,
                Ok(Some(StreamRecord::Whole(response))) => {
                    self.ended = true;
                    self.reader.whole(response, events).await?;
                }
                Ok(Some(StreamRecord::Done)) => {
                    self.ended = true;
                    self.reader.finish(true, events)?;
                }
                Ok(None) => {
                    self.ended = true;
                    self.reader.finish(false, events)?;
                }
                // The response itself was complete: only what may follow it got lost.
                Err(error) if self.reader.has_finish_reason() && lost_the_connection(&error) => {
                    self.ended = true;
                    self.reader.finish(false, events)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl EventSource for ChatSource {
    async fn advance(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let outcome = self.read_on(events).await;
        outcome.map_err(|error| self.reader.identified(error))
    }
}

fn lost_the_connection(error: &Error) -> bool {
    let is_idle = error.context().iter().any(|(name, value)| *name == "phase" && value == "idle");
    error.kind() == ErrorKind::Interrupted || (error.kind() == ErrorKind::Timeout && is_idle)
}
