//! The parts of a message's content: texts, images and files.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rules::{FileDialect, MessageStyle};
use crate::chat::{CacheTtl, Content, ImageDetail, Message, Part, Role};
use crate::error::{Error, Result};
use crate::media::{FileData, ImageData};
use crate::wire::openai::body::about;
use crate::wire::openai::fields::{List, words};

const MAX_PARTS: usize = 4096;

/// A text, or texts, images and files in turn.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub(super) enum ContentJson<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<PartJson<'a>>),
}

/// A part of a message: `text`, `refusal`, `image_url`, `input_audio` or `file`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object", default)]
pub(super) struct PartJson<'a> {
    r#type: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_url: Option<ImageUrlJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_audio: Option<AudioJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<FileJson<'a>>,
    /// What else a client sends, in the vendor's own words.
    #[serde(flatten, skip_deserializing)]
    further: serde_json::Map<String, Value>,
}

/// Where an image is, or the image itself as a `data:` URL.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object with a `url`", default)]
struct ImageUrlJson<'a> {
    url: Option<Cow<'a, str>>,
    /// How closely to look at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<DetailJson>,
}

words! {
    /// How closely to look at an image.
    enum DetailJson {
        Auto = "auto",
        Low = "low",
        High = "high",
        Original = "original",
    }
}

/// Sound as base64.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object with `data` and `format`", default)]
struct AudioJson<'a> {
    data: Cow<'a, str>,
    format: Cow<'a, str>,
}

/// A document, as a `data:` URL or by the id under which it was uploaded.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object", default)]
struct FileJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<Cow<'a, str>>,
}

impl<'a> ContentJson<'a> {
    /// The content of `message` as a request has it.
    ///
    /// # Errors
    /// `unsupported` naming a part that the vendor does not take; `invalid_request` for one that nobody takes.
    pub(super) fn write(message: &'a Message, style: &MessageStyle<'_>) -> Result<Self> {
        let thinking = message.reasoning.as_deref().filter(|_| style.has_thinking_parts());
        if let (Some(text), None) = (message.content.as_text(), thinking) {
            return Ok(Self::Text(text.into()));
        }
        let mut parts: Vec<PartJson<'a>> = thinking.map(PartJson::thinking).into_iter().collect();
        // A provider's sound goes back by its id, which is provider data.
        let has_own_audio = message.provider_data.contains_key("audio");
        for part in message.content.parts() {
            let is_own = part.is_providers_own()
                || (message.role == Role::Assistant && has_own_audio && matches!(part, Part::File { .. }));
            match part {
                _ if is_own => {}
                Part::CachePoint { ttl } => {
                    if let Some(last) = parts.last_mut().filter(|_| style.rules.cache_points) {
                        last.further.insert("cache_control".to_owned(), cache_control(*ttl));
                    }
                }
                Part::Text { text } => parts.push(PartJson::text(text)),
                media => {
                    if message.role == Role::Tool && !style.rules.tool_media {
                        return Err(Error::unsupported(format!(
                            "vendor '{}' takes text only in a tool's answer, no {}",
                            style.vendor,
                            media.kind()
                        )));
                    }
                    parts.push(PartJson::media(media, style)?);
                }
            }
        }
        Ok(match parts.as_slice() {
            [only] if only.is_plain_text() => Self::Text(only.text.clone().unwrap_or_default()),
            _ => Self::Parts(parts),
        })
    }

