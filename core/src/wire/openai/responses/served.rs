//! A request to a server of the API `responses`: the part of it that needs no memory of earlier answers.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::chat::{
    ChatRequest, Content, ImageDetail, Message, OutputFormat, Part, ReasoningEffort, Tool, ToolCall,
    ToolChoice,
};
use crate::error::{Error, Result};
use crate::media::{FileData, ImageData};
use crate::wire::openai::MAX_MODEL_CHARS;
use crate::wire::openai::body::{self, about, malformed};
use crate::wire::openai::chat::check_addresses;
use crate::wire::openai::fields;

const MAX_ITEMS: usize = 16_384;
const MAX_TOOLS: usize = 1024;

/// An answer that a client asks a server for by the API `responses`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ResponsesRequest {
    /// The model, by the name that the server gave it.
    pub model: String,
    /// The conversation, and how to answer it.
    pub request: ChatRequest,
    /// Whether to answer with a stream of events.
    pub stream: bool,
    /// The fields that count for nothing here: the response names them.
    pub ignored: Vec<String>,
    /// What the response repeats of the request.
    pub(super) echo: Map<String, Value>,
}

/// The body of `POST /responses`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub(crate) struct ResponsesBody<'a> {
    /// The model that answers.
    #[serde(deserialize_with = "fields::text::<_, MAX_MODEL_CHARS>")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_MODEL_CHARS)))]
    model: Cow<'a, str>,
    /// A text, or a list of messages, calls of tools and what the tools answered.
    input: Value,
    /// What the model is told first.
    #[serde(default)]
    instructions: Option<Cow<'a, str>>,
    /// Most tokens of the answer.
    #[serde(default, deserialize_with = "fields::whole::<_, _, 1, 1_000_000>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000)))]
    max_output_tokens: Option<u32>,
    /// How freely to choose tokens: 0 always takes the likeliest.
    #[serde(default, deserialize_with = "fields::number::<_, 0, 2>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 2)))]
    temperature: Option<f32>,
    /// Considers only the likeliest tokens that together reach this probability.
    #[serde(default, deserialize_with = "fields::number::<_, 0, 1>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 1)))]
    top_p: Option<f32>,
    /// The functions that the model may call.
    #[serde(default, deserialize_with = "fields::list::<_, _, 0, MAX_TOOLS>")]
    tools: Vec<Value>,
    /// `auto`, `none`, `required`, or the function to call.
    #[serde(default)]
    tool_choice: Value,
    /// The form of the answer: `{"format": …}`.
    #[serde(default)]
    text: Value,
    /// How much to reason: `{"effort": …}`.
    #[serde(default)]
    reasoning: Value,
    /// Streams the answer as server-sent events.
    #[serde(default)]
    stream: Option<bool>,
    /// Refused: no answers are kept here.
    #[serde(default)]
    previous_response_id: Option<Cow<'a, str>>,
    /// Refused if it is set.
    #[serde(default)]
    background: Option<bool>,
    /// What else a client sends.
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    further: Map<String, Value>,
}

/// Fields that change nothing about the answer.
const WITHOUT_EFFECT: [&str; 12] = [
    "conversation",
    "include",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "safety_identifier",
    "service_tier",
    "store",
    "stream_options",
    "truncation",
    "user",
];

impl ResponsesRequest {
    /// Reads the body of `POST /responses`.
    ///
    /// # Errors
    /// `invalid_request` naming the field that is wrong, and for what needs an answer that was kept.
    pub fn read(body: &[u8]) -> Result<Self> {
        let mut body: ResponsesBody<'_> = body::read(body)?;
        if body.previous_response_id.is_some() {
            return refuse(
                "previous_response_id",
                "no answers are kept here; send the whole conversation as `input`",
            );
        }
        if body.background == Some(true) {
            return refuse("background", "no answers are kept here; wait for the answer or stream it");
        }
        let mut messages = Vec::new();
        messages.extend(body.instructions.as_deref().map(Message::system));
        read_input(body.input.take(), &mut messages)?;
        let mut request = ChatRequest::new(messages);
        check_addresses(&request)?;
        request.max_tokens = body.max_output_tokens;
        request.temperature = body.temperature;
        request.top_p = body.top_p;
        request.tools = body.tools.iter().map(read_tool).collect::<Result<_>>()?;
        request.tool_choice = read_choice(&body.tool_choice)?;
        request.output = read_format(&body.text)?;
        request.reasoning = read_effort(&body.reasoning)?;
        let ignored = body.further.keys().filter(|name| !WITHOUT_EFFECT.contains(&name.as_str()));
        Ok(Self {
            model: body.model.clone().into_owned(),
            stream: body.stream.unwrap_or_default(),
            ignored: ignored
                .map(|name| name.chars().filter(|c| !c.is_control()).take(80).collect())
                .collect(),
            echo: body.into_echo(),
            request,
        })
    }
}

