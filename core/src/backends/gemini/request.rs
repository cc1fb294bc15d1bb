//! A conversation as `:generateContent` takes it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::wire::{
    Blob, Body, ContentOut, FileData, FunctionCallOut, FunctionCallingConfig, FunctionDeclaration,
    FunctionResponse, GenerationConfig, PartOut, ThinkingConfig, ToolConfig, Tools,
};
use crate::chat::{
    ChatRequest, Message, OutputFormat, Part, ProviderData, ReasoningEffort, Role, Tool, ToolCall, ToolChoice,
};
use crate::error::{Error, Result};
use crate::wire::numbers::decimal;

/// The key of a signature in a tool call's provider data.
pub(super) const SIGNATURE: &str = "thoughtSignature";
/// The key of the pieces of a signed text in a message's provider data.
pub(super) const TEXT_PARTS: &str = "text_parts";
/// The key of Google's own id of a call in its provider data.
pub(super) const CALL_ID: &str = "id";

/// The signature that Google documents for calls that another model made.
const FOREIGN_CALL: &str = "skip_thought_signature_validator";

/// The body of a request to `model`, its extra fields included.
pub(super) fn body(model: &str, request: &ChatRequest) -> Result<Value> {
    request.check()?;
    let leading = request.messages.iter().take_while(|message| message.role == Role::System).count();
    let (system, turns) = request.messages.split_at(leading);
    let body = Body {
        contents: contents(model, turns)?,
        system_instruction: system_instruction(system)?,
        tools: tools(&request.tools)?,
        tool_config: tool_config(request),
        generation_config: generation_config(model, request)?,
    };
    let mut body = serde_json::to_value(&body).map_err(|error| {
        Error::invalid_request(format!("the request is not expressible as JSON: {error}"))
    })?;
    if let Value::Object(fields) = &mut body {
        add_extra(fields, &request.extra);
    }
    Ok(body)
}

/// Adds the caller's fields, also inside objects that ayni sets; lists of tools are concatenated.
fn add_extra(body: &mut Map<String, Value>, extra: &Map<String, Value>) {
    for (name, value) in extra {
        match (body.get_mut(name), value) {
            (None, _) => {
                body.insert(name.clone(), value.clone());
            }
            (Some(Value::Object(ours)), Value::Object(theirs)) => add_extra(ours, theirs),
            (Some(Value::Array(ours)), Value::Array(theirs)) if name == "tools" => {
                ours.extend_from_slice(theirs)
            }
            (Some(_), _) => {}
        }
    }
}

fn system_instruction(messages: &[Message]) -> Result<Option<ContentOut<'_>>> {
    let mut parts = Vec::new();
    for message in messages {
        refuse_name(message)?;
        parts.extend(plain_parts(message)?);
    }
    Ok((!parts.is_empty()).then_some(ContentOut { role: None, parts }))
}

fn contents<'a>(model: &str, messages: &'a [Message]) -> Result<Vec<ContentOut<'a>>> {
    let mut contents: Vec<ContentOut<'a>> = Vec::new();
    let mut answers_open = false;
    for (index, message) in messages.iter().enumerate() {
        let before = messages.get(..index).unwrap_or_default();
        match message.role {
            Role::Tool => {
                let part = function_response(message, before)?;
                // The results of parallel calls belong in one message.
                match contents.last_mut().filter(|_| answers_open) {
                    Some(turn) => turn.parts.push(part),
                    None => contents.push(ContentOut { role: Some("user"), parts: vec![part] }),
                }
            }
            Role::User => {
                refuse_name(message)?;
                contents.push(ContentOut { role: Some("user"), parts: plain_parts(message)? });
            }
            Role::Assistant => {
                refuse_name(message)?;
                contents.push(ContentOut { role: Some("model"), parts: model_parts(model, message)? });
            }
            Role::System => {
                return Err(Error::unsupported(
                    "Gemini takes system messages only before the first turn, not in the middle of a conversation",
                ));
            }
        }
        answers_open = message.role == Role::Tool;
    }
    if contents.is_empty() {
        return Err(Error::invalid_request(
            "the conversation holds only system messages; Gemini wants a user's turn",
        ));
    }
    Ok(contents)
}

