//! The input of a patch, packed into words, padded and upsampled where asked.

use std::marker::PhantomData;

use super::super::gemm::element::{Element, RowScale};
use super::super::simd::{Simd, Work};
use super::layer::Conv;
use super::{ConvPart, Images};

/// Pixels this many words apart, or a multiple, would map to the same few sets of the L1 cache.
const ALIAS: usize = 1024;

/// The rectangle of the padded input under a part's windows.
pub(super) struct Region<'a> {
    /// The image.
    data: &'a [f32],
    height: usize,
    width: usize,
    channels: usize,
    doubled: bool,
    /// The first row and column, which may lie in the padding.
    top: isize,
    left: isize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Words of a pixel.
    pixel: usize,
    /// From one pixel to the next.
    pub(super) pitch: usize,
}

impl<'a> Region<'a> {
    pub(super) fn new(layer: &Conv, images: Images<'a>, part: &ConvPart) -> Self {
        let (window, geometry) = (layer.window(), layer.geometry());
        let length = images.height * images.width * window.inputs;
        let covered = |count: usize, window: usize| (count - 1) * geometry.stride + window;
        let pixel = layer.words();
        Self {
            data: &images.data[part.image * length..(part.image + 1) * length],
            height: images.height,
            width: images.width,
            channels: window.inputs,
            doubled: geometry.doubled,
            top: (part.rows.start * geometry.stride) as isize - geometry.padding[0] as isize,
            left: (part.columns.start * geometry.stride) as isize - geometry.padding[2] as isize,
            rows: covered(part.rows.len(), window.height),
            columns: covered(part.columns.len(), window.width),
            pixel,
            pitch: if pixel.is_multiple_of(ALIAS) { pixel + 16 } else { pixel },
        }
    }

    /// Whether pixels are contiguous.
    pub(super) fn is_dense(&self) -> bool {
        self.pitch == self.pixel
    }

    /// The row or column of the source for one of the region; `None` in the padding.
    fn source(&self, first: isize, number: usize, length: usize) -> Option<usize> {
        let place = usize::try_from(first + number as isize).ok()?;
        let place = if self.doubled { place / 2 } else { place };
        (place < length).then_some(place)
    }
}

/// Packs a row of the region.
pub(super) struct PackRow<'a, E> {
    pub(super) region: &'a Region<'a>,
    pub(super) row: usize,
    pub(super) to: &'a mut [u32],
    /// The scale of each pixel, where the precision has them.
    pub(super) scales: &'a mut [RowScale],
    pub(super) element: PhantomData<E>,
}

impl<S: Simd, E: Element<S>> Work<S> for PackRow<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let region = self.region;
        let Some(row) = region.source(region.top, self.row, region.height) else {
            self.to.fill(0);
            self.scales.fill(RowScale { scale: 0.0, zero: 0 });
            return;
        };
        let source =
            &region.data[row * region.width * region.channels..(row + 1) * region.width * region.channels];
        let whole = region.channels == region.pixel * E::GROUP && region.is_dense() && !region.doubled;
        let whole = whole && !E::HAS_SCALES;
        let mut column = 0;
        while column < region.columns {
            let to = &mut self.to[column * region.pitch..];
            let Some(from) = region.source(region.left, column, region.width) else {
                to[..region.pixel].fill(0);
                if let Some(scale) = self.scales.get_mut(column) {
                    scale.scale = 0.0;
                }
                column += 1;
                continue;
            };
            let count = if whole { (region.columns - column).min(region.width - from) } else { 1 };
            let values = &source[from * region.channels..(from + count) * region.channels];
            let to = &mut to[..count * region.pixel];
            if E::IS_F32 {
                for (word, value) in to.iter_mut().zip(values) {
                    *word = value.to_bits();
                }
            } else {
                let scale = E::row_scale(s, values);
                if let Some(to) = self.scales.get_mut(column) {
                    *to = scale;
                }
                E::convert(s, values, scale, to);
            }
            column += count;
        }
    }
}