impl ResponsesBody<'_> {
    fn into_echo(self) -> Map<String, Value> {
        let or = |value: Value, otherwise: Value| if value.is_null() { otherwise } else { value };
        let mut further = self.further;
        let mut echo = Map::new();
        let mut set = |name: &str, value: Value| drop(echo.insert(name.to_owned(), value));
        set("instructions", self.instructions.into());
        set("max_output_tokens", self.max_output_tokens.into());
        set(
            "temperature",
            self.temperature.map_or(1.0.into(), |number| crate::wire::numbers::decimal(number).into()),
        );
        set("top_p", self.top_p.map_or(1.0.into(), |number| crate::wire::numbers::decimal(number).into()));
        set("tools", self.tools.into());
        set("tool_choice", or(self.tool_choice, "auto".into()));
        set("text", or(self.text, json!({ "format": { "type": "text" } })));
        set("reasoning", or(self.reasoning, json!({ "effort": null, "summary": null })));
        set("metadata", or(further.remove("metadata").unwrap_or_default(), json!({})));
        echo
    }
}

fn refuse<T>(field: &str, why: &str) -> Result<T> {
    Err(about(field, Error::invalid_request(format!("`{field}`: {why}"))))
}

fn read_input(input: Value, messages: &mut Vec<Message>) -> Result<()> {
    match input {
        Value::String(text) => messages.push(Message::user(text)),
        Value::Array(items) if (1..=MAX_ITEMS).contains(&items.len()) => {
            for (index, item) in items.into_iter().enumerate() {
                read_item(item, &format!("input.{index}"), messages)?;
            }
        }
        _ => return Err(malformed("input", &format!("expected a text or a list of 1 to {MAX_ITEMS} items"))),
    }
    Ok(())
}

