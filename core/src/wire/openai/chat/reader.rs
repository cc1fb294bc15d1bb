//! A whole response, as a client reads it.

use super::raw::RawCompletion;
use super::think::{InlineReasoning, ThinkSplitter};
use super::tool_calls::ToolCallAssembly;
use crate::chat::{ChatResponse, FinishReason};
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::Route;

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
        self.route.clone().with_model(response.model.as_deref()).with_provider(provider)
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
        let mut response = ChatResponse::new("", self.route(&raw));
        response.usage = raw.usage();
        let mut choice = raw.take_choice().ok_or_else(no_choice)?;
        let mut message = choice.take_delta();
        response.logprobs = choice.logprobs();
        let mut splitter = self.splitter();
        let (begin, end) = (splitter.push(std::mem::take(&mut message.text)), splitter.finish());
        response.text = begin.text + &end.text;
        let reasoning = message.reasoning + &begin.reasoning + &end.reasoning;
        response.reasoning = Some(reasoning).filter(|reasoning| !reasoning.is_empty());
        response.tool_calls = ToolCallAssembly::whole(message.calls)?;
        response.provider_data = message.provider_data;
        response.finish = finish_reason(choice.finish_reason(), !response.tool_calls.is_empty())?;
        if !message.refusal.is_empty() && response.text.is_empty() && response.tool_calls.is_empty() {
            return Err(refused());
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

pub(super) fn refused() -> Error {
    Error::new(ErrorKind::ContentRejected, "the model refused to answer").with_sent(Sent::Yes)
}