fn refuse_name(message: &Message) -> Result<()> {
    match message.name {
        None => Ok(()),
        Some(_) => Err(Error::unsupported("Gemini takes no speaker's `name` on a message")),
    }
}

fn plain_parts(message: &Message) -> Result<Vec<PartOut<'_>>> {
    message.content.parts().iter().map(part).collect()
}

fn part(part: &Part) -> Result<PartOut<'_>> {
    Ok(match part {
        Part::Text { text } => text_part(text),
        Part::Image { image } => PartOut {
            inline_data: Some(Blob { mime_type: image.media_type(), data: image.to_base64() }),
            ..PartOut::default()
        },
        Part::ImageUrl { url } if url.starts_with("data:") => {
            return Err(Error::invalid_request("an image in a `data:` URL belongs into an `image` part"));
        }
        Part::ImageUrl { url } => PartOut {
            file_data: Some(FileData { mime_type: media_type_of(url), file_uri: url }),
            ..PartOut::default()
        },
    })
}

fn text_part(text: &str) -> PartOut<'_> {
    PartOut { text: Some(Cow::Borrowed(text)), ..PartOut::default() }
}

/// The media type that a URL's extension stands for, if any.
fn media_type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url).to_ascii_lowercase();
    let endings = [
        (".png", "image/png"),
        (".jpg", "image/jpeg"),
        (".jpeg", "image/jpeg"),
        (".webp", "image/webp"),
        (".heic", "image/heic"),
        (".heif", "image/heif"),
    ];
    endings.into_iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, media_type)| media_type)
}

/// An assistant's message, each signature on the part that it came with.
fn model_parts<'a>(model: &str, message: &'a Message) -> Result<Vec<PartOut<'a>>> {
    let mut parts = match signed_texts(message) {
        Some(parts) => parts,
        None => plain_parts(message)?,
    };
    parts.retain(|part| part.text.as_deref() != Some("") || part.thought_signature.is_some());
    let signed = message.tool_calls.iter().any(|call| signature_of(&call.provider_data).is_some());
    for (index, call) in message.tool_calls.iter().enumerate() {
        // Gemini 3 and later refuse a call without a signature; a call of another model has none.
        let foreign = index == 0 && !signed && !is_older_than_3(model);
        parts.push(PartOut {
            function_call: Some(FunctionCallOut {
                id: call_id_of(&call.provider_data),
                name: &call.name,
                args: arguments(call)?,
            }),
            thought_signature: signature_of(&call.provider_data).or(foreign.then_some(FOREIGN_CALL)),
            ..PartOut::default()
        });
    }
    if parts.is_empty() {
        parts.push(text_part(""));
    }
    Ok(parts)
}

/// The text in its original pieces, if it carried a signature and still has the same length.
fn signed_texts(message: &Message) -> Option<Vec<PartOut<'_>>> {
    let pieces = message.provider_data.get(TEXT_PARTS)?.as_array()?;
    let mut rest = message.content.as_text()?;
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let length = usize::try_from(piece.get("length")?.as_u64()?).ok()?;
        let (text, after) = rest.split_at_checked(length)?;
        let thought_signature = piece.get(SIGNATURE).and_then(Value::as_str);
        parts.push(PartOut { text: Some(Cow::Borrowed(text)), thought_signature, ..PartOut::default() });
        rest = after;
    }
    rest.is_empty().then_some(parts)
}

/// A call's signature: from this API, or from Google's OpenAI-compatible one.
fn signature_of(data: &ProviderData) -> Option<&str> {
    let compatible = || data.get("extra_content")?.get("google")?.get("thought_signature");
    data.get(SIGNATURE).or_else(compatible)?.as_str()
}

