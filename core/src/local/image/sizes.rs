//! Sizes of images.
//!
//! | asked for | size |
//! | --- | --- |
//! | `size` | exactly this; sides are multiples of 8, of 64 for SDXL |
//! | `resolution: "high"` | as many pixels as the model was trained for, in the shape of `aspect_ratio`; sides are multiples of 64 |
//! | `resolution: "standard"`, or none | the same, or the largest of 3/4, 5/8, 1/2 and 3/8 of its sides that fits the memory at hand |
//! | an image to refine | the image's own, made smaller where it has more pixels than the model was trained for |

use super::pipeline::{Facts, Family};
use crate::error::{Error, ErrorKind, Result};
use crate::image::{AspectRatio, GenerateRequest, Resolution};

/// A side that no request needs.
const MAX_SIDE: u32 = 8192;

/// What models were trained with, and what the contract says for SDXL.
const USUAL_MULTIPLE: usize = 64;

/// Eighths of the native sides that are tried in turn.
const EIGHTHS: [u64; 5] = [8, 6, 5, 4, 3];

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Size {
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// The sizes of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Both sides are multiples of this.
    pub(crate) multiple: usize,
    /// Sides that are chosen here are multiples of this: what models were trained with.
    pub(crate) usual_multiple: usize,
    /// The side of the square that the model was trained for.
    pub(crate) native: usize,
}

impl Sizes {
    pub(crate) fn of(facts: &Facts) -> Self {
        let multiple = match facts.family {
            Family::Sdxl => facts.size_multiple.max(USUAL_MULTIPLE),
            Family::Sd1 | Family::Sd2 => facts.size_multiple.max(1),
        };
        let native = facts.native_size.max(multiple);
        // Small models would be left with few sizes.
        let usual_multiple =
            if native < 4 * USUAL_MULTIPLE { multiple } else { multiple.max(USUAL_MULTIPLE) };
        Self { multiple, usual_multiple, native }
    }

    /// The size of a request. `fits` says whether there is memory for one.
    ///
    /// # Errors
    /// `invalid_request` for sides that the model does not have, and for contradictions; `out_of_memory` naming the
    /// largest size of this shape that fits.
    pub(crate) fn of_request(
        &self,
        request: &GenerateRequest,
        fits: &dyn Fn(Size) -> Result<()>,
    ) -> Result<Size> {
        if let Some(size) = request.size {
            if request.aspect_ratio.is_some() || request.resolution.is_some() {
                let text = "`size` says all: leave `aspect_ratio` and `resolution` out, or `size`";
                return Err(Error::invalid_request(text));
            }
            return self.exact(size, fits);
        }
        let shapes = self.shapes(request.aspect_ratio);
        let full = shapes.first().copied().unwrap_or(Size { width: self.native, height: self.native });
        let outcome = fits(full);
        match outcome {
            Ok(()) => Ok(full),
            Err(error) if request.resolution == Some(Resolution::High) => {
                Err(self.advised(error, &shapes, fits))
            }
            Err(error) => shapes.into_iter().find(|size| fits(*size).is_ok()).ok_or(error),
        }
    }