    pub(super) fn into_content(self) -> Result<Content> {
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

/// The mark that ends what is worth keeping in a prompt cache.
pub(crate) fn cache_control(ttl: CacheTtl) -> Value {
    match ttl {
        CacheTtl::Short => json!({ "type": "ephemeral" }),
        CacheTtl::Hour => json!({ "type": "ephemeral", "ttl": "1h" }),
    }
}

impl<'a> PartJson<'a> {
    fn text(text: &'a str) -> Self {
        Self { r#type: "text".into(), text: Some(text.into()), ..Self::default() }
    }

    fn thinking(text: &str) -> Self {
        let thinking = json!([{ "type": "text", "text": text }]);
        let further = serde_json::Map::from_iter([("thinking".to_owned(), thinking)]);
        Self { r#type: "thinking".into(), further, ..Self::default() }
    }

    /// A part of a vendor's own: an object, or a text, under the name of its type.
    fn named(name: &'static str, value: Value) -> Self {
        let further = serde_json::Map::from_iter([(name.to_owned(), value)]);
        Self { r#type: name.into(), further, ..Self::default() }
    }

    fn is_plain_text(&self) -> bool {
        self.r#type == "text" && self.further.is_empty()
    }

    fn media(part: &'a Part, style: &MessageStyle<'_>) -> Result<Self> {
        let refuse = || {
            Error::unsupported(format!(
                "vendor '{}' does not take a part of the type `{}` like this one",
                style.vendor,
                part.kind()
            ))
        };
        let written = match part {
            Part::Image { image, detail } => Some(Self::image(image.to_data_url().into(), *detail)),
            Part::ImageUrl { url, detail, .. } => Some(Self::image(url.into(), *detail)),
            Part::File { file, name } => Self::inline_file(file, name.as_deref(), style.rules.files),
            Part::FileUrl { url, media_type, name } => {
                Self::file_url(url, media_type.as_deref(), name.as_deref(), style.rules.files)
            }
            Part::FileId { id } => Self::file_id(id, style.rules.files),
            _ => None,
        };
        written.ok_or_else(refuse)
    }

    fn image(url: Cow<'a, str>, detail: Option<ImageDetail>) -> Self {
        let detail = detail.map(|detail| match detail {
            ImageDetail::Auto => DetailJson::Auto,
            ImageDetail::Low => DetailJson::Low,
            ImageDetail::High => DetailJson::High,
            ImageDetail::Original => DetailJson::Original,
        });
        let image_url = Some(ImageUrlJson { url: Some(url), detail });
        Self { r#type: "image_url".into(), image_url, ..Self::default() }
    }

    fn inline_file(file: &FileData, name: Option<&'a str>, dialect: FileDialect) -> Option<Self> {
        let (kind, subtype) = file.media_type().split_once('/').unwrap_or_default();
        Some(match (dialect, kind) {
            (FileDialect::Mistral, "audio") => Self::named("input_audio", file.to_base64().into()),
            (FileDialect::Mistral, "video") => return None,
            (FileDialect::Mistral, _) => Self::mistral_document(&file.to_data_url(), name),
            (FileDialect::MediaUrls, "audio") => {
                Self::named("audio_url", json!({ "url": file.to_data_url() }))
            }
            (FileDialect::MediaUrls | FileDialect::OpenRouter, "video") => {
                Self::named("video_url", json!({ "url": file.to_data_url() }))
            }
            (FileDialect::MediaUrls, _) | (FileDialect::OpenAi, "video") => return None,
            (FileDialect::OpenAi | FileDialect::OpenRouter, "audio") => {
                let format = audio_format(subtype)?;
                let input_audio = Some(AudioJson { data: file.to_base64().into(), format: format.into() });
                Self { r#type: "input_audio".into(), input_audio, ..Self::default() }
            }
            (FileDialect::OpenAi | FileDialect::OpenRouter, _) => {
                let filename = name.map_or_else(|| default_name(subtype).into(), Cow::Borrowed);
                Self::file(FileJson {
                    filename: Some(filename),
                    file_data: Some(file.to_data_url().into()),
                    file_id: None,
                })
            }
        })
    }

    fn file_url(
        url: &'a str,
        media_type: Option<&str>,
        name: Option<&'a str>,
        dialect: FileDialect,
    ) -> Option<Self> {
        let kind = media_type.and_then(|media_type| media_type.split('/').next()).unwrap_or_default();
        match (dialect, kind) {
            (FileDialect::MediaUrls, "audio") => Some(Self::named("audio_url", json!({ "url": url }))),
            (FileDialect::MediaUrls | FileDialect::OpenRouter, "video") => {
                Some(Self::named("video_url", json!({ "url": url })))
            }
            (FileDialect::OpenRouter, _) => Some(Self::file(FileJson {
                filename: name.map(Cow::Borrowed).or(Some("file".into())),
                file_data: Some(url.into()),
                file_id: None,
            })),
            (FileDialect::Mistral, "audio") => Some(Self::named("input_audio", url.into())),
            (FileDialect::Mistral, kind) if kind != "video" => Some(Self::mistral_document(url, name)),
            _ => None,
        }
    }

    fn file_id(id: &'a str, dialect: FileDialect) -> Option<Self> {
        match dialect {
            FileDialect::OpenAi => {
                Some(Self::file(FileJson { file_id: Some(id.into()), ..FileJson::default() }))
            }
            FileDialect::Mistral => {
                let further = serde_json::Map::from_iter([("file_id".to_owned(), id.into())]);
                Some(Self { r#type: "file".into(), further, ..Self::default() })
            }
            FileDialect::OpenRouter | FileDialect::MediaUrls => None,
        }
    }

    fn file(file: FileJson<'a>) -> Self {
        Self { r#type: "file".into(), file: Some(file), ..Self::default() }
    }

    fn mistral_document(url: &str, name: Option<&str>) -> Self {
        let mut part = Self::named("document_url", url.into());
        if let Some(name) = name {
            part.further.insert("document_name".to_owned(), name.into());
        }
        part
    }

    fn into_part(self) -> Result<Part> {
        let Self { r#type, text, refusal, image_url, input_audio, file, .. } = self;
        let (url, detail) = image_url.map_or((None, None), |image| (image.url, image.detail));
        match (&*r#type, text, refusal, url) {
            ("text", Some(text), ..) | ("refusal", _, Some(text), _) => {
                Ok(Part::Text { text: text.into_owned() })
            }
            ("image_url", .., Some(url)) => image_part(url.into_owned(), detail.map(DetailJson::into_detail)),
            ("input_audio", ..) => audio_part(&input_audio.unwrap_or_default()),
            ("file", ..) => file_part(file.unwrap_or_default()),
            _ => {
                let message =
                    "`messages`: a part is a text, an image_url with a `url`, an input_audio or a file";
                Err(about("messages", Error::invalid_request(message)))
            }
        }
    }
}

impl DetailJson {
    fn into_detail(self) -> ImageDetail {
        match self {
            Self::Auto => ImageDetail::Auto,
            Self::Low => ImageDetail::Low,
            Self::High => ImageDetail::High,
            Self::Original => ImageDetail::Original,
        }
    }
}

fn image_part(url: String, detail: Option<ImageDetail>) -> Result<Part> {
    if !ImageData::is_data_url(&url) {
        return Ok(Part::ImageUrl { url, media_type: None, detail });
    }
    match ImageData::from_base64(&url) {
        Ok(image) => Ok(Part::Image { image, detail }),
        Err(error) => {
            let message = format!("`image_url`: {}", error.message());
            Err(about("messages", Error::invalid_request(message)))
        }
    }
}

fn audio_part(audio: &AudioJson<'_>) -> Result<Part> {
    let media_type = match &*audio.format {
        "mp3" => "audio/mpeg".to_owned(),
        format => format!("audio/{format}"),
    };
    read_file("input_audio", &format!("data:{media_type};base64,{}", audio.data), None)
}

fn file_part(file: FileJson<'_>) -> Result<Part> {
    let name = file.filename.map(Cow::into_owned);
    match (file.file_data, file.file_id) {
        (Some(data), _) => read_file("file", &data, name),
        (None, Some(id)) => Ok(Part::FileId { id: id.into_owned() }),
        (None, None) => {
            let message = "`file`: a file has `file_data` or a `file_id`";
            Err(about("messages", Error::invalid_request(message)))
        }
    }
}

fn read_file(field: &str, data: &str, name: Option<String>) -> Result<Part> {
    match FileData::from_base64(data) {
        Ok(file) => Ok(Part::File { file, name }),
        Err(error) => {
            let message = format!("`{field}`: {}", error.message());
            Err(about("messages", Error::invalid_request(message)))
        }
    }
}

/// OpenAI's name for a format of sound.
fn audio_format(subtype: &str) -> Option<&'static str> {
    match subtype {
        "wav" | "x-wav" | "wave" | "vnd.wave" => Some("wav"),
        "mpeg" | "mp3" => Some("mp3"),
        _ => None,
    }
}

/// A name for a file that has none: the vendor wants one.
pub(crate) fn default_name(subtype: &str) -> String {
    match subtype {
        "plain" => "file.txt".to_owned(),
        other => format!("file.{other}"),
    }
}