fn call_id_of(data: &ProviderData) -> Option<&str> {
    data.get(CALL_ID)?.as_str()
}

fn arguments(call: &ToolCall) -> Result<Value> {
    match call.parse_arguments() {
        Ok(arguments @ Value::Object(_)) => Ok(arguments),
        _ => Err(Error::invalid_request(format!(
            "the arguments of the call to tool '{}' are not a JSON object, which Gemini wants",
            call.name
        ))),
    }
}

fn function_response<'a>(message: &'a Message, before: &'a [Message]) -> Result<PartOut<'a>> {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    let answered = before.iter().rev().flat_map(|earlier| &earlier.tool_calls).find(|call| call.id == id);
    let name = answered.map(|call| call.name.as_str()).or(message.name.as_deref()).ok_or_else(|| {
        Error::invalid_request(format!(
            "a tool's message answers the call '{id}', which no message before it makes"
        ))
    })?;
    let Some(text) = message.content.as_text() else {
        return Err(Error::unsupported("Gemini takes text in a tool's answer, no images"));
    };
    let response = match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => object,
        _ => Value::Object(Map::from_iter([("result".to_owned(), Value::from(text))])),
    };
    let id = answered.and_then(|call| call_id_of(&call.provider_data));
    Ok(PartOut { function_response: Some(FunctionResponse { id, name, response }), ..PartOut::default() })
}

fn tools(tools: &[Tool]) -> Result<Option<[Tools<'_>; 1]>> {
    if tools.is_empty() {
        return Ok(None);
    }
    let declaration = |tool: &'_ Tool| -> Result<()> {
        if tool.parameters.is_object() || tool.parameters.is_null() {
            return Ok(());
        }
        Err(Error::invalid_request(format!(
            "the parameters of tool '{}' are not a JSON Schema object",
            tool.name
        )))
    };
    tools.iter().try_for_each(declaration)?;
    let function_declarations = tools
        .iter()
        .map(|tool| FunctionDeclaration {
            name: &tool.name,
            description: &tool.description,
            parameters_json_schema: Some(&tool.parameters).filter(|schema| takes_arguments(schema)),
        })
        .collect();
    Ok(Some([Tools { function_declarations }]))
}

/// Google refuses the schema of an object without properties; such a tool is declared without parameters.
fn takes_arguments(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) if fields.get("type").and_then(Value::as_str) == Some("object") => {
            let properties = fields.get("properties").and_then(Value::as_object);
            properties.is_some_and(|properties| !properties.is_empty())
                || fields.keys().any(|key| key.starts_with('$') || key.ends_with("Of"))
        }
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    }
}

fn tool_config(request: &ChatRequest) -> Option<ToolConfig<'_>> {
    let strict = request.tools.iter().any(|tool| tool.strict);
    let (mode, only) = match &request.tool_choice {
        None | Some(ToolChoice::Auto) if strict => ("VALIDATED", None),
        None => return None,
        Some(ToolChoice::Auto) => ("AUTO", None),
        Some(ToolChoice::None) => ("NONE", None),
        Some(ToolChoice::Required) => ("ANY", None),
        Some(ToolChoice::Tool(name)) => ("ANY", Some([name.as_str()])),
    };
    Some(ToolConfig { function_calling_config: FunctionCallingConfig { mode, allowed_function_names: only } })
}

