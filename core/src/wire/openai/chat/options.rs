//! The options of a request: tools, which of them to call, the form of the answer, where it ends.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::message::ToolType;
use super::parts::cache_control;
use crate::chat::{OutputFormat, ReasoningEffort, Tool, ToolChoice};
use crate::error::{Error, Result};
use crate::wire::openai::body::about;
use crate::wire::openai::fields::{List, words};

const MAX_STOPS: usize = 256;

/// A tool that the model may call.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object", default)]
pub(crate) struct ToolJson<'a> {
    r#type: Cow<'a, str>,
    function: Option<FunctionJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    cache_control: Option<Value>,
}

/// A function: its name, what it does, and its arguments as a JSON Schema.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object", default)]
struct FunctionJson<'a> {
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Cow<'a, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl<'a> ToolJson<'a> {
    pub(super) fn write(tool: &'a Tool, cache_points: bool) -> Self {
        let function = FunctionJson {
            name: Some(tool.name.as_str().into()),
            description: Some(tool.description.as_str().into())
                .filter(|text: &Cow<'_, str>| !text.is_empty()),
            parameters: Some(Cow::Borrowed(&tool.parameters)),
            strict: tool.strict.then_some(true),
        };
        let cache_control = tool.cache.filter(|_| cache_points).map(cache_control);
        Self { r#type: "function".into(), function: Some(function), cache_control }
    }

    pub(super) fn into_tool(self) -> Result<Tool> {
        match self.function {
            Some(FunctionJson { name: Some(name), description, parameters, strict })
                if self.r#type == "function" =>
            {
                let no_arguments = || serde_json::json!({ "type": "object", "properties": {} });
                let parameters = parameters.map_or_else(no_arguments, Cow::into_owned);
                let tool = Tool::new(name, description.unwrap_or_default(), parameters);
                Ok(tool.with_strict(strict.unwrap_or_default()))
            }
            _ => {
                let message = "`tools`: a tool has the type function and a function with a name";
                Err(about("tools", Error::invalid_request(message)))
            }
        }
    }
}

/// A word, or the function to call.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(crate) enum ToolChoiceJson<'a> {
    Word(Cow<'a, str>),
    Function(NamedToolJson<'a>),
}

/// The function to call.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object", default)]
pub(crate) struct NamedToolJson<'a> {
    r#type: ToolType,
    function: Option<FunctionJson<'a>>,
}

impl<'a> ToolChoiceJson<'a> {
    pub(super) fn write(choice: &'a ToolChoice) -> Self {
        match choice {
            ToolChoice::Auto => Self::Word("auto".into()),
            ToolChoice::None => Self::Word("none".into()),
            ToolChoice::Required => Self::Word("required".into()),
            ToolChoice::Tool(name) => Self::Function(NamedToolJson {
                r#type: ToolType::Function,
                function: Some(FunctionJson { name: Some(name.as_str().into()), ..FunctionJson::default() }),
            }),
        }
    }

    pub(super) fn into_choice(self) -> Result<ToolChoice> {
        let refuse = |message: &str| Err(about("tool_choice", Error::invalid_request(message)));
        match self {
            Self::Word(word) => match &*word {
                "auto" => Ok(ToolChoice::Auto),
                "none" => Ok(ToolChoice::None),
                "required" => Ok(ToolChoice::Required),
                _ => refuse("`tool_choice` is unknown; valid: auto, none, required, or a function"),
            },
            Self::Function(NamedToolJson {
                function: Some(FunctionJson { name: Some(name), .. }), ..
            }) => Ok(ToolChoice::Tool(name.into_owned())),
            Self::Function(_) => refuse("`tool_choice` names no function"),
        }
    }
}

impl<'de> Deserialize<'de> for ToolChoiceJson<'_> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Form<'a>(PhantomData<&'a ()>);

        impl<'de, 'a> Visitor<'de> for Form<'a> {
            type Value = ToolChoiceJson<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("auto, none, required, or an object that names a function")
            }

            fn visit_str<E>(self, word: &str) -> Result<Self::Value, E> {
                Ok(ToolChoiceJson::Word(word.to_owned().into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                NamedToolJson::deserialize(MapAccessDeserializer::new(fields)).map(ToolChoiceJson::Function)
            }
        }

        reader.deserialize_any(Form(PhantomData))
    }
}

/// The form of the answer.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object", default)]
pub(crate) struct ResponseFormatJson<'a> {
    r#type: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<JsonSchemaJson<'a>>,
}

