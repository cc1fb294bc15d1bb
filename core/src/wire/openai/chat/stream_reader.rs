//! A streamed response, as a client reads it: chunks become events.

use std::collections::VecDeque;

use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;

use super::raw::RawCompletion;
use super::reader::{CompletionReader, finish_reason, no_choice, refused};
use super::think::{Split, ThinkSplitter};
use super::tool_calls::{ToolCallAssembly, merge};
use crate::chat::{ChatEvent, ChatStream, ProviderData};
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::Usage;

/// Turns the chunks of one response into events.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    reader: CompletionReader,
    splitter: ThinkSplitter,
    calls: ToolCallAssembly,
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

impl ChunkReader {
    pub(crate) fn new(reader: CompletionReader) -> Self {
        Self {
            splitter: reader.splitter(),
            reader,
            calls: ToolCallAssembly::default(),
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

    /// Whether a chunk has said why the response ended.
    pub(crate) fn has_finish_reason(&self) -> bool {
        self.finish.is_some()
    }

    /// Adds the backend's id of the request to an error that has none.
    pub(crate) fn identified(&self, error: Error) -> Error {
        self.reader.identified(error)
    }

    /// Reads one chunk.
    ///
    /// # Errors
    /// `response_invalid` where it is not one.
    pub(crate) fn chunk(&mut self, chunk: Value, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let mut raw = RawCompletion::deserialize(chunk).map_err(|_| {
            Error::response_invalid(
                "the stream holds an event that is not of the shape that the protocol promises",
            )
        })?;
        if !self.started {
            self.started = true;
            events.push_back(ChatEvent::Started { route: self.reader.route(&raw) });
        }
        // Some servers count on every chunk: the last count is the whole.
        let usage = raw.usage();
        if usage.is_known() {
            self.usage = usage;
        }
        let Some(mut choice) = raw.take_choice() else { return Ok(()) };
        self.answered = true;
        let delta = choice.take_delta();
        if !delta.reasoning.is_empty() {
            events.push_back(ChatEvent::Reasoning(delta.reasoning));
        }
        if !delta.text.is_empty() {
            let split = self.splitter.push(delta.text);
            self.report(split, events);
        }
        for call in delta.calls {
            self.has_calls = true;
            self.calls.push(call, events);
        }
        let logprobs = choice.logprobs();
        if !logprobs.is_empty() {
            events.push_back(ChatEvent::Logprobs(logprobs));
        }
        self.refusal.push_str(&delta.refusal);
        merge(&mut self.provider_data, delta.provider_data);
        if let Some(reason) = choice.finish_reason() {
            self.finish = Some(reason.to_owned());
        }
        Ok(())
    }

    fn report(&mut self, split: Split, events: &mut VecDeque<ChatEvent>) {
        if !split.reasoning.is_empty() {
            events.push_back(ChatEvent::Reasoning(split.reasoning));
        }
        if !split.text.is_empty() {
            self.has_text = true;
            events.push_back(ChatEvent::Text(split.text));
        }
    }

    /// Reads a whole response: what a server that ignores `stream` sends.
    ///
    /// # Errors
    /// Those of [`CompletionReader::read`].
    pub(crate) async fn whole(&mut self, response: Value, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let raw = RawCompletion::deserialize(response).map_err(|_| {
            Error::response_invalid("the answer is JSON, but not of the shape that the protocol promises")
        })?;
        let mut whole = ChatStream::from_response(self.reader.read(raw)?);
        while let Some(event) = whole.next().await {
            events.push_back(event?);
        }
        Ok(())
    }

    /// Ends the response. `marked` says whether the backend marked the end with `[DONE]`.
    ///
    /// # Errors
    /// `interrupted` for a stream that ended without mark and without a reason; otherwise those of
    /// [`CompletionReader::read`].
    pub(crate) fn finish(&mut self, marked: bool, events: &mut VecDeque<ChatEvent>) -> Result<()> {
        let held = self.splitter.finish();
        self.report(held, events);
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
