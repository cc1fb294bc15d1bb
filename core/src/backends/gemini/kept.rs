//! The parts of an answer as Google sent them. Their order and the places of their signatures are a part of the contract:
//! what cannot be told from texts and calls is kept, and goes back unchanged.

use serde_json::{Map, Value, json};

use crate::chat::{Message, Part};
use crate::media::{FileData, ImageData};

/// The key of the kept parts in a message's provider data.
pub(super) const PARTS: &str = "parts";
/// The key of a part's signature, there and in a tool call's provider data.
pub(super) const SIGNATURE: &str = "thoughtSignature";
/// Stands in a kept part's data in place of its bytes, which are in the message's content: which of its media it is.
const MEDIUM: &str = "medium";

/// The parts of one answer, from one piece or many.
#[derive(Debug, Default)]
pub(super) struct KeptParts {
    parts: Vec<Map<String, Value>>,
    media: usize,
    calls: usize,
    /// Whether texts and calls alone would not tell the parts.
    needed: bool,
}

impl KeptParts {
    /// Adds a part as it came. Pieces of a text are joined unless one of them is signed.
    pub(super) fn push(&mut self, mut part: Map<String, Value>) {
        let signed = part.contains_key(SIGNATURE);
        let text = text_of(&part).to_owned();
        if part.contains_key("functionCall") {
            self.calls += 1;
        } else if is_text(&part) {
            self.needed |= signed || (self.calls > 0 && !text.is_empty() && !is_thought(&part));
        } else {
            self.needed = true;
            self.replace_medium(&mut part);
        }
        match self.parts.last_mut() {
            Some(last) if !signed && continues(last, &part) => {
                let joined = format!("{}{text}", text_of(last));
                last.insert("text".to_owned(), joined.into());
            }
            _ => self.parts.push(part),
        }
    }

    /// The bytes of a medium that the answer delivers need no second copy.
    fn replace_medium(&mut self, part: &mut Map<String, Value>) {
        if is_thought(part) {
            return;
        }
        if let Some(Value::Object(medium)) = part.get_mut("inlineData") {
            medium.remove("data");
            medium.insert(MEDIUM.to_owned(), self.media.into());
            self.media += 1;
        }
    }

    /// The parts, where they are needed.
    pub(super) fn finish(self) -> Option<Value> {
        self.needed.then(|| self.parts.into_iter().map(Value::Object).collect())
    }
}

fn is_text(part: &Map<String, Value>) -> bool {
    part.keys().all(|name| matches!(name.as_str(), "text" | "thought" | SIGNATURE))
}

fn is_thought(part: &Map<String, Value>) -> bool {
    part.get("thought") == Some(&Value::Bool(true))
}

fn text_of(part: &Map<String, Value>) -> &str {
    part.get("text").and_then(Value::as_str).unwrap_or_default()
}

fn continues(last: &Map<String, Value>, part: &Map<String, Value>) -> bool {
    is_text(last) && is_text(part) && !last.contains_key(SIGNATURE) && is_thought(last) == is_thought(part)
}

