//! The tokens of a text that is far longer than the window: only as much of it is tokenised as fills the window.

use super::encode::{Side, Tokenizer, not_tokenised};
use crate::error::Result;

/// Texts of so many bytes are tokenised whole, whatever the window.
const MIN_BYTES: usize = 8 << 10;

/// How many bytes of a longer text are tokenised at first, for each token of the window. Words have about five.
const BYTES_PER_TOKEN: usize = 16;

/// A text that does not fill the window with so many bytes is cut there: it is blanks, or one endless word.
const MAX_BYTES: usize = 1 << 18;

/// The same for each token of the window.
const MAX_BYTES_PER_TOKEN: usize = 64;

/// Words at the cut whose tokens may be others in the whole text.
const UNSETTLED_WORDS: u32 = 8;

/// How many more bytes are taken if some were too few.
const GROWTH: usize = 4;

/// The tokens of a text that fit into the window.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) ids: Vec<u32>,
    /// Whether the text has more.
    pub(super) is_cut: bool,
}

impl Tokenizer {
    /// The most bytes of a text that are looked at.
    pub(crate) fn max_bytes(&self) -> usize {
        MAX_BYTES.max(self.room().saturating_mul(MAX_BYTES_PER_TOKEN))
    }

    /// The tokens of a text without special ones, as many as there is room for.
    pub(super) fn content_in_window(&self, text: &str) -> Result<Content> {
        let room = self.room();
        let mut bytes = MIN_BYTES.max(room.saturating_mul(BYTES_PER_TOKEN));
        while bytes < text.len() {
            let most = self.max_bytes();
            if let Some(content) = self.content_of_part(self.side.part(text, bytes), bytes >= most)? {
                return Ok(content);
            }
            bytes = bytes.saturating_mul(GROWTH).min(most);
        }
        let mut ids = self.content(text)?.get_ids().to_vec();
        let is_cut = ids.len() > room;
        self.side.keep(&mut ids, room);
        Ok(Content { ids, is_cut })
    }

    /// The same of a part of the text; `None` if it may not fill the window. The last part is taken as it is.
    fn content_of_part(&self, part: &str, is_last: bool) -> Result<Option<Content>> {
        let room = self.room();
        let encoding = self.inner.encode(part, false).map_err(|_| not_tokenised())?;
        let mut ids = encoding.get_ids().to_vec();
        let words = encoding.get_word_ids();
        let (first, last) = (words.first().copied().flatten(), words.last().copied().flatten());
        let is_settled = |word: &Option<u32>| {
            word.zip(first.zip(last)).is_some_and(|(word, (first, last))| match self.side {
                Side::End => word.saturating_add(UNSETTLED_WORDS) <= last,
                Side::Start => word >= first.saturating_add(UNSETTLED_WORDS),
            })
        };
        let settled = words.iter().filter(|word| is_settled(word)).count();
        // Within one endless word, what is far from the cut does not depend on it.
        if settled > room || ids.len() > room.saturating_mul(2).saturating_add(MIN_BYTES / 8) || is_last {
            self.side.keep(&mut ids, room);
            return Ok(Some(Content { ids, is_cut: true }));
        }
        Ok(None)
    }
}

impl Side {
    /// About so many bytes of the side that is kept.
    fn part(self, text: &str, bytes: usize) -> &str {
        match self {
            Self::End => {
                let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                &text[..end]
            }
            Self::Start => {
                let start = text.len() - bytes.min(text.len());
                let start = (start..=text.len()).find(|start| text.is_char_boundary(*start));
                &text[start.unwrap_or(text.len())..]
            }
        }
    }

    /// Cuts tokens to so many.
    fn keep(self, ids: &mut Vec<u32>, room: usize) {
        match self {
            Self::End => ids.truncate(room),
            Self::Start => drop(ids.drain(..ids.len().saturating_sub(room))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::super::{Cleaning, Tokenizer};
    use super::*;
    use crate::local::source::ModelFiles;

    fn golden(folder: &str) -> Tokenizer {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
        Tokenizer::of_model(&ModelFiles::in_folder(&path).unwrap(), Cleaning::None).unwrap()
    }

    /// Words, unigrams and byte pairs.
    fn all() -> [Tokenizer; 3] {
        ["repositories/base", "siglip/siglip", "siglip/siglip2"]
            .map(|folder| golden(folder).with_window(40).unwrap())
    }

    /// Texts of every kind, much longer than what is looked at first.
    fn texts() -> Vec<String> {
        let words = ["the road", "niño, 3.500 m²", "don't", "  ", "supply\n\n", "漢字", "😀", "abc123def"];
        let mixed = (0..9000).map(|i| words[i * i % 8]).collect::<Vec<_>>().join(" ");
        vec![
            "the road north ".repeat(4000),
            mixed,
            "the".repeat(20_000),
            "漢".repeat(20_000),
            "a ".repeat(30_000),
            format!("{}the road {}", " ".repeat(20_000), "north ".repeat(4000)),
        ]
    }

    #[test]
    fn the_tokens_are_those_of_the_whole_text_cut_to_the_window() {
        for tokenizer in all() {
            for side in [Side::End, Side::Start] {
                let tokenizer = tokenizer.clone().with_side(side);
                for (number, text) in texts().iter().enumerate() {
                    let mut whole = tokenizer.content(text).unwrap().get_ids().to_vec();
                    let is_cut = whole.len() > tokenizer.room();
                    side.keep(&mut whole, tokenizer.room());
                    let found = tokenizer.content_in_window(text).unwrap();
                    assert_eq!(
                        found,
                        Content { ids: whole, is_cut },
                        "{tokenizer:?}, {side:?}: text {number}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_text_of_any_length_takes_no_longer_than_its_window() {
        for tokenizer in all() {
            for text in ["a ".repeat(10 << 20), "the road ".repeat(2 << 20)] {
                let start = Instant::now();
                assert!(tokenizer.content_in_window(&text).unwrap().is_cut);
                assert!(start.elapsed() < Duration::from_secs(2), "{tokenizer:?}: {:?}", start.elapsed());
            }
        }
    }

    #[test]
    fn blanks_and_endless_words_are_cut_where_nothing_fills_the_window() {
        let words = golden("repositories/base").with_window(40).unwrap();
        for text in [" ".repeat(3 << 20), "x".repeat(3 << 20)] {
            let found = words.content_in_window(&text).unwrap();
            assert!(found.is_cut && found.ids.len() <= 1, "{found:?}");
        }
        let few = format!("{}the road", " ".repeat(100_000));
        assert_eq!(words.content_in_window(&few).unwrap(), {
            Content { ids: words.content("the road").unwrap().get_ids().to_vec(), is_cut: false }
        });
    }
}
