//! The character map of a SentencePiece normaliser (`precompiled_charsmap`), checked before it is used: the crate that
//! looks characters up in it follows its offsets without looking.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The longest that a map makes of a few characters. Those of published models make at most 33 bytes.
const MAX_REPLACEMENT_BYTES: usize = 256;

/// Why a map cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum CharsMapError {
    #[error("the character map is not base64")]
    Base64,
    #[error("the character map is cut off")]
    CutOff,
    #[error("the replacements of the character map are not UTF-8")]
    Text,
    #[error("the character map leads outside of itself")]
    Outside,
    #[error("the character map makes more than {MAX_REPLACEMENT_BYTES} bytes of a character")]
    TooLong,
}

/// Checks a map as `tokenizer.json` holds it.
///
/// # Errors
/// If some text would lead outside of it.
pub(super) fn check(encoded: &str) -> Result<(), CharsMapError> {
    let bytes = BASE64.decode(encoded).map_err(|_| CharsMapError::Base64)?;
    let (size, rest) = bytes.split_first_chunk::<4>().ok_or(CharsMapError::CutOff)?;
    let words = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| CharsMapError::CutOff)? / 4;
    let (trie, replacements) = rest.split_at_checked(words * 4).ok_or(CharsMapError::CutOff)?;
    let units: Vec<Unit> = trie.as_chunks().0.iter().map(|unit| Unit(u32::from_le_bytes(*unit))).collect();
    let replacements = std::str::from_utf8(replacements).map_err(|_| CharsMapError::Text)?;
    Trie { units: &units, replacements }.check()
}

/// A node of a double array, as the library darts-clone packs it.
#[derive(Clone, Copy)]
struct Unit(u32);

impl Unit {
    fn has_leaf(self) -> bool {
        (self.0 >> 8) & 1 == 1
    }

    fn value(self) -> usize {
        (self.0 & 0x7fff_ffff) as usize
    }

    fn label(self) -> u32 {
        self.0 & 0x8000_00ff
    }

    fn offset(self) -> usize {
        let offset = (self.0 >> 10) as usize;
        if self.0 & (1 << 9) == 0 { offset } else { offset << 8 }
    }
}

struct Trie<'a> {
    units: &'a [Unit],
    replacements: &'a str,
}

impl Trie<'_> {
    /// Walks all nodes that some text reaches.
    fn check(&self) -> Result<(), CharsMapError> {
        let root = self.units.first().ok_or(CharsMapError::CutOff)?;
        let mut seen = vec![false; self.units.len()];
        let mut open = vec![root.offset()];
        while let Some(base) = open.pop() {
            // Any byte of a text may follow, and is looked up.
            if (base | 0xff) >= self.units.len() {
                return Err(CharsMapError::Outside);
            }
            for byte in 1..=0xff_u8 {
                let place = base ^ usize::from(byte);
                let unit = self.units[place];
                if unit.label() != u32::from(byte) || std::mem::replace(&mut seen[place], true) {
                    continue;
                }
                let next = place ^ unit.offset();
                if unit.has_leaf() {
                    self.check_replacement(self.units.get(next).ok_or(CharsMapError::Outside)?.value())?;
                }
                open.push(next);
            }
        }
        Ok(())
    }

    /// The text from `start` to the next NUL.
    fn check_replacement(&self, start: usize) -> Result<(), CharsMapError> {
        let text = self.replacements.get(start..).ok_or(CharsMapError::Outside)?;
        let mut bytes = text.bytes().take(MAX_REPLACEMENT_BYTES + 1);
        let length = bytes.position(|byte| byte == 0).unwrap_or(text.len());
        if length > MAX_REPLACEMENT_BYTES { Err(CharsMapError::TooLong) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn of_siglip() -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/siglip/siglip/tokenizer.json");
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let steps = json["normalizer"]["normalizers"].as_array().unwrap();
        let map = steps.iter().find_map(|step| step["precompiled_charsmap"].as_str()).unwrap();
        BASE64.decode(map).unwrap()
    }

    fn verdict(map: &[u8]) -> Result<(), CharsMapError> {
        check(&BASE64.encode(map))
    }

    #[test]
    fn the_map_of_a_published_model_is_sound() {
        assert_eq!(verdict(&of_siglip()), Ok(()));
    }

    #[test]
    fn damaged_maps_are_refused() {
        let map = of_siglip();
        assert_eq!(check("***"), Err(CharsMapError::Base64));
        assert_eq!(check(""), Err(CharsMapError::CutOff));
        assert_eq!(verdict(&u32::MAX.to_le_bytes()), Err(CharsMapError::CutOff));
        assert_eq!(verdict(&[0; 4]), Err(CharsMapError::CutOff));
        assert_eq!(verdict(&[4, 0, 0, 0, 0, 0, 0, 0]), Err(CharsMapError::Outside));
        let trie_bytes = u32::from_le_bytes(*map.first_chunk().unwrap()) as usize;
        assert_eq!(verdict(&map[..4 + trie_bytes]), Err(CharsMapError::Outside), "no replacements");
        let mut text = map.clone();
        text[4 + trie_bytes] = 0xff;
        assert_eq!(verdict(&text), Err(CharsMapError::Text));
        let mut long = map[..4 + trie_bytes].to_vec();
        long.extend(std::iter::repeat_n(b'x', map.len()));
        assert_eq!(verdict(&long), Err(CharsMapError::TooLong));
    }

    /// Whatever passes must not lead the lookup astray. In this build a lookup that does would panic.
    #[test]
    fn every_map_that_passes_can_be_looked_up() {
        use tokenizers::{NormalizedString, Normalizer};
        let map = of_siglip();
        let (mut passed, mut state) = (0, 7_u64);
        for _ in 0..400 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut damaged = map.clone();
            let place = (state >> 33) as usize % damaged.len();
            damaged[place] ^= 1 << (state >> 29 & 7);
            if verdict(&damaged).is_err() {
                continue;
            }
            passed += 1;
            let map = tokenizers::normalizers::Precompiled::from(&damaged).unwrap();
            let mut text = NormalizedString::from("ａ①ｶﾞ ﷺ é e\u{301} ½ 漢字 👩‍👧\u{ad}\u{200b}");
            map.normalize(&mut text).unwrap();
        }
        assert!(passed > 10, "{passed}");
    }
}
