//! The events of a streamed answer.

use std::collections::VecDeque;

use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;

use super::chat::{Reader, finish_reason, no_choice, refused};
use super::think::{Split, Splitter};
use super::wire::{Answer, Calls, merge};
use crate::chat::{ChatEvent, ChatStream, ProviderData};
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::http::body::{EventSource, EventStream, StreamRecord};
use crate::info::Usage;

/// Makes chat events out of the chunks of an answer.
#[derive(Debug)]
pub(super) struct ChatSource {
    chunks: EventStream,
    assembly: Assembly,
    ended: bool,
}

impl ChatSource {
    pub(super) fn new(chunks: EventStream, reader: Reader) -> Self {
        Self { chunks, assembly: Assembly::new(reader), ended: false }
    }

    async fn read_on(&mut self, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        while events.is_empty() && !self.ended {
            match self.chunks.next().await {
                Ok(Some(StreamRecord::Event(chunk))) => self.assembly.take_chunk(chunk, events)?,
                Ok(Some(StreamRecord::Whole(answer))) => {
                    self.ended = true;
                    self.assembly.take_whole(answer, events).await?;
                }
                Ok(Some(StreamRecord::Done)) => {
                    self.ended = true;
                    self.assembly.finish(true, events)?;
                }
                Ok(None) => {
                    self.ended = true;
                    self.assembly.finish(false, events)?;
                }
                // The answer itself was complete: only what may follow it got lost.
                Err(error) if self.assembly.finish.is_some() && lost_the_connection(&error) => {
                    self.ended = true;
                    self.assembly.finish(false, events)?;
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
        outcome.map_err(|error| {
            let reader = &self.assembly.reader;
            let error = reader.identified(error).with_operation(Operation::ChatStream);
            error.with_backend(&*reader.info.backend)
        })
    }
}

fn lost_the_connection(error: &Error) -> bool {
    let is_idle = error.context().iter().any(|(name, value)| *name == "phase" && value == "idle");
    error.kind() == ErrorKind::Interrupted || (error.kind() == ErrorKind::Timeout && is_idle)
}

/// What has come of an answer so far.
#[derive(Debug)]
struct Assembly {
    reader: Reader,
    splitter: Splitter,
    calls: Calls,
    started: bool,
    /// Whether any chunk held a choice.
    answered: bool,
    has_text: bool,
    has_calls: bool,
    refusal: String,
    finish: Option<String>,
    usage: Usage,
    provider_data: ProviderData,
}

impl Assembly {
    fn new(reader: Reader) -> Self {
        Self {
            splitter: reader.splitter(),
            reader,
            calls: Calls::default(),
            started: false,
            answered: false,
            has_text: false,
            has_calls: false,
            refusal: String::new(),
            finish: None,
            usage: Usage::default(),
            provider_data: ProviderData::default(),
        }
    }

    fn take_chunk(&mut self, chunk: Value, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let mut answer = Answer::deserialize(chunk).map_err(|_| {
            Error::response_invalid(
                "the stream holds an event that is not of the shape that the protocol promises",
            )
        })?;
        if !self.started {
            self.started = true;
            events.push_back(ChatEvent::Started { route: self.reader.route(&answer) });
        }
        // Some servers count on every chunk: the last count is the whole.
        let usage = answer.usage();
        if usage.is_known() {
            self.usage = usage;
        }
        let Some(mut choice) = answer.take_choice() else { return Ok(()) };
        self.answered = true;
        let piece = choice.take_piece();
        if !piece.reasoning.is_empty() {
            events.push_back(ChatEvent::Reasoning(piece.reasoning));
        }
        if !piece.text.is_empty() {
            let split = self.splitter.push(piece.text);
            self.tell(split, events);
        }
        for call in piece.calls {
            self.has_calls = true;
            self.calls.push(call, events);
        }
        let logprobs = choice.logprobs();
        if !logprobs.is_empty() {
            events.push_back(ChatEvent::Logprobs(logprobs));
        }
        self.refusal.push_str(&piece.refusal);
        merge(&mut self.provider_data, piece.provider_data);
        if let Some(reason) = choice.finish_reason() {
            self.finish = Some(reason.to_owned());
        }
        Ok(())
    }

    fn tell(&mut self, split: Split, events: &mut VecDeque<ChatEvent>) {
        if !split.reasoning.is_empty() {
            events.push_back(ChatEvent::Reasoning(split.reasoning));
        }
        if !split.text.is_empty() {
            self.has_text = true;
            events.push_back(ChatEvent::Text(split.text));
        }
    }

    /// A server that ignores `stream` answers in one piece.
    async fn take_whole(&mut self, answer: Value, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let answer = Answer::deserialize(answer).map_err(|_| {
            Error::response_invalid("the answer is JSON, but not of the shape that the protocol promises")
        })?;
        let mut whole = ChatStream::from_response(self.reader.read_whole(answer)?);
        while let Some(event) = whole.next().await {
            events.push_back(event?);
        }
        Ok(())
    }

    /// Ends the answer. `marked` says whether the backend marked the end with `[DONE]`; a stream without that
    /// and without a reason broke off.
    fn finish(&mut self, marked: bool, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let held = self.splitter.finish();
        self.tell(held, events);
        if self.finish.is_none() && !marked {
            let message = "the answer broke off: the stream ended without saying why";
            return Err(Error::new(ErrorKind::Interrupted, message).with_sent(Sent::Yes));
        }
        if !self.answered {
            return Err(no_choice());
        }
        let reason = finish_reason(self.finish.as_deref(), self.has_calls)?;
        self.calls.finish(events)?;
        if !self.refusal.is_empty() && !self.has_text && !self.has_calls {
            return Err(refused());
        }
        let provider_data = std::mem::take(&mut self.provider_data);
        events.push_back(ChatEvent::Finish { reason, usage: self.usage, provider_data });
        Ok(())
    }
}
