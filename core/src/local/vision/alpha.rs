//! From the pixel types of decoders to RGB of eight bits.

use image::ColorType;

/// Pixels as RGB; nothing for types that no decoder here gives.
///
/// Of sixteen bits the upper eight count. What is not opaque lies on white, with the bits of Pillow's
/// `Image.alpha_composite` on a white background.
pub fn to_rgb(pixels: Vec<u8>, colour: ColorType) -> Option<Vec<u8>> {
    Some(match colour {
        ColorType::Rgb8 => pixels,
        ColorType::L8 => pixels.into_iter().flat_map(|grey| [grey; 3]).collect(),
        ColorType::La8 => grey_alpha(&pixels),
        ColorType::Rgba8 => rgb_alpha(&pixels),
        ColorType::L16 => upper_bytes(&pixels).into_iter().flat_map(|grey| [grey; 3]).collect(),
        ColorType::La16 => grey_alpha(&upper_bytes(&pixels)),
        ColorType::Rgb16 => upper_bytes(&pixels),
        ColorType::Rgba16 => rgb_alpha(&upper_bytes(&pixels)),
        _ => return None,
    })
}

/// The upper half of each sixteen-bit number in the machine's byte order.
fn upper_bytes(pixels: &[u8]) -> Vec<u8> {
    pixels.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]]).to_be_bytes()[0]).collect()
}

fn grey_alpha(pixels: &[u8]) -> Vec<u8> {
    pixels.chunks_exact(2).flat_map(|pixel| [over_white(pixel[0], pixel[1]); 3]).collect()
}

fn rgb_alpha(pixels: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(pixels.len() / 4 * 3);
    for pixel in pixels.chunks_exact(4) {
        let alpha = pixel[3];
        if alpha == u8::MAX {
            rgb.extend_from_slice(&pixel[..3]);
        } else {
            rgb.extend([pixel[0], pixel[1], pixel[2]].map(|value| over_white(value, alpha)));
        }
    }
    rgb
}

/// One channel on white. The seven bits of fraction are Pillow's, and so is the division by 255.
fn over_white(value: u8, alpha: u8) -> u8 {
    const FRACTION_BITS: u32 = 7;
    let weight = u32::from(alpha) << FRACTION_BITS;
    let rest = (255 << FRACTION_BITS) - weight;
    let sum = u32::from(value) * weight + 255 * rest + (0x80 << FRACTION_BITS);
    #[allow(clippy::cast_possible_truncation, reason = "a mean of bytes")]
    let mean = ((((sum >> 8) + sum) >> 8) >> FRACTION_BITS) as u8;
    mean
}
