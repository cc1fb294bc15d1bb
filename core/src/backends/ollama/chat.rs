//! `POST /api/chat`.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::client::Ollama;
use super::stream::LineEvents;
use super::wire::{ChatBody, ChatLine, SentCall, SentFunction, WireFunction, WireMessage, WireTool};
use crate::chat::{
    ChatBackend, ChatRequest, ChatResponse, ChatStream, Message, OutputFormat, Part, ReasoningEffort, Role,
    Tool, ToolCall, ToolChoice,
};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::http::body::chat_stream;
use crate::info::{BackendInfo, Route};
use crate::media::ImageData;
use crate::wire::numbers::decimal;

impl ChatBackend for Ollama {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        self.chat_whole(cx, &request).await.map_err(|error| self.with_model(error))
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        self.chat_lines(cx, &request).await.map_err(|error| self.with_model(error))
    }

    fn window(&self) -> Option<usize> {
        self.config.num_ctx.and_then(|tokens| usize::try_from(tokens).ok())
    }
}

impl Ollama {
    async fn chat_whole(&self, cx: &Context, request: &ChatRequest) -> Result<ChatResponse> {
        let body = self.chat_body(request, false)?;
        let call = self.api.post("/api/chat").json(&body);
        let reply = call.json_reply::<ChatLine>(cx).await?;
        let answer = reply.value;
        let route =
            Route::new(&self.info).with_model(answer.model.as_deref()).with_request_id(reply.request_id);
        response(answer, route)
    }

    async fn chat_lines(&self, cx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let body = self.chat_body(request, true)?;
        let reply = self.api.post("/api/chat").json(&body).lines(cx).await?;
        let route = Route::new(&self.info).with_request_id(reply.request_id);
        Ok(chat_stream(LineEvents::new(reply.value, route)))
    }

    fn chat_body<'a>(&'a self, request: &'a ChatRequest, stream: bool) -> Result<ChatBody<'a>> {
        request.check()?;
        let mut extra = request.extra.clone();
        let further_options = match extra.remove("options") {
            Some(Value::Object(options)) => options,
            None => Map::new(),
            Some(_) => return Err(Error::invalid_request("`options` in `extra` is not an object")),
        };
        let mut body = ChatBody {
            model: &self.config.model,
            messages: messages(&request.messages)?,
            stream,
            tools: tools(request)?,
            format: request.output.as_ref().and_then(format),
            think: request.reasoning.map(think),
            options: self.options(request, further_options),
            keep_alive: self.keep_alive(),
            logprobs: request.logprobs.map(|_| true),
            top_logprobs: request.logprobs.filter(|alternatives| *alternatives > 0),
            extra: Map::new(),
        };
        // Fields that ayni sets itself win.
        let optional = [
            ("tools", !body.tools.is_empty()),
            ("format", body.format.is_some()),
            ("think", body.think.is_some()),
            ("keep_alive", body.keep_alive.is_some()),
            ("logprobs", body.logprobs.is_some()),
            ("top_logprobs", body.top_logprobs.is_some()),
        ];
        let is_set =
            |name: &str| matches!(name, "model" | "messages" | "stream") || optional.contains(&(name, true));
        extra.retain(|name, _| !is_set(name));
        body.extra = extra;
        Ok(body)
    }

    fn options(&self, request: &ChatRequest, mut options: Map<String, Value>) -> Map<String, Value> {
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                options.insert(name.to_owned(), value);
            }
        };
        set("num_ctx", self.config.num_ctx.map(Value::from));
        set("num_predict", request.max_tokens.map(Value::from));
        set("temperature", request.temperature.map(|number| decimal(number).into()));
        set("top_p", request.top_p.map(|number| decimal(number).into()));
        set("top_k", request.top_k.map(Value::from));
        set("frequency_penalty", request.frequency_penalty.map(|number| decimal(number).into()));
        set("presence_penalty", request.presence_penalty.map(|number| decimal(number).into()));
        set("seed", request.seed.map(Value::from));
        set("stop", (!request.stop.is_empty()).then(|| json!(request.stop)));
        options
    }
}

fn think(effort: ReasoningEffort) -> Value {
    match effort {
        ReasoningEffort::None => json!(false),
        other => json!(other.as_str()),
    }
}

fn format(output: &OutputFormat) -> Option<Value> {
    match output {
        OutputFormat::Text => None,
        OutputFormat::Json => Some(json!("json")),
        OutputFormat::JsonSchema { .. } => output.described_schema().map(Cow::into_owned),
    }
}

fn tools(request: &ChatRequest) -> Result<Vec<WireTool<'_>>> {
    match &request.tool_choice {
        None | Some(ToolChoice::Auto) => {}
        // Without tools, none can be called.
        Some(ToolChoice::None) => return Ok(Vec::new()),
        Some(ToolChoice::Required | ToolChoice::Tool(_)) => {
            return Err(Error::unsupported("Ollama cannot be made to call a tool: leave `tool_choice` out"));
        }
    }
    Ok(request.tools.iter().map(wire_tool).collect())
}

fn wire_tool(tool: &Tool) -> WireTool<'_> {
    let function =
        WireFunction { name: &tool.name, description: &tool.description, parameters: &tool.parameters };
    WireTool { r#type: "function", function }
}

