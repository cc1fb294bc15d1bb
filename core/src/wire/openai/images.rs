//! Images: requests for them, and responses with images as base64.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::MAX_MODEL_CHARS;
use super::body::{self, about};
use super::fields::{self, Ignored, words};
use super::form;
use crate::error::{Error, Result};
use crate::image::{GenerateRequest, ImageResponse, RefineRequest};
use crate::info::Usage;
use crate::media::ImageData;

const MAX_PROMPT_CHARS: usize = 32_000;
const MAX_IMAGES: u64 = 10;
/// The most images of one request to change.
const MAX_EDITED: usize = 8;

/// Images that a client asks a server for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImagesRequest {
    /// The model, by the name that the server gave it; the server's first by default.
    pub model: Option<String>,
    /// What the images show, how many, and how large.
    pub request: GenerateRequest,
    /// The fields that count for nothing here: the response names them.
    pub ignored: Vec<String>,
}

impl ImagesRequest {
    /// Reads the body of `POST /images/generations`.
    ///
    /// # Errors
    /// `invalid_request` naming the field that is wrong, and for images as URLs.
    pub fn read(body: &[u8]) -> Result<Self> {
        let body: ImagesBody<'_> = body::read(body)?;
        body.check_format()?;
        let ignored = body.ignored();
        let mut request = GenerateRequest::new(body.prompt).with_count(body.n.unwrap_or(1));
        request.size = body.size.and_then(|size| size.0);
        Ok(Self { model: named(body.model), request, ignored })
    }
}

fn named(model: Option<Cow<'_, str>>) -> Option<String> {
    model.filter(|model| !model.is_empty()).map(Cow::into_owned)
}

/// Images that a client has changed by a server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EditsRequest {
    /// The model, by the name that the server gave it; the server's first by default.
    pub model: Option<String>,
    /// The images and how to change them. Each becomes one image.
    pub request: RefineRequest,
    /// The fields that count for nothing here: the response names them.
    pub ignored: Vec<String>,
}

impl EditsRequest {
    /// Reads the form of `POST /images/edits`.
    ///
    /// # Errors
    /// `invalid_request` naming the field that is wrong.
    pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<Self> {
        let (mut fields, mut images, mut mask) = (Map::new(), Vec::new(), None);
        for part in form::parts(content_type, body)? {
            match part.name.as_str() {
                "image" | "image[]" if images.len() < MAX_EDITED => {
                    images.push(ImageData::new(part.content.to_vec())?)
                }
                "image" | "image[]" => {
                    let message = format!("`image`: there are more than {MAX_EDITED}");
                    return Err(about("image", Error::invalid_request(message)));
                }
                "mask" => mask = Some(ImageData::new(part.content.to_vec())?),
                name => {
                    let text = String::from_utf8_lossy(part.content).into_owned();
                    let is_number = name == "n" && text.parse::<u32>().is_ok();
                    let value = if is_number { text.parse::<u32>().unwrap_or(1).into() } else { text.into() };
                    fields.insert(name.to_owned(), value);
                }
            }
        }
        let fields = Value::Object(fields).to_string();
        let body: ImagesBody<'_> = body::read(fields.as_bytes())?;
        body.check_format()?;
        if images.is_empty() {
            return Err(body::malformed("image", "is missing"));
        }
        if body.n.is_some_and(|n| n != 1) {
            return Err(about(
                "n",
                Error::invalid_request("`n`: each image becomes one image; send it several times"),
            ));
        }
        let ignored = body.ignored();
        let mut request = RefineRequest::new(body.prompt, images);
        request.mask = mask;
        request.size = body.size.and_then(|size| size.0);
        Ok(Self { model: named(body.model), request, ignored })
    }
}

/// The body of `POST /images/generations`, and the fields of the form of `POST /images/edits`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub(crate) struct ImagesBody<'a> {
    /// The model that makes the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "model")]
    #[cfg_attr(feature = "schema", schemars(length(max = MAX_MODEL_CHARS)))]
    model: Option<Cow<'a, str>>,
    /// What the images show.
    #[serde(deserialize_with = "fields::text::<_, MAX_PROMPT_CHARS>")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_PROMPT_CHARS)))]
    prompt: Cow<'a, str>,
    /// How many images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(deserialize_with = "fields::whole::<_, _, 1, MAX_IMAGES>")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = MAX_IMAGES)))]
    n: Option<u32>,
    /// Width and height in pixels, such as `1024x1024`; `auto` leaves the choice to the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<SizeJson>,
    /// Images come as `b64_json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response_format: Option<ImageFormat>,
    #[serde(default, skip_serializing_if = "Ignored::is_left_out")]
    user: Ignored,
    /// What else a client sends.
    #[serde(flatten, skip_serializing)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    further: Map<String, Value>,
}

