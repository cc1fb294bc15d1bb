//! Messages of a request: the same JSON whether a client writes it or a server reads it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chat::{Content, Message, Part, Role, ToolCall};
use crate::error::{Error, Result};
use crate::media::ImageData;
use crate::wire::openai::body::about;
use crate::wire::openai::fields::{self, List, words};

const MAX_PARTS: usize = 4096;
const MAX_TOOL_CALLS: usize = 1024;

/// A message. A server ignores fields that it does not know: clients send back what they were sent.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub(crate) struct MessageJson<'a> {
    role: RoleJson,
    #[serde(default)]
    content: Option<ContentJson<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "fields::list::<_, _, 0, MAX_TOOL_CALLS>"
    )]
    tool_calls: Vec<ToolCallJson<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'a, str>>,
    /// The reasoning that came with an assistant's message. Clients send it only where the vendor takes it.
    #[serde(default, skip_serializing)]
    reasoning_content: Option<Cow<'a, str>>,
    /// What else a client sends: data that the provider attached and wants back.
    #[serde(flatten, skip_deserializing)]
    further: Map<String, Value>,
}

words! {
    enum RoleJson {
        System = "system",
        /// OpenAI's newer name for `system`.
        Developer = "developer",
        User = "user",
        Assistant = "assistant",
        Tool = "tool",
    }
}

/// A text, or texts and images in turn.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
enum ContentJson<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<PartJson<'a>>),
}

/// A part of a message: `text`, `refusal` or `image_url`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object", default)]
struct PartJson<'a> {
    r#type: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<ImageUrlJson<'a>>,
}

/// Where an image is, or the image itself as a `data:` URL.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object with a `url`", default)]
struct ImageUrlJson<'a> {
    url: Option<Cow<'a, str>>,
}

/// A call of a tool.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub(super) struct ToolCallJson<'a> {
    id: Cow<'a, str>,
    #[serde(default)]
    r#type: ToolType,
    function: FunctionCallJson<'a>,
    #[serde(flatten, skip_deserializing)]
    further: Map<String, Value>,
}

words! {
    #[derive(Default)]
    pub(super) enum ToolType {
        #[default]
        Function = "function",
    }
}

/// Which function is called with what.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
struct FunctionCallJson<'a> {
    name: Cow<'a, str>,
    #[serde(default)]
    arguments: Cow<'a, str>,
    #[serde(flatten, skip_deserializing)]
    further: Map<String, Value>,
}

impl<'a> MessageJson<'a> {
    /// The message as a request has it. Reasoning is sent back under the name `reasoning_field`, if there is
    /// one.
    pub(super) fn write(message: &'a Message, reasoning_field: Option<&str>) -> Self {
        const OWN: [&str; 5] = ["role", "content", "name", "tool_calls", "tool_call_id"];
        let mut further = without(&message.provider_data, &OWN);
        if let (Some(field), Some(reasoning)) = (reasoning_field, &message.reasoning)
            && !OWN.contains(&field)
        {
            further.insert(field.to_owned(), reasoning.as_str().into());
        }
        let only_calls = message.content.is_empty() && !message.tool_calls.is_empty();
        Self {
            role: RoleJson::of(message.role),
            content: (!only_calls).then(|| ContentJson::write(&message.content)),
            name: message.name.as_deref().map(Cow::Borrowed),
            tool_calls: message.tool_calls.iter().map(ToolCallJson::write).collect(),
            tool_call_id: message.tool_call_id.as_deref().map(Cow::Borrowed),
            reasoning_content: None,
            further,
        }
    }

    /// The message that a client sent.
    pub(super) fn into_message(self) -> Result<Message> {
        let content = self.content.map_or_else(|| Ok("".into()), ContentJson::into_content)?;
        let role = self.role.into_role();
        let mut message = Message::new(role, content);
        message.name = self.name.map(Cow::into_owned);
        message.tool_call_id = self.tool_call_id.map(Cow::into_owned);
        message.tool_calls = self.tool_calls.into_iter().map(ToolCallJson::into_call).collect();
        message.reasoning = self.reasoning_content.filter(|_| role == Role::Assistant).map(Cow::into_owned);
        Ok(message)
    }
}

