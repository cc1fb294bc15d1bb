//! How vocabularies spell the bytes that their tokens stand for.

use std::sync::LazyLock;

/// How a vocabulary spells its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2's: each byte is a character, printable ASCII as itself and the others from U+0100 on.
    ByteLevel,
    /// SentencePiece's: characters, `▁` for a space, and `<0x0A>` for a byte.
    SentencePiece,
}

/// The byte that each of GPT-2's characters stands for, from U+0000 on.
static BYTE_OF: LazyLock<Vec<Option<u8>>> = LazyLock::new(|| {
    let mut bytes = vec![None; 0x144];
    let mut next = 0x100;
    for byte in 0..=u8::MAX {
        let is_itself = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let at = if is_itself { usize::from(byte) } else { next };
        next += usize::from(!is_itself);
        bytes[at] = Some(byte);
    }
    bytes
});

impl Spelling {
    /// The bytes of a token.
    pub(super) fn bytes(self, text: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => of_byte_level(text).unwrap_or_else(|| text.as_bytes().to_vec()),
            Self::SentencePiece => match of_byte_token(text) {
                Some(byte) => vec![byte],
                None => text.replace('▁', " ").into_bytes(),
            },
        }
    }
}

fn of_byte_level(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| BYTE_OF.get(character as usize).copied()?).collect()
}

/// The byte of `<0x0A>`.
pub(super) fn of_byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

/// The text of a token that the vocabulary was extended by: not spelled in bytes, but with SentencePiece's spaces.
pub(super) fn plain(text: &str, spelling: Spelling) -> String {
    match spelling {
        Spelling::ByteLevel => text.to_owned(),
        Spelling::SentencePiece => text.replace('▁', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_spelling() {
        let spelled: Vec<char> = (0..0x144).filter_map(char::from_u32).collect();
        let mut found: Vec<u8> =
            spelled.iter().filter_map(|c| of_byte_level(&c.to_string())).flatten().collect();
        found.sort_unstable();
        assert_eq!(found, (0..=u8::MAX).collect::<Vec<_>>());
        assert_eq!(Spelling::ByteLevel.bytes("Ġæ¼¢Ċ"), " 漢\n".as_bytes());
        assert_eq!(Spelling::SentencePiece.bytes("▁a▁"), b" a ");
        assert_eq!(Spelling::SentencePiece.bytes("<0x0A>"), b"\n");
        assert_eq!(Spelling::SentencePiece.bytes("<0x0>"), b"<0x0>");
    }
}
