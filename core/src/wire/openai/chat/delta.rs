//! A message, or a chunk of one, read leniently.

use serde_json::{Map, Value};

use super::annotations::{read_annotation, take_annotations};
use super::reasoning_details;
use crate::chat::{Annotation, Part, ProviderData};
use crate::media::ImageData;

/// Fields of a message that ayni reads, or that only mean something in a response. All others are the
/// provider's own; its row says which go back to it with the next request.
const KNOWN: [&str; 12] = [
    "role",
    "name",
    "content",
    "refusal",
    "reasoning",
    "reasoning_content",
    "tool_calls",
    "function_call",
    "annotations",
    "audio",
    "images",
    "token_ids",
];

/// A message, or a chunk of one.
#[derive(Debug, Default)]
pub(super) struct Delta {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) refusal: String,
    pub(super) calls: Vec<ToolCallDelta>,
    pub(super) annotations: Vec<Annotation>,
    pub(super) images: Vec<Part>,
    pub(super) audio: Option<AudioDelta>,
    pub(super) provider_data: ProviderData,
}

/// A spoken answer, or a chunk of one.
#[derive(Debug, Default)]
pub(super) struct AudioDelta {
    pub(super) id: String,
    /// Base64.
    pub(super) data: String,
    pub(super) transcript: String,
}

/// A tool call, or a chunk of one.
#[derive(Debug, Default)]
pub(super) struct ToolCallDelta {
    pub(super) index: Option<u64>,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) provider_data: ProviderData,
}

impl Delta {
    /// Reads a `message` or `delta`; null, and anything that is not an object, is empty.
    pub(super) fn read(value: Value) -> Self {
        let Value::Object(mut fields) = value else { return Self::default() };
        let mut delta = Self::default();
        for name in ["reasoning", "reasoning_content"] {
            // Servers in transition send the same text under both names.
            if let (Some(Value::String(text)), true) = (fields.get(name), delta.reasoning.is_empty()) {
                delta.reasoning.clone_from(text);
            }
        }
        if delta.reasoning.is_empty()
            && let Some(details) = fields.get("reasoning_details")
        {
            delta.reasoning = reasoning_details::text_of(details);
        }
        delta.add_content(fields.remove("content").unwrap_or_default());
        delta.annotations.extend(take_annotations(&mut fields));
        delta.images = read_images(fields.get("images"));
        delta.audio = read_audio(fields.get("audio"));
        if let Some(Value::String(refusal)) = fields.remove("refusal") {
            delta.refusal = refusal;
        }
        delta.calls = read_calls(&mut fields);
        fields.retain(|name, value| !KNOWN.contains(&name.as_str()) && is_not_empty(value));
        delta.provider_data = fields;
        delta
    }

    /// Whether the chunk delivers something to the caller.
    pub(super) fn says_something(&self) -> bool {
        let has_words = !self.text.is_empty() || !self.reasoning.is_empty() || !self.calls.is_empty();
        let has_more = !self.annotations.is_empty() || !self.images.is_empty() || self.audio.is_some();
        has_words || has_more
    }

    /// Content is a text, one part or a list of parts.
    fn add_content(&mut self, content: Value) {
        match content {
            Value::String(text) if self.text.is_empty() => self.text = text,
            Value::String(text) => self.text.push_str(&text),
            Value::Array(parts) => parts.into_iter().for_each(|part| self.add_content(part)),
            Value::Object(mut part) => {
                if let Some(thinking) = part.remove("thinking") {
                    push_texts(&mut self.reasoning, &thinking);
                } else if part.get("type").and_then(Value::as_str) == Some("reference") {
                    self.annotations.push(read_annotation(part.into()));
                } else if let Some(Value::String(text)) = part.remove("text") {
                    self.text.push_str(&text);
                } else if let Some(Value::String(refusal)) = part.remove("refusal") {
                    self.refusal.push_str(&refusal);
                }
            }
            _ => {}
        }
    }
}

/// A thinking part holds a text or a list of text parts.
fn push_texts(text: &mut String, value: &Value) {
    match value {
        Value::String(piece) => text.push_str(piece),
        Value::Array(parts) => parts.iter().for_each(|part| push_texts(text, part)),
        Value::Object(part) => part.get("text").into_iter().for_each(|piece| push_texts(text, piece)),
        _ => {}
    }
}

fn read_calls(fields: &mut Map<String, Value>) -> Vec<ToolCallDelta> {
    let calls: Vec<ToolCallDelta> = match fields.remove("tool_calls") {
        Some(Value::Array(calls)) => calls.into_iter().filter_map(read_call).collect(),
        Some(call @ Value::Object(_)) => read_call(call).into_iter().collect(),
        _ => Vec::new(),
    };
    if !calls.is_empty() {
        return calls;
    }
    // The protocol's first form: one call without id.
    match fields.remove("function_call") {
        Some(function @ Value::Object(_)) if !is_blank(&function) => {
            let call = Map::from_iter([("index".to_owned(), 0.into()), ("function".to_owned(), function)]);
            read_call(Value::Object(call)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Whether every field is empty: some servers write every field that they know.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.iter().all(is_blank),
        Value::Object(fields) => fields.values().all(is_blank),
        _ => false,
    }
}

fn read_images(images: Option<&Value>) -> Vec<Part> {
    let images = images.and_then(Value::as_array).into_iter().flatten();
    let urls =
        images.filter_map(|image| image.pointer("/image_url/url").or_else(|| image.get("url"))?.as_str());
    let part = |url: &str| match ImageData::is_data_url(url) {
        true => ImageData::from_base64(url).ok().map(Part::image),
        false => Some(Part::image_url(url)),
    };
    urls.filter_map(part).collect()
}

fn read_audio(audio: Option<&Value>) -> Option<AudioDelta> {
    let text = |name: &str| audio?.get(name)?.as_str().map(str::to_owned);
    let audio = AudioDelta {
        id: text("id").unwrap_or_default(),
        data: text("data").unwrap_or_default(),
        transcript: text("transcript").unwrap_or_default(),
    };
    (!(audio.id.is_empty() && audio.data.is_empty() && audio.transcript.is_empty())).then_some(audio)
}

fn read_call(value: Value) -> Option<ToolCallDelta> {
    if is_blank(&value) {
        return None;
    }
    let Value::Object(mut fields) = value else { return None };
    let mut call =
        ToolCallDelta { index: fields.get("index").and_then(Value::as_u64), ..ToolCallDelta::default() };
    call.id = take_text(&mut fields, "id");
    if let Some(Value::Object(mut function)) = fields.remove("function") {
        call.name = take_text(&mut function, "name").trim().to_owned();
        call.arguments = match function.remove("arguments") {
            Some(Value::String(text)) => text,
            None | Some(Value::Null) => String::new(),
            Some(arguments) => arguments.to_string(),
        };
        function.retain(|_, value| is_not_empty(value));
        if !function.is_empty() {
            fields.insert("function".to_owned(), function.into());
        }
    }
    fields.retain(|name, value| !matches!(name.as_str(), "index" | "type") && is_not_empty(value));
    call.provider_data = fields;
    Some(call)
}

fn take_text(fields: &mut Map<String, Value>, name: &str) -> String {
    match fields.remove(name) {
        Some(Value::String(text)) => text,
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn is_not_empty(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}