fn text_of(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn read_item(mut item: Value, field: &str, messages: &mut Vec<Message>) -> Result<()> {
    let missing = |name: &str| malformed(&format!("{field}.{name}"), "is missing or no text");
    let needed = |item: &Value, name: &str| text_of(item, name).ok_or_else(|| missing(name));
    match item.get("type").and_then(Value::as_str).unwrap_or("message") {
        "message" => {
            let content = item.get_mut("content").map(Value::take).unwrap_or_default();
            let content = read_content(content, &format!("{field}.content"))?;
            messages.push(match item.get("role").and_then(Value::as_str) {
                Some("user") => Message::user(content),
                Some("assistant") => Message::assistant(content),
                Some("system" | "developer") => Message::system(content),
                _ => {
                    let known = "expected one of system, developer, user, assistant";
                    return Err(malformed(&format!("{field}.role"), known));
                }
            });
        }
        "function_call" => {
            let call =
                ToolCall::new(needed(&item, "call_id")?, needed(&item, "name")?, needed(&item, "arguments")?);
            // Several calls in a row are one turn of the assistant.
            match messages.last_mut().filter(|last| last.role == crate::chat::Role::Assistant) {
                Some(last) => last.tool_calls.push(call),
                None => messages.push(Message::assistant("").with_tool_calls(vec![call])),
            }
        }
        "function_call_output" => {
            let output = item.get_mut("output").map(Value::take).unwrap_or_default();
            let output = read_content(output, &format!("{field}.output"))?;
            messages.push(Message::tool(needed(&item, "call_id")?, output));
        }
        // What the model thought before is its own business.
        "reasoning" => {}
        _ => return refuse(field, "an item is a message, function_call, function_call_output or reasoning"),
    }
    Ok(())
}

fn read_content(content: Value, field: &str) -> Result<Content> {
    match content {
        Value::String(text) => Ok(text.into()),
        Value::Array(parts) => {
            let parts = parts.into_iter().enumerate();
            let read = parts.map(|(index, part)| read_part(&part, &format!("{field}.{index}")));
            Ok(read.collect::<Result<Vec<_>>>()?.into())
        }
        _ => Err(malformed(field, "expected a text or a list of parts")),
    }
}

fn read_part(part: &Value, field: &str) -> Result<Part> {
    let wrong = |what: &str| malformed(field, what);
    let text = |name: &str| text_of(part, name);
    match part.get("type").and_then(Value::as_str).unwrap_or_default() {
        "input_text" | "output_text" | "text" => {
            Ok(Part::text(text("text").ok_or_else(|| wrong("has no `text`"))?))
        }
        "refusal" => Ok(Part::text(text("refusal").unwrap_or_default())),
        "input_image" => {
            let url = text("image_url").ok_or_else(|| wrong("has no `image_url`"))?;
            let detail = match text("detail").as_deref() {
                Some("low") => Some(ImageDetail::Low),
                Some("high") => Some(ImageDetail::High),
                _ => None,
            };
            if ImageData::is_data_url(&url) {
                let image = ImageData::from_base64(&url).map_err(|error| about(field, error))?;
                return Ok(Part::Image { image, detail });
            }
            Ok(Part::ImageUrl { url, media_type: None, detail })
        }
        "input_file" => match (text("file_data"), text("file_url")) {
            (Some(data), _) => {
                let file = FileData::from_base64(&data).map_err(|error| about(field, error))?;
                Ok(Part::File { file, name: text("filename") })
            }
            (None, Some(url)) => Ok(Part::FileUrl { url, media_type: None, name: text("filename") }),
            (None, None) => Err(wrong("has neither `file_data` nor `file_url`")),
        },
        _ => Err(wrong("expected a part of the type input_text, input_image, input_file or output_text")),
    }
}

fn read_tool(tool: &Value) -> Result<Tool> {
    let name = text_of(tool, "name").filter(|name| !name.is_empty());
    match (tool.get("type").and_then(Value::as_str), name) {
        (Some("function"), Some(name)) => {
            let parameters = tool.get("parameters").filter(|parameters| parameters.is_object()).cloned();
            let parameters = parameters.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
            let strict = tool.get("strict").and_then(Value::as_bool).unwrap_or_default();
            Ok(Tool::new(name, text_of(tool, "description").unwrap_or_default(), parameters)
                .with_strict(strict))
        }
        _ => refuse(
            "tools",
            "a tool has the type function and a name; OpenAI's own tools are not offered here",
        ),
    }
}

fn read_choice(choice: &Value) -> Result<Option<ToolChoice>> {
    let named = || text_of(choice, "name").map(ToolChoice::Tool);
    match choice {
        Value::Null => Ok(None),
        Value::String(word) if word == "auto" => Ok(Some(ToolChoice::Auto)),
        Value::String(word) if word == "none" => Ok(Some(ToolChoice::None)),
        Value::String(word) if word == "required" => Ok(Some(ToolChoice::Required)),
        Value::Object(_) if named().is_some() => Ok(named()),
        _ => refuse("tool_choice", "expected auto, none, required, or a function with its name"),
    }
}

fn read_format(text: &Value) -> Result<Option<OutputFormat>> {
    let format = text.get("format").unwrap_or(&Value::Null);
    match format.get("type").and_then(Value::as_str) {
        None => Ok(None),
        Some("text") => Ok(Some(OutputFormat::Text)),
        Some("json_object") => Ok(Some(OutputFormat::Json)),
        Some("json_schema") if format.get("schema").is_some_and(Value::is_object) => {
            Ok(Some(OutputFormat::JsonSchema {
                name: text_of(format, "name").unwrap_or_else(|| "answer".to_owned()),
                description: text_of(format, "description"),
                schema: format.get("schema").cloned().unwrap_or_default(),
                strict: format.get("strict").and_then(Value::as_bool).unwrap_or_default(),
            }))
        }
        Some(_) => refuse("text.format", "expected text, json_object, or json_schema with a schema"),
    }
}

fn read_effort(reasoning: &Value) -> Result<Option<ReasoningEffort>> {
    match reasoning.get("effort").unwrap_or(&Value::Null) {
        Value::Null => Ok(None),
        Value::String(effort) => Ok(Some(match effort.as_str() {
            "none" => ReasoningEffort::None,
            "minimal" | "low" => ReasoningEffort::Low,
            "medium" => ReasoningEffort::Medium,
            "high" | "xhigh" => ReasoningEffort::High,
            _ => return refuse("reasoning.effort", "expected none, minimal, low, medium, high or xhigh"),
        })),
        _ => refuse("reasoning.effort", "expected a text"),
    }
}
