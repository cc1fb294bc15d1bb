//! An image that is changed: from an encoded file of any size to pixels that the model takes, and back.

use super::sizes::{Size, Sizes};
use crate::error::{Error, Result};
use crate::local::vision::{Filter, Limits, RgbImage, decode, resize};
use crate::media::ImageData;
use ayni_kernels::Cpu;

/// How much of an image is changed where the request does not say.
pub(crate) const USUAL_STRENGTH: f32 = 0.5;
/// The same for a masked area: what is there is to be replaced.
pub(crate) const USUAL_MASKED_STRENGTH: f32 = 0.8;

/// From this brightness on a mask's pixel is to be changed.
const MASKED: u8 = 128;

/// Grey: 0 for the model.
const GREY: u8 = 128;

/// An image as it is worked on.
#[derive(Clone, Debug)]
pub(crate) struct Canvas {
    /// The image, with its edges repeated to the right and below up to sides that the model has.
    pub(crate) image: RgbImage,
    /// The part of it that is the image.
    pub(crate) inner: Size,
    /// Which pixels are to be changed; all, without a mask.
    pub(crate) mask: Option<Vec<bool>>,
    /// The image in its own size, and its mask, where that is larger than what is drawn and no size was asked for.
    larger: Option<(RgbImage, Option<Vec<bool>>)>,
    cpu: Cpu,
}

impl Canvas {
    /// Decodes an image, upright and on white, and makes it as large as asked for, or as the model draws.
    ///
    /// # Errors
    /// `invalid_request` for what is no image, too large, damaged or cut off, and for a mask of another size.
    pub(crate) fn new(
        cpu: &Cpu,
        sizes: &Sizes,
        data: &ImageData,
        mask: Option<&ImageData>,
        wanted: Option<Size>,
    ) -> Result<Self> {
        let image = decode(data, &Limits::default())?;
        let mask = mask.map(|mask| decoded_mask(mask, &image)).transpose()?;
        let inner = wanted.unwrap_or_else(|| sizes.of_image(image.width(), image.height()));
        let outer = sizes.around(inner);
        let fitted = |image: &RgbImage| resize(cpu, image, inner.width, inner.height, Filter::Lanczos);
        let own = Size { width: image.width(), height: image.height() };
        let is_larger = wanted.is_none() && own != inner;
        let of_larger = mask.as_ref().filter(|_| is_larger).map(|mask| masked_pixels(mask, own));
        let mask = mask.map(|mask| Ok::<_, Error>(masked_pixels(&fitted(&mask)?, outer))).transpose()?;
        let fitted = padded(&fitted(&image)?, outer)?;
        let larger = is_larger.then_some((image, of_larger));
        Ok(Self { image: fitted, inner, mask, larger, cpu: cpu.clone() })
    }

    /// The size of what is drawn, where the image is larger.
    pub(crate) fn drawn_size(&self) -> Option<Size> {
        self.larger.as_ref().map(|_| self.inner)
    }

    /// The image with what is to be changed in grey.
    pub(crate) fn masked_image(&self) -> Result<RgbImage> {
        let mut rgb = self.image.rgb().to_vec();
        for (index, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            if self.is_changed(index) {
                pixel.fill(GREY);
            }
        }
        RgbImage::new(self.image.width(), self.image.height(), rgb)
    }

    /// The mask over a latent: 1 where it is changed.
    pub(crate) fn latent_mask(&self, scale: usize) -> Vec<f32> {
        let width = self.image.width();
        let rows = (0..self.image.height()).step_by(scale);
        let at = |row: usize, column: usize| f32::from(u8::from(self.is_changed(row * width + column)));
        rows.flat_map(|row| (0..width).step_by(scale).map(move |column| at(row, column))).collect()
    }

    /// What was drawn, with the pixels outside of the mask as they were, without the repeated edges, in the image's own
    /// size unless another was asked for.
    pub(crate) fn finish(&self, drawn: &RgbImage) -> Result<RgbImage> {
        let (width, Size { width: columns, height: rows }) = (self.image.width(), self.inner);
        let mut rgb = Vec::with_capacity(rows * columns * 3);
        for row in 0..rows {
            for index in row * width..row * width + columns {
                let source = if self.is_changed(index) { drawn } else { &self.image };
                rgb.extend_from_slice(source.rgb().get(3 * index..3 * index + 3).unwrap_or(&[0; 3]));
            }
        }
        let drawn = RgbImage::new(columns, rows, rgb)?;
        let Some((own, mask)) = &self.larger else { return Ok(drawn) };
        let enlarged = resize(&self.cpu, &drawn, own.width(), own.height(), Filter::Lanczos)?;
        let Some(mask) = mask else { return Ok(enlarged) };
        let pixels = own.rgb().chunks_exact(3).zip(enlarged.rgb().chunks_exact(3)).zip(mask);
        let rgb = pixels.flat_map(|((own, drawn), is_changed)| if *is_changed { drawn } else { own });
        RgbImage::new(own.width(), own.height(), rgb.copied().collect())
    }

    fn is_changed(&self, index: usize) -> bool {
        self.mask.as_ref().is_none_or(|mask| mask.get(index).copied().unwrap_or(false))
    }
}

