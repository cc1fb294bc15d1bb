//! What stands between an image and a vision model: resize, crop, and numbers instead of bytes.
//!
//! Bits are those of the reference libraries on Pillow: transformers' image processors of the kind that works with PIL
//! (not the torchvision kind, whose results differ by a step of 1/255 here and there), and open_clip's transforms.

use super::decode::{Limits, decode};
use super::resize::{Filter, Window, resize_window};
use super::{RgbImage, config};
use crate::error::{Error, Result};
use crate::local::source::ModelFiles;
use crate::media::ImageData;
use ayni_kernels::Cpu;

/// Images as numbers: `[images, height, width, 3]`, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelValues {
    /// How many images.
    pub images: usize,
    /// Rows of each.
    pub height: usize,
    /// Columns of each.
    pub width: usize,
    /// The numbers, channels next to each other.
    pub values: Vec<f32>,
}

/// What a model wants done to an image, read from its own configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Preprocessor {
    pub(super) resize: Option<(Resize, Filter)>,
    pub(super) crop: Option<Crop>,
    pub(super) numbers: LookupTable,
}

/// A size that follows from the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resize {
    /// The shorter side gets this length, the other what keeps the shape, rounded down.
    ShortestEdge(usize),
    /// Both sides, whatever the shape.
    Exact { height: usize, width: usize },
}

/// A part from the centre; what is smaller than that lies on black.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crop {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) centre: Centre,
}

/// Where the centre is when an odd number of pixels is left over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Centre {
    /// Half of what is left over, rounded down, below zero too: transformers.
    Floor,
    /// Half of what is cut off, rounded to even, and half of what is missing, rounded down: torchvision.
    Torchvision,
}

impl Centre {
    /// Where a crop starts; below zero if it is larger than the image.
    fn start(self, image: usize, crop: usize) -> isize {
        let left_over = image.cast_signed() - crop.cast_signed();
        match self {
            Self::Floor => left_over.div_euclid(2),
            Self::Torchvision if left_over < 0 => left_over / 2,
            Self::Torchvision => left_over / 2 + isize::from(left_over % 4 == 3),
        }
    }
}

/// The number of every byte of every channel.
#[derive(Clone, PartialEq)]
pub(super) struct LookupTable(Box<[[f32; 256]; 3]>);

impl LookupTable {
    /// `(byte · scale - mean) / deviation`: scaled by `scale`, the rest in f32.
    pub(super) fn new(scale: impl Fn(u8) -> f32, normal: Option<([f64; 3], [f64; 3])>) -> Self {
        let mut table = Box::new([[0.0; 256]; 3]);
        for (channel, numbers) in table.iter_mut().enumerate() {
            for (byte, number) in (0..=u8::MAX).zip(numbers) {
                *number = scale(byte);
                if let Some((mean, deviation)) = normal {
                    #[allow(clippy::cast_possible_truncation, reason = "the references compute in f32")]
                    let (mean, deviation) = (mean[channel] as f32, deviation[channel] as f32);
                    *number = (*number - mean) / deviation;
                }
            }
        }
        Self(table)
    }

    fn write(&self, rgb: &[u8], to: &mut [f32]) {
        let [red, green, blue] = &*self.0;
        for (pixel, to) in rgb.chunks_exact(3).zip(to.chunks_exact_mut(3)) {
            to[0] = red[usize::from(pixel[0])];
            to[1] = green[usize::from(pixel[1])];
            to[2] = blue[usize::from(pixel[2])];
        }
    }
}

impl std::fmt::Debug for LookupTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ends = |channel: &[f32; 256]| (channel[0], channel[255]);
        write!(f, "LookupTable({:?})", self.0.each_ref().map(ends))
    }
}

impl Preprocessor {
    /// What transformers' `preprocessor_config.json` says, in its old and new spellings.
    ///
    /// # Errors
    /// `model_load` naming the entry that is missing, wrong or of a kind that is not supported.
    pub fn from_transformers(json: &str) -> Result<Self> {
        config::transformers(json)
    }

    /// What open_clip's `open_clip_config.json` says.
    ///
    /// # Errors
    /// `model_load` naming the entry that is missing, wrong or of a kind that is not supported.
    pub fn from_open_clip(json: &str) -> Result<Self> {
        config::open_clip(json)
    }

    /// What the files of a model say, if they do.
    ///
    /// # Errors
    /// `model_load` naming the entry that is missing, wrong or of a kind that is not supported.
    pub(crate) fn of_model(files: &ModelFiles) -> Result<Option<Self>> {
        config::of_model(files)
    }