fn messages(messages: &[Message]) -> Result<Vec<WireMessage>> {
    messages.iter().map(|message| wire_message(message, messages)).collect()
}

fn wire_message(message: &Message, conversation: &[Message]) -> Result<WireMessage> {
    if message.name.is_some() {
        return Err(Error::unsupported("Ollama's messages take no `name` of the speaker"));
    }
    let answered = message.tool_call_id.as_deref();
    let tool_name = answered.and_then(|id| called_tool(conversation, id));
    Ok(WireMessage {
        role: if message.role.instructs() { Role::System } else { message.role }.as_str(),
        content: message.content.to_text(),
        thinking: message.reasoning.clone(),
        images: images(message.content.parts())?,
        tool_calls: message.tool_calls.iter().map(sent_call).collect::<Result<_>>()?,
        tool_name,
        tool_call_id: message.tool_call_id.clone(),
    })
}

/// The tool that the call `id` called: older servers match results by its name.
fn called_tool(conversation: &[Message], id: &str) -> Option<String> {
    let mut calls = conversation.iter().flat_map(|message| &message.tool_calls);
    calls.find(|call| call.id == id).map(|call| call.name.clone())
}

fn images(parts: &[Part]) -> Result<Vec<String>> {
    let image = |part: &Part| match part {
        Part::Text { .. } | Part::CachePoint { .. } => None,
        part if part.is_providers_own() => None,
        Part::Image { image, .. } => Some(Ok(image.to_base64())),
        Part::ImageUrl { url, .. } if url.starts_with("data:") => {
            Some(ImageData::from_base64(url).map(|image| image.to_base64()))
        }
        Part::ImageUrl { .. } => Some(Err(Error::unsupported(
            "Ollama fetches no images: send the image itself instead of its URL",
        ))),
        other => Some(Err(Error::unsupported(format!(
            "Ollama takes texts and images, no part of the type `{}`",
            other.kind()
        )))),
    };
    parts.iter().filter_map(image).collect()
}

fn sent_call(call: &ToolCall) -> Result<SentCall> {
    let arguments = call.parse_arguments().ok().filter(Value::is_object).ok_or_else(|| {
        Error::invalid_request(format!(
            "the arguments of the call of tool '{}' are no JSON object",
            call.name
        ))
    })?;
    Ok(SentCall { id: call.id.clone(), function: SentFunction { name: call.name.clone(), arguments } })
}

/// Reads a whole response.
pub(super) fn response(mut answer: ChatLine, route: Route) -> Result<ChatResponse> {
    let Some(message) = answer.message.take() else {
        return Err(Error::response_invalid("the answer holds no `message`"));
    };
    if answer.done == Some(false) {
        return Err(Error::response_invalid("the answer says that it is not done"));
    }
    let calls = message.tool_calls.unwrap_or_default().into_iter().enumerate();
    let mut response = ChatResponse::new(message.content.unwrap_or_default(), route);
    response.tool_calls = calls.map(|(index, call)| call.into_call(index)).collect();
    response.reasoning = message.thinking.filter(|text| !text.is_empty());
    response.finish = answer.finish(!response.tool_calls.is_empty());
    response.usage = answer.usage();
    response.logprobs = answer.logprobs.take().unwrap_or_default().into_iter().map(Into::into).collect();
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Content;

    fn body(request: &ChatRequest) -> Value {
        let config = super::super::OllamaConfig::new("llama3.2").with_num_ctx(8192);
        let ollama = config.open(&crate::Environment::empty()).expect("a backend");
        serde_json::to_value(ollama.chat_body(request, false).expect("a body")).expect("JSON")
    }

    #[test]
    fn options_are_written_as_they_were_given_and_win_over_extra() {
        let request = ChatRequest::user("hola")
            .with_temperature(0.7)
            .with_max_tokens(9)
            .with_output(OutputFormat::Json)
            .with_extra("options", json!({ "temperature": 0.1, "min_p": 0.05 }))
            .with_extra("model", "other")
            .with_extra("truncate", false);
        let body = body(&request);
        assert_eq!(
            body["options"],
            json!({ "temperature": 0.7, "min_p": 0.05, "num_ctx": 8192, "num_predict": 9 })
        );
        assert_eq!((&body["model"], &body["truncate"]), (&json!("llama3.2"), &json!(false)));
        assert_eq!(body["format"], "json");
    }

    #[test]
    fn what_the_wire_cannot_say_is_refused_by_name() {
        let tool = Tool::new("look", "", json!({ "type": "object" }));
        let url = Part::image_url("https://x.test/a.png");
        let refused = [
            (ChatRequest::user("a").with_tools([tool]).with_tool_choice(ToolChoice::Required), "tool_choice"),
            (ChatRequest::new([Message::user("a").with_name("Ana")]), "name"),
            (ChatRequest::user(Content::from(vec![url])), "URL"),
        ];
        let ollama =
            super::super::OllamaConfig::new("m").open(&crate::Environment::empty()).expect("a backend");
        for (request, named) in refused {
            let error = ollama.chat_body(&request, false).expect_err(named);
            assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
            assert!(error.message().contains(named), "{error}");
        }
    }
}
