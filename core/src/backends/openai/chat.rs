//! Chat by OpenAI's protocol.

use super::OpenAi;
use super::chat_body::chat_body;
use super::stream::ChatSource;
use crate::chat::{ChatBackend, ChatRequest, ChatResponse, ChatStream};
use crate::context::Context;
use crate::error::{Error, Operation, Result};
use crate::http::body::chat_stream;
use crate::http::client::ApiCall;
use crate::http::{HeaderMap, HeaderText};
use crate::info::{BackendInfo, Route};
use crate::wire::openai::chat::{CompletionReader, RawCompletion};

const ROUTE: &str = "/chat/completions";

impl ChatBackend for OpenAi {
    fn info(&self) -> &BackendInfo {
        self.backend_info()
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        let named = |error: Error| self.named(error, Operation::Chat);
        let call = self.chat_call(&request, false).map_err(named)?;
        let reply = call.json_reply::<RawCompletion>(cx, Operation::Chat).await?;
        let reader = self.reader(&reply.headers, reply.request_id).map_err(named)?;
        reader.read(reply.value).map_err(|error| named(reader.identified(error)))
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        let named = |error: Error| self.named(error, Operation::ChatStream);
        let call = self.chat_call(&request, true).map_err(named)?;
        let reply = call.events(cx, Operation::ChatStream).await?;
        let reader = self.reader(&reply.headers, reply.request_id).map_err(named)?;
        Ok(chat_stream(ChatSource::new(reply.value, reader, &self.backend_info().backend)))
    }
}

impl OpenAi {
    fn chat_call(&self, request: &ChatRequest, stream: bool) -> Result<ApiCall<'_>> {
        let rules = self.chat_rules()?;
        request.check()?;
        let (vendor, config) = (self.profile().name, self.config());
        let reasoning_field = config.reasoning_field.as_deref();
        let body = chat_body(vendor, &rules, config.model.trim(), reasoning_field, request, stream)?;
        Ok(self.api().post(ROUTE).json(&body))
    }

    fn reader(&self, headers: &HeaderMap, request_id: Option<String>) -> Result<CompletionReader> {
        let rules = self.chat_rules()?;
        let provider = headers.text("x-inference-provider").map(str::to_owned);
        let route = Route::new(self.backend_info())
            .with_provider(provider.or_else(|| self.chosen_provider()))
            .with_request_id(request_id);
        Ok(CompletionReader::new(route, self.inline_reasoning(&rules)))
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
