//! Chat by OpenAI's older API `completions`: the conversation is a text, which the model continues.

use serde_json::{Map, Value};

use super::OpenAi;
use crate::chat::{ChatRequest, Message, OutputFormat, Part, Role};
use crate::error::{Error, Result};
use crate::http::client::ApiCall;
use crate::wire::numbers::decimal;

const ROUTE: &str = "/completions";

impl OpenAi {
    /// The call that continues the conversation's text.
    ///
    /// # Errors
    /// `unsupported` naming what a text cannot say.
    pub(super) fn completions_call(&self, request: &ChatRequest, stream: bool) -> Result<ApiCall<'_>> {
        let rules = self.chat_rules()?;
        if !rules.completions {
            return Err(self.not_offered("API `completions`; leave `chat_api` out"));
        }
        request.check()?;
        refuse_unsupported(request, rules.refused, self.profile().name)?;
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        set("model", Some(self.config().model.trim().into()));
        set("prompt", Some(prompt(&request.messages).into()));
        set("max_tokens", request.max_tokens.map(Value::from));
        set("temperature", request.temperature.map(|number| decimal(number).into()));
        set("top_p", request.top_p.map(|number| decimal(number).into()));
        set("top_k", request.top_k.map(Value::from));
        set("frequency_penalty", request.frequency_penalty.map(|number| decimal(number).into()));
        set("presence_penalty", request.presence_penalty.map(|number| decimal(number).into()));
        set(rules.seed_field, request.seed.map(Value::from));
        set("stop", (!request.stop.is_empty()).then(|| request.stop.clone().into()));
        set("logprobs", request.logprobs.map(Value::from));
        set("stream", stream.then_some(true.into()));
        if stream && rules.stream_options {
            set("stream_options", Some(serde_json::json!({ "include_usage": true })));
        }
        for (name, value) in &request.extra {
            body.entry(name).or_insert_with(|| value.clone());
        }
        Ok(self.api().post(ROUTE).json(&body))
    }
}

fn refuse_unsupported(request: &ChatRequest, refused: &[&str], vendor: &str) -> Result<()> {
    let has_media = |message: &Message| {
        message
            .content
            .parts()
            .iter()
            .any(|part| !matches!(part, Part::Text { .. } | Part::CachePoint { .. }))
    };
    let calls_tools = |message: &Message| !message.tool_calls.is_empty() || message.role == Role::Tool;
    let options = [
        ("tools", !request.tools.is_empty() || request.messages.iter().any(calls_tools)),
        ("output", request.output.as_ref().is_some_and(|output| *output != OutputFormat::Text)),
        ("reasoning", request.reasoning.is_some()),
        ("images or files", request.messages.iter().any(has_media)),
        ("top_k", request.top_k.is_some() && refused.contains(&"top_k")),
        ("logprobs", request.logprobs.is_some() && refused.contains(&"logprobs")),
    ];
    match options.into_iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((option, _)) => Err(Error::unsupported_option(
            option,
            format!("vendor '{vendor}' takes no {option} by the API `completions`, which continues a text"),
        )),
    }
}

/// One message as it is; of more each one after its speaker, and the assistant's turn at the end.
fn prompt(messages: &[Message]) -> String {
    if let [only] = messages {
        return only.content.to_text();
    }
    let lines =
        messages.iter().map(|message| format!("{}: {}", message.role.as_str(), message.content.to_text()));
    let mut lines: Vec<String> = lines.collect();
    if messages.last().is_none_or(|message| message.role != Role::Assistant) {
        lines.push("assistant:".to_owned());
    }
    lines.join("\n")
}
