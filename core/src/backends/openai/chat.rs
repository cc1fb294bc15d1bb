//! Chat by OpenAI's protocol.

use super::OpenAi;
use super::chat_body::chat_body;
use super::config::ChatApi;
use super::profiles::ChatRules;
use super::stream::ChatSource;
use crate::chat::{ChatBackend, ChatRequest, ChatResponse, ChatStream};
use crate::context::Context;
use crate::error::Result;
use crate::http::body::chat_stream;
use crate::http::client::ApiCall;
use crate::http::{HeaderMap, HeaderText};
use crate::info::{BackendInfo, Route};
use crate::wire::openai::chat::{CompletionReader, MessageStyle, RawCompletion};

const ROUTE: &str = "/chat/completions";

impl ChatBackend for OpenAi {
    fn info(&self) -> &BackendInfo {
        self.backend_info()
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        if self.config().chat_api == ChatApi::Responses {
            return self.respond(cx, &request).await;
        }
        let reply = self.chat_call(&request, false)?.json_reply::<RawCompletion>(cx).await?;
        let reader = self.reader(&reply.headers, reply.request_id)?;
        reader.read(reply.value).map_err(|error| reader.identified(error))
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        if self.config().chat_api == ChatApi::Responses {
            return self.respond_streaming(cx, &request).await;
        }
        let reply = self.chat_call(&request, true)?.events(cx).await?;
        let reader = self.reader(&reply.headers, reply.request_id)?;
        Ok(chat_stream(ChatSource::new(reply.value, reader)))
    }
}

impl OpenAi {
    fn chat_call(&self, request: &ChatRequest, stream: bool) -> Result<ApiCall<'_>> {
        if self.config().chat_api == ChatApi::Completions {
            return self.completions_call(request, stream);
        }
        let rules = self.chat_rules()?;
        // A whole answer may come with others, a stream is one.
        if stream {
            request.check()?
        } else {
            request.check_messages()?
        }
        let model = self.config().model.trim();
        let body = chat_body(&rules, model, &self.message_style(&rules), request, stream)?;
        Ok(self.api().post(ROUTE).json(&body))
    }

    /// How messages are written: the vendor's rules, and what the configuration says instead.
    fn message_style<'a>(&'a self, rules: &'a ChatRules) -> MessageStyle<'a> {
        MessageStyle {
            vendor: self.profile().name,
            rules: &rules.messages,
            reasoning_field: self.config().reasoning_field.as_deref(),
            returned_fields: &self.config().returned_fields,
        }
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
}
