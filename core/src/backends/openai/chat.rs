//! Chat by OpenAI's protocol.

use super::OpenAi;
use super::stream::ChatSource;
use super::think::Splitter;
use super::wire::{self, Answer, Calls, Streaming};
use crate::chat::{ChatBackend, ChatRequest, ChatResponse, ChatStream, FinishReason};
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::http::body::chat_stream;
use crate::http::client::ApiCall;
use crate::http::{HeaderMap, HeaderText};
use crate::info::{BackendInfo, Route};

const ROUTE: &str = "/chat/completions";

impl ChatBackend for OpenAi {
    fn info(&self) -> &BackendInfo {
        self.backend_info()
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        let named = |error: Error| self.named(error, Operation::Chat);
        let call = self.chat_call(&request, Streaming::No).map_err(named)?;
        let reply = call.json_reply::<Answer>(cx, Operation::Chat).await?;
        let reader = self.reader(&reply.headers, reply.request_id).map_err(named)?;
        reader.read_whole(reply.value).map_err(|error| named(reader.identified(error)))
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        let named = |error: Error| self.named(error, Operation::ChatStream);
        let call = self.chat_call(&request, Streaming::Yes).map_err(named)?;
        let reply = call.events(cx, Operation::ChatStream).await?;
        let reader = self.reader(&reply.headers, reply.request_id).map_err(named)?;
        Ok(chat_stream(ChatSource::new(reply.value, reader)))
    }
}

impl OpenAi {
    fn chat_call(&self, request: &ChatRequest, streaming: Streaming) -> Result<ApiCall<'_>> {
        let rules = self.chat_rules()?;
        request.check()?;
        let (vendor, config) = (self.profile().name, self.config());
        let reasoning_field = config.reasoning_field.as_deref();
        let body = wire::body(vendor, &rules, config.model.trim(), reasoning_field, request, streaming)?;
        Ok(self.api().post(ROUTE).json(&body))
    }

    fn reader(&self, headers: &HeaderMap, request_id: Option<String>) -> Result<Reader> {
        let rules = self.chat_rules()?;
        let provider = headers.text("x-inference-provider").map(str::to_owned);
        Ok(Reader {
            info: self.backend_info().clone(),
            provider: provider.or_else(|| self.chosen_provider()),
            request_id,
            inline: self.inline_reasoning(&rules),
        })
    }

    /// The provider that the model's suffix chooses at the Hugging Face router.
    fn chosen_provider(&self) -> Option<String> {
        const POLICIES: [&str; 3] = ["fastest", "cheapest", "preferred"];
        let (_, suffix) =
            self.config().model.trim().rsplit_once(':').filter(|_| self.profile().routes_by_suffix)?;
        (!POLICIES.contains(&suffix)).then(|| suffix.to_owned())
    }

    pub(super) fn named(&self, error: Error, operation: Operation) -> Error {
        error.with_operation(operation).with_backend(&*self.backend_info().backend)
    }
}

/// What it takes to read an answer: who answers, and where reasoning stands.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) info: BackendInfo,
    provider: Option<String>,
    request_id: Option<String>,
    inline: super::InlineReasoning,
}

impl Reader {
    pub(super) fn splitter(&self) -> Splitter {
        Splitter::new(self.inline)
    }

    /// Where an answer came from, as far as the answer says so.
    pub(super) fn route(&self, answer: &Answer) -> Route {
        Route::new(&self.info)
            .with_model(answer.model.as_deref())
            .with_provider(answer.provider.clone().or_else(|| self.provider.clone()))
            .with_request_id(self.request_id.clone())
    }

    /// The error with the backend's own name for the request.
    pub(super) fn identified(&self, error: Error) -> Error {
        match (&self.request_id, error.request_id()) {
            (Some(id), None) => error.with_request_id(id.clone()),
            _ => error,
        }
    }

    /// Reads an answer that came in one piece.
    pub(super) fn read_whole(&self, mut answer: Answer) -> Result<ChatResponse> {
        let mut response = ChatResponse::new("", self.route(&answer));
        response.usage = answer.usage();
        let mut choice = answer.take_choice().ok_or_else(no_choice)?;
        let mut piece = choice.take_piece();
        response.logprobs = choice.logprobs();
        let mut splitter = self.splitter();
        let (begin, end) = (splitter.push(std::mem::take(&mut piece.text)), splitter.finish());
        response.text = begin.text + &end.text;
        let reasoning = piece.reasoning + &begin.reasoning + &end.reasoning;
        response.reasoning = Some(reasoning).filter(|reasoning| !reasoning.is_empty());
        response.tool_calls = Calls::whole(piece.calls)?;
        response.provider_data = piece.provider_data;
        response.finish = finish_reason(choice.finish_reason(), !response.tool_calls.is_empty())?;
        if !piece.refusal.is_empty() && response.text.is_empty() && response.tool_calls.is_empty() {
            return Err(refused());
        }
        Ok(response)
    }
}

/// Why an answer ended. Servers end answers that call tools with `stop`, and say nothing at all.
///
/// # Errors
/// `interrupted` where the backend says that it failed in the middle.
pub(super) fn finish_reason(said: Option<&str>, calls_tools: bool) -> Result<FinishReason> {
    match said.map_or(FinishReason::Stop, FinishReason::from_openai) {
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
