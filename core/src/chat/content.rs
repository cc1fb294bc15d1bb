//! What a message says: texts, images, files, and what a provider did on the way.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::media::{FileData, ImageData};

/// What a message says: text, or a list of parts. In JSON a string or a list of parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content(Vec<Part>);

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", tag = "type")]
#[non_exhaustive]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// An encoded image.
    Image {
        /// The image.
        image: ImageData,
        /// How closely the model looks at it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<ImageDetail>,
    },
    /// An image that the backend fetches itself.
    ImageUrl {
        /// Where it is.
        url: String,
        /// Its media type, where the URL does not show it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media_type: Option<String>,
        /// How closely the model looks at it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<ImageDetail>,
    },
    /// An encoded document, sound or video.
    File {
        /// The file.
        file: FileData,
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A document, sound or video that the backend fetches itself.
    FileUrl {
        /// Where it is.
        url: String,
        /// Its media type, where the URL does not show it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        media_type: Option<String>,
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A file that was uploaded to the provider before.
    FileId {
        /// The provider's id of the file.
        id: String,
    },
    /// A hint: everything up to here is worth keeping in the provider's prompt cache. Backends whose caches need no
    /// such hint leave it out.
    CachePoint {
        /// How long to keep it.
        #[serde(default)]
        ttl: CacheTtl,
    },
    /// A tool that the provider runs itself: web search, code execution.
    ServerToolCall {
        /// The call's id, where the provider gives one.
        #[serde(default)]
        id: String,
        /// The tool's name.
        name: String,
        /// What the tool is called with.
        #[serde(default)]
        arguments: Value,
    },
    /// What a tool of the provider answered.
    ServerToolResult {
        /// The id of the call, where the provider gives one.
        #[serde(default)]
        id: String,
        /// The tool's name.
        name: String,
        /// The answer.
        #[serde(default)]
        result: Value,
    },
    /// A part that ayni does not know, in the provider's own words.
    Raw {
        /// The part.
        data: Value,
    },
}

/// How closely a model looks at an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ImageDetail {
    /// The model decides.
    Auto,
    /// At a low resolution, for few tokens.
    Low,
    /// At a high resolution.
    High,
    /// As it is.
    Original,
}

impl ImageDetail {
    /// `auto`, `low`, `high` or `original`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Low => "low",
            Self::High => "high",
            Self::Original => "original",
        }
    }
}

/// How long a prompt cache keeps what is before a [`Part::CachePoint`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CacheTtl {
    /// A few minutes, as the provider usually does.
    #[default]
    Short,
    /// An hour.
    Hour,
}

impl Part {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// An encoded image.
    pub fn image(image: ImageData) -> Self {
        Self::Image { image, detail: None }
    }

    /// An image that the backend fetches itself.
    pub fn image_url(url: impl Into<String>) -> Self {
        Self::ImageUrl { url: url.into(), media_type: None, detail: None }
    }

    /// An encoded document, sound or video.
    pub fn file(file: FileData) -> Self {
        Self::File { file, name: None }
    }

    /// What the part is, for a message about it: its `type` in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Image { .. } => "image",
            Self::ImageUrl { .. } => "image_url",
            Self::File { .. } => "file",
            Self::FileUrl { .. } => "file_url",
            Self::FileId { .. } => "file_id",
            Self::CachePoint { .. } => "cache_point",
            Self::ServerToolCall { .. } => "server_tool_call",
            Self::ServerToolResult { .. } => "server_tool_result",
            Self::Raw { .. } => "raw",
        }
    }

    /// Whether the part is a provider's own: it means nothing to any other, which is not sent it.
    pub(crate) const fn is_providers_own(&self) -> bool {
        matches!(self, Self::ServerToolCall { .. } | Self::ServerToolResult { .. } | Self::Raw { .. })
    }

    /// Whether the part says something to any model: neither a hint for a cache, nor a provider's own.
    #[cfg(feature = "candle")]
    pub(crate) const fn is_for_any_model(&self) -> bool {
        !self.is_providers_own() && !matches!(self, Self::CachePoint { .. })
    }

    /// Every value of `type`.
    const KINDS: [&'static str; 10] = [
        "text",
        "image",
        "image_url",
        "file",
        "file_url",
        "file_id",
        "cache_point",
        "server_tool_call",
        "server_tool_result",
        "raw",
    ];
}

