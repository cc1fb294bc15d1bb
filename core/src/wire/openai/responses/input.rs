//! The messages of a conversation as items.

use serde_json::{Map, Value, json};

use super::OUTPUT;
use super::request::ResponsesStyle;
use crate::chat::{Content, ImageDetail, Message, Part, Role};
use crate::error::{Error, Result};
use crate::wire::openai::chat::default_name;

/// The items of a conversation.
///
/// # Errors
/// `unsupported` naming a part that the API does not take.
pub(super) fn input_items(messages: &[Message], style: &ResponsesStyle<'_>) -> Result<Vec<Value>> {
    let mut items = Vec::with_capacity(messages.len());
    for message in messages {
        match message.role {
            Role::Assistant => add_answer(&mut items, message, style)?,
            Role::Tool => items.push(json!({
                "type": "function_call_output",
                "call_id": message.tool_call_id.as_deref().unwrap_or_default(),
                "output": content(&message.content, style)?,
            })),
            Role::Developer if !style.developer_role => {
                items.push(json!({ "role": "system", "content": content(&message.content, style)? }));
            }
            role => {
                items.push(json!({ "role": role.as_str(), "content": content(&message.content, style)? }))
            }
        }
    }
    Ok(items)
}

/// An assistant's message: its items as they came, or written anew if it comes from elsewhere or was changed.
fn add_answer(items: &mut Vec<Value>, message: &Message, style: &ResponsesStyle<'_>) -> Result<()> {
    if let Some(unchanged) = unchanged_items(message) {
        items.extend(unchanged);
        return Ok(());
    }
    if !message.content.is_empty() {
        // What the model made or looked up is told by its items alone.
        let text = message.content.parts().iter().find(|part| !matches!(part, Part::Text { .. }));
        let content = match text {
            None => content(&message.content, style)?,
            Some(_) => message.content.to_text().into(),
        };
        items.push(json!({ "role": "assistant", "content": content }));
    }
    items.extend(message.tool_calls.iter().map(|call| {
        let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
        json!({ "type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments })
    }));
    Ok(())
}

/// The items of an answer as they came, unless the message has been changed since.
fn unchanged_items(message: &Message) -> Option<Vec<Value>> {
    let items = message.provider_data.get(OUTPUT)?.as_array()?;
    let mut calls = message.tool_calls.iter();
    let mut text = String::new();
    for item in items {
        match item.get("type")?.as_str()? {
            "message" => text.push_str(&message_text(item)),
            "function_call" => {
                let call = calls.next()?;
                let same =
                    |name: &str, expected: &str| item.get(name).and_then(Value::as_str) == Some(expected);
                if !same("call_id", &call.id) || !same("arguments", &call.arguments) {
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
    unchanged.then(|| items.clone())
}

/// The text of an item of the type `message`.
pub(super) fn message_text(item: &Value) -> String {
    let parts = item.get("content").and_then(Value::as_array).into_iter().flatten();
    parts.filter_map(|part| part.get("text")?.as_str()).collect()
}

fn content(content: &Content, style: &ResponsesStyle<'_>) -> Result<Value> {
    if let Some(text) = content.as_text() {
        return Ok(text.into());
    }
    let parts = content.parts().iter().filter(|part| !part.is_providers_own());
    let parts = parts.filter(|part| !matches!(part, Part::CachePoint { .. }));
    parts.map(|part| part_item(part, style)).collect()
}

fn part_item(part: &Part, style: &ResponsesStyle<'_>) -> Result<Value> {
    let image = |url: Value, detail: Option<ImageDetail>| {
        let detail = detail.unwrap_or(ImageDetail::Auto).as_str();
        json!({ "type": "input_image", "image_url": url, "detail": detail })
    };
    let refuse = || {
        Err(Error::unsupported(format!(
            "vendor '{}' takes no part of the type `{}` like this one by the API `responses`",
            style.vendor,
            part.kind()
        )))
    };
    Ok(match part {
        Part::Text { text } => json!({ "type": "input_text", "text": text }),
        Part::Image { image: data, detail } => image(data.to_data_url().into(), *detail),
        Part::ImageUrl { url, detail, .. } => image(url.as_str().into(), *detail),
        Part::File { file, name } => {
            let (kind, subtype) = file.media_type().split_once('/').unwrap_or_default();
            if matches!(kind, "audio" | "video") {
                return refuse();
            }
            let name = name.clone().unwrap_or_else(|| default_name(subtype));
            json!({ "type": "input_file", "filename": name, "file_data": file.to_data_url() })
        }
        Part::FileUrl { url, name, .. } => {
            let mut file = Map::from_iter([("type".to_owned(), "input_file".into())]);
            file.insert("file_url".to_owned(), url.as_str().into());
            file.extend(name.as_ref().map(|name| ("filename".to_owned(), name.as_str().into())));
            Value::Object(file)
        }
        Part::FileId { id } => json!({ "type": "input_file", "file_id": id }),
        _ => return refuse(),
    })
}
