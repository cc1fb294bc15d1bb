//! Pixels to files, with texts in them: PNG, JPEG and WebP.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::error::{Error, ErrorKind, Result};
use crate::local::vision::RgbImage;
use crate::media::ImageData;

/// The key of the text that Automatic1111 reads, and of the receipt.
pub(super) const PARAMETERS_KEY: &str = "parameters";
pub(super) const RECEIPT_KEY: &str = "ayni";

/// The most bytes of a file's texts that are read.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// Longer texts do not fit the metadata of a JPEG.
const MAX_EXIF_BYTES: usize = 65_000;

/// The quality of a JPEG where the request does not say.
const DEFAULT_QUALITY: u8 = 90;

/// A file format of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Png,
    /// With a quality from 1 to 100.
    Jpeg(u8),
    /// Lossless.
    WebP,
}

/// The texts in a file.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    pub(super) parameters: String,
    pub(super) receipt: String,
}

impl Format {
    /// # Errors
    /// `invalid_request` naming the valid formats.
    pub(super) fn new(name: &str, quality: Option<u8>) -> Result<Self> {
        match (name, quality) {
            ("png", None) => Ok(Self::Png),
            ("webp", None) => Ok(Self::WebP),
            ("jpeg", quality) => Ok(Self::Jpeg(quality.unwrap_or(DEFAULT_QUALITY))),
            ("png" | "webp", Some(_)) => {
                Err(Error::invalid_request(format!("`quality` is for jpeg; {name} is lossless")))
            }
            _ => Err(Error::invalid_request(format!("format '{name}' is unknown; valid: png, jpeg, webp"))),
        }
    }

    /// The image as a file.
    ///
    /// # Errors
    /// `unexpected` if the encoder fails.
    pub(super) fn encode(self, image: &RgbImage, texts: Option<&Texts>) -> Result<ImageData> {
        let (width, height) = sides(image)?;
        let mut bytes = Vec::new();
        let exif = texts.map(exif_of).filter(|exif| exif.len() <= MAX_EXIF_BYTES);
        let (written, media_type) = match self {
            Self::Png => return png(image, texts),
            Self::Jpeg(quality) => {
                let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100));
                let set = exif.map_or(Ok(()), |exif| encoder.set_exif_metadata(exif));
                let written = encoder.write_image(image.rgb(), width, height, ExtendedColorType::Rgb8);
                (set.map_err(|_| failed("its metadata")).and(written.map_err(encoding)), "image/jpeg")
            }
            Self::WebP => {
                let mut encoder = WebPEncoder::new_lossless(&mut bytes);
                let set = exif.map_or(Ok(()), |exif| encoder.set_exif_metadata(exif));
                let written = encoder.write_image(image.rgb(), width, height, ExtendedColorType::Rgb8);
                (set.map_err(|_| failed("its metadata")).and(written.map_err(encoding)), "image/webp")
            }
        };
        written.map(|()| ImageData::with_media_type(bytes, media_type))
    }
}

fn sides(image: &RgbImage) -> Result<(u32, u32)> {
    match (u32::try_from(image.width()), u32::try_from(image.height())) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err(failed("its size")),
    }
}

fn failed(what: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("an image could not be encoded: {what}"))
}

fn encoding(error: image::ImageError) -> Error {
    failed("the encoder failed").with_source(error)
}

/// A PNG with or without texts; also what previews are.
pub(super) fn png(image: &RgbImage, texts: Option<&Texts>) -> Result<ImageData> {
    let (width, height) = sides(image)?;
    let mut bytes = Vec::new();
    let write = |bytes: &mut Vec<u8>| -> std::result::Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        if let Some(texts) = texts {
            for (key, text) in [(PARAMETERS_KEY, &texts.parameters), (RECEIPT_KEY, &texts.receipt)] {
                // As Pillow chooses: Latin-1 where that is enough.
                match text.chars().all(|letter| u32::from(letter) < 256) {
                    true => encoder.add_text_chunk(key.to_owned(), text.clone())?,
                    false => encoder.add_itxt_chunk(key.to_owned(), text.clone())?,
                }
            }
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(image.rgb())?;
        writer.finish()
    };
    write(&mut bytes).map_err(|error| failed("the encoder failed").with_source(error))?;
    Ok(ImageData::with_media_type(bytes, "image/png"))
}

/// A text in a PNG's file, if there is one under this key.
///
/// # Errors
/// `invalid_request` if the file is no PNG, or is damaged.
pub(super) fn text_of(image: &ImageData, key: &str) -> Result<Option<String>> {
    if image.bytes().get(..4) != Some(b"\x89PNG".as_slice()) {
        return Err(Error::invalid_request("receipts are read from PNG files; this is another format"));
    }
    let damaged = |error: png::DecodingError| {
        Error::invalid_request("the PNG image is damaged or cut off").with_source(error)
    };
    let limits = png::Limits { bytes: MAX_TEXT_BYTES };
    let reader = png::Decoder::new_with_limits(Cursor::new(image.bytes().as_ref()), limits);
    let reader = reader.read_info().map_err(damaged)?;
    let info = reader.info();
    let latin = info.uncompressed_latin1_text.iter().find(|chunk| chunk.keyword == key);
    if let Some(chunk) = latin {
        return Ok(Some(chunk.text.clone()));
    }
    let utf8 = info.utf8_text.iter().find(|chunk| chunk.keyword == key && !chunk.compressed);
    utf8.map(|chunk| chunk.get_text().map_err(damaged)).transpose()
}

