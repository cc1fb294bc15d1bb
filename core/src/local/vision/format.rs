//! What an image file says of itself before anything is decoded: its format, the sizes that it declares, and
//! whether it is all there.

use memchr::memchr;

/// An image format that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Baseline and progressive.
    Jpeg,
    /// All bit depths and colour types.
    Png,
    /// Lossy, lossless, and the first frame of an animation.
    WebP,
    /// The first frame.
    Gif,
    /// Uncompressed and RLE.
    Bmp,
}

impl Format {
    /// The format by a file's first bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'B', b'M', ..] => Some(Self::Bmp),
            _ => None,
        }
    }

    /// The format's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
        }
    }

    /// Walks the file's parts from its first byte to its last (of a GIF, to the end of the first frame), and returns
    /// every size that one of them declares: the image's and those of frames within it. Nothing if the file ends
    /// early or is no such file.
    pub fn declared_sizes(self, bytes: &[u8]) -> Option<Vec<(u32, u32)>> {
        let mut sizes = Vec::new();
        match self {
            Self::Jpeg => jpeg(bytes, &mut sizes),
            Self::Png => png(bytes, &mut sizes),
            Self::WebP => webp(bytes, &mut sizes),
            Self::Gif => gif(bytes, &mut sizes),
            Self::Bmp => bmp(bytes, &mut sizes),
        }?;
        (!sizes.is_empty()).then_some(sizes)
    }
}

type Sizes = Vec<(u32, u32)>;

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn big_16(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(|two| u32::from(u16::from_be_bytes(two)))
}

fn big_32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn little_16(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(|two| u32::from(u16::from_le_bytes(two)))
}

fn little_24(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
}

fn little_32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// Segments up to the end-of-image marker; between a start of scan and the next marker lies compressed data.
fn jpeg(bytes: &[u8], sizes: &mut Sizes) -> Option<()> {
    let mut at = 2;
    loop {
        // Also skips what is not where it belongs, as decoders do.
        at += memchr(0xff, bytes.get(at..)?)?;
        let marker = *bytes.get(at + 1)?;
        match marker {
            0xd9 => return Some(()),
            // A fill byte; the marker follows.
            0xff => at += 1,
            // A data byte, a marker without content, a restart.
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            _ => {
                if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
                    sizes.push((big_16(bytes, at + 7)?, big_16(bytes, at + 5)?));
                }
                at += 2 + big_16(bytes, at + 2)? as usize;
            }
        }
    }
}

/// Chunks up to `IEND`.
fn png(bytes: &[u8], sizes: &mut Sizes) -> Option<()> {
    let mut at = 8;
    loop {
        let length = big_32(bytes, at)? as usize;
        let name: [u8; 4] = array(bytes, at + 4)?;
        let end = at.checked_add(length)?.checked_add(12)?;
        if end > bytes.len() {
            return None;
        }
        match &name {
            // Also the sizes of an animation's frames.
            b"IHDR" => sizes.push((big_32(bytes, at + 8)?, big_32(bytes, at + 12)?)),
            b"fcTL" => sizes.push((big_32(bytes, at + 12)?, big_32(bytes, at + 16)?)),
            b"IEND" => return Some(()),
            _ => {}
        }
        at = end;
    }
}

/// The chunks that the RIFF header says there are.
fn webp(bytes: &[u8], sizes: &mut Sizes) -> Option<()> {
    let end = (little_32(bytes, 4)? as usize).checked_add(8)?;
    riff_chunks(bytes.get(12..end)?, sizes)
}

fn riff_chunks(bytes: &[u8], sizes: &mut Sizes) -> Option<()> {
    let mut at = 0;
    // A chunk of odd length is followed by a byte, which some writers leave out at the end.
    while at < bytes.len() {
        let name: [u8; 4] = array(bytes, at)?;
        let length = little_32(bytes, at + 4)? as usize;
        let content = bytes.get(at + 8..(at + 8).checked_add(length)?)?;
        match &name {
            b"VP8X" => sizes.push((little_24(content, 4)? + 1, little_24(content, 7)? + 1)),
            b"VP8 " => sizes.push((little_16(content, 6)? & 0x3fff, little_16(content, 8)? & 0x3fff)),
            b"VP8L" => {
                let packed = little_32(content, 1)?;
                sizes.push(((packed & 0x3fff) + 1, (packed >> 14 & 0x3fff) + 1));
            }
            b"ANMF" => {
                sizes.push((little_24(content, 6)? + 1, little_24(content, 9)? + 1));
                riff_chunks(content.get(16..)?, sizes)?;
            }
            _ => {}
        }
        at += 8 + length + length % 2;
    }
    Some(())
}

/// Blocks up to the end of the first frame.
fn gif(bytes: &[u8], sizes: &mut Sizes) -> Option<()> {
    sizes.push((little_16(bytes, 6)?, little_16(bytes, 8)?));
    let mut at = 13 + colour_table(*bytes.get(10)?);
    loop {
        match *bytes.get(at)? {
            0x21 => at = sub_blocks(bytes, at + 2)?,
            0x2c => {
                sizes.push((little_16(bytes, at + 5)?, little_16(bytes, at + 7)?));
                let flags = *bytes.get(at + 9)?;
                // After the table, one byte says how codes begin.
                sub_blocks(bytes, at + 10 + colour_table(flags) + 1)?;
                return Some(());
            }
            _ => return None,
        }
    }
}

/// How long a GIF's colour table is, by the flags before it.
fn colour_table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Where a run of GIF's sub-blocks ends.
fn sub_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

/// The header; the decoder says if there are fewer rows than it promises.
fn bmp(bytes: &[u8], sizes: &mut Sizes) -> Option<()> {
    sizes.push(match little_32(bytes, 14)? {
        12 => (little_16(bytes, 18)?, little_16(bytes, 20)?),
        // A negative height means rows from top to bottom.
        _ => (little_32(bytes, 18)?, little_32(bytes, 22)?.cast_signed().unsigned_abs()),
    });
    Some(())
}
