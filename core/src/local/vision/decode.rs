//! Decoding: JPEG, PNG, WebP, GIF and BMP to RGB, within limits.
//!
//! Decoders of JPEG may differ in the last bits; ours differs from libjpeg-turbo by a few units a channel. PNG, BMP,
//! GIF and lossless WebP have one result only.

use std::io::Cursor;

use image::codecs::{
    bmp::BmpDecoder, gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder,
};
use image::metadata::Orientation;
use image::{ImageDecoder, ImageResult};

use super::format::Format;
use super::orientation::upright;
use super::{RgbImage, alpha};
use crate::env::Environment;
use crate::error::{Error, Result};
use crate::media::ImageData;
use ayni_kernels::Cpu;

/// What an image may cost; checked from its header, before anything is allocated for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the encoded image.
    pub max_bytes: usize,
    /// Pixels of the image. Every pixel costs up to 16 bytes while it is decoded.
    pub max_pixels: u64,
    /// Pixels along either side: what a JPEG can have at most.
    pub max_side: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_pixels: 1 << 25, max_side: 65_535 }
    }
}

impl Limits {
    /// The limits of a model: `max_pixels` of its configuration, else of the environment.
    ///
    /// # Errors
    /// `config_invalid` for a limit of 0.
    pub(crate) fn new(max_pixels: Option<u64>, env: &Environment) -> Result<Self> {
        let pixels = match max_pixels {
            Some(pixels) => Some(pixels),
            None => env.number::<u64>("AYNI_MAX_IMAGE_PIXELS")?,
        };
        match pixels {
            Some(0) => Err(Error::config(
                "`max_image_pixels` (AYNI_MAX_IMAGE_PIXELS) is 0; an image has at least one",
            )),
            Some(max_pixels) => Ok(Self { max_pixels, ..Self::default() }),
            None => Ok(Self::default()),
        }
    }

    /// # Errors
    /// `invalid_request` naming the limit that the size exceeds.
    fn allow(&self, (width, height): (u32, u32)) -> Result<()> {
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            let most = self.max_pixels;
            return Err(Error::invalid_request(format!(
                "the image has {width}×{height} pixels, more than the limit of {most} pixels"
            )));
        }
        if width.max(height) > self.max_side {
            let most = self.max_side;
            return Err(Error::invalid_request(format!(
                "the image has {width}×{height} pixels, more than the limit of {most} along a side"
            )));
        }
        Ok(())
    }

    /// What a decoder may allocate: eight bytes a pixel for the image, as many for what it needs itself, and
    /// some for tables and metadata.
    fn for_decoder(&self, sizes: &[(u32, u32)]) -> image::Limits {
        let pixels: u64 =
            sizes.iter().map(|&(width, height)| u64::from(width) * u64::from(height)).max().unwrap_or(0);
        let mut limits = image::Limits::no_limits();
        limits.max_alloc = Some(16 * pixels + (16 << 20));
        limits
    }
}

/// Decodes an image; its own bytes say which format it is, not the declared media type.
///
/// Of an animation the first frame is taken. EXIF's orientation is applied. What is transparent lies on white, with
/// the bits of Pillow's `alpha_composite`. Of sixteen bits a channel the upper eight count (Pillow does the same,
/// but for grey, which it clips). Colour profiles are not applied; a JPEG may also be grey, CMYK or YCCK.
///
/// # Errors
/// `invalid_request` if the image exceeds a limit, is damaged or cut off, or is in another format.
pub fn decode(image: &ImageData, limits: &Limits) -> Result<RgbImage> {
    let bytes: &[u8] = image.bytes();
    if bytes.len() > limits.max_bytes {
        let (length, most) = (bytes.len(), limits.max_bytes);
        return Err(Error::invalid_request(format!(
            "the image has {length} bytes, more than the limit of {most}"
        )));
    }
    let Some(format) = Format::of(bytes) else {
        return Err(Error::invalid_request(
            "the bytes are not an image in a format that is read: JPEG, PNG, WebP, GIF or BMP",
        ));
    };
    let Some(sizes) = format.declared_sizes(bytes) else {
        let name = format.name();
        return Err(Error::invalid_request(format!(
            "the {name} image is cut off or damaged: it has no proper end"
        )));
    };
    sizes.iter().try_for_each(|&size| limits.allow(size))?;
    let from = Cursor::new(bytes);
    let allowed = limits.for_decoder(&sizes);
    match format {
        Format::Jpeg => pixels(JpegDecoder::new(from), allowed, limits),
        Format::Png => pixels(PngDecoder::with_limits(from, allowed.clone()), allowed, limits),
        Format::WebP => pixels(WebPDecoder::new(from), allowed, limits),
        Format::Gif => pixels(GifDecoder::new(from), allowed, limits),
        Format::Bmp => pixels(BmpDecoder::new(from), allowed, limits),
    }
    .map_err(|problem| problem.error(format))
}

/// Decodes several images at once, one a thread; the results are in their order.
///
/// # Errors
/// Each result for itself, as [`decode`].
pub fn decode_all(cpu: &Cpu, images: &[ImageData], limits: &Limits) -> Vec<Result<RgbImage>> {
    let mut results: Vec<Option<Result<RgbImage>>> = images.iter().map(|_| None).collect();
    cpu.pool
        .parallel_chunks(&mut results, 1, |number, result| result[0] = Some(decode(&images[number], limits)));
    results.into_iter().flatten().collect()
}

/// Why no pixels came out.
enum Problem {
    Limit(Error),
    Decoder(image::ImageError),
    PixelType,
}

impl From<image::ImageError> for Problem {
    fn from(error: image::ImageError) -> Self {
        Self::Decoder(error)
    }
}

impl Problem {
    fn error(self, format: Format) -> Error {
        let name = format.name();
        match self {
            Self::Limit(error) => error,
            Self::Decoder(image::ImageError::Unsupported(error)) => {
                Error::invalid_request(format!("the {name} image uses a part of the format that is not read"))
                    .with_source(error)
            }
            Self::Decoder(image::ImageError::Limits(error)) => {
                Error::invalid_request(format!("the {name} image needs more memory than its size allows"))
                    .with_source(error)
            }
            Self::Decoder(error) => {
                Error::invalid_request(format!("the {name} image is damaged or cut off")).with_source(error)
            }
            Self::PixelType => {
                Error::invalid_request(format!("the {name} image has pixels of a type that is not read"))
            }
        }
    }
}

fn pixels<D: ImageDecoder>(
    decoder: ImageResult<D>,
    allowed: image::Limits,
    limits: &Limits,
) -> std::result::Result<RgbImage, Problem> {
    let mut decoder = decoder?;
    decoder.set_limits(allowed)?;
    let (width, height) = decoder.dimensions();
    limits.allow((width, height)).map_err(Problem::Limit)?;
    // Damaged metadata do not make the pixels worse.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let colour = decoder.color_type();
    let length = width as usize * height as usize * usize::from(colour.bytes_per_pixel());
    let mut bytes = vec![0; length];
    decoder.read_image(&mut bytes)?;
    let rgb = alpha::to_rgb(bytes, colour).ok_or(Problem::PixelType)?;
    let image = RgbImage::new(width as usize, height as usize, rgb).map_err(Problem::Limit)?;
    Ok(upright(image, orientation))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
