//! The messages of a conversation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::content::Content;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// The application, instructing the model.
    System,
    /// The application again, where a vendor tells its developers' instructions from its own. Others take it as
    /// [`System`](Self::System).
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool, answering a call of the model.
    Tool,
}

impl Role {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// Whether the application speaks: `system` or `developer`.
    pub const fn instructs(self) -> bool {
        matches!(self, Self::System | Self::Developer)
    }
}

/// Data that a provider attached and wants back unchanged, such as thought signatures.
pub type ProviderData = Map<String, Value>;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    #[serde(default)]
    pub content: Content,
    /// The speaker's name, where the backend takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The reasoning that came with an assistant's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The tools that an assistant's message calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool's message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Data that the provider attached to the message and wants back.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub provider_data: ProviderData,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: Role, content: impl Into<Content>) -> Self {
        Self {
            role,
            content: content.into(),
            name: None,
            reasoning: None,
            tool_calls: Vec::new(),
            tool_call_id: None,
            provider_data: Map::new(),
        }
    }

    /// The application's instruction.
    pub fn system(content: impl Into<Content>) -> Self {
        Self::new(Role::System, content)
    }

    /// What the person says.
    pub fn user(content: impl Into<Content>) -> Self {
        Self::new(Role::User, content)
    }

    /// What the model said.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// A tool's answer to the call `tool_call_id`.
    pub fn tool(tool_call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self { tool_call_id: Some(tool_call_id.into()), ..Self::new(Role::Tool, content) }
    }

    /// Names the speaker.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the reasoning.
    pub fn with_reasoning(mut self, reasoning: Option<String>) -> Self {
        self.reasoning = reasoning;
        self
    }

    /// Sets the calls of an assistant's message.
    pub fn with_tool_calls(mut self, tool_calls: Vec<ToolCall>) -> Self {
        self.tool_calls = tool_calls;
        self
    }

    /// Sets the provider's data.
    pub fn with_provider_data(mut self, provider_data: ProviderData) -> Self {
        self.provider_data = provider_data;
        self
    }
}

/// A tool that the model wants called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ToolCall {
    /// The id of the call, which the tool's answer repeats. Generated where the backend gives none.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments: JSON text exactly as the model wrote it, which may not be valid JSON.
    pub arguments: String,
    /// Data that the provider attached to the call and wants back.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub provider_data: ProviderData,
}

impl ToolCall {
    /// A call.
    pub fn new(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { id: id.into(), name: name.into(), arguments: arguments.into(), provider_data: Map::new() }
    }

    /// Sets the provider's data.
    pub fn with_provider_data(mut self, provider_data: ProviderData) -> Self {
        self.provider_data = provider_data;
        self
    }

    /// The arguments as JSON. No arguments at all read as an empty object.
    ///
    /// # Errors
    /// `response_invalid` if the model wrote something else.
    pub fn parse_arguments(&self) -> crate::Result<Value> {
        if self.arguments.trim().is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        serde_json::from_str(&self.arguments).map_err(|error| {
            crate::Error::response_invalid(format!(
                "the model's arguments for tool '{}' are not JSON (line {}, column {})",
                self.name,
                error.line(),
                error.column()
            ))
        })
    }
}
