//! The body of a request.

use serde_json::{Map, Value, json};

use super::RESPONSE_ID;
use super::input::input_items;
use crate::chat::{ChatRequest, Message, OutputFormat, Tool, ToolChoice};
use crate::error::{Error, Result};
use crate::wire::numbers::decimal;

/// How requests to one vendor are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponsesStyle<'a> {
    /// The vendor's name, for errors.
    pub(crate) vendor: &'a str,
    /// Whether the provider keeps the answers; its own default without it.
    pub(crate) store: Option<bool>,
    /// Whether the role `developer` is known; elsewhere it is sent as `system`.
    pub(crate) developer_role: bool,
}

/// The body that asks `model` for what `request` says.
///
/// # Errors
/// `unsupported` naming an option or a part that the API does not have.
pub(crate) fn responses_body(
    model: &str,
    request: &ChatRequest,
    style: &ResponsesStyle<'_>,
    stream: bool,
) -> Result<Map<String, Value>> {
    request.check()?;
    refuse_unsupported(request, style.vendor)?;
    let (previous, messages) = match style.store {
        Some(true) => after_stored(&request.messages),
        _ => (None, &request.messages[..]),
    };
    let mut include = Vec::new();
    if style.store == Some(false) {
        include.push("reasoning.encrypted_content");
    }
    if request.logprobs.is_some() {
        include.push("message.output_text.logprobs");
    }
    let reasoning = request.reasoning.map(|effort| match effort {
        crate::ReasoningEffort::None => json!({ "effort": "none" }),
        effort => json!({ "effort": effort.as_str(), "summary": "auto" }),
    });
    let mut body = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    set("model", Some(model.into()));
    set("input", Some(input_items(messages, style)?.into()));
    set("previous_response_id", previous.map(Value::from));
    set("max_output_tokens", request.max_tokens.map(Value::from));
    set("temperature", request.temperature.map(|number| decimal(number).into()));
    set("top_p", request.top_p.map(|number| decimal(number).into()));
    set("tools", (!request.tools.is_empty()).then(|| request.tools.iter().map(tool).collect()));
    set("tool_choice", request.tool_choice.as_ref().map(tool_choice));
    set("text", request.output.as_ref().and_then(format).map(|format| json!({ "format": format })));
    set("reasoning", reasoning);
    set("top_logprobs", request.logprobs.filter(|alternatives| *alternatives > 0).map(Value::from));
    set("store", style.store.map(Value::from));
    set("include", (!include.is_empty()).then(|| json!(include)));
    set("stream", stream.then_some(true.into()));
    add_extra(&mut body, &request.extra);
    Ok(body)
}

/// The id of the last stored answer, and the messages after it: the provider has the others.
fn after_stored(messages: &[Message]) -> (Option<&str>, &[Message]) {
    let id_of =
        |message: &'_ Message| message.provider_data.get(RESPONSE_ID).and_then(Value::as_str).is_some();
    match messages.iter().rposition(id_of) {
        Some(last) if last + 1 < messages.len() => {
            let id = messages.get(last).and_then(|message| message.provider_data.get(RESPONSE_ID)?.as_str());
            (id, messages.get(last + 1..).unwrap_or_default())
        }
        _ => (None, messages),
    }
}

fn refuse_unsupported(request: &ChatRequest, vendor: &str) -> Result<()> {
    let options = [
        ("top_k", request.top_k.is_some()),
        ("frequency_penalty", request.frequency_penalty.is_some()),
        ("presence_penalty", request.presence_penalty.is_some()),
        ("seed", request.seed.is_some()),
        ("stop", !request.stop.is_empty()),
        ("name", request.messages.iter().any(|message| message.name.is_some())),
    ];
    match options.into_iter().find(|(_, is_set)| *is_set) {
        None => Ok(()),
        Some((option, _)) => Err(Error::unsupported_option(
            option,
            format!(
                "vendor '{vendor}' does not take `{option}` by the API `responses`; `chat_completions` may"
            ),
        )),
    }
}

fn tool(tool: &Tool) -> Value {
    let mut written = json!({ "type": "function", "name": tool.name });
    if let Value::Object(fields) = &mut written {
        if !tool.description.is_empty() {
            fields.insert("description".to_owned(), tool.description.as_str().into());
        }
        fields.insert("parameters".to_owned(), tool.parameters.clone());
        // Without it this API is strict.
        fields.insert("strict".to_owned(), tool.strict.into());
    }
    written
}

fn tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Tool(name) => json!({ "type": "function", "name": name }),
    }
}

fn format(output: &OutputFormat) -> Option<Value> {
    match output {
        OutputFormat::Text => None,
        OutputFormat::Json => Some(json!({ "type": "json_object" })),
        OutputFormat::JsonSchema { name, description, schema, strict } => {
            let mut format =
                json!({ "type": "json_schema", "name": name, "schema": schema, "strict": strict });
            if let (Value::Object(fields), Some(description)) = (&mut format, description) {
                fields.insert("description".to_owned(), description.as_str().into());
            }
            Some(format)
        }
    }
}

/// Adds the caller's fields, which override nothing; lists of tools and of what to include are joined.
fn add_extra(body: &mut Map<String, Value>, extra: &Map<String, Value>) {
    for (name, value) in extra {
        match (body.get_mut(name), value) {
            (None, _) => {
                body.insert(name.clone(), value.clone());
            }
            (Some(Value::Array(ours)), Value::Array(theirs))
                if matches!(name.as_str(), "tools" | "include") =>
            {
                ours.extend_from_slice(theirs);
            }
            (Some(Value::Object(ours)), Value::Object(theirs)) => add_extra(ours, theirs),
            (Some(_), _) => {}
        }
    }
}
