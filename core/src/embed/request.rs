//! What to embed, and how.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::media::ImageData;

/// What to embed, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EmbedRequest {
    /// The inputs, in the order of the vectors. Shared, so that a retry copies no text.
    pub inputs: Arc<[EmbedInput]>,
    /// Which side of a search the inputs are on, for models that embed queries and documents differently.
    pub role: Option<EmbedRole>,
    /// Shortens the vectors to this width, for models trained for it (Matryoshka).
    pub dimensions: Option<usize>,
    /// What to do with an input longer than the model's window: cut it and say so (the default), or fail
    /// with `context_too_long`.
    pub truncation: Truncation,
    /// Further fields of the request body, sent as they are. Fields that ayni sets itself take precedence.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

impl EmbedRequest {
    /// A request for any inputs.
    pub fn new(inputs: impl IntoIterator<Item = EmbedInput>) -> Self {
        Self { inputs: inputs.into_iter().collect(), ..Self::default() }
    }

    /// A request for texts.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::new(texts.into_iter().map(|text| EmbedInput::Text(text.into())))
    }

    /// A request for images.
    pub fn images(images: impl IntoIterator<Item = ImageData>) -> Self {
        Self::new(images.into_iter().map(EmbedInput::Image))
    }

    /// Says which side of a search the inputs are on.
    pub fn with_role(mut self, role: EmbedRole) -> Self {
        self.role = Some(role);
        self
    }

    /// Shortens the vectors.
    pub fn with_dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Says what to do with inputs longer than the window.
    pub fn with_truncation(mut self, truncation: Truncation) -> Self {
        self.truncation = truncation;
        self
    }

    /// Adds a field to the request body.
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// The texts of the request.
    ///
    /// # Errors
    /// `unsupported` if one of the inputs is an image.
    pub fn text_inputs(&self) -> Result<Vec<&str>> {
        self.inputs
            .iter()
            .map(|input| match input {
                EmbedInput::Text(text) => Ok(text.as_str()),
                EmbedInput::Image(_) => {
                    let message = "this backend embeds text only; the request holds an image";
                    Err(Error::unsupported_option("image", message))
                }
            })
            .collect()
    }

    /// Fails on what most backends don't accept: what [`check_inputs`](Self::check_inputs) refuses, and further fields,
    /// which only a backend with a request body can send. One that sends them calls `check_inputs` alone.
    ///
    /// # Errors
    /// `invalid_request`; `unsupported` for further fields.
    pub fn check(&self, max_batch: Option<usize>) -> Result<()> {
        self.check_inputs(max_batch)?;
        match self.extra.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::unsupported(format!(
                "this backend takes no further fields of a request (`extra`: '{name}')"
            ))),
        }
    }

    /// Fails on what no backend accepts: an empty list, more inputs than `max_batch`.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check_inputs(&self, max_batch: Option<usize>) -> Result<()> {
        if self.inputs.is_empty() {
            return Err(Error::invalid_request("the list of inputs is empty"));
        }
        match max_batch {
            Some(most) if self.inputs.len() > most => Err(Error::invalid_request(format!(
                "{} inputs in one request; this backend takes {most}. An `AnyEmbedder` splits larger requests",
                self.inputs.len()
            ))),
            _ => Ok(()),
        }
    }
}

/// One thing to embed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EmbedInput {
    /// A text.
    Text(String),
    /// An encoded image (JPEG, PNG, WebP …).
    Image(ImageData),
}

/// Which side of a search an input is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EmbedRole {
    /// A query.
    Query,
    /// A document to be found.
    Document,
}

impl EmbedRole {
    /// `query` or `document`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Document => "document",
        }
    }
}

/// What to do with an input longer than the model's window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Truncation {
    /// Cut it at the end and say so in the response.
    #[default]
    End,
    /// Fail with `context_too_long`.
    Refuse,
}