impl Content {
    /// The pieces, in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// The text, if the content is nothing else.
    pub fn as_text(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text { text }] => Some(text),
            _ => None,
        }
    }

    /// Every text piece, joined by line breaks.
    pub fn to_text(&self) -> String {
        let texts = self.0.iter().filter_map(|part| match part {
            Part::Text { text } => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|part| match part {
            Part::Text { text } => text.is_empty(),
            Part::CachePoint { .. } => true,
            _ => false,
        })
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self(vec![Part::Text { text }])
    }
}

impl From<Vec<Part>> for Content {
    fn from(parts: Vec<Part>) -> Self {
        Self(parts)
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_text() {
            Some(text) => serializer.serialize_str(text),
            None => self.0.serialize(serializer),
        }
    }
}

/// A fault names the part that it is about.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of parts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(text.into())
            }

            fn visit_string<E>(self, text: String) -> Result<Content, E> {
                Ok(text.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = items.next_element_seed(PartAt(parts.len()))? {
                    parts.push(part);
                }
                Ok(Content(parts))
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// Reads the part at a position.
struct PartAt(usize);

impl<'de> DeserializeSeed<'de> for PartAt {
    type Value = Part;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Part, D::Error> {
        let Self(position) = self;
        let value = Value::deserialize(deserializer)?;
        let kind = match value.get("type") {
            Some(Value::String(kind)) => kind.clone(),
            _ => return Err(D::Error::custom(format_args!("content part {position} has no `type`"))),
        };
        if !Part::KINDS.contains(&kind.as_str()) {
            let valid = Part::KINDS.join(", ");
            let shown: String =
                kind.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect();
            return Err(D::Error::custom(format_args!(
                "content part {position} has the unknown type '{shown}'; valid: {valid}"
            )));
        }
        Part::deserialize(value)
            .map_err(|error| D::Error::custom(format_args!("content part {position} ({kind}): {error}")))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Content {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Content".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let part = generator.subschema_for::<Part>();
        schemars::json_schema!({
            "description": "What a message says: text, or a list of parts. In JSON a string or a list of parts.",
            "anyOf": [{ "type": "string" }, { "type": "array", "items": part }],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(content: Value) -> Result<Content, String> {
        serde_json::from_value(content).map_err(|error| error.to_string())
    }

    #[test]
    fn every_part_is_written_with_its_kind_and_read_back() {
        let file = FileData::new(&b"%PDF-1.7 ..."[..], "application/pdf");
        let parts = vec![
            Part::text("a"),
            Part::Image { image: ImageData::with_media_type(&b"\x89PNG"[..], "image/png"), detail: None },
            Part::ImageUrl {
                url: "https://a.test/x".into(),
                media_type: Some("image/png".into()),
                detail: Some(ImageDetail::Low),
            },
            Part::File { file, name: Some("a.pdf".into()) },
            Part::FileUrl { url: "https://a.test/x.mp4".into(), media_type: None, name: None },
            Part::FileId { id: "file-1".into() },
            Part::CachePoint { ttl: CacheTtl::Hour },
            Part::ServerToolCall {
                id: "1".into(),
                name: "web_search".into(),
                arguments: json!({ "q": "a" }),
            },
            Part::ServerToolResult { id: "1".into(), name: "web_search".into(), result: json!([]) },
            Part::Raw { data: json!({ "new": true }) },
        ];
        let kinds: Vec<&str> = parts.iter().map(Part::kind).collect();
        assert_eq!(kinds, Part::KINDS);
        let content = Content::from(parts);
        let written = serde_json::to_value(&content).expect("JSON");
        for (part, kind) in written.as_array().expect("a list").iter().zip(kinds) {
            assert_eq!(part["type"], kind);
        }
        assert_eq!(read(written), Ok(content));
        assert_eq!(read(json!("hola")), Ok("hola".into()));
    }

    #[test]
    fn a_fault_names_its_part() {
        for (content, message) in [
            (json!([{ "type": "text", "text": "a" }, { "text": "b" }]), "content part 1 has no `type`"),
            (
                json!([{ "type": "video" }]),
                "content part 0 has the unknown type 'video'; valid: text, image,",
            ),
            (json!([{ "type": "text" }]), "content part 0 (text): missing field `text`"),
            (json!(5), "expected a text or a list of parts"),
        ] {
            let error = read(content).expect_err(message);
            assert!(error.contains(message), "{error}");
        }
    }
}
