//! A streamed response, as a client reads it: chunks become events.

use std::collections::VecDeque;

use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;

use super::audio::AudioAssembly;
use super::delta::Delta;
use super::raw::RawCompletion;
use super::reader::{CompletionReader, finish_reason, no_choice, refused};
use super::think::{Split, ThinkSplitter};
use super::tool_calls::{ToolCallAssembly, merge};
use crate::chat::{Annotation, ChatEvent, ChatStream, ProviderData, ResponseMetadata};
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::{Route, Usage};

/// Turns the chunks of one response into events.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    reader: CompletionReader,
    splitter: ThinkSplitter,
    calls: ToolCallAssembly,
    /// Who serves, before the caller has been told.
    unannounced: Option<Route>,
    /// Whether any chunk held a choice.
    answered: bool,
    has_text: bool,
    has_calls: bool,
    refusal: String,
    finish: Option<String>,
    usage: Usage,
    audio: AudioAssembly,
    citations: Vec<Annotation>,
    provider_data: ProviderData,
    metadata: ResponseMetadata,
}

impl ChunkReader {
    pub(crate) fn new(reader: CompletionReader) -> Self {
        Self {
            splitter: reader.splitter(),
            unannounced: Some(reader.route(&RawCompletion::default())),
            reader,
            calls: ToolCallAssembly::default(),
            answered: false,
            has_text: false,
            has_calls: false,
            refusal: String::new(),
            finish: None,
            usage: Usage::default(),
            audio: AudioAssembly::default(),
            citations: Vec::new(),
            provider_data: ProviderData::default(),
            metadata: ResponseMetadata::default(),
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
        // Azure's first chunk names no model: the one that does is waited for, unless there is something to tell before.
        if self.unannounced.is_some() {
            self.unannounced = Some(self.reader.route(&raw));
            if raw.model().is_some() {
                self.announce(events);
            }
        }
        self.metadata.merge(raw.take_metadata());
        // Some servers count on every chunk: the last count is the whole.
        let usage = raw.usage();
        if usage.is_known() {
            self.usage = usage;
        }
        let citations = raw.take_annotations();
        if !citations.is_empty() {
            // Perplexity repeats the whole list in every chunk.
            self.citations = citations;
        }
        let Some(mut choice) = raw.take_choices().into_iter().next() else { return Ok(()) };
        self.answered |= choice.has_message() || choice.finish_reason().is_some();
        let delta = choice.take_delta();
        choice.describe(&mut self.metadata);
        if delta.says_something() {
            self.announce(events);
        }
        self.deliver(delta, events);
        let logprobs = choice.logprobs();
        if !logprobs.is_empty() {
            self.announce(events);
            events.push_back(ChatEvent::Logprobs(logprobs));
        }
        if let Some(reason) = choice.finish_reason() {
            self.finish = Some(reason.to_owned());
        }
        Ok(())
    }

    /// Reports what a chunk of the message says.
    fn deliver(&mut self, delta: Delta, events: &mut VecDeque<ChatEvent>) {
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
        if let Some(audio) = &delta.audio
            && !audio.transcript.is_empty()
        {
            self.has_text = true;
            events.push_back(ChatEvent::Text(audio.transcript.clone()));
        }
        self.audio.push(delta.audio, &mut self.provider_data);
        events.extend(delta.images.into_iter().map(|part| ChatEvent::Part { part }));
        self.refusal.push_str(&delta.refusal);
        merge(&mut self.provider_data, delta.provider_data);
        events.extend(delta.annotations.into_iter().map(|annotation| ChatEvent::Annotation { annotation }));
    }

    /// Tells who serves, before anything else is told.
    fn announce(&mut self, events: &mut VecDeque<ChatEvent>) {
        if let Some(route) = self.unannounced.take() {
            events.push_back(ChatEvent::Started { route });
        }
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
        if self.answered {
            self.announce(events);
        }
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
        if !self.refusal.is_empty() {
            let refusal = std::mem::take(&mut self.refusal);
            if !self.has_text && !self.has_calls {
                return Err(refused(refusal, &self.usage));
            }
            self.metadata.finish_message = Some(refusal);
        }
        events.extend(std::mem::take(&mut self.audio).finish().map(|part| ChatEvent::Part { part }));
        let citations = std::mem::take(&mut self.citations).into_iter();
        events.extend(citations.map(|annotation| ChatEvent::Annotation { annotation }));
        let metadata = std::mem::take(&mut self.metadata);
        if !metadata.is_empty() {
            events.push_back(ChatEvent::Metadata { metadata });
        }
        let provider_data = std::mem::take(&mut self.provider_data);
        events.push_back(ChatEvent::Finish { reason, usage: self.usage, provider_data });
        Ok(())
    }
}
