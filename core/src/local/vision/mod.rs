//! From an encoded image to the numbers that a vision model takes.
//!
//! [`decode`](mod@decode) makes an [`RgbImage`] of a JPEG, PNG, WebP, GIF or BMP; [`resize`](mod@resize) resamples it
//! with the bits that Pillow gives; [`preprocess`] does what a model's own configuration says, with the bits of
//! transformers' processors on top of Pillow. Everything here computes and blocks: call it from a thread of your own.

pub mod alpha;
mod config;
pub mod decode;
pub mod format;
pub mod orientation;
pub mod preprocess;
pub mod resize;

#[cfg(test)]
mod goldens;

use std::fmt;

use crate::error::{Error, Result};

pub use decode::{Limits, decode, decode_all};
pub use preprocess::{PixelValues, Preprocessor};
pub use resize::{Filter, Window, resize, resize_window};

/// A decoded image: RGB, eight bits each, upright.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl RgbImage {
    /// An image of its rows from top to bottom, three bytes a pixel.
    ///
    /// # Errors
    /// `invalid_request` without pixels, or if the bytes are not as many as the size says.
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Result<Self> {
        let length = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
        if rgb.is_empty() || length != Some(rgb.len()) {
            let found = rgb.len();
            return Err(Error::invalid_request(format!("{found} bytes are not {width}×{height} RGB pixels")));
        }
        Ok(Self { width, height, rgb })
    }

    /// How many pixels a row has; at least one.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows there are; at least one.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The rows from top to bottom, three bytes a pixel: red, green, blue.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

impl fmt::Debug for RgbImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RgbImage({}×{})", self.width, self.height)
    }
}
