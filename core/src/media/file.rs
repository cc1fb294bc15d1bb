//! Encoded files that are not images: documents, sound, video.

use std::fmt;

use base64::Engine as _;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::BASE64;
use crate::error::{Error, Result};

/// An encoded document, sound or video and its media type. In JSON it is a `data:` URL, or base64 where the first bytes
/// tell the media type.
#[derive(Clone, PartialEq, Eq)]
pub struct FileData {
    bytes: Bytes,
    media_type: String,
}

impl FileData {
    /// A file of a known media type; the bytes are not looked at.
    pub fn new(bytes: impl Into<Bytes>, media_type: impl Into<String>) -> Self {
        Self { bytes: bytes.into(), media_type: media_type.into() }
    }

    /// A file whose media type is read off its first bytes, or `otherwise`.
    pub(crate) fn sniffed(bytes: impl Into<Bytes>, otherwise: &str) -> Self {
        let bytes = bytes.into();
        let media_type = sniff(&bytes).unwrap_or(otherwise).to_owned();
        Self { bytes, media_type }
    }

    /// A file from a `data:` URL, or from base64 whose first bytes tell the media type.
    ///
    /// # Errors
    /// `invalid_request` if it is not base64, or nothing says what it is.
    pub fn from_base64(text: &str) -> Result<Self> {
        let data_url = text.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:"));
        let split = data_url.and_then(|_| text.get(5..)?.split_once(','));
        let (declared, encoded) = match split {
            Some((header, encoded)) => {
                (header.split(';').next().filter(|media_type| media_type.contains('/')), encoded)
            }
            None => (None, text),
        };
        let compact: String = encoded.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let bytes = BASE64
            .decode(compact)
            .map_err(|error| Error::invalid_request(format!("the file is not valid base64: {error}")))?;
        let media_type = declared.or_else(|| sniff(&bytes)).ok_or_else(|| {
            Error::invalid_request(
                "the file's bytes do not show what it is: send a `data:` URL with its media type",
            )
        })?;
        Ok(Self::new(bytes, media_type.to_ascii_lowercase()))
    }

    /// The encoded file.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The media type: `application/pdf`, `audio/wav`.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The file as base64.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.bytes)
    }

    /// The file as a `data:` URL.
    pub fn to_data_url(&self) -> String {
        format!("data:{};base64,{}", self.media_type, self.to_base64())
    }
}

fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'%', b'P', b'D', b'F', ..] => Some("application/pdf"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some("audio/wav"),
        [b'I', b'D', b'3', ..] | [0xff, 0xfb | 0xf3 | 0xf2, ..] => Some("audio/mpeg"),
        [b'f', b'L', b'a', b'C', ..] => Some("audio/flac"),
        [b'O', b'g', b'g', b'S', ..] => Some("audio/ogg"),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some("video/webm"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'M', b'4', b'A', ..] => Some("audio/mp4"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some("video/mp4"),
        _ => None,
    }
}

impl fmt::Debug for FileData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileData({}, {} bytes)", self.media_type, self.bytes.len())
    }
}

impl Serialize for FileData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_data_url())
    }
}

impl<'de> Deserialize<'de> for FileData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_base64(&text).map_err(|error| serde::de::Error::custom(error.message()))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for FileData {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileData".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "contentEncoding": "base64",
            "description": "An encoded file as a `data:` URL, or as base64 whose first bytes tell the media type."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_the_declared_one_or_the_one_of_the_bytes() {
        let pdf = FileData::new(&b"%PDF-1.7"[..], "application/pdf");
        assert_eq!(FileData::from_base64(&pdf.to_base64()).expect("a PDF"), pdf);
        assert_eq!(FileData::from_base64(&pdf.to_data_url()).expect("round trip"), pdf);
        let text = FileData::from_base64("data:text/plain;charset=utf-8;base64,aG9sYQ==").expect("a text");
        assert_eq!((text.media_type(), &text.bytes()[..]), ("text/plain", &b"hola"[..]));
        assert_eq!(format!("{text:?}"), "FileData(text/plain, 4 bytes)");
        for unknown in ["aG9sYQ==", "not base64!", "data:,hola!"] {
            let error = FileData::from_base64(unknown).expect_err(unknown);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidRequest);
        }
    }
}
