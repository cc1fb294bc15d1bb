//! A conversation as `:generateContent` takes it.

use serde_json::{Map, Value};

use super::contents::{contents, system_instruction};
use super::wire::{
    Body, FunctionCallingConfig, FunctionDeclaration, GenerationConfig, ThinkingConfig, ToolConfig, Tools,
};
use crate::chat::{ChatRequest, OutputFormat, ReasoningEffort, Tool, ToolChoice};
use crate::error::{Error, Result};
use crate::wire::numbers::decimal;

/// The body of a request to `model`, its extra fields included.
pub(super) fn body(model: &str, request: &ChatRequest) -> Result<Value> {
    request.check()?;
    let leading = request.messages.iter().take_while(|message| message.role.instructs()).count();
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
    let response_mime_type = match &request.output {
        None | Some(OutputFormat::Text) => None,
        Some(OutputFormat::Json | OutputFormat::JsonSchema { .. }) => Some("application/json"),
    };
    let response_json_schema = request.output.as_ref().and_then(OutputFormat::described_schema);
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

pub(super) fn is_older_than_3(model: &str) -> bool {
    ["gemini-1", "gemini-2", "gemma", "learnlm"].iter().any(|family| model.starts_with(family))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
