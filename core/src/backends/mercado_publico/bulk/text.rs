//! The character encoding of the files.

use std::borrow::Cow;

/// Windows-1252 from 0x80 to 0x9F. Its five undefined bytes become the control characters with the same number, so that
/// nothing is lost.
const WINDOWS_1252_80_9F: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

fn character(byte: u8) -> char {
    match byte {
        0x80..=0x9F => WINDOWS_1252_80_9F.get(usize::from(byte - 0x80)).copied().unwrap_or(char::from(byte)),
        _ => char::from(byte),
    }
}

/// Decodes a field. The files are Windows-1252, but some of their fields are UTF-8. Valid UTF-8 is read as such, because
/// Windows-1252 text is hardly ever valid UTF-8 by chance.
pub(super) fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 8 + 8);
            push_windows_1252(bytes, &mut text);
            // Always valid UTF-8: every byte became a character.
            Cow::Owned(String::from_utf8(text).unwrap_or_default())
        }
    }
}

/// Appends a field, decoded, as UTF-8.
pub(super) fn push_decoded(bytes: &[u8], text: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(_) => text.extend_from_slice(bytes),
        Err(_) => push_windows_1252(bytes, text),
    }
}

/// Appends Windows-1252 bytes as UTF-8.
fn push_windows_1252(bytes: &[u8], text: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(run) = rest.iter().position(|byte| !byte.is_ascii()) {
        text.extend_from_slice(rest.get(..run).unwrap_or_default());
        match rest.get(run).copied().unwrap_or_default() {
            letter @ 0xC0.. => text.extend_from_slice(&[0xC3, letter - 0x40]),
            mark @ 0xA0.. => text.extend_from_slice(&[0xC2, mark]),
            other => text.extend_from_slice(character(other).encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = rest.get(run + 1..).unwrap_or_default();
    }
    text.extend_from_slice(rest);
}

/// The byte of a character in Windows-1252, if there is one.
#[cfg(test)]
pub(super) fn encoded(wanted: char) -> Option<u8> {
    match u32::from(wanted) {
        number @ (0..=0x7F | 0xA0..=0xFF) => u8::try_from(number).ok(),
        _ => WINDOWS_1252_80_9F
            .iter()
            .position(|known| *known == wanted)
            .and_then(|at| u8::try_from(0x80 + at).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_decodes_to_a_character_and_back() {
        for byte in 0..=255_u8 {
            assert_eq!(encoded(character(byte)), Some(byte));
            let text = decoded(&[b'a', byte, b'b', 0xFF]).into_owned();
            assert_eq!(text, format!("a{}bÿ", character(byte)));
        }
        assert_eq!(decoded(b"Regi\xF3n \x93Maule\x94 \x96 \x80 5"), "Región “Maule” – € 5");
        assert_eq!(encoded('ش'), None);
    }

    #[test]
    fn a_stray_byte_and_a_field_in_another_encoding_are_kept() {
        assert_eq!(decoded(b"P\xC3\x81GINA"), "PÁGINA");
        assert_eq!(decoded(b"P\x81gina \xE9"), "P\u{81}gina é");
    }
}
