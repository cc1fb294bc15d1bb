//! From token ids back to text, one token at a time.

use std::sync::Arc;

/// The bytes that each token of a vocabulary stands for.
#[derive(Debug, Default)]
pub(super) struct TokenBytes {
    bytes: Vec<u8>,
    /// Where each token's bytes end.
    ends: Vec<usize>,
    /// Control tokens that are not part of any text.
    hidden: Vec<bool>,
}

impl TokenBytes {
    /// Adds the next token.
    pub(super) fn push(&mut self, bytes: &[u8], is_hidden: bool) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.hidden.push(is_hidden);
    }

    /// How many tokens there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A token's bytes; none for a token that is not in the vocabulary.
    pub(super) fn get(&self, id: u32) -> &[u8] {
        let at = id as usize;
        let Some(end) = self.ends.get(at) else { return &[] };
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..*end]
    }

    fn visible(&self, id: u32) -> &[u8] {
        if self.hidden.get(id as usize).is_some_and(|is_hidden| *is_hidden) { &[] } else { self.get(id) }
    }
}

/// Makes text of an answer's tokens as they come. A character whose bytes lie in several tokens comes out with the last
/// of them; bytes that are no character come out as U+FFFD.
#[derive(Clone, Debug)]
pub(crate) struct TokenDecoder {
    tokens: Arc<TokenBytes>,
    pending: Vec<u8>,
    /// Whether a space at the very beginning only marks the beginning of a word.
    drops_space: bool,
}

impl TokenDecoder {
    pub(super) fn new(tokens: Arc<TokenBytes>, drops_space: bool) -> Self {
        Self { tokens, pending: Vec::new(), drops_space }
    }

    /// The text that is certain after one more token.
    pub(crate) fn push(&mut self, token: u32) -> String {
        let mut bytes = self.tokens.visible(token);
        if self.drops_space && !bytes.is_empty() {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            self.drops_space = false;
        }
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.pending[..valid]));
                    let Some(broken) = error.error_len() else {
                        self.pending.drain(..valid);
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.pending.drain(..valid + broken);
                }
            }
        }
    }

    /// What is left at the end of the answer: the beginning of a character that never came.
    pub(crate) fn finish(&mut self) -> String {
        let left = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&left).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(tokens: &[&[u8]], drops_space: bool) -> TokenDecoder {
        let mut table = TokenBytes::default();
        for token in tokens {
            table.push(token, false);
        }
        table.push(b"<|im_start|>", true);
        TokenDecoder::new(Arc::new(table), drops_space)
    }

    #[test]
    fn a_character_is_never_cut_whatever_the_tokens() {
        let text = "aé漢👩‍👩‍👧 z";
        let bytes: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        let table: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let mut decoder = decoder(&table, false);
        let mut found = String::new();
        for byte in text.bytes() {
            let piece = decoder.push(byte.into());
            assert!(!piece.contains(char::REPLACEMENT_CHARACTER));
            found.push_str(&piece);
        }
        assert_eq!(found + &decoder.finish(), text);
    }

    #[test]
    fn broken_bytes_come_out_as_the_standard_library_has_them() {
        let bytes: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        let table: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        for broken in [
            &b"a\xffb"[..],
            b"\xe6\xbc",
            b"\xe6\xbcx",
            b"\xf0\x9f\x91\xf0\x9f\x91\xa9",
            b"\xc0\x80",
            b"\xed\xa0\x80",
        ] {
            let mut decoder = decoder(&table, false);
            let mut found = String::new();
            for byte in broken {
                found.push_str(&decoder.push((*byte).into()));
            }
            assert_eq!(found + &decoder.finish(), String::from_utf8_lossy(broken), "{broken:?}");
        }
    }

    #[test]
    fn the_first_space_may_be_dropped_and_hidden_and_unknown_tokens_are_silent() {
        let mut decoder = decoder(&[b" a", b" b"], true);
        let pieces: Vec<String> = [2, 9, 0, 1, u32::MAX].map(|token| decoder.push(token)).into();
        assert_eq!(pieces.concat(), "a b");
    }
}
