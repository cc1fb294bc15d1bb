//! Resizing with the bits of Pillow's `Image.resize` for 8-bit images, as of version 13. Earlier versions always
//! resample along the rows first, which gives other bits where `order` says otherwise.

use super::RgbImage;
use crate::error::{Error, Result};
use crate::local::ops::OrFail;
use ayni_kernels::Cpu;
use ayni_kernels::resample::{Order, PRECISION_BITS, Pixels, Taps, resample};

/// No result, and nothing between the two passes, has more pixels.
const MAX_PIXELS: u64 = 1 << 27;

/// How pixels are weighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The pixel that lies there.
    Nearest,
    /// The mean.
    Box,
    /// A triangle.
    Bilinear,
    /// A Hamming window.
    Hamming,
    /// The cubic with a = -0.5.
    Bicubic,
    /// A sinc of three lobes.
    Lanczos,
}

impl Filter {
    /// The filter that Pillow gives this number.
    pub const fn of_pillow(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Nearest),
            1 => Some(Self::Lanczos),
            2 => Some(Self::Bilinear),
            3 => Some(Self::Bicubic),
            4 => Some(Self::Box),
            5 => Some(Self::Hamming),
            _ => None,
        }
    }

    /// The filter that Pillow, open_clip and torchvision call by this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "nearest" => Some(Self::Nearest),
            "lanczos" => Some(Self::Lanczos),
            "bilinear" => Some(Self::Bilinear),
            "bicubic" => Some(Self::Bicubic),
            "box" => Some(Self::Box),
            "hamming" => Some(Self::Hamming),
            _ => None,
        }
    }

    /// How far from its middle it reaches, where nothing is made smaller.
    const fn support(self) -> f64 {
        match self {
            Self::Nearest => 0.0,
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight at a distance from its middle. Terms are in the order that rounds as Pillow does.
    fn weight(self, at: f64) -> f64 {
        let distance = at.abs();
        match self {
            Self::Nearest => 0.0,
            Self::Box => f64::from(at > -0.5 && at <= 0.5),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance == 0.0 => 1.0,
            Self::Hamming if distance >= 1.0 => 0.0,
            Self::Hamming => {
                let angle = distance * std::f64::consts::PI;
                angle.sin() / angle * (0.54 + 0.46 * angle.cos())
            }
            Self::Bicubic => cubic(distance),
            Self::Lanczos if (-3.0..3.0).contains(&at) => sinc(at) * sinc(at / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn cubic(distance: f64) -> f64 {
    const A: f64 = -0.5;
    if distance < 1.0 {
        ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
    } else if distance < 2.0 {
        (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let angle = x * std::f64::consts::PI;
    angle.sin() / angle
}

/// The part of a resized image that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first column.
    pub left: usize,
    /// The first row.
    pub top: usize,
    /// How many columns.
    pub width: usize,
    /// How many rows.
    pub height: usize,
}

/// The image in another size.
///
/// # Errors
/// `invalid_request` if a side would be empty, or the result (or what lies between the two passes) has more than
/// 2²⁷ pixels.
pub fn resize(cpu: &Cpu, image: &RgbImage, width: usize, height: usize, filter: Filter) -> Result<RgbImage> {
    resize_window(cpu, image, width, height, filter, Window { left: 0, top: 0, width, height })
}

/// A part of the image in another size, as if it had been cut out of [`resize`]'s result; the rest is not computed.
///
/// # Errors
/// `invalid_request` as [`resize`] for the part, or if the part is not within the resized image.
pub fn resize_window(
    cpu: &Cpu,
    image: &RgbImage,
    width: usize,
    height: usize,
    filter: Filter,
    window: Window,
) -> Result<RgbImage> {
    let inside = |start: usize, length: usize, whole: usize| {
        length > 0 && start.checked_add(length).is_some_and(|end| end <= whole)
    };
    if !inside(window.left, window.width, width) || !inside(window.top, window.height, height) {
        return Err(Error::invalid_request(format!("{window:?} is not within an image of {width}×{height}")));
    }
    let product = |a: usize, b: usize| (a as u64).saturating_mul(b as u64);
    let order = order(image, width, height);
    let between = match order {
        Order::AlongRowsFirst => product(window.width, image.height),
        Order::DownColumnsFirst => product(image.width, window.height),
    };
    let most = product(window.width, window.height).max(between);
    if most > MAX_PIXELS {
        let (from, to) = (format!("{}×{}", image.width, image.height), format!("{width}×{height}"));
        return Err(Error::invalid_request(format!(
            "resizing {from} pixels to {to} takes {most} pixels, more than the limit of {MAX_PIXELS}"
        )));
    }
    let columns = axis(image.width, width, filter, window.left..window.left + window.width);
    let rows = axis(image.height, height, filter, window.top..window.top + window.height);
    let rgb = resample(
        cpu,
        Pixels::new(&image.rgb, image.width).or_fail()?,
        columns.as_ref(),
        rows.as_ref(),
        order,
    )
    .or_fail()?;
    RgbImage::new(window.width, window.height, rgb)
}

/// Which pass Pillow does first: down the columns, if that takes away rows, and more than twice as many as the other
/// pass takes away columns.
fn order(image: &RgbImage, width: usize, height: usize) -> Order {
    let less = |from: usize, to: usize| from as i128 - to as i128;
    let (rows, columns) = (less(image.height, height), less(image.width, width));
    if rows > 0 && rows > 2 * columns { Order::DownColumnsFirst } else { Order::AlongRowsFirst }
}

/// The taps of some outputs along one axis; none if it stays as it is.
fn axis(from: usize, to: usize, filter: Filter, outputs: std::ops::Range<usize>) -> Option<Taps> {
    const ONE: [i32; 1] = [1 << PRECISION_BITS];
    if from == to {
        return (outputs.len() < to).then(|| Taps::new(outputs.map(|output| (output, ONE))));
    }
    #[allow(clippy::cast_precision_loss, reason = "sides of images")]
    let scale = from as f64 / to as f64;
    if filter == Filter::Nearest {
        // Positions are summed up step by step, and round as in Pillow.
        let positions = std::iter::successors(Some(scale * 0.5), |at| Some(at + scale));
        let chosen = positions.skip(outputs.start).take(outputs.len());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the image")]
        return Some(Taps::new(chosen.map(|at| ((at as usize).min(from - 1), ONE))));
    }
    Some(Taps::new(outputs.map(|output| weights(from, scale, filter, output))))
}

/// The first input of an output, and the weights of the inputs from there on.
fn weights(from: usize, scale: f64, filter: Filter, output: usize) -> (usize, Vec<i32>) {
    let stretch = scale.max(1.0);
    let (support, inverse) = (filter.support() * stretch, 1.0 / stretch);
    #[allow(clippy::cast_precision_loss, reason = "sides of images")]
    let centre = (output as f64 + 0.5) * scale;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the image")]
    let (start, end) =
        ((centre - support + 0.5).max(0.0) as usize, ((centre + support + 0.5) as usize).min(from));
    #[allow(clippy::cast_precision_loss, reason = "sides of images")]
    let mut weights: Vec<f64> =
        (start..end).map(|input| filter.weight((input as f64 - centre + 0.5) * inverse)).collect();
    let sum = weights.iter().fold(0.0, |sum, weight| sum + weight);
    if sum != 0.0 {
        weights.iter_mut().for_each(|weight| *weight /= sum);
    }
    (start, weights.into_iter().map(fixed_point).collect())
}

/// The nearest number with so many fraction bits, away from zero between two.
#[allow(clippy::cast_possible_truncation, reason = "weights are about one at most")]
fn fixed_point(weight: f64) -> i32 {
    let scaled = weight * f64::from(1_i32 << PRECISION_BITS);
    if weight < 0.0 { (scaled - 0.5) as i32 } else { (scaled + 0.5) as i32 }
}
