//! What to embed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::EncodingFormat;
use crate::embed::{AnyEmbedder, EmbedInput, EmbedRequest, Truncation};
use crate::error::{Error, ErrorKind, Result};
use crate::wire::openai::MAX_MODEL_CHARS;
use crate::wire::openai::body::{self, about};
use crate::wire::openai::fields::{self, Ignored};

/// The most texts of one request.
pub(super) const MAX_INPUTS: usize = 2048;

/// The most token ids of one text.
const MAX_TOKENS: usize = 100_000;

/// Embeddings that a client asks a server for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EmbeddingsRequest {
    /// The model, by the name that the server gave it.
    pub model: String,
    /// The texts, and how to embed them.
    pub request: EmbedRequest,
    /// Texts that the client sends as the model's own tokens, in place of those of the request.
    pub tokens: Vec<Vec<u32>>,
    /// How to write the vectors.
    pub encoding_format: EncodingFormat,
    /// The fields that count for nothing here: the response names them.
    pub ignored: Vec<String>,
}

impl EmbeddingsRequest {
    /// Reads the body of `POST /embeddings`.
    ///
    /// # Errors
    /// `invalid_request` naming the field that is wrong.
    pub fn read(body: &[u8]) -> Result<Self> {
        let body: EmbeddingsBody<'_> = body::read(body)?;
        let InputJson { texts, tokens, count } = body.input;
        if count == 0 || count > MAX_INPUTS {
            let message = format!("`input` has {count} texts; it must have 1 to {MAX_INPUTS}");
            return Err(about("input", Error::invalid_request(message)));
        }
        let mut request = EmbedRequest::texts(texts);
        request.dimensions = body.dimensions;
        let mut ignored = Vec::new();
        for (name, value) in &body.further {
            match (name.as_str(), truncation(value)) {
                ("truncate" | "truncation", Some(truncation)) => request.truncation = truncation,
                _ => ignored.push(name.chars().filter(|c| !c.is_control()).take(80).collect()),
            }
        }
        let encoding_format = body.encoding_format.unwrap_or(EncodingFormat::Float);
        Ok(Self { model: body.model.into_owned(), request, tokens, encoding_format, ignored })
    }

    /// The request for an embedder: tokens become the texts that they stand for.
    ///
    /// # Errors
    /// `invalid_request` where the embedder does not know its tokens, and for a number that is none.
    pub(crate) fn request_for(mut self, embedder: &AnyEmbedder) -> Result<EmbedRequest> {
        if self.tokens.is_empty() {
            return Ok(self.request);
        }
        let text_of = |tokens: &Vec<u32>| embedder.text_of_tokens(tokens).map(EmbedInput::Text);
        let texts = self.tokens.iter().map(text_of).collect::<Result<_>>().map_err(|error| {
            let message = match error.kind() {
                ErrorKind::Unsupported => {
                    "`input`: this model's tokens are not known here; send texts".to_owned()
                }
                ErrorKind::InvalidRequest => {
                    format!("`input`: {}; send texts, or ids of the model's own tokenizer", error.message())
                }
                _ => return error,
            };
            about("input", Error::invalid_request(message))
        })?;
        self.request.inputs = texts;
        Ok(self.request)
    }
}

/// What to do with a text that is too long, as servers and clients of several makers write it.
fn truncation(value: &Value) -> Option<Truncation> {
    match value {
        Value::Bool(true) => Some(Truncation::End),
        Value::Bool(false) => Some(Truncation::Refuse),
        Value::String(word) if word.eq_ignore_ascii_case("end") => Some(Truncation::End),
        Value::String(word) if word.eq_ignore_ascii_case("none") => Some(Truncation::Refuse),
        _ => None,
    }
}

/// The body of `POST /embeddings`.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub(crate) struct EmbeddingsBody<'a> {
    /// The model that embeds.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[serde(deserialize_with = "fields::text::<_, MAX_MODEL_CHARS>")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_MODEL_CHARS)))]
    model: Cow<'a, str>,
    /// A text or a list of texts; also as ids of the model's own tokens, where it runs in this process.
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
    #[serde(flatten)]
    #[cfg_attr(feature = "schema", schemars(skip))]
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
        let input = InputJson { count: texts.len(), texts, tokens: Vec::new() };
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

/// What to embed: texts, or the tokens of each. Of more than a request may have only the number is kept.
#[derive(Debug, Default)]
struct InputJson<'a> {
    texts: Vec<Cow<'a, str>>,
    tokens: Vec<Vec<u32>>,
    count: usize,
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
                f.write_str("a text, a list of texts, or a list of token ids")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(InputJson { texts: vec![text.to_owned().into()], count: 1, tokens: Vec::new() })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut input = InputJson::default();
                while input.count < MAX_INPUTS {
                    match items.next_element()? {
                        None => return Ok(input),
                        Some(ItemJson::Text(text)) if input.tokens.is_empty() => {
                            input.texts.push(text.into())
                        }
                        Some(ItemJson::Tokens(tokens)) if input.texts.is_empty() => input.tokens.push(tokens),
                        Some(ItemJson::Token(first)) if input.count == 0 => {
                            input.tokens.push(one_text(first, &mut items)?);
                            return Ok(InputJson { count: 1, ..input });
                        }
                        Some(_) => return Err(A::Error::custom("texts and token ids are mixed")),
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
        let list = |items: &Value, most: usize| serde_json::json!({ "type": "array", "items": items, "minItems": 1, "maxItems": most });
        let text = serde_json::json!({ "type": "string" });
        let tokens = list(&serde_json::json!({ "type": "integer", "minimum": 0 }), MAX_TOKENS);
        schemars::json_schema!({ "anyOf": [text, list(&text, MAX_INPUTS), tokens, list(&tokens, MAX_INPUTS)] })
    }
}

/// The rest of a list of token ids.
fn one_text<'de, A: SeqAccess<'de>>(first: u32, ids: &mut A) -> Result<Vec<u32>, A::Error> {
    let mut tokens = vec![first];
    while let Some(token) = ids.next_element()? {
        if tokens.len() == MAX_TOKENS {
            return Err(A::Error::custom(format_args!("has more than {MAX_TOKENS} token ids")));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// One of several inputs.
enum ItemJson {
    Text(String),
    Tokens(Vec<u32>),
    Token(u32),
}

impl<'de> Deserialize<'de> for ItemJson {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = ItemJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or token ids")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(ItemJson::Text(text.to_owned()))
            }

            fn visit_u64<E: serde::de::Error>(self, token: u64) -> Result<Self::Value, E> {
                let token = u32::try_from(token);
                token.map(ItemJson::Token).map_err(|_| E::custom("a token id is too large"))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut ids: A) -> Result<Self::Value, A::Error> {
                match ids.next_element()? {
                    Some(first) => one_text(first, &mut ids).map(ItemJson::Tokens),
                    None => Err(A::Error::custom("a list of token ids is empty")),
                }
            }
        }

        reader.deserialize_any(Form)
    }
}
