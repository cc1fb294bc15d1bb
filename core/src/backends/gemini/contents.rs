//! The messages of a conversation as Google takes them.

use serde_json::{Map, Value};

use super::kept::{SIGNATURE, unchanged_parts};
use super::request::is_older_than_3;
use super::wire::{
    Blob, ContentOut, FileData, FunctionCallOut, FunctionResponse, MediaResolution, PartOut, SentPart,
};
use crate::chat::{ImageDetail, Message, Part, ProviderData, Role, ToolCall};
use crate::error::{Error, Result};

/// The key of Google's own id of a call in its provider data.
pub(super) const CALL_ID: &str = "id";

/// The signature that Google documents for calls that another model made.
const FOREIGN_CALL: &str = "skip_thought_signature_validator";

pub(super) fn system_instruction(messages: &[Message]) -> Result<Option<ContentOut<'_>>> {
    let mut parts = Vec::new();
    for message in messages {
        refuse_name(message)?;
        parts.extend(plain_parts(message)?);
    }
    Ok((!parts.is_empty()).then_some(ContentOut { role: None, parts }))
}

pub(super) fn contents<'a>(model: &str, messages: &'a [Message]) -> Result<Vec<ContentOut<'a>>> {
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
            Role::System | Role::Developer => {
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

fn plain_parts(message: &Message) -> Result<Vec<SentPart<'_>>> {
    let parts = message.content.parts().iter().filter_map(|part| written(part).transpose());
    parts.map(|part| part.map(SentPart::written)).collect()
}

/// A part as Google takes it; nothing for what is another provider's own, and for hints that it does not need.
fn written(part: &Part) -> Result<Option<PartOut<'_>>> {
    let file = |mime_type, file_uri| PartOut {
        file_data: Some(FileData { mime_type, file_uri }),
        ..PartOut::default()
    };
    Ok(Some(match part {
        Part::Text { text } => text_part(text),
        Part::Image { image, detail } => PartOut {
            inline_data: Some(Blob {
                mime_type: image.media_type(),
                data: image.to_base64(),
                display_name: None,
            }),
            media_resolution: detail.and_then(media_resolution),
            ..PartOut::default()
        },
        Part::ImageUrl { url, .. } if url.starts_with("data:") => {
            return Err(Error::invalid_request("an image in a `data:` URL belongs into an `image` part"));
        }
        Part::ImageUrl { url, media_type, detail } => PartOut {
            media_resolution: detail.and_then(media_resolution),
            ..file(media_type.as_deref().or_else(|| media_type_of(url)), url)
        },
        Part::File { file, name } => PartOut {
            inline_data: Some(Blob {
                mime_type: file.media_type(),
                data: file.to_base64(),
                display_name: name.as_deref(),
            }),
            ..PartOut::default()
        },
        Part::FileUrl { url, media_type, .. } => {
            file(media_type.as_deref().or_else(|| media_type_of(url)), url)
        }
        Part::FileId { id } => file(None, id),
        Part::CachePoint { .. } => return Ok(None),
        Part::ServerToolCall { .. } | Part::ServerToolResult { .. } | Part::Raw { .. } => return Ok(None),
    }))
}

fn media_resolution(detail: ImageDetail) -> Option<MediaResolution> {
    let level = match detail {
        ImageDetail::Auto => return None,
        ImageDetail::Low => "MEDIA_RESOLUTION_LOW",
        ImageDetail::High => "MEDIA_RESOLUTION_HIGH",
        ImageDetail::Original => "MEDIA_RESOLUTION_ULTRA_HIGH",
    };
    Some(MediaResolution { level })
}

fn text_part(text: &str) -> PartOut<'_> {
    PartOut { text: Some(text.into()), ..PartOut::default() }
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
        (".pdf", "application/pdf"),
        (".txt", "text/plain"),
        (".mp3", "audio/mpeg"),
        (".wav", "audio/wav"),
        (".mp4", "video/mp4"),
        (".webm", "video/webm"),
    ];
    endings.into_iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, media_type)| media_type)
}

/// An assistant's message: its parts as Google sent them, or written anew if it comes from elsewhere or was changed.
fn model_parts<'a>(model: &str, message: &'a Message) -> Result<Vec<SentPart<'a>>> {
    if let Some(parts) = unchanged_parts(message) {
        return Ok(parts.into_iter().map(SentPart::Kept).collect());
    }
    let mut parts = plain_parts(message)?;
    parts.retain(|part| !matches!(part, SentPart::Written(part) if part.text.as_deref() == Some("")));
    let signed = message.tool_calls.iter().any(|call| signature_of(&call.provider_data).is_some());
    for (index, call) in message.tool_calls.iter().enumerate() {
        // Gemini 3 and later refuse a call without a signature; a call of another model has none.
        let foreign = index == 0 && !signed && !is_older_than_3(model);
        parts.push(SentPart::written(PartOut {
            function_call: Some(FunctionCallOut {
                id: call_id_of(&call.provider_data),
                name: &call.name,
                args: arguments(call)?,
            }),
            thought_signature: signature_of(&call.provider_data).or(foreign.then_some(FOREIGN_CALL)),
            ..PartOut::default()
        }));
    }
    if parts.is_empty() {
        parts.push(SentPart::written(text_part("")));
    }
    Ok(parts)
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

fn function_response<'a>(message: &'a Message, before: &'a [Message]) -> Result<SentPart<'a>> {
    let id = message.tool_call_id.as_deref().unwrap_or_default();
    let answered = before.iter().rev().flat_map(|earlier| &earlier.tool_calls).find(|call| call.id == id);
    let name = answered.map(|call| call.name.as_str()).or(message.name.as_deref()).ok_or_else(|| {
        Error::invalid_request(format!(
            "a tool's message answers the call '{id}', which no message before it makes"
        ))
    })?;
    let text = message.content.to_text();
    let response = match serde_json::from_str(&text) {
        Ok(object @ Value::Object(_)) => object,
        _ => Value::Object(Map::from_iter([("result".to_owned(), Value::from(text))])),
    };
    let media = message.content.parts().iter().filter(|part| !matches!(part, Part::Text { .. }));
    let parts = media.filter_map(|part| written(part).transpose()).collect::<Result<_>>()?;
    let id = answered.and_then(|call| call_id_of(&call.provider_data));
    let function_response = Some(FunctionResponse { id, name, response, parts });
    Ok(SentPart::written(PartOut { function_response, ..PartOut::default() }))
}
