//! The unigram model of a SentencePiece file (`spiece.model`), for tokenizers without `tokenizer.json`.

use serde_json::{Value, json};

/// A unigram model as `spiece.model` holds it.
#[derive(Debug, PartialEq)]
pub(super) struct Unigrams {
    /// Each piece with the logarithm of its probability, by id.
    pub(super) pieces: Vec<(String, f32)>,
    /// The id of the unknown piece.
    pub(super) unknown: usize,
    /// The precompiled map of characters to normalise first; empty if there is none.
    pub(super) charsmap: Vec<u8>,
}

/// Why a file cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum SentencePieceError {
    #[error("it is damaged or cut off")]
    Damaged,
    #[error("a piece is not UTF-8")]
    Text,
    #[error("it is not a unigram model")]
    NotUnigram,
    #[error("byte fallback is not supported")]
    ByteFallback,
    #[error("it has {0} pieces, and the unknown piece is not one of them")]
    NoUnknownPiece(usize),
}

type Parsed<T> = Result<T, SentencePieceError>;

/// One field of a Protocol Buffers message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Four([u8; 4]),
    Eight,
}

/// The fields of a message, one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next field with its number.
    fn read(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.number()?;
        let field = match key & 7 {
            0 => Field::Number(self.number()?),
            1 => self.bytes(8).map(|_| Field::Eight)?,
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Field::Bytes(self.bytes(length)?)
            }
            5 => Field::Four(self.bytes(4)?.try_into().ok()?),
            _ => return None,
        };
        Some((key >> 3, field))
    }

    /// All fields.
    fn all(mut self) -> Parsed<Vec<(u64, Field<'a>)>> {
        let mut fields = Vec::new();
        while !self.0.is_empty() {
            fields.push(self.read().ok_or(SentencePieceError::Damaged)?);
        }
        Ok(fields)
    }
}

impl Unigrams {
    /// Reads a model file of sentencepiece.
    ///
    /// # Errors
    /// If it is damaged or of another kind.
    pub(super) fn read(file: &[u8]) -> Parsed<Self> {
        let mut model = Self { pieces: Vec::new(), unknown: 0, charsmap: Vec::new() };
        for field in Fields(file).all()? {
            match field {
                (1, Field::Bytes(piece)) => model.pieces.push(read_piece(piece)?),
                (2, Field::Bytes(settings)) => model.unknown = unknown_of(settings)?,
                (3, Field::Bytes(normaliser)) => model.charsmap = charsmap_of(normaliser)?,
                _ => {}
            }
        }
        match model.pieces.get(model.unknown) {
            Some(_) => Ok(model),
            None => Err(SentencePieceError::NoUnknownPiece(model.pieces.len())),
        }
    }

    /// The model in the form of `tokenizer.json`.
    pub(super) fn model(&self) -> Value {
        json!({ "type": "Unigram", "unk_id": self.unknown, "vocab": self.pieces, "byte_fallback": false })
    }
}

fn read_piece(message: &[u8]) -> Parsed<(String, f32)> {
    let (mut text, mut score) = (String::new(), 0.0);
    for field in Fields(message).all()? {
        match field {
            (1, Field::Bytes(bytes)) => {
                text = String::from_utf8(bytes.to_vec()).map_err(|_| SentencePieceError::Text)?;
            }
            (2, Field::Four(bytes)) => score = f32::from_le_bytes(bytes),
            _ => {}
        }
    }
    Ok((text, score))
}

/// The id of the unknown piece, by the settings that the model was trained with.
fn unknown_of(settings: &[u8]) -> Parsed<usize> {
    const UNIGRAM: u64 = 1;
    let mut unknown = 0;
    for field in Fields(settings).all()? {
        match field {
            (3, Field::Number(kind)) if kind != UNIGRAM => {
                return Err(SentencePieceError::NotUnigram);
            }
            (35, Field::Number(1)) => return Err(SentencePieceError::ByteFallback),
            (40, Field::Number(id)) => unknown = usize::try_from(id).unwrap_or(usize::MAX),
            _ => {}
        }
    }
    Ok(unknown)
}

fn charsmap_of(normaliser: &[u8]) -> Parsed<Vec<u8>> {
    let fields = Fields(normaliser).all()?;
    let table = fields.into_iter().find_map(|field| match field {
        (2, Field::Bytes(table)) => Some(table.to_vec()),
        _ => None,
    });
    Ok(table.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/siglip/siglip/spiece.model");
        std::fs::read(path).unwrap()
    }

    #[test]
    fn pieces_are_those_that_the_reference_reads() {
        let found = Unigrams::read(&file()).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/siglip/siglip/tokenizer.json");
        let json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let truth: Vec<(String, f32)> = serde_json::from_value(json["model"]["vocab"].clone()).unwrap();
        assert_eq!((found.pieces, found.unknown), (truth, 2));
        assert!(!found.charsmap.is_empty());
    }

    #[test]
    fn a_file_cut_off_anywhere_is_an_error_or_lacks_whole_pieces() {
        let (whole, all) = (file(), Unigrams::read(&file()).unwrap());
        for length in 0..whole.len() {
            if let Ok(found) = Unigrams::read(&whole[..length]) {
                assert!(found.pieces.len() <= all.pieces.len() && found != all, "{length} bytes");
            }
        }
    }

    #[test]
    fn other_files_are_refused() {
        for (file, says) in [
            (&b""[..], "0 pieces"),
            (b"{\"a\": 1}", "damaged"),
            (&[0x0a, 3, 0x0a, 1, b'a', 0x12, 2, 0x18, 2], "not a unigram model"),
            (&[0x0a, 3, 0x0a, 1, b'a', 0x12, 3, 0x98, 0x02, 1], "byte fallback"),
            (&[0x0a, 3, 0x0a, 1, 0xff], "not UTF-8"),
            (&[0x0a, 3, 0x0a, 1, b'a', 0x12, 3, 0xc0, 0x02, 1], "1 pieces, and the unknown"),
        ] {
            let error = Unigrams::read(file).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
