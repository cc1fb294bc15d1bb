//! The request body. An ordered struct with `model` first: the Hugging Face router reads it from the body's
//! first bytes.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::profiles::{ChatRules, SchemaDialect};
use crate::chat::{ChatRequest, Content, Message, OutputFormat, Part, Tool, ToolCall, ToolChoice};
use crate::error::{Error, Result};

/// Whether the answer is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Streaming {
    No,
    Yes,
}

/// The body of a chat request.
#[derive(Serialize)]
pub(in super::super) struct Body<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
    /// The seed under the vendor's name for it, and the caller's further fields.
    #[serde(flatten)]
    further: Map<String, Value>,
}

/// The body that says what `request` asks for, by the vendor's rules.
///
/// # Errors
/// `unsupported` naming an option that the vendor refuses.
pub(in super::super) fn body<'a>(
    vendor: &str,
    rules: &ChatRules,
    model: &'a str,
    reasoning_field: Option<&'a str>,
    request: &'a ChatRequest,
    streaming: Streaming,
) -> Result<Body<'a>> {
    let used = used_fields(request);
    refuse_unsupported(vendor, rules, request, &used)?;
    let renamed = rules.reasoning_models_rename_max_tokens && is_reasoning_model(model);
    let (max_tokens, max_completion_tokens) =
        if renamed { (None, request.max_tokens) } else { (request.max_tokens, None) };
    let streams = streaming == Streaming::Yes;
    Ok(Body {
        model,
        messages: request.messages.iter().map(|message| wire_message(message, reasoning_field)).collect(),
        max_tokens,
        max_completion_tokens,
        temperature: request.temperature.map(|temperature| temperature.max(rules.temperature_floor)),
        top_p: request.top_p,
        top_k: request.top_k,
        frequency_penalty: request.frequency_penalty,
        presence_penalty: request.presence_penalty,
        stop: &request.stop,
        tools: request.tools.iter().map(wire_tool).collect(),
        tool_choice: request.tool_choice.as_ref().map(wire_tool_choice),
        response_format: request.output.as_ref().and_then(|output| response_format(output, rules.schema)),
        reasoning_effort: request.reasoning.map(|effort| effort.as_str()),
        logprobs: request.logprobs.map(|_| true),
        top_logprobs: request.logprobs.filter(|alternatives| *alternatives > 0),
        stream: streams.then_some(true),
        stream_options: (streams && rules.stream_options).then(|| json!({ "include_usage": true })),
        further: further_fields(request, rules, &used),
    })
}

/// The names of the options that the request sets, as the protocol spells them.
fn used_fields(request: &ChatRequest) -> Vec<&'static str> {
    let fields = [
        ("max_tokens", request.max_tokens.is_some()),
        ("max_completion_tokens", request.max_tokens.is_some()),
        ("temperature", request.temperature.is_some()),
        ("top_p", request.top_p.is_some()),
        ("top_k", request.top_k.is_some()),
        ("frequency_penalty", request.frequency_penalty.is_some()),
        ("presence_penalty", request.presence_penalty.is_some()),
        ("seed", request.seed.is_some()),
        ("stop", !request.stop.is_empty()),
        ("tools", !request.tools.is_empty()),
        ("tool_choice", request.tool_choice.is_some()),
        ("response_format", request.output.is_some()),
        ("reasoning_effort", request.reasoning.is_some()),
        ("logprobs", request.logprobs.is_some()),
        ("top_logprobs", request.logprobs.is_some()),
        ("name", request.messages.iter().any(|message| message.name.is_some())),
    ];
    fields.into_iter().filter(|(_, used)| *used).map(|(name, _)| name).collect()
}

fn refuse_unsupported(vendor: &str, rules: &ChatRules, request: &ChatRequest, used: &[&str]) -> Result<()> {
    let refuse = |option: &str| Error::unsupported(format!("vendor '{vendor}' does not take `{option}`"));
    if request.extra.get("n").is_some_and(|n| n != 1) {
        return Err(Error::unsupported("`n` above 1: a call gives one answer; make several calls"));
    }
    if let Some(option) = used.iter().find(|option| rules.refused.contains(option)) {
        return Err(refuse(option));
    }
    match request.extra.keys().find(|option| *option != "n" && rules.refused.contains(&option.as_str())) {
        Some(option) => Err(refuse(option)),
        None => Ok(()),
    }
}

/// The caller's further fields, less those that ayni sets, and the seed.
fn further_fields(request: &ChatRequest, rules: &ChatRules, used: &[&str]) -> Map<String, Value> {
    const OWN: [&str; 4] = ["model", "messages", "stream", "stream_options"];
    let mut fields = Map::new();
    if let Some(seed) = request.seed {
        fields.insert(rules.seed_field.to_owned(), seed.into());
    }
    for (name, value) in &request.extra {
        let refused_one = name == "n" && rules.refused.contains(&"n");
        let taken = OWN.contains(&name.as_str()) || used.contains(&name.as_str()) || refused_one;
        if !taken && !fields.contains_key(name) {
            fields.insert(name.clone(), value.clone());
        }
    }
    fields
}