    /// A size that is asked for.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn exact(
        &self,
        (width, height): (u32, u32),
        fits: &dyn Fn(Size) -> Result<()>,
    ) -> Result<Size> {
        let multiple = u32::try_from(self.multiple).unwrap_or(u32::MAX);
        let is_side = |side: u32| side > 0 && side <= MAX_SIDE && side.is_multiple_of(multiple);
        if !is_side(width) || !is_side(height) {
            let near = |side: u32| (side.min(MAX_SIDE) / multiple).max(1) * multiple;
            return Err(Error::invalid_request(format!(
                "`size` is {width}×{height}; sides of this model are multiples of {multiple} up to {MAX_SIDE}, such as {}×{}",
                near(width),
                near(height)
            )));
        }
        let size = Size { width: width as usize, height: height as usize };
        let shape = AspectRatio::new(width, height).ok();
        fits(size).map_err(|error| self.advised(error, &self.shapes(shape), fits))?;
        Ok(size)
    }

    /// The size in which an image is refined: its own shape, with at most as many pixels as the model was trained for.
    pub(crate) fn of_image(&self, width: usize, height: usize) -> Size {
        #[allow(clippy::cast_precision_loss, reason = "sides of images")]
        let shrink = (self.native as f64 / ((width * height) as f64).sqrt()).min(1.0);
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "sides of images"
        )]
        let side = |length: usize| ((length as f64 * shrink).round() as usize).max(1);
        Size { width: side(width), height: side(height) }
    }

    /// The size that holds an image of another, with sides that the model has.
    pub(crate) fn around(&self, size: Size) -> Size {
        let up = |side: usize| side.div_ceil(self.multiple) * self.multiple;
        Size { width: up(size.width), height: up(size.height) }
    }

    /// The sizes of a shape, the largest first.
    fn shapes(&self, ratio: Option<AspectRatio>) -> Vec<Size> {
        let multiple = u32::try_from(self.usual_multiple).unwrap_or(u32::MAX);
        let mut sizes: Vec<Size> = Vec::new();
        for eighths in EIGHTHS {
            let side = (self.native as u64 * eighths / 8).max(self.usual_multiple as u64);
            let (width, height) = match ratio {
                Some(ratio) => ratio.size(side * side, multiple),
                None => {
                    let side = u32::try_from(side).unwrap_or(u32::MAX) / multiple * multiple;
                    (side, side)
                }
            };
            let size = Size { width: width as usize, height: height as usize };
            if !sizes.contains(&size) {
                sizes.push(size);
            }
        }
        sizes
    }

    /// An error of memory with the largest size that fits.
    fn advised(&self, error: Error, sizes: &[Size], fits: &dyn Fn(Size) -> Result<()>) -> Error {
        if error.kind() != ErrorKind::OutOfMemory {
            return error;
        }
        let advice = match sizes.iter().find(|size| fits(**size).is_ok()) {
            Some(Size { width, height }) => format!("{width}×{height} would fit"),
            None => "no size fits: lower `precision`, or raise `memory_bytes`".to_owned(),
        };
        Error::new(ErrorKind::OutOfMemory, format!("{}; {advice}", error.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDXL: Sizes = Sizes { multiple: 64, usual_multiple: 64, native: 1024 };

    fn fit(most: usize) -> impl Fn(Size) -> Result<()> {
        move |size| match size.width * size.height <= most {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::OutOfMemory, "too large")),
        }
    }

    fn request(shape: &str) -> GenerateRequest {
        GenerateRequest::new("p").with_aspect_ratio(shape.parse().unwrap())
    }

    #[test]
    fn shapes_have_the_pixels_of_the_model_and_sides_that_it_has() {
        let all = |_: Size| Ok(());
        for (shape, width, height) in [
            ("1:1", 1024, 1024),
            ("16:9", 1344, 768),
            ("9:16", 768, 1344),
            ("4:3", 1152, 896),
            ("3:4", 896, 1152),
        ] {
            let high = request(shape).with_resolution(Resolution::High);
            assert_eq!(SDXL.of_request(&high, &all).unwrap(), Size { width, height }, "{shape}");
        }
        assert_eq!(
            SDXL.of_request(&GenerateRequest::new("p"), &all).unwrap(),
            Size { width: 1024, height: 1024 }
        );
    }

    #[test]
    fn the_standard_size_follows_the_memory_and_the_high_one_says_what_fits() {
        let fits = fit(700 * 700);
        let standard = request("16:9").with_resolution(Resolution::Standard);
        assert_eq!(SDXL.of_request(&standard, &fits).unwrap(), Size { width: 832, height: 512 });
        let error = SDXL.of_request(&request("16:9").with_resolution(Resolution::High), &fits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        assert!(error.message().ends_with("832×512 would fit"), "{error}");
        let error = SDXL.of_request(&GenerateRequest::new("p").with_size(2048, 2048), &fits).unwrap_err();
        assert!(error.message().ends_with("640×640 would fit"), "{error}");
        let error = SDXL.of_request(&GenerateRequest::new("p"), &fit(100)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    }

    #[test]
    fn sides_that_the_model_does_not_have_are_refused_with_the_next_smaller_ones() {
        for (size, right) in [
            ((1000, 1024), "960×1024"),
            ((0, 64), "64×64"),
            ((64, u32::MAX), "64×8192"),
            ((u32::MAX, u32::MAX), "8192×8192"),
        ] {
            let error = SDXL.exact(size, &|_| Ok(())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.message().contains(right), "{error}");
        }
        let both = request("1:1").with_size(512, 512);
        assert_eq!(SDXL.of_request(&both, &|_| Ok(())).unwrap_err().kind(), ErrorKind::InvalidRequest);
    }

    #[test]
    fn an_image_keeps_its_size_unless_it_is_larger_than_the_model_draws() {
        assert_eq!(SDXL.of_image(701, 333), Size { width: 701, height: 333 });
        assert_eq!(SDXL.of_image(4000, 3000), Size { width: 1182, height: 887 });
        assert_eq!(SDXL.around(Size { width: 1182, height: 887 }), Size { width: 1216, height: 896 });
        assert_eq!(SDXL.of_image(100_000, 1).height, 1);
    }
}