words! {
    /// How images come.
    pub(crate) enum ImageFormat {
        Url = "url",
        Base64 = "b64_json",
    }
}

impl<'a> ImagesBody<'a> {
    /// The body that asks `model` for images of `prompt`.
    pub(crate) fn write(model: &'a str, prompt: &'a str, count: u32, size: Option<(u32, u32)>) -> Self {
        Self {
            model: (!model.is_empty()).then_some(model.into()),
            prompt: prompt.into(),
            n: (count > 1).then_some(count),
            size: size.map(|size| SizeJson(Some(size))),
            ..Self::default()
        }
    }

    fn check_format(&self) -> Result<()> {
        if self.response_format == Some(ImageFormat::Url) {
            let message = "`response_format` url is not offered: nothing is kept to fetch; use b64_json";
            return Err(about("response_format", Error::invalid_request(message)));
        }
        Ok(())
    }

    fn ignored(&self) -> Vec<String> {
        let name = |name: &String| name.chars().filter(|c| !c.is_control()).take(80).collect();
        self.further.keys().map(name).collect()
    }

    /// The fields, for a backend to add its vendor's own.
    pub(crate) fn into_fields(self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            // A struct always becomes an object.
            _ => Map::new(),
        }
    }
}

fn model<'de, 'a, D: Deserializer<'de>>(reader: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    let model = Option::<String>::deserialize(reader)?;
    match model {
        Some(model) if model.chars().take(MAX_MODEL_CHARS + 1).count() > MAX_MODEL_CHARS => {
            let message = format_args!("has more than {MAX_MODEL_CHARS} characters");
            Err(serde::de::Error::custom(message))
        }
        model => Ok(model.map(Cow::from)),
    }
}

/// Width and height, or nothing for `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizeJson(Option<(u32, u32)>);

impl Serialize for SizeJson {
    fn serialize<S: Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some((width, height)) => writer.collect_str(&format_args!("{width}x{height}")),
            None => writer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for SizeJson {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Form;

        impl Visitor<'_> for Form {
            type Value = SizeJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("auto, or width and height from 10 to 9999 such as 1024x1024")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let side = |side: &str| {
                    let is_plain =
                        matches!(side.len(), 2..=4) && side.bytes().all(|byte| byte.is_ascii_digit());
                    side.parse::<u32>().ok().filter(|_| is_plain && !side.starts_with('0'))
                };
                let size = || {
                    let (width, height) = text.split_once('x')?;
                    Some((side(width)?, side(height)?))
                };
                match (text, size()) {
                    ("auto", _) => Ok(SizeJson(None)),
                    (_, Some(size)) => Ok(SizeJson(Some(size))),
                    (_, None) => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
        }

        reader.deserialize_str(Form)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for SizeJson {
    fn schema_name() -> Cow<'static, str> {
        "SizeJson".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(auto|[1-9]\\d{1,3}x[1-9]\\d{1,3})$" })
    }
}

/// The body that answers `POST /images/generations`.
#[derive(Debug, Serialize)]
pub struct ImageList<'a> {
    created: u64,
    data: Vec<ImageJson<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    ignored: &'a [String],
}

#[derive(Debug, Serialize)]
struct ImageJson<'a> {
    b64_json: String,
    revised_prompt: Option<&'a str>,
}

impl<'a> ImageList<'a> {
    /// The body for a response. `created` is in seconds since 1970.
    pub fn new(response: &'a ImageResponse, created: u64) -> Self {
        let revised_prompt = response.revised_prompt.as_deref();
        let images = response.images.iter();
        let data = images.map(|image| ImageJson { b64_json: image.to_base64(), revised_prompt });
        Self { created, data: data.collect(), ignored: &[] }
    }

