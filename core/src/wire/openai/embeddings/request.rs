//! What to embed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::EncodingFormat;
use crate::embed::EmbedRequest;
use crate::error::{Error, Result};
use crate::wire::openai::MAX_MODEL_CHARS;
use crate::wire::openai::body::{self, about};
use crate::wire::openai::fields::{self, Ignored};

/// The most texts of one request.
pub(super) const MAX_INPUTS: usize = 2048;

/// Embeddings that a client asks a server for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EmbeddingsRequest {
    /// The model, by the name that the server gave it.
    pub model: String,
    /// The texts, and how to embed them.
    pub request: EmbedRequest,
    /// How to write the vectors.
    pub encoding_format: EncodingFormat,
}

impl EmbeddingsRequest {
    /// Reads the body of `POST /embeddings`.
    ///
    /// # Errors
    /// `invalid_request` naming the field that is wrong; `unsupported` for token ids.
    pub fn read(body: &[u8]) -> Result<Self> {
        let body: EmbeddingsBody<'_> = body::read(body)?;
        let InputJson { texts, count, has_token_ids } = body.input;
        let refuse = |error: Error| Err(about("input", error));
        if count == 0 || count > MAX_INPUTS {
            let message = format!("`input` has {count} texts; it must have 1 to {MAX_INPUTS}");
            return refuse(Error::invalid_request(message));
        }
        if has_token_ids {
            return refuse(Error::unsupported("`input` of token ids is not offered: send texts"));
        }
        let mut request = EmbedRequest::texts(texts);
        request.dimensions = body.dimensions;
        let encoding_format = body.encoding_format.unwrap_or(EncodingFormat::Float);
        Ok(Self { model: body.model.into_owned(), request, encoding_format })
    }
}

/// The body of `POST /embeddings`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(crate) struct EmbeddingsBody<'a> {
    /// The model that embeds.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[serde(deserialize_with = "fields::text::<_, MAX_MODEL_CHARS>")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_MODEL_CHARS)))]
    model: Cow<'a, str>,
    /// A text, or a list of texts.
    input: InputJson<'a>,
    /// How the vectors are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding_format: Option<EncodingFormat>,
    /// Shortens the vectors to this width, for models trained to allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::whole::<_, _, 1, 65_536>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 65_536)))]
    dimensions: Option<usize>,
    #[serde(default, skip_serializing_if = "Ignored::is_left_out")]
    user: Ignored,
    /// What else a client sends, in the vendor's own words.
    #[serde(flatten, skip_deserializing)]
    pub(crate) further: Map<String, Value>,
}

impl<'a> EmbeddingsBody<'a> {
    /// The body that asks `model` for the vectors of `texts`.
    pub(crate) fn write(
        model: &'a str,
        texts: Vec<Cow<'a, str>>,
        dimensions: Option<usize>,
        encoding_format: Option<EncodingFormat>,
    ) -> Self {
        let input = InputJson { count: texts.len(), texts, has_token_ids: false };
        Self { model: model.into(), input, encoding_format, dimensions, user: Ignored, further: Map::new() }
    }

    /// Adds the caller's further fields, except those that are set already.
    pub(crate) fn add_extra(&mut self, extra: &Map<String, Value>) {
        const OWN: [&str; 3] = ["model", "input", "encoding_format"];
        for (name, value) in extra {
            let is_set = OWN.contains(&name.as_str()) || (name == "dimensions" && self.dimensions.is_some());
            if !is_set && !self.further.contains_key(name) {
                self.further.insert(name.clone(), value.clone());
            }
        }
    }
}

/// What to embed. Of more texts than a request may have only the number is kept, of token ids nothing.
#[derive(Debug, Default)]
struct InputJson<'a> {
    texts: Vec<Cow<'a, str>>,
    count: usize,
    has_token_ids: bool,
}

impl Serialize for InputJson<'_> {
    fn serialize<S: serde::Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        writer.collect_seq(&self.texts)
    }
}

impl<'de> Deserialize<'de> for InputJson<'_> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Form<'a>(PhantomData<&'a ()>);

        impl<'de, 'a> Visitor<'de> for Form<'a> {
            type Value = InputJson<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(InputJson { texts: vec![text.to_owned().into()], count: 1, has_token_ids: false })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut input = InputJson::default();
                while input.count < MAX_INPUTS && !input.has_token_ids {
                    match items.next_element()? {
                        None => return Ok(input),
                        Some(ItemJson::Text(text)) => input.texts.push(text.into()),
                        Some(ItemJson::TokenIds) => input.has_token_ids = true,
                    }
                    input.count += 1;
                }
                while items.next_element::<IgnoredAny>()?.is_some() {
                    input.count += 1;
                }
                Ok(input)
            }
        }

        reader.deserialize_any(Form(PhantomData))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for InputJson<'_> {
    fn schema_name() -> Cow<'static, str> {
        "InputJson".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let text = serde_json::json!({ "type": "string" });
        let texts =
            serde_json::json!({ "type": "array", "items": text, "minItems": 1, "maxItems": MAX_INPUTS });
        schemars::json_schema!({ "anyOf": [text, texts] })
    }
}

/// One of several inputs.
enum ItemJson {
    Text(String),
    TokenIds,
}

impl<'de> Deserialize<'de> for ItemJson {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = ItemJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(ItemJson::Text(text.to_owned()))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(ItemJson::TokenIds)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut ids: A) -> Result<Self::Value, A::Error> {
                while ids.next_element::<IgnoredAny>()?.is_some() {}
                Ok(ItemJson::TokenIds)
            }
        }

        reader.deserialize_any(Form)
    }
}