/// A part of an answer that is neither text nor a call of the caller's tools, as ayni knows it.
pub(super) fn read_part(part: &Map<String, Value>) -> Option<Part> {
    let inside = |name: &str| part.get(name).and_then(Value::as_object);
    let text = |fields: &Map<String, Value>, name: &str| {
        fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let value = |fields: &Map<String, Value>, name: &str| fields.get(name).cloned().unwrap_or_default();
    if let Some(medium) = inside("inlineData") {
        return Some(read_medium(&text(medium, "mimeType"), &text(medium, "data")));
    }
    if let Some(file) = inside("fileData") {
        let media_type = Some(text(file, "mimeType")).filter(|media_type| !media_type.is_empty());
        return Some(Part::FileUrl { url: text(file, "fileUri"), media_type, name: None });
    }
    if let Some(code) = inside("executableCode") {
        let arguments = json!({ "language": value(code, "language"), "code": value(code, "code") });
        return Some(Part::ServerToolCall {
            id: text(code, "id"),
            name: CODE_EXECUTION.to_owned(),
            arguments,
        });
    }
    if let Some(done) = inside("codeExecutionResult") {
        let result = json!({ "outcome": value(done, "outcome"), "output": value(done, "output") });
        return Some(Part::ServerToolResult {
            id: text(done, "id"),
            name: CODE_EXECUTION.to_owned(),
            result,
        });
    }
    if let Some(call) = inside("toolCall") {
        let (id, name, arguments) = (text(call, "id"), text(call, "toolType"), value(call, "args"));
        return Some(Part::ServerToolCall { id, name, arguments });
    }
    if let Some(answer) = inside("toolResponse") {
        let (id, name, result) = (text(answer, "id"), text(answer, "toolType"), value(answer, "response"));
        return Some(Part::ServerToolResult { id, name, result });
    }
    (!is_text(part)).then(|| Part::Raw { data: Value::Object(part.clone()) })
}

/// The name of the tool that runs code: Google gives it none.
const CODE_EXECUTION: &str = "code_execution";

fn read_medium(media_type: &str, base64: &str) -> Part {
    let url = format!("data:{media_type};base64,{base64}");
    let raw = || Part::Raw { data: json!({ "inlineData": { "mimeType": media_type, "data": base64 } }) };
    match media_type.starts_with("image/") {
        true => ImageData::from_base64(&url).map_or_else(|_| raw(), Part::image),
        false => FileData::from_base64(&url).map_or_else(|_| raw(), Part::file),
    }
}

/// The parts of a message as they came, unless it has been changed since.
pub(super) fn unchanged_parts(message: &Message) -> Option<Vec<Value>> {
    let kept = message.provider_data.get(PARTS)?.as_array()?;
    let mut calls = message.tool_calls.iter();
    let mut text = String::new();
    let mut parts = Vec::with_capacity(kept.len());
    for part in kept {
        let mut part = part.as_object()?.clone();
        if let Some(call) = part.get("functionCall") {
            let expected = calls.next()?;
            let arguments = call.get("args").cloned().unwrap_or_else(|| json!({}));
            let same_name = call.get("name").and_then(Value::as_str) == Some(expected.name.as_str());
            if !same_name || expected.parse_arguments().ok()? != arguments {
                return None;
            }
        } else if !is_thought(&part) {
            text.push_str(text_of(&part));
        }
        if let Some(Value::Object(medium)) = part.get_mut("inlineData")
            && let Some(position) = medium.remove(MEDIUM)
        {
            medium.insert("data".to_owned(), medium_at(message, position.as_u64()?)?.into());
        }
        parts.push(Value::Object(part));
    }
    let said = message.content.parts().iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let unchanged = calls.next().is_none() && said.collect::<String>() == text;
    unchanged.then_some(parts)
}

/// The bytes of one of the message's media, as base64.
fn medium_at(message: &Message, position: u64) -> Option<String> {
    let media = message.content.parts().iter().filter_map(|part| match part {
        Part::Image { image, .. } => Some(image.to_base64()),
        Part::File { file, .. } => Some(file.to_base64()),
        _ => None,
    });
    media.into_iter().nth(usize::try_from(position).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{ProviderData, ToolCall};

    fn kept(parts: Value) -> Option<Value> {
        let mut kept = KeptParts::default();
        for part in parts.as_array().expect("a list") {
            kept.push(part.as_object().expect("a part").clone());
        }
        kept.finish()
    }

    #[test]
    fn only_what_texts_and_calls_do_not_tell_is_kept() {
        assert_eq!(
            kept(json!([{ "text": "a" }, { "text": "b" }, { "functionCall": { "name": "f" } }])),
            None
        );
        assert_eq!(kept(json!([{ "text": "hm", "thought": true }, { "text": "b" }])), None);
        let signed_call = json!([{ "functionCall": { "name": "f" }, "thoughtSignature": "x" }]);
        assert_eq!(kept(signed_call), None, "the call itself holds its signature");
        let late_text = json!([{ "functionCall": { "name": "f" } }, { "text": "b" }]);
        assert_eq!(kept(late_text.clone()), Some(late_text));
        let pieces = json!([{ "text": "a" }, { "text": "b" }, { "text": "c", "thoughtSignature": "x" }]);
        assert_eq!(kept(pieces), Some(json!([{ "text": "ab" }, { "text": "c", "thoughtSignature": "x" }])));
    }

    #[test]
    fn kept_parts_return_unless_the_message_was_changed() {
        let image = json!({ "inlineData": { "mimeType": "image/png", "data": "iVBORw==" } });
        let call = json!({ "functionCall": { "name": "f", "args": { "a": 1 } }, "thoughtSignature": "x" });
        let sent = json!([{ "text": "so" }, image, call]);
        let data = ProviderData::from_iter([(PARTS.to_owned(), kept(sent.clone()).expect("needed"))]);
        assert_eq!(data[PARTS][1]["inlineData"], json!({ "mimeType": "image/png", "medium": 0 }));
        let medium = read_part(image.as_object().expect("a part")).expect("an image");
        let message = |text: &str, arguments: &str| {
            Message::assistant(vec![Part::text(text), medium.clone()])
                .with_tool_calls(vec![ToolCall::new("1", "f", arguments)])
                .with_provider_data(data.clone())
        };
        assert_eq!(unchanged_parts(&message("so", "{\"a\": 1}")).map(Value::from), Some(sent));
        assert_eq!(unchanged_parts(&message("no", "{\"a\": 1}")), None);
        assert_eq!(unchanged_parts(&message("so", "{}")), None);
    }
}