impl RoleJson {
    fn of(role: Role) -> Self {
        match role {
            Role::System => Self::System,
            Role::User => Self::User,
            Role::Assistant => Self::Assistant,
            Role::Tool => Self::Tool,
        }
    }

    fn into_role(self) -> Role {
        match self {
            Self::System | Self::Developer => Role::System,
            Self::User => Role::User,
            Self::Assistant => Role::Assistant,
            Self::Tool => Role::Tool,
        }
    }
}

impl<'a> ContentJson<'a> {
    fn write(content: &'a Content) -> Self {
        match content.as_text() {
            Some(text) => Self::Text(text.into()),
            None => Self::Parts(content.parts().iter().map(PartJson::write).collect()),
        }
    }

    fn into_content(self) -> Result<Content> {
        match self {
            Self::Text(text) => Ok(text.into_owned().into()),
            Self::Parts(parts) => {
                let parts = parts.into_iter().map(PartJson::into_part);
                Ok(parts.collect::<Result<Vec<_>>>()?.into())
            }
        }
    }
}

impl<'de> Deserialize<'de> for ContentJson<'_> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Form<'a>(PhantomData<&'a ()>);

        impl<'de, 'a> Visitor<'de> for Form<'a> {
            type Value = ContentJson<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of parts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(ContentJson::Text(text.to_owned().into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Self::Value, A::Error> {
                List::<_, 0, MAX_PARTS>(PhantomData).visit_seq(parts).map(ContentJson::Parts)
            }
        }

        reader.deserialize_any(Form(PhantomData))
    }
}

impl<'a> PartJson<'a> {
    fn write(part: &'a Part) -> Self {
        match part {
            Part::Text { text } => Self { r#type: "text".into(), text: Some(text.into()), ..Self::default() },
            Part::Image { image } => Self::image(image.to_data_url().into()),
            Part::ImageUrl { url } => Self::image(url.into()),
        }
    }

    fn image(url: Cow<'a, str>) -> Self {
        let image_url = Some(ImageUrlJson { url: Some(url) });
        Self { r#type: "image_url".into(), image_url, ..Self::default() }
    }

    fn into_part(self) -> Result<Part> {
        let url = self.image_url.and_then(|image| image.url);
        match (&*self.r#type, self.text, self.refusal, url) {
            ("text", Some(text), ..) | ("refusal", _, Some(text), _) => {
                Ok(Part::Text { text: text.into_owned() })
            }
            ("image_url", .., Some(url)) => image_part(url.into_owned()),
            _ => {
                let message = "`messages`: a part is a text or an image_url with a `url`";
                Err(about("messages", Error::invalid_request(message)))
            }
        }
    }
}

fn image_part(url: String) -> Result<Part> {
    if !ImageData::is_data_url(&url) {
        return Ok(Part::ImageUrl { url });
    }
    match ImageData::from_base64(&url) {
        Ok(image) => Ok(Part::Image { image }),
        Err(error) => {
            let message = format!("`image_url`: {}", error.message());
            Err(about("messages", Error::invalid_request(message)))
        }
    }
}

impl<'a> ToolCallJson<'a> {
    /// The call as a request has it.
    fn write(call: &'a ToolCall) -> Self {
        let mut written = Self::response(call);
        if call.arguments.trim().is_empty() {
            // Chat templates parse the arguments: nothing at all would break them.
            written.function.arguments = "{}".into();
        }
        if let Some(inner) = call.provider_data.get("function").and_then(Value::as_object) {
            written.function.further = without(inner, &["name", "arguments"]);
        }
        written.further = without(&call.provider_data, &["id", "type", "function", "index"]);
        written
    }

    /// The call as a response has it: as the model wrote it.
    pub(super) fn response(call: &'a ToolCall) -> Self {
        let (name, arguments) = (call.name.as_str().into(), call.arguments.as_str().into());
        Self {
            id: call.id.as_str().into(),
            r#type: ToolType::Function,
            function: FunctionCallJson { name, arguments, further: Map::new() },
            further: Map::new(),
        }
    }

    fn into_call(self) -> ToolCall {
        ToolCall::new(self.id, self.function.name, self.function.arguments)
    }
}

fn without(map: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let kept = map.iter().filter(|(name, _)| !names.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
