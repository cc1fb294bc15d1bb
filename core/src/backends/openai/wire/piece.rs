//! What a message or a chunk of one says.

use serde_json::{Map, Value};

use crate::chat::ProviderData;

/// Fields of a message that ayni reads or that only mean something in an answer; all others are the
/// provider's own and go back to it with the next turn.
const KNOWN: [&str; 11] = [
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
    "token_ids",
];

/// A message, or a chunk of one.
#[derive(Debug, Default)]
pub(in super::super) struct Piece {
    pub(in super::super) text: String,
    pub(in super::super) reasoning: String,
    pub(in super::super) refusal: String,
    pub(in super::super) calls: Vec<CallPiece>,
    pub(in super::super) provider_data: ProviderData,
}

/// A tool call, or a chunk of one.
#[derive(Debug, Default)]
pub(in super::super) struct CallPiece {
    pub(in super::super) index: Option<u64>,
    pub(in super::super) id: String,
    pub(in super::super) name: String,
    pub(in super::super) arguments: String,
    pub(in super::super) provider_data: ProviderData,
}

impl Piece {
    /// Reads a `message` or `delta`; null and whatever is no object say nothing.
    pub(in super::super) fn read(value: Value) -> Self {
        let Value::Object(mut fields) = value else { return Self::default() };
        let mut piece = Self::default();
        for name in ["reasoning", "reasoning_content"] {
            // Servers in transition send the same text under both names.
            if let (Some(Value::String(text)), true) = (fields.get(name), piece.reasoning.is_empty()) {
                piece.reasoning.clone_from(text);
            }
        }
        piece.add_content(fields.remove("content").unwrap_or_default());
        if let Some(Value::String(refusal)) = fields.remove("refusal") {
            piece.refusal = refusal;
        }
        piece.calls = read_calls(&mut fields);
        fields.retain(|name, value| !KNOWN.contains(&name.as_str()) && says_something(value));
        piece.provider_data = fields;
        piece
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

fn read_calls(fields: &mut Map<String, Value>) -> Vec<CallPiece> {
    let calls: Vec<CallPiece> = match fields.remove("tool_calls") {
        Some(Value::Array(calls)) => calls.into_iter().filter_map(read_call).collect(),
        Some(call @ Value::Object(_)) => read_call(call).into_iter().collect(),
        _ => Vec::new(),
    };
    if !calls.is_empty() {
        return calls;
    }
    // The protocol's first form: one call without id.
    match fields.remove("function_call") {
        Some(function @ Value::Object(_)) => {
            let call = Map::from_iter([("index".to_owned(), 0.into()), ("function".to_owned(), function)]);
            read_call(Value::Object(call)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn read_call(value: Value) -> Option<CallPiece> {
    let Value::Object(mut fields) = value else { return None };
    let mut call = CallPiece { index: fields.get("index").and_then(Value::as_u64), ..CallPiece::default() };
    call.id = take_text(&mut fields, "id");
    if let Some(Value::Object(mut function)) = fields.remove("function") {
        call.name = take_text(&mut function, "name").trim().to_owned();
        call.arguments = match function.remove("arguments") {
            Some(Value::String(text)) => text,
            None | Some(Value::Null) => String::new(),
            Some(arguments) => arguments.to_string(),
        };
        function.retain(|_, value| says_something(value));
        if !function.is_empty() {
            fields.insert("function".to_owned(), function.into());
        }
    }
    fields.retain(|name, value| !matches!(name.as_str(), "index" | "type") && says_something(value));
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

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}
