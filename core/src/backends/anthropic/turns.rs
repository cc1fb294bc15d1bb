//! The messages of a conversation as Anthropic takes them.

use serde_json::{Map, Value, json};

use super::wire::{MessageOut, Turn};
use crate::chat::{Message, Part, Role};
use crate::error::{Error, Result};
use crate::media::FileData;
use crate::wire::openai::chat::cache_control;

/// The key of an answer's blocks, as they came, in a message's provider data.
pub(super) const BLOCKS: &str = "blocks";

/// What the application says before the first turn.
pub(super) fn system(messages: &[Message], citations: bool) -> Result<Option<Turn<'_>>> {
    match messages {
        [] => Ok(None),
        [only] => content(only, citations).map(Some),
        several => {
            let mut blocks = Vec::new();
            for message in several {
                add_blocks(&mut blocks, message, citations)?;
            }
            Ok(Some(Turn::Blocks(blocks)))
        }
    }
}

/// The turns. The results of parallel calls go back in one.
pub(super) fn messages(messages: &[Message], citations: bool) -> Result<Vec<MessageOut<'_>>> {
    let mut turns: Vec<MessageOut<'_>> = Vec::new();
    let mut results_open = false;
    for message in messages {
        match message.role {
            Role::Tool => {
                let result = tool_result(message, citations)?;
                match turns.last_mut().filter(|_| results_open) {
                    Some(MessageOut { content: Turn::Blocks(blocks), .. }) => blocks.push(result),
                    _ => turns.push(MessageOut { role: "user", content: Turn::Blocks(vec![result]) }),
                }
            }
            Role::Assistant => {
                turns.push(MessageOut { role: "assistant", content: assistant(message, citations)? });
            }
            Role::User => turns.push(MessageOut { role: "user", content: content(message, citations)? }),
            Role::System | Role::Developer => {
                turns.push(MessageOut { role: "system", content: content(message, citations)? });
            }
        }
        results_open = message.role == Role::Tool;
    }
    if turns.is_empty() {
        return Err(Error::invalid_request(
            "the conversation holds only system messages; Anthropic wants a user's turn",
        ));
    }
    Ok(turns)
}

fn content(message: &Message, citations: bool) -> Result<Turn<'_>> {
    if let Some(text) = message.content.as_text() {
        return Ok(Turn::Text(text.into()));
    }
    let mut blocks = Vec::new();
    add_blocks(&mut blocks, message, citations)?;
    Ok(Turn::Blocks(blocks))
}

fn add_blocks(blocks: &mut Vec<Value>, message: &Message, citations: bool) -> Result<()> {
    for part in message.content.parts() {
        match part {
            Part::CachePoint { ttl } => {
                if let Some(Value::Object(last)) = blocks.last_mut() {
                    last.insert("cache_control".to_owned(), cache_control(*ttl));
                }
            }
            part if part.is_providers_own() => {}
            part => blocks.push(block(part, citations)?),
        }
    }
    Ok(())
}

fn block(part: &Part, citations: bool) -> Result<Value> {
    let image = |source: Value| json!({ "type": "image", "source": source });
    let document = |source: Value, name: &Option<String>| {
        let mut block =
            Map::from_iter([("type".to_owned(), "document".into()), ("source".to_owned(), source)]);
        block.extend(name.as_ref().map(|name| ("title".to_owned(), name.as_str().into())));
        block.extend(citations.then(|| ("citations".to_owned(), json!({ "enabled": true }))));
        Value::Object(block)
    };
    let is_image = |media_type: &Option<String>| {
        media_type.as_deref().is_some_and(|media_type| media_type.starts_with("image/"))
    };
    Ok(match part {
        Part::Text { text } => json!({ "type": "text", "text": text }),
        Part::Image { image: data, .. } => image(json!({
            "type": "base64", "media_type": data.media_type(), "data": data.to_base64(),
        })),
        Part::ImageUrl { url, .. } => image(json!({ "type": "url", "url": url })),
        Part::FileUrl { url, media_type, .. } if is_image(media_type) => {
            image(json!({ "type": "url", "url": url }))
        }
        Part::File { file, name } => document(document_source(file)?, name),
        Part::FileUrl { url, name, .. } => document(json!({ "type": "url", "url": url }), name),
        Part::FileId { id } => document(json!({ "type": "file", "file_id": id }), &None),
        other => {
            return Err(Error::unsupported(format!(
                "Anthropic takes no part of the type `{}` here",
                other.kind()
            )));
        }
    })
}

fn document_source(file: &FileData) -> Result<Value> {
    match (file.media_type(), std::str::from_utf8(file.bytes())) {
        ("application/pdf", _) => Ok(json!({
            "type": "base64", "media_type": "application/pdf", "data": file.to_base64(),
        })),
        (media_type, Ok(text)) if media_type.starts_with("text/") => {
            Ok(json!({ "type": "text", "media_type": "text/plain", "data": text }))
        }
        (media_type, _) => {
            Err(Error::unsupported(format!("Anthropic takes PDF and text as documents, no {media_type}")))
        }
    }
}

fn tool_result(message: &Message, citations: bool) -> Result<Value> {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    let content = match content(message, citations)? {
        Turn::Text(text) => Value::from(text),
        Turn::Blocks(blocks) => blocks.into(),
    };
    Ok(json!({ "type": "tool_result", "tool_use_id": id, "content": content }))
}

/// An assistant's message: its blocks as they came, or written anew if it comes from elsewhere or was changed.
fn assistant(message: &Message, citations: bool) -> Result<Turn<'_>> {
    if let Some(blocks) = unchanged_blocks(message) {
        return Ok(Turn::Blocks(blocks));
    }
    if message.tool_calls.is_empty()
        && let Some(text) = message.content.as_text()
    {
        return Ok(Turn::Text(text.into()));
    }
    let mut blocks = Vec::new();
    add_blocks(&mut blocks, message, citations)?;
    blocks.retain(|block| block.get("text").and_then(Value::as_str) != Some(""));
    for call in &message.tool_calls {
        let Ok(input @ Value::Object(_)) = call.parse_arguments() else {
            return Err(Error::invalid_request(format!(
                "the arguments of the call to tool '{}' are not a JSON object, which Anthropic wants",
                call.name
            )));
        };
        blocks.push(json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input }));
    }
    Ok(Turn::Blocks(blocks))
}

/// The blocks of an answer as they came, unless the message has been changed since.
fn unchanged_blocks(message: &Message) -> Option<Vec<Value>> {
    let blocks = message.provider_data.get(BLOCKS)?.as_array()?;
    let mut calls = message.tool_calls.iter();
    let mut text = String::new();
    for block in blocks {
        match block.get("type")?.as_str()? {
            "text" => text.push_str(block.get("text")?.as_str()?),
            "tool_use" => {
                let call = calls.next()?;
                let same_id = block.get("id")?.as_str()? == call.id;
                if !same_id || call.parse_arguments().ok()? != *block.get("input")? {
                    return None;
                }
            }
            _ => {}
        }
    }
    let said = message.content.parts().iter().filter_map(|part| match part {
        Part::Text { text } => Some(text.as_str()),
        _ => None,
    });
    let unchanged = calls.next().is_none() && said.collect::<String>() == text;
    unchanged.then(|| blocks.clone())
}
