//! Turning an image upright, as EXIF says that the camera was held.

use image::metadata::Orientation;

use super::RgbImage;

/// Rows and columns that are copied at once, so that both sides stay in the cache.
const TILE: usize = 32;

/// The image turned and mirrored.
pub(super) fn upright(image: RgbImage, orientation: Orientation) -> RgbImage {
    let (width, height) = (image.width, image.height);
    let (last_x, last_y) = (width - 1, (height - 1) * width);
    // For the upright image: its width and height, the old pixel of its first one, and how far the old pixels of
    // neighbours in a row and of neighbours in a column lie apart.
    let (to_width, to_height, first, along, down) = match orientation {
        Orientation::NoTransforms => return image,
        Orientation::FlipHorizontal => (width, height, last_x, -1, width.cast_signed()),
        Orientation::Rotate180 => (width, height, last_y + last_x, -1, -width.cast_signed()),
        Orientation::FlipVertical => (width, height, last_y, 1, -width.cast_signed()),
        Orientation::Rotate90FlipH => (height, width, 0, width.cast_signed(), 1),
        Orientation::Rotate90 => (height, width, last_y, -width.cast_signed(), 1),
        Orientation::Rotate270FlipH => (height, width, last_y + last_x, -width.cast_signed(), -1),
        Orientation::Rotate270 => (height, width, last_x, width.cast_signed(), -1),
    };
    let mut rgb = vec![0; image.rgb.len()];
    for tile_y in (0..to_height).step_by(TILE) {
        for tile_x in (0..to_width).step_by(TILE) {
            for y in tile_y..(tile_y + TILE).min(to_height) {
                let row = first.wrapping_add_signed(down * y.cast_signed());
                let to =
                    &mut rgb[3 * (y * to_width + tile_x)..3 * (y * to_width + (tile_x + TILE).min(to_width))];
                for (x, to) in to.chunks_exact_mut(3).enumerate() {
                    let from = 3 * row.wrapping_add_signed(along * (tile_x + x).cast_signed());
                    to.copy_from_slice(&image.rgb[from..from + 3]);
                }
            }
        }
    }
    RgbImage { width: to_width, height: to_height, rgb }
}