fn generation_config<'a>(model: &str, request: &'a ChatRequest) -> Result<GenerationConfig<'a>> {
    let seed = request.seed.map(i32::try_from).transpose().map_err(|_| {
        Error::invalid_request(format!("Gemini takes a `seed` up to {}; the request's is larger", i32::MAX))
    })?;
    let (response_mime_type, response_json_schema) = match &request.output {
        None | Some(OutputFormat::Text) => (None, None),
        Some(OutputFormat::Json) => (Some("application/json"), None),
        Some(OutputFormat::JsonSchema { schema, .. }) => (Some("application/json"), Some(schema)),
    };
    Ok(GenerationConfig {
        temperature: request.temperature.map(decimal),
        top_p: request.top_p.map(decimal),
        top_k: request.top_k,
        max_output_tokens: request.max_tokens,
        stop_sequences: &request.stop,
        seed,
        presence_penalty: request.presence_penalty.map(decimal),
        frequency_penalty: request.frequency_penalty.map(decimal),
        response_mime_type,
        response_json_schema,
        response_logprobs: request.logprobs.map(|_| true),
        logprobs: request.logprobs.filter(|alternatives| *alternatives > 0),
        thinking_config: request.reasoning.map(|effort| thinking_config(model, effort)).transpose()?,
    })
}

/// Gemini 2 takes a budget of thinking tokens; later models take a level and cannot turn thinking off.
fn thinking_config(model: &str, effort: ReasoningEffort) -> Result<ThinkingConfig> {
    let include_thoughts = (effort != ReasoningEffort::None).then_some(true);
    if is_older_than_3(model) {
        let budget = match effort {
            ReasoningEffort::None => 0,
            ReasoningEffort::Low => 1024,
            ReasoningEffort::Medium => 8192,
            ReasoningEffort::High => 24_576,
        };
        return Ok(ThinkingConfig { include_thoughts, thinking_budget: Some(budget), thinking_level: None });
    }
    if effort == ReasoningEffort::None {
        return Err(Error::unsupported(
            "Gemini models from 3 on always think; `reasoning: none` is not possible, `low` is the least",
        ));
    }
    Ok(ThinkingConfig { include_thoughts, thinking_budget: None, thinking_level: Some(effort.as_str()) })
}

fn is_older_than_3(model: &str) -> bool {
    ["gemini-1", "gemini-2", "gemma", "learnlm"].iter().any(|family| model.starts_with(family))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_signature_returns_on_the_piece_of_text_that_it_came_with() {
        let data = json!({ "text_parts": [{ "length": 3 }, { "length": 6, "thoughtSignature": "c2ln" }] });
        let Value::Object(data) = data else { panic!("an object") };
        let message = Message::assistant("sí, claro".to_owned()).with_provider_data(data.clone());
        assert_eq!("sí, claro".len(), 10);
        let request = ChatRequest::new([Message::user("?"), message]);
        let sent = body("gemini-3-pro", &request).expect("a body");
        assert_eq!(
            sent["contents"][1]["parts"],
            json!([{ "text": "sí, claro" }]),
            "the lengths no longer fit"
        );

        let message = Message::assistant("so, claro".to_owned()).with_provider_data(data);
        let request = ChatRequest::new([Message::user("?"), message]);
        let sent = body("gemini-3-pro", &request).expect("a body");
        let expected = json!([{ "text": "so," }, { "text": " claro", "thoughtSignature": "c2ln" }]);
        assert_eq!(sent["contents"][1]["parts"], expected);
    }

    #[test]
    fn extra_fields_join_objects_and_never_replace_what_ayni_sets() {
        let extra = json!({
            "generationConfig": { "temperature": 9, "mediaResolution": "LOW" },
            "safetySettings": [],
            "tools": [{ "googleSearch": {} }]
        });
        let Value::Object(extra) = extra else { panic!("an object") };
        let tool = Tool::new("now", "", json!({ "type": "object", "properties": {} }));
        let mut request = ChatRequest::user("hi").with_temperature(0.5).with_tools([tool]);
        request.extra = extra;
        let sent = body("gemini-2.5-flash", &request).expect("a body");
        assert_eq!(sent["generationConfig"], json!({ "temperature": 0.5, "mediaResolution": "LOW" }));
        assert_eq!(sent["safetySettings"], json!([]));
        let declared = json!({ "functionDeclarations": [{ "name": "now", "description": "" }] });
        assert_eq!(sent["tools"], json!([declared, { "googleSearch": {} }]));
    }
}
