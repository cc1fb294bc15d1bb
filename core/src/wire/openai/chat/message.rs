//! Messages of a request: the same JSON whether a client writes it or a server reads it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::parts::ContentJson;
use super::rules::MessageStyle;
use crate::chat::{Message, Role, ToolCall};
use crate::error::Result;
use crate::wire::openai::fields::{self, words};

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
    /// The message as a request to a vendor has it.
    ///
    /// # Errors
    /// Those of [`ContentJson::write`].
    pub(super) fn write(message: &'a Message, style: &MessageStyle<'_>) -> Result<Self> {
        const OWN: [&str; 5] = ["role", "content", "name", "tool_calls", "tool_call_id"];
        let returned = |name: &str| !OWN.contains(&name) && style.returns_message_field(name);
        let mut further = only(&message.provider_data, returned);
        if let (Some(field), Some(reasoning)) =
            (style.reasoning_field(!message.tool_calls.is_empty()), &message.reasoning)
            && !OWN.contains(&field)
        {
            further.insert(field.to_owned(), reasoning.as_str().into());
        }
        let only_calls = message.content.is_empty() && !message.tool_calls.is_empty();
        let without_content = only_calls && !(style.has_thinking_parts() && message.reasoning.is_some());
        Ok(Self {
            role: RoleJson::of(message.role, style.rules.developer_role),
            content: match without_content {
                true => None,
                false => Some(ContentJson::write(message, style)?),
            },
            name: message.name.as_deref().map(Cow::Borrowed),
            tool_calls: message.tool_calls.iter().map(|call| ToolCallJson::write(call, style)).collect(),
            tool_call_id: message.tool_call_id.as_deref().map(Cow::Borrowed),
            reasoning_content: None,
            further,
        })
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
    fn of(role: Role, has_developer: bool) -> Self {
        match role {
            Role::Developer if has_developer => Self::Developer,
            Role::System | Role::Developer => Self::System,
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

impl<'a> ToolCallJson<'a> {
    /// The call as a request has it.
    fn write(call: &'a ToolCall, style: &MessageStyle<'_>) -> Self {
        let mut written = Self::response(call);
        if call.arguments.trim().is_empty() {
            // Chat templates parse the arguments: nothing at all would break them.
            written.function.arguments = "{}".into();
        }
        if let Some(inner) = call.provider_data.get("function").and_then(Value::as_object)
            && style.returns_call_field("function")
        {
            written.function.further = only(inner, |name| !matches!(name, "name" | "arguments"));
        }
        let is_own = |name: &str| matches!(name, "id" | "type" | "function" | "index");
        written.further = only(&call.provider_data, |name| !is_own(name) && style.returns_call_field(name));
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

fn only(map: &Map<String, Value>, keeps: impl Fn(&str) -> bool) -> Map<String, Value> {
    let kept = map.iter().filter(|(name, _)| keeps(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
