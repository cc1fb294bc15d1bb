//! Width and height from the header of an encoded image, without decoding it.

/// The dimensions in the header, if the format is known and the header complete.
pub(crate) fn read(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some((big_endian(bytes, 16)?, big_endian(bytes, 20)?)),
        [b'G', b'I', b'F', b'8', ..] => Some((little_endian_16(bytes, 6)?, little_endian_16(bytes, 8)?)),
        [b'B', b'M', ..] => {
            Some((little_endian_32(bytes, 18)?, little_endian_32(bytes, 22)?.cast_signed().unsigned_abs()))
        }
        [0xff, 0xd8, ..] => jpeg(bytes),
        [b'R', b'I', b'F', b'F', ..] => webp(bytes),
        _ => None,
    }
}

fn big_endian(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn little_endian_32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn little_endian_16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

fn big_endian_16(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?)))
}

/// Walks the segments up to a start-of-frame.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        while *bytes.get(at)? != 0xff {
            at += 1;
        }
        let marker = *bytes.get(at + 1)?;
        match marker {
            0xff => at += 1,
            0x01 | 0xd0..=0xd8 => at += 2,
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                return Some((big_endian_16(bytes, at + 7)?, big_endian_16(bytes, at + 5)?));
            }
            _ => at += 2 + big_endian_16(bytes, at + 2)?.max(2) as usize,
        }
    }
}

fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    match bytes.get(12..16)? {
        b"VP8X" => {
            let side = |at: usize| Some((little_endian_32(bytes, at)? & 0x00ff_ffff) + 1);
            Some((side(24)?, side(27).or_else(|| three_bytes(bytes, 27))?))
        }
        b"VP8L" => {
            let packed = little_endian_32(bytes, 21)?;
            Some(((packed & 0x3fff) + 1, ((packed >> 14) & 0x3fff) + 1))
        }
        b"VP8 " => Some((little_endian_16(bytes, 26)? & 0x3fff, little_endian_16(bytes, 28)? & 0x3fff)),
        _ => None,
    }
}

fn three_bytes(bytes: &[u8], at: usize) -> Option<u32> {
    let b = bytes.get(at..at + 3)?;
    Some(u32::from_le_bytes([b[0], b[1], b[2], 0]) + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::read;

    #[test]
    fn headers_of_each_format_are_read() {
        let gif = b"GIF89a\x40\x00\x30\x00";
        assert_eq!(read(gif), Some((64, 48)));
        let mut bmp = vec![b'B', b'M'];
        bmp.resize(18, 0);
        bmp.extend(64i32.to_le_bytes());
        bmp.extend((-48i32).to_le_bytes());
        assert_eq!(read(&bmp), Some((64, 48)), "a negative height is stored top-down");
        let jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xc0, 0, 17, 8, 0, 48, 0, 64];
        assert_eq!(read(&jpeg), Some((64, 48)));
        let mut webp = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".to_vec();
        webp.extend([63, 0, 0, 47, 0, 0]);
        assert_eq!(read(&webp), Some((64, 48)));
    }

    #[test]
    fn a_cut_header_has_no_size() {
        for bytes in [&b"\x89PNG"[..], b"GIF8", b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBP", b"BM", b""] {
            assert_eq!(read(bytes), None);
        }
    }

    #[test]
    fn what_encoders_may_write_around_the_size_changes_nothing() {
        let filled = [0xff, 0xd8, 0xff, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xff, 0xc2, 0, 17, 8, 0, 48, 0, 64];
        assert_eq!(read(&filled), Some((64, 48)), "any number of fill bytes may precede a marker");
        let parameterless = [0xff, 0xd8, 0xff, 0x01, 0xff, 0xd0, 0xff, 0xc0, 0, 17, 8, 0, 48, 0, 64];
        assert_eq!(read(&parameterless), Some((64, 48)), "some markers have no length");
        let mut scaled = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a".to_vec();
        scaled.extend([64, 0x40, 48, 0x80]);
        assert_eq!(read(&scaled), Some((64, 48)), "the two highest bits of a VP8 side are a scale");
    }

    proptest! {
        #[test]
        fn headers_with_any_bytes_changed_are_read_or_refused(
            seed in prop::sample::select(vec![
                &b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x40\0\0\0\x30"[..],
                b"GIF89a\x40\x00\x30\x00",
                b"BM\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\0\0\xd0\xff\xff\xff",
                b"\xff\xd8\xff\xe0\0\x04\0\0\xff\xc0\0\x11\x08\0\x30\0\x40",
                b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x3f\0\0\x2f\0\0",
                b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x3f\xc0\x0b\0",
            ]),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            length in any::<prop::sample::Index>(),
        ) {
            let mut bytes = seed.to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(length.index(seed.len() + 1));
            read(&bytes);
        }
    }
}
