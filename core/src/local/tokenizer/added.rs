//! Tokens that a text has as words of their own: control tokens, and those that a vocabulary was extended by.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::error::{Error, ErrorKind, Result};

/// A token that is matched before the text around it is split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddedToken {
    pub(crate) id: u32,
    pub(crate) text: String,
    /// Whether it steers the model: never text that somebody wrote.
    pub(crate) is_control: bool,
    /// Takes the white space before it.
    pub(crate) strips_left: bool,
    /// Takes the white space after it.
    pub(crate) strips_right: bool,
    /// Matches between characters that belong to no word only.
    pub(crate) is_single_word: bool,
}

/// The added tokens of a vocabulary.
#[derive(Debug)]
pub(crate) struct AddedTokens {
    tokens: Vec<AddedToken>,
    /// Matches all of them, the longest first.
    all: AhoCorasick,
}

/// A piece of a text: an added token, or what lies between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) range: Range<usize>,
    pub(super) token: Option<u32>,
}

impl AddedTokens {
    /// # Errors
    /// `model_load` if they cannot be matched together, which only absurd sizes cause.
    pub(super) fn new(mut tokens: Vec<AddedToken>) -> Result<Self> {
        tokens.retain(|token| !token.text.is_empty());
        let all = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|token| token.text.as_str()))
            .map_err(|error| {
                Error::new(ErrorKind::ModelLoad, format!("the model's special tokens: {error}"))
            })?;
        Ok(Self { tokens, all })
    }

    /// The tokens.
    pub(crate) fn tokens(&self) -> &[AddedToken] {
        &self.tokens
    }

    /// Cuts a text at its added tokens. A match with `guard` before it, or in it, is text.
    pub(super) fn split(&self, text: &str, guard: Option<char>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let (mut from, mut text_start) = (0, 0);
        while let Some(found) = self.all.find(aho_corasick::Input::new(text).range(from..)) {
            let (start, end) = (found.start(), found.end());
            let token = &self.tokens[found.pattern().as_usize()];
            let before = text[..start].chars().next_back();
            let is_guarded = guard.is_some() && before == guard;
            if is_guarded || token.is_single_word && !stands_alone(text, start..end) {
                from = start + text[start..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            let (mut cut, mut next) = (start, end);
            if token.strips_left {
                cut = text_start + text[text_start..start].trim_end().len();
            }
            if token.strips_right {
                next = text.len() - text[end..].trim_start().len();
            }
            if text_start < cut {
                pieces.push(Piece { range: text_start..cut, token: None });
            }
            pieces.push(Piece { range: cut..next, token: Some(token.id) });
            (from, text_start) = (next, next);
        }
        if text_start < text.len() {
            pieces.push(Piece { range: text_start..text.len(), token: None });
        }
        pieces
    }
}

fn stands_alone(text: &str, range: Range<usize>) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    !text[..range.start].chars().next_back().is_some_and(is_word)
        && !text[range.end..].chars().next().is_some_and(is_word)
}

/// Finds words in the texts of a conversation that are spelled like control tokens, and makes them plain text.
#[derive(Debug)]
pub(crate) struct Guarding {
    words: Vec<String>,
    all: AhoCorasick,
}

impl Guarding {
    /// # Errors
    /// `model_load` if the words cannot be matched together, which only absurd sizes cause.
    pub(crate) fn new<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self> {
        let mut words: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
        words.sort_unstable();
        words.dedup();
        let all = AhoCorasick::new(&words).map_err(|error| {
            Error::new(ErrorKind::ModelLoad, format!("the model's special tokens: {error}"))
        })?;
        Ok(Self { words, all })
    }