    /// Height and width of what comes out, if they are the same for every image.
    pub fn fixed_size(&self) -> Option<(usize, usize)> {
        match (self.crop, self.resize) {
            (Some(crop), _) => Some((crop.height, crop.width)),
            (None, Some((Resize::Exact { height, width }, _))) => Some((height, width)),
            _ => None,
        }
    }

    /// One image as numbers.
    ///
    /// # Errors
    /// `invalid_request` if the image's shape makes it too large to resize.
    pub fn prepare(&self, cpu: &Cpu, image: &RgbImage) -> Result<PixelValues> {
        let cropped = self.resized_and_cropped(cpu, image)?;
        let mut values = vec![0.0; cropped.rgb.len()];
        self.numbers.write(&cropped.rgb, &mut values);
        Ok(PixelValues { images: 1, height: cropped.height, width: cropped.width, values })
    }

    /// Decodes images and prepares them, one a thread.
    ///
    /// # Errors
    /// `invalid_request` for the first image that cannot be decoded or prepared, or if the images come out in
    /// different sizes.
    pub fn prepare_all(&self, cpu: &Cpu, images: &[ImageData], limits: &Limits) -> Result<PixelValues> {
        let mut prepared: Vec<Option<Result<PixelValues>>> = images.iter().map(|_| None).collect();
        cpu.pool.parallel_chunks(&mut prepared, 1, |number, place| {
            let image = decode(&images[number], limits);
            place[0] = Some(image.and_then(|image| self.prepare(cpu, &image)));
        });
        let (height, width) = self.fixed_size().unwrap_or_default();
        let mut all = PixelValues { images: 0, height, width, values: Vec::new() };
        for (number, tensor) in prepared.into_iter().flatten().enumerate() {
            let tensor = tensor.map_err(|error| error.about_input(number))?;
            if number == 0 {
                all.values.reserve_exact(tensor.values.len() * images.len());
                (all.height, all.width) = (tensor.height, tensor.width);
            }
            if (tensor.height, tensor.width) != (all.height, all.width) {
                let (width, height) = (tensor.width, tensor.height);
                return Err(Error::invalid_request(format!(
                    "image {number} is {width}×{height} when prepared and the first {}×{}; this model takes one size a batch",
                    all.width, all.height
                ))
                .about_input(number));
            }
            all.images += 1;
            all.values.extend_from_slice(&tensor.values);
        }
        Ok(all)
    }

    /// What the model sees, still in bytes.
    pub(super) fn resized_and_cropped(&self, cpu: &Cpu, image: &RgbImage) -> Result<RgbImage> {
        let (width, height, filter) = match self.resize {
            Some((resize, filter)) => {
                let (width, height) = resize.size(image.width, image.height);
                (width, height, filter)
            }
            None => (image.width, image.height, Filter::Nearest),
        };
        let Some(crop) = self.crop else {
            let window = Window { left: 0, top: 0, width, height };
            return resize_window(cpu, image, width, height, filter, window);
        };
        let (left, top) = (crop.centre.start(width, crop.width), crop.centre.start(height, crop.height));
        let window = Window {
            left: left.max(0).cast_unsigned(),
            top: top.max(0).cast_unsigned(),
            width: width.min(crop.width),
            height: height.min(crop.height),
        };
        let visible = resize_window(cpu, image, width, height, filter, window)?;
        if (visible.width, visible.height) == (crop.width, crop.height) {
            return Ok(visible);
        }
        on_black(&visible, crop, left.min(0).unsigned_abs(), top.min(0).unsigned_abs())
    }
}

impl Resize {
    fn size(self, width: usize, height: usize) -> (usize, usize) {
        match self {
            Self::Exact { height, width } => (width, height),
            Self::ShortestEdge(edge) if width <= height => (edge, edge.saturating_mul(height) / width),
            Self::ShortestEdge(edge) => (edge.saturating_mul(width) / height, edge),
        }
    }
}

/// An image within a larger black one.
fn on_black(image: &RgbImage, size: Crop, left: usize, top: usize) -> Result<RgbImage> {
    let mut rgb = vec![0; 3 * size.width * size.height];
    let row = 3 * image.width;
    for (from, to) in image.rgb.chunks_exact(row).zip(rgb.chunks_exact_mut(3 * size.width).skip(top)) {
        to[3 * left..3 * left + row].copy_from_slice(from);
    }
    RgbImage::new(size.width, size.height, rgb)
}

#[cfg(test)]
#[path = "preprocess_tests.rs"]
mod tests;