fn decoded_mask(mask: &ImageData, image: &RgbImage) -> Result<RgbImage> {
    let named =
        |error: Error| Error::invalid_request(format!("the mask: {}", error.message())).with_source(error);
    let mask = decode(mask, &Limits::default()).map_err(named)?;
    let (found, wanted) = ((mask.width(), mask.height()), (image.width(), image.height()));
    if found != wanted {
        return Err(Error::invalid_request(format!(
            "the mask has {}×{} pixels and the image {}×{}; they must have the same size",
            found.0, found.1, wanted.0, wanted.1
        )));
    }
    Ok(mask)
}

/// The pixels of a mask that are bright, in a larger image.
fn masked_pixels(mask: &RgbImage, outer: Size) -> Vec<bool> {
    let mut pixels = vec![false; outer.width * outer.height];
    for (from, to) in mask.rgb().chunks_exact(3 * mask.width()).zip(pixels.chunks_exact_mut(outer.width)) {
        for (pixel, is_masked) in from.chunks_exact(3).zip(to) {
            // ITU-R 601, as Pillow weighs colours.
            let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            *is_masked = (red * 299 + green * 587 + blue * 114) / 1000 >= u32::from(MASKED);
        }
    }
    pixels
}

/// The image with its last column and row repeated.
fn padded(image: &RgbImage, outer: Size) -> Result<RgbImage> {
    let mut rgb = Vec::with_capacity(outer.width * outer.height * 3);
    let width = 3 * image.width();
    for row in 0..outer.height {
        let start = row.min(image.height() - 1) * width;
        let row = &image.rgb()[start..start + width];
        rgb.extend_from_slice(row);
        for _ in image.width()..outer.width {
            rgb.extend_from_slice(&row[width - 3..]);
        }
    }
    RgbImage::new(outer.width, outer.height, rgb)
}

#[cfg(test)]
mod tests {
    use super::super::encode::Format;
    use super::*;
    use crate::error::ErrorKind;

    const SIZES: Sizes = Sizes { multiple: 8, usual_multiple: 8, native: 64 };

    fn cpu() -> Cpu {
        Cpu::new(ayni_kernels::Isa::PORTABLE, 1)
    }

    fn png(width: usize, height: usize, pixel: impl Fn(usize, usize) -> [u8; 3]) -> ImageData {
        let rgb = (0..width * height).flat_map(|index| pixel(index % width, index / width)).collect();
        Format::Png.encode(&RgbImage::new(width, height, rgb).unwrap(), None).unwrap()
    }

    #[test]
    fn an_image_of_any_size_comes_back_in_its_own() {
        let data = png(13, 5, |x, y| [x as u8 * 10, y as u8 * 10, 3]);
        let canvas = Canvas::new(&cpu(), &SIZES, &data, None, None).unwrap();
        assert_eq!((canvas.image.width(), canvas.image.height()), (16, 8));
        assert_eq!(canvas.image.rgb()[..3], [0, 0, 3]);
        assert_eq!(canvas.image.rgb()[16 * 8 * 3 - 3..], [120, 40, 3], "the edge is repeated");
        let back = canvas.finish(&canvas.image).unwrap();
        assert_eq!(back, decode(&data, &Limits::default()).unwrap());
        let data = png(200, 100, |x, _| [x as u8, 9, 9]);
        let mask = png(200, 100, |x, _| if x < 100 { [255; 3] } else { [0; 3] });
        let large = Canvas::new(&cpu(), &SIZES, &data, Some(&mask), None).unwrap();
        assert_eq!(large.inner, Size { width: 91, height: 45 });
        let drawn =
            RgbImage::new(large.image.width(), large.image.height(), vec![77; large.image.rgb().len()]);
        let back = large.finish(&drawn.unwrap()).unwrap();
        assert_eq!((back.width(), back.height()), (200, 100));
        assert_eq!((&back.rgb()[..3], &back.rgb()[150 * 3..150 * 3 + 3]), (&[77; 3][..], &[150, 9, 9][..]));
    }

    #[test]
    fn outside_of_the_mask_nothing_changes() {
        let image = png(16, 8, |_, _| [50; 3]);
        let mask = png(16, 8, |x, _| if x < 8 { [255; 3] } else { [0; 3] });
        let canvas = Canvas::new(&cpu(), &SIZES, &image, Some(&mask), None).unwrap();
        assert_eq!(canvas.latent_mask(8), [1.0, 0.0]);
        let grey = canvas.masked_image().unwrap();
        assert_eq!((grey.rgb()[0], grey.rgb()[8 * 3]), (GREY, 50));
        let drawn = RgbImage::new(16, 8, vec![200; 16 * 8 * 3]).unwrap();
        let finished = canvas.finish(&drawn).unwrap();
        assert_eq!((finished.rgb()[0], finished.rgb()[8 * 3]), (200, 50));
    }

    #[test]
    fn a_mask_of_another_size_and_a_cut_file_are_named() {
        let image = png(16, 8, |_, _| [50; 3]);
        let new = |data: &ImageData, mask: Option<&ImageData>| Canvas::new(&cpu(), &SIZES, data, mask, None);
        let error = new(&image, Some(&png(8, 8, |_, _| [0; 3]))).unwrap_err();
        assert!(error.message().contains("the mask has 8×8 pixels and the image 16×8"), "{error}");
        let cut = ImageData::with_media_type(image.bytes().slice(..image.bytes().len() - 20), "image/png");
        for outcome in [new(&cut, None), new(&image, Some(&cut))] {
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::InvalidRequest);
        }
    }
}