/// A JSON Schema and its name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object", default)]
struct JsonSchemaJson<'a> {
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    schema: Option<Cow<'a, Value>>,
    strict: Option<bool>,
}

impl<'a> ResponseFormatJson<'a> {
    /// Nothing for text, which is what comes without being asked for.
    pub(super) fn write(output: &'a OutputFormat) -> Option<Self> {
        match output {
            OutputFormat::Text => None,
            OutputFormat::Json => Some(Self { r#type: "json_object".into(), json_schema: None }),
            OutputFormat::JsonSchema { name, description, schema, strict } => Some(Self {
                r#type: "json_schema".into(),
                json_schema: Some(JsonSchemaJson {
                    name: Some(name.into()),
                    description: description.as_deref().map(Cow::Borrowed),
                    schema: Some(Cow::Borrowed(schema)),
                    strict: Some(*strict),
                }),
            }),
        }
    }

    pub(super) fn into_output(self) -> Result<OutputFormat> {
        match (&*self.r#type, self.json_schema) {
            ("text", _) => Ok(OutputFormat::Text),
            ("json_object", _) => Ok(OutputFormat::Json),
            ("json_schema", Some(JsonSchemaJson { name, description, schema: Some(schema), strict }))
                if schema.is_object() =>
            {
                let name = name.filter(|name| !name.is_empty()).unwrap_or("answer".into());
                let (name, schema) = (name.into_owned(), schema.into_owned());
                let description = description.map(Cow::into_owned);
                Ok(OutputFormat::JsonSchema { name, description, schema, strict: strict.unwrap_or_default() })
            }
            _ => {
                let message =
                    "`response_format` is unknown; valid: text, json_object, json_schema with a schema";
                Err(about("response_format", Error::invalid_request(message)))
            }
        }
    }
}

words! {
    /// How much to reason before answering.
    pub(crate) enum ReasoningEffortJson {
        None = "none",
        /// Less than low; here the same.
        Minimal = "minimal",
        Low = "low",
        Medium = "medium",
        High = "high",
        /// More than high; here the same.
        ExtraHigh = "xhigh",
    }
}

impl ReasoningEffortJson {
    pub(super) fn of(effort: ReasoningEffort) -> Self {
        match effort {
            ReasoningEffort::None => Self::None,
            ReasoningEffort::Low => Self::Low,
            ReasoningEffort::Medium => Self::Medium,
            ReasoningEffort::High => Self::High,
        }
    }

    pub(super) fn into_effort(self) -> ReasoningEffort {
        match self {
            Self::None => ReasoningEffort::None,
            Self::Minimal | Self::Low => ReasoningEffort::Low,
            Self::Medium => ReasoningEffort::Medium,
            Self::High | Self::ExtraHigh => ReasoningEffort::High,
        }
    }
}

/// What a stream says besides the answer.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub(crate) struct StreamOptionsJson {
    /// Whether the stream ends with a chunk that holds the usage.
    #[serde(default)]
    include_usage: Option<bool>,
}

impl StreamOptionsJson {
    /// Asks for the usage.
    pub(crate) fn with_usage() -> Self {
        Self { include_usage: Some(true) }
    }

    pub(super) fn include_usage(&self) -> bool {
        self.include_usage == Some(true)
    }
}

/// A text, or a list of texts.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct StopJson<'a>(Vec<Cow<'a, str>>);

impl<'a> StopJson<'a> {
    pub(super) fn write(texts: &'a [String]) -> Self {
        Self(texts.iter().map(Cow::from).collect())
    }

    pub(super) fn into_texts(self) -> Vec<String> {
        self.0.into_iter().map(Cow::into_owned).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for StopJson<'_> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Form<'a>(PhantomData<&'a ()>);

        impl<'de, 'a> Visitor<'de> for Form<'a> {
            type Value = StopJson<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(StopJson::default())
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(StopJson(vec![text.to_owned().into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, texts: A) -> Result<Self::Value, A::Error> {
                List::<_, 0, MAX_STOPS>(PhantomData).visit_seq(texts).map(StopJson)
            }
        }

        reader.deserialize_any(Form(PhantomData))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for StopJson<'_> {
    fn schema_name() -> Cow<'static, str> {
        "StopJson".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let text = serde_json::json!({ "type": "string" });
        schemars::json_schema!({ "anyOf": [text, { "type": "array", "items": text }, { "type": "null" }] })
    }
}
