//! Encoded images and other files. Images are decoded only where pixels are needed.

use std::fmt;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

mod file;
mod size;

pub use file::FileData;

/// Base64 as browsers and servers write it: padding optional when reading.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An encoded image and its media type. In JSON it is base64, a `data:` URL, or
/// `{"base64": …, "media_type": …}`.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageData {
    bytes: Bytes,
    media_type: String,
}

impl ImageData {
    /// An image whose media type is read off its first bytes.
    ///
    /// # Errors
    /// `invalid_request` if they are no image format that ayni knows.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        match sniff(&bytes) {
            Some(media_type) => Ok(Self { bytes, media_type: media_type.to_owned() }),
            None => Err(Error::invalid_request(
                "the bytes are not an image in a known format (PNG, JPEG, WebP, GIF, BMP, AVIF)",
            )),
        }
    }

    /// An image of a known media type; the bytes are not looked at.
    pub fn with_media_type(bytes: impl Into<Bytes>, media_type: impl Into<String>) -> Self {
        Self { bytes: bytes.into(), media_type: media_type.into() }
    }

    /// An image from base64, with or without a `data:` URL prefix.
    ///
    /// # Errors
    /// `invalid_request` if it is not base64 or no image.
    pub fn from_base64(text: &str) -> Result<Self> {
        let data_url =
            Self::is_data_url(text).then(|| text.split_at("data:".len()).1.split_once(',')).flatten();
        let (declared, encoded) = match data_url {
            Some((header, encoded)) => {
                (header.split(';').next().filter(|media| media.starts_with("image/")), encoded)
            }
            None => (None, text),
        };
        let compact: String = encoded.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let bytes = BASE64
            .decode(compact)
            .map_err(|error| Error::invalid_request(format!("the image is not valid base64: {error}")))?;
        match (sniff(&bytes), declared) {
            (Some(media_type), _) | (None, Some(media_type)) => {
                Ok(Self::with_media_type(bytes, media_type.to_owned()))
            }
            (None, None) => Self::new(bytes),
        }
    }

    /// Whether `url` holds its data itself. Schemes compare without case.
    pub(crate) fn is_data_url(url: &str) -> bool {
        url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
    }

    /// The encoded image.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The media type: `image/png`.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The usual file ending of the media type, without dot.
    pub fn extension(&self) -> &str {
        match self.media_type.as_str() {
            "image/jpeg" => "jpg",
            other => other.strip_prefix("image/").unwrap_or("bin"),
        }
    }

    /// The image as base64.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.bytes)
    }

    /// The image as a `data:` URL.
    pub fn to_data_url(&self) -> String {
        format!("data:{};base64,{}", self.media_type, self.to_base64())
    }

    /// Width and height as the header of a PNG, JPEG, GIF, BMP or WebP says.
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        size::read(&self.bytes)
    }
}

fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'B', b'M', ..] => Some("image/bmp"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f', ..] => Some("image/avif"),
        _ => None,
    }
}

impl fmt::Debug for ImageData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageData({}, {} bytes)", self.media_type, self.bytes.len())
    }
}

impl Serialize for ImageData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_data_url())
    }
}

impl<'de> Deserialize<'de> for ImageData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_base64(&text).map_err(|error| serde::de::Error::custom(error.message()))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ImageData {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ImageData".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "contentEncoding": "base64",
            "description": "An encoded image as base64, with or without a `data:` URL prefix."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

    #[test]
    fn base64_is_read_with_and_without_a_data_url_and_padding() {
        let plain = ImageData::from_base64(PNG).expect("a PNG");
        assert_eq!(plain.media_type(), "image/png");
        assert_eq!(plain.dimensions(), Some((1, 1)));
        let url = format!("data:image/jpeg;base64,{}", PNG.trim_end_matches('='));
        let from_url = ImageData::from_base64(&url).expect("the bytes decide, not the label");
        assert_eq!(from_url, plain);
        assert_eq!(ImageData::from_base64(&plain.to_data_url()).expect("round trip"), plain);
    }

    #[test]
    fn what_is_no_image_is_the_callers_mistake() {
        for text in ["not base64!", "aGVsbG8="] {
            let error = ImageData::from_base64(text).expect_err("no image");
            assert_eq!(error.kind(), crate::ErrorKind::InvalidRequest);
        }
    }

    #[test]
    fn debug_shows_no_pixels() {
        let image = ImageData::from_base64(PNG).expect("a PNG");
        assert_eq!(format!("{image:?}"), "ImageData(image/png, 70 bytes)");
    }
}