/// OpenAI's reasoning models: `o1`, `o3-mini`, `gpt-5` and later.
fn is_reasoning_model(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let digit_after = |prefix: &str| {
        name.strip_prefix(prefix).and_then(|rest| rest.chars().next()).and_then(|digit| digit.to_digit(10))
    };
    digit_after("o").is_some() || digit_after("gpt-").is_some_and(|version| version >= 5)
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Option<WireContent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<WireCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
    #[serde(flatten)]
    further: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireContent<'a> {
    Text(&'a str),
    Parts(Vec<WirePart<'a>>),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "type")]
enum WirePart<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: WireUrl<'a> },
}

#[derive(Serialize)]
struct WireUrl<'a> {
    url: Cow<'a, str>,
}

#[derive(Serialize)]
struct WireCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: WireFunction<'a>,
    #[serde(flatten)]
    further: Map<String, Value>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    arguments: &'a str,
    #[serde(flatten)]
    further: Map<String, Value>,
}

fn wire_message<'a>(message: &'a Message, reasoning_field: Option<&str>) -> WireMessage<'a> {
    const OWN: [&str; 5] = ["role", "content", "name", "tool_calls", "tool_call_id"];
    let mut further = without(&message.provider_data, &OWN);
    if let (Some(field), Some(reasoning)) = (reasoning_field, &message.reasoning)
        && !OWN.contains(&field)
    {
        further.insert(field.to_owned(), reasoning.as_str().into());
    }
    let only_calls = message.content.is_empty() && !message.tool_calls.is_empty();
    WireMessage {
        role: message.role.as_str(),
        content: (!only_calls).then(|| wire_content(&message.content)),
        name: message.name.as_deref(),
        tool_calls: message.tool_calls.iter().map(wire_call).collect(),
        tool_call_id: message.tool_call_id.as_deref(),
        further,
    }
}

fn wire_content(content: &Content) -> WireContent<'_> {
    match content.as_text() {
        Some(text) => WireContent::Text(text),
        None => WireContent::Parts(content.parts().iter().map(wire_part).collect()),
    }
}

fn wire_part(part: &Part) -> WirePart<'_> {
    match part {
        Part::Text { text } => WirePart::Text { text },
        Part::Image { image } => {
            WirePart::ImageUrl { image_url: WireUrl { url: image.to_data_url().into() } }
        }
        Part::ImageUrl { url } => WirePart::ImageUrl { image_url: WireUrl { url: url.as_str().into() } },
    }
}

fn wire_call(call: &ToolCall) -> WireCall<'_> {
    let inner = call.provider_data.get("function").and_then(Value::as_object);
    WireCall {
        id: &call.id,
        r#type: "function",
        function: WireFunction {
            name: &call.name,
            // Chat templates parse the arguments: nothing at all would break them.
            arguments: if call.arguments.trim().is_empty() { "{}" } else { &call.arguments },
            further: inner.map(|inner| without(inner, &["name", "arguments"])).unwrap_or_default(),
        },
        further: without(&call.provider_data, &["id", "type", "function", "index"]),
    }
}

fn without(map: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let kept = map.iter().filter(|(name, _)| !names.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn wire_tool(tool: &Tool) -> Value {
    let mut function = Map::new();
    function.insert("name".to_owned(), tool.name.as_str().into());
    if !tool.description.is_empty() {
        function.insert("description".to_owned(), tool.description.as_str().into());
    }
    function.insert("parameters".to_owned(), tool.parameters.clone());
    if tool.strict {
        function.insert("strict".to_owned(), true.into());
    }
    json!({ "type": "function", "function": function })
}

fn wire_tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Tool(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}

fn response_format(output: &OutputFormat, dialect: SchemaDialect) -> Option<Value> {
    match output {
        OutputFormat::Text => None,
        OutputFormat::Json => Some(json!({ "type": "json_object" })),
        OutputFormat::JsonSchema { name, schema, strict } => Some(match dialect {
            SchemaDialect::Standard => json!({
                "type": "json_schema",
                "json_schema": { "name": name, "schema": schema, "strict": strict },
            }),
            SchemaDialect::Flattened => json!({ "type": "json_schema", "schema": schema }),
            SchemaDialect::JsonObject => json!({ "type": "json_object", "schema": schema }),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_models_are_told_by_their_names() {
        for model in ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5.1-chat", "openai/gpt-6"] {
            assert!(is_reasoning_model(model), "{model}");
        }
        for model in ["gpt-4o-mini", "gpt-4.1", "gpt-oss-20b", "omni-moderation", "olmo-2", "chatgpt-4o"] {
            assert!(!is_reasoning_model(model), "{model}");
        }
    }
}