    /// The text with a guard before and in each such word, and before an end that could be the beginning of one.
    pub(crate) fn guard(&self, text: &str, guard: char) -> String {
        let mut marks: Vec<usize> = Vec::new();
        for found in self.all.find_overlapping_iter(text) {
            let start = found.start();
            let first = text[start..].chars().next().map_or(0, char::len_utf8);
            // Inside too: a template may cut the first character off.
            marks.extend(
                [start].into_iter().chain(Some(start + first).filter(|inside| *inside < found.end())),
            );
        }
        marks.extend(self.beginnings_at_the_end(text));
        marks.sort_unstable();
        marks.dedup();
        let mut guarded = String::with_capacity(text.len() + 4 * marks.len());
        let mut written = 0;
        for at in marks {
            guarded.push_str(&text[written..at]);
            guarded.push(guard);
            written = at;
        }
        guarded.push_str(&text[written..]);
        guarded
    }

    /// Where the end of a text could be the beginning of a word: what follows may hold the rest.
    fn beginnings_at_the_end(&self, text: &str) -> Vec<usize> {
        let longest = self.words.iter().map(String::len).max().unwrap_or(0);
        let ends = text.char_indices().rev().map(|(at, _)| at).take_while(|at| text.len() - at < longest);
        ends.filter(|at| {
            let end = &text[*at..];
            let first = self.words.partition_point(|word| word.as_str() <= end);
            self.words.get(first).is_some_and(|word| word.starts_with(end))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, text: &str) -> AddedToken {
        AddedToken { id, text: text.to_owned(), is_control: true, ..AddedToken::default() }
    }

    fn split(tokens: Vec<AddedToken>, text: &str, guard: Option<char>) -> Vec<(String, Option<u32>)> {
        let added = AddedTokens::new(tokens).unwrap();
        let pieces = added.split(text, guard);
        pieces.into_iter().map(|piece| (text[piece.range].to_owned(), piece.token)).collect()
    }

    #[test]
    fn the_longest_token_wins_and_white_space_goes_where_it_says() {
        let tokens = || {
            vec![
                token(1, "<a>"),
                token(2, "<a><b>"),
                AddedToken { strips_right: true, ..token(3, "<r>") },
                AddedToken { strips_left: true, ..token(4, "<l>") },
            ]
        };
        let text = |text: &str, token| (text.to_owned(), token);
        assert_eq!(
            split(tokens(), "x<a><b>y <a>", None),
            [text("x", None), text("<a><b>", Some(2)), text("y ", None), text("<a>", Some(1))]
        );
        assert_eq!(
            split(tokens(), " <r> \n<l>x <l>", None),
            [
                text(" ", None),
                text("<r> \n", Some(3)),
                text("<l>", Some(4)),
                text("x", None),
                text(" <l>", Some(4))
            ]
        );
    }

    #[test]
    fn a_single_word_stands_between_other_characters() {
        let tokens = vec![AddedToken { is_single_word: true, ..token(1, "mask") }];
        let found = split(tokens, "mask unmask mask_ (mask)", None);
        assert_eq!(found.iter().filter(|(_, token)| token.is_some()).count(), 2);
    }

    #[test]
    fn guarded_words_are_text_wherever_they_meet() {
        const GUARD: char = '\u{FDD0}';
        let words = ["<|end|>", "<|", "|>", "#", "<|end|><|start|>"];
        let guarding = Guarding::new(words.into_iter()).unwrap();
        let tokens: Vec<_> = words.iter().zip(1..).map(|(word, id)| token(id, word)).collect();
        let parts = ["<|end|>", "<|", "<", "|", "en", "d", "|>", "#", "x", "<|end|><|start|>"];
        for a in parts {
            for b in parts {
                for c in parts {
                    let text: String = [a, b, c].iter().map(|part| guarding.guard(part, GUARD)).collect();
                    let found = split(tokens.clone(), &text, Some(GUARD));
                    assert!(found.iter().all(|(_, token)| token.is_none()), "{a} {b} {c}: {found:?}");
                    let mixed = format!("{text}<|end|>");
                    let found = split(tokens.clone(), &mixed, Some(GUARD));
                    assert_eq!(found.last().unwrap(), &("<|end|>".to_owned(), Some(1)), "{a} {b} {c}");
                }
            }
        }
    }
}
