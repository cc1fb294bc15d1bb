//! A whole response, as a client reads it.

use super::audio::AudioAssembly;
use super::raw::{RawChoice, RawCompletion};
use super::think::{InlineReasoning, ThinkSplitter};
use super::tool_calls::ToolCallAssembly;
use crate::chat::{Alternative, ChatResponse, FinishReason, Part};
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::{Route, Usage};

/// Reads responses: knows who serves as far as the response itself does not say, and where reasoning stands.
#[derive(Debug)]
pub(crate) struct CompletionReader {
    route: Route,
    inline: InlineReasoning,
}

impl CompletionReader {
    pub(crate) fn new(route: Route, inline: InlineReasoning) -> Self {
        Self { route, inline }
    }

    pub(super) fn splitter(&self) -> ThinkSplitter {
        ThinkSplitter::new(self.inline)
    }

    /// Where a response came from, as far as it says so.
    pub(super) fn route(&self, response: &RawCompletion) -> Route {
        let provider = response.provider.clone().or_else(|| self.route.provider.clone());
        self.route.clone().with_model(response.model()).with_provider(provider)
    }

    /// Adds the backend's id of the request to an error that has none.
    pub(crate) fn identified(&self, error: Error) -> Error {
        match (&self.route.request_id, error.request_id()) {
            (Some(id), None) => error.with_request_id(id.clone()),
            _ => error,
        }
    }

    /// Reads a whole response.
    ///
    /// # Errors
    /// `response_invalid` where there is no choice in it; `content_rejected` for a refusal; `interrupted`
    /// where the backend says that it failed.
    pub(crate) fn read(&self, mut raw: RawCompletion) -> Result<ChatResponse> {
        let mut head = ChatResponse::new("", self.route(&raw));
        head.usage = raw.usage();
        head.metadata = raw.take_metadata();
        head.annotations = raw.take_annotations();
        let mut choices = raw.take_choices().into_iter();
        let first = choices.next().ok_or_else(no_choice)?;
        let bare = ChatResponse::new("", head.route.clone());
        let others = choices.map(|choice| self.read_choice(choice, bare.clone()).map(Alternative::from));
        // A refusal among several answers is no reason to lose the others.
        let alternatives: Vec<_> = others.filter_map(Result::ok).collect();
        let mut response = self.read_choice(first, head)?;
        response.alternatives = alternatives;
        Ok(response)
    }

    /// Reads one of the answers into `response`, which holds what they have in common.
    fn read_choice(&self, mut choice: RawChoice, mut response: ChatResponse) -> Result<ChatResponse> {
        if !choice.has_message() {
            return Err(Error::response_invalid("the answer holds a choice without a message"));
        }
        choice.describe(&mut response.metadata);
        let mut message = choice.take_delta();
        response.logprobs = choice.logprobs();
        let mut splitter = self.splitter();
        let (begin, end) = (splitter.push(std::mem::take(&mut message.text)), splitter.finish());
        response.text = begin.text + &end.text;
        let reasoning = message.reasoning + &begin.reasoning + &end.reasoning;
        response.reasoning = Some(reasoning).filter(|reasoning| !reasoning.is_empty());
        response.tool_calls = ToolCallAssembly::whole(message.calls)?;
        response.provider_data = message.provider_data;
        response.annotations.extend(message.annotations);
        let mut audio = AudioAssembly::default();
        audio.push(message.audio, &mut response.provider_data);
        if response.text.is_empty() {
            response.text = audio.transcript();
        }
        let media: Vec<Part> = message.images.into_iter().chain(audio.finish()).collect();
        if !media.is_empty() {
            let text = Some(response.text.clone()).filter(|text| !text.is_empty());
            response.parts = text.map(Part::text).into_iter().chain(media).collect();
        }
        response.finish = finish_reason(choice.finish_reason(), !response.tool_calls.is_empty())?;
        if !message.refusal.is_empty() {
            if response.text.is_empty() && response.tool_calls.is_empty() {
                return Err(refused(message.refusal, &response.usage));
            }
            response.metadata.finish_message = Some(message.refusal);
        }
        Ok(response)
    }
}

/// Why a response ended. Some servers end tool calls with `stop`, or give no reason.
///
/// # Errors
/// `interrupted` where the backend says that it failed in the middle.
pub(super) fn finish_reason(reason: Option<&str>, calls_tools: bool) -> Result<FinishReason> {
    match reason.map_or(FinishReason::Stop, FinishReason::from_openai) {
        FinishReason::Stop if calls_tools => Ok(FinishReason::ToolCalls),
        FinishReason::Other(reason) if reason == "error" => {
            let message = "the backend ended the answer because of an error of its own";
            Err(Error::new(ErrorKind::Interrupted, message).with_sent(Sent::Yes))
        }
        reason => Ok(reason),
    }
}

pub(super) fn no_choice() -> Error {
    Error::response_invalid("the answer holds no choice")
}

/// A refusal: its sentence is what the error delivers, and what it cost is among the error's facts.
pub(crate) fn refused(sentence: String, usage: &Usage) -> Error {
    let error = Error::new(ErrorKind::ContentRejected, "the model refused to answer").with_sent(Sent::Yes);
    usage.add_to(error.with_partial_text(sentence))
}
