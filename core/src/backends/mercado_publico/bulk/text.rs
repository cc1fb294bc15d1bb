//! The character encoding of the files.

use std::borrow::Cow;

use encoding_rs::WINDOWS_1252;

/// Decodes a field. The files are Windows-1252, but some of their fields are UTF-8. Valid UTF-8 is read as such, because
/// Windows-1252 text is hardly ever valid UTF-8 by chance. Undefined bytes become the control characters with the same
/// number, so that nothing is lost.
pub(super) fn decoded(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes)
        .map_or_else(|_| WINDOWS_1252.decode_without_bom_handling(bytes).0, Cow::Borrowed)
}

/// The byte of a character in Windows-1252, if there is one.
#[cfg(test)]
pub(super) fn encoded(wanted: char) -> Option<u8> {
    let text = wanted.to_string();
    let (bytes, _, is_missing) = WINDOWS_1252.encode(&text);
    bytes.first().copied().filter(|_| !is_missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_decodes_to_a_character_and_back() {
        for byte in 0..=255_u8 {
            let text = decoded(&[b'a', byte, b'b', 0xFF]).into_owned();
            let character = text.chars().nth(1).expect("a character");
            assert_eq!((encoded(character), text), (Some(byte), format!("a{character}bÿ")));
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