    /// Names the fields of the request that counted for nothing.
    pub fn with_ignored(mut self, fields: &'a [String]) -> Self {
        self.ignored = fields;
        self
    }
}

/// A response as it comes: every field may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawImages {
    pub(crate) model: Option<String>,
    data: Option<Vec<RawImage>>,
    usage: Option<RawImageUsage>,
}

/// One image of a response.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawImage {
    index: Option<u64>,
    b64_json: Option<String>,
    url: Option<String>,
    pub(crate) revised_prompt: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawImageUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

/// What a response says an image is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ImagePlace {
    /// Base64, or a `data:` URL.
    Inline(String),
    /// Where it can be fetched.
    Url(String),
}

impl RawImages {
    /// Tokens used, where the response says so.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
            .as_ref()
            .map(|usage| Usage::new(usage.input_tokens, usage.output_tokens))
            .unwrap_or_default()
    }

    /// The images: by `index` where all have one, else as they came.
    pub(crate) fn into_items(self) -> Vec<RawImage> {
        let mut items = self.data.unwrap_or_default();
        if items.iter().all(|item| item.index.is_some()) {
            items.sort_by_key(|item| item.index);
        }
        items
    }
}

impl RawImage {
    /// The image.
    ///
    /// # Errors
    /// `response_invalid` where there is none.
    pub(crate) fn into_place(self) -> Result<ImagePlace> {
        let given = |text: &String| !text.is_empty();
        match (self.b64_json.filter(given), self.url.filter(given)) {
            (Some(base64), _) => Ok(ImagePlace::Inline(base64)),
            (None, Some(url)) if ImageData::is_data_url(&url) => Ok(ImagePlace::Inline(url)),
            (None, Some(url)) => Ok(ImagePlace::Url(url)),
            (None, None) => {
                Err(Error::response_invalid("an item of the answer holds neither an image nor a URL"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ErrorKind;
    use crate::info::{BackendInfo, Route};

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for request in [
            GenerateRequest::new("a fox"),
            GenerateRequest::new("a \"fox\"").with_count(3).with_size(1024, 64),
        ] {
            let body = ImagesBody::write("m", &request.prompt, request.count, request.size);
            let read = ImagesRequest::read(&serde_json::to_vec(&body).expect("JSON")).expect("a request");
            assert_eq!((read.model.as_deref(), read.request), (Some("m"), request));
        }
    }

    #[test]
    fn a_response_is_read_as_it_was_written() {
        let image = ImageData::with_media_type(&b"\x89PNG..."[..], "image/png");
        let route = Route::new(&BackendInfo::new("scripted", "m"));
        let response =
            ImageResponse::new(vec![image.clone()], route).with_revised_prompt(Some("a red fox".into()));
        let json = serde_json::to_value(ImageList::new(&response, 7)).expect("JSON");
        assert_eq!(json["created"], 7);
        let items = RawImages::deserialize(json).expect("a response").into_items();
        let [item] = <[RawImage; 1]>::try_from(items).expect("one image");
        assert_eq!(item.revised_prompt.as_deref(), Some("a red fox"));
        assert_eq!(item.into_place().expect("an image"), ImagePlace::Inline(image.to_base64()));
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_name() {
        for (body, kind, named) in [
            (
                json!({ "prompt": "x", "response_format": "url" }),
                ErrorKind::InvalidRequest,
                "`response_format` url",
            ),
            (
                json!({ "prompt": "x", "size": "1x1" }),
                ErrorKind::InvalidRequest,
                "`size`: expected auto, or width",
            ),
            (
                json!({ "prompt": "x", "n": 11 }),
                ErrorKind::InvalidRequest,
                "`n`: expected a whole number from 1 to 10",
            ),
            (json!({ "prompt": "" }), ErrorKind::InvalidRequest, "`prompt`: is empty"),
            (json!({}), ErrorKind::InvalidRequest, "`prompt`: is missing"),
        ] {
            let error = ImagesRequest::read(body.to_string().as_bytes()).expect_err(named);
            assert_eq!(error.kind(), kind);
            assert!(error.message().starts_with(named), "{error}");
        }
        let auto =
            ImagesRequest::read(br#"{"prompt": "x", "size": "auto", "model": ""}"#).expect("a request");
        assert_eq!((auto.model, auto.request), (None, GenerateRequest::new("x")));
    }
}