/// EXIF with the parameters as `UserComment`, where Automatic1111 looks for them, and the receipt as `ImageDescription`.
fn exif_of(texts: &Texts) -> Vec<u8> {
    const IMAGE_DESCRIPTION: u16 = 0x010e;
    const EXIF_FOLDER: u16 = 0x8769;
    const USER_COMMENT: u16 = 0x9286;
    const ASCII: u16 = 2;
    const LONG: u16 = 4;
    const UNDEFINED: u16 = 7;
    let description: Vec<u8> = texts.receipt.bytes().chain([0]).collect();
    let mut comment = b"UNICODE\0".to_vec();
    comment.extend(texts.parameters.encode_utf16().flat_map(u16::to_be_bytes));
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    // The header, a folder of two entries, its texts, and a folder of one entry: big-endian, as the comment is.
    let first_texts = 8 + 2 + 2 * 12 + 4;
    let second_folder = first_texts + length(&description);
    let second_texts = second_folder + 2 + 12 + 4;
    let mut exif = b"MM\0\x2a\0\0\0\x08".to_vec();
    let entry = |exif: &mut Vec<u8>, tag: u16, kind: u16, count: u32, value: u32| {
        exif.extend(tag.to_be_bytes());
        exif.extend(kind.to_be_bytes());
        exif.extend(count.to_be_bytes());
        exif.extend(value.to_be_bytes());
    };
    exif.extend(2_u16.to_be_bytes());
    entry(&mut exif, IMAGE_DESCRIPTION, ASCII, length(&description), first_texts);
    entry(&mut exif, EXIF_FOLDER, LONG, 1, second_folder);
    exif.extend([0; 4]);
    exif.extend(&description);
    exif.extend(1_u16.to_be_bytes());
    entry(&mut exif, USER_COMMENT, UNDEFINED, length(&comment), second_texts);
    exif.extend([0; 4]);
    exif.extend(&comment);
    exif
}

#[cfg(test)]
mod tests {
    use super::super::receipt::{ImageReceipt, example};
    use super::*;
    use crate::local::vision::{Limits, decode};

    fn image() -> RgbImage {
        RgbImage::new(3, 2, (0..18).map(|value| value * 14).collect()).unwrap()
    }

    fn texts() -> Texts {
        Texts { parameters: example().parameters("LCM"), receipt: example().to_json() }
    }

    #[test]
    fn a_png_holds_its_pixels_and_its_texts() {
        let file = Format::Png.encode(&image(), Some(&texts())).unwrap();
        assert_eq!(decode(&file, &Limits::default()).unwrap(), image());
        assert_eq!(ImageReceipt::of(&file).unwrap(), example());
        assert_eq!(text_of(&file, PARAMETERS_KEY).unwrap(), Some(texts().parameters));
        let bare = Format::Png.encode(&image(), None).unwrap();
        assert_eq!(text_of(&bare, PARAMETERS_KEY).unwrap(), None);
    }

    #[test]
    fn a_cut_or_foreign_file_is_an_error() {
        let file = Format::Png.encode(&image(), Some(&texts())).unwrap();
        for length in [4, 20, 60, 100] {
            let cut = ImageData::with_media_type(file.bytes().slice(..length), "image/png");
            assert_eq!(ImageReceipt::of(&cut).unwrap_err().kind(), ErrorKind::InvalidRequest, "{length}");
        }
        let jpeg = Format::Jpeg(90).encode(&image(), None).unwrap();
        assert!(ImageReceipt::of(&jpeg).unwrap_err().message().contains("PNG"));
    }

    #[test]
    fn other_formats_decode_to_their_pixels() {
        let webp = Format::WebP.encode(&image(), Some(&texts())).unwrap();
        assert_eq!(decode(&webp, &Limits::default()).unwrap(), image());
        let jpeg = Format::Jpeg(100).encode(&image(), Some(&texts())).unwrap();
        assert_eq!(decode(&jpeg, &Limits::default()).unwrap().width(), 3);
        let prompt: Vec<u8> = "faro".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for file in [webp, jpeg] {
            assert!(file.bytes().windows(prompt.len()).any(|found| found == prompt));
            assert!(file.bytes().windows(12).any(|found| found == b"\"recipe\":\"lc"));
        }
        let long = Texts { parameters: "a".repeat(70_000), receipt: String::new() };
        assert!(Format::Jpeg(90).encode(&image(), Some(&long)).is_ok(), "without what does not fit");
    }

    #[test]
    fn formats_are_named() {
        assert_eq!(Format::new("jpeg", None).unwrap(), Format::Jpeg(90));
        for (name, quality) in [("gif", None), ("png", Some(3)), ("PNG", None)] {
            assert_eq!(Format::new(name, quality).unwrap_err().kind(), ErrorKind::InvalidRequest);
        }
    }
}
