//! A position in a text.

use crate::procure::tables::folded;

/// A position in a text, which the readers move forward.
#[derive(Clone, Debug)]
pub(super) struct TextCursor<'a> {
    chars: &'a [char],
    at: usize,
}

impl<'a> TextCursor<'a> {
    pub(super) fn new(chars: &'a [char]) -> Self {
        Self { chars, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn move_to(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.chars.len()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// The character `ahead` positions further on.
    pub(super) fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    pub(super) fn before(&self) -> Option<char> {
        self.at.checked_sub(1).and_then(|at| self.chars.get(at)).copied()
    }

    /// Whether the character before belongs to the same word.
    pub(super) fn is_inside_word(&self) -> bool {
        let own = self.peek().is_some_and(char::is_alphanumeric);
        own && self.before().is_some_and(char::is_alphanumeric)
    }

    /// Whether this is not inside a word.
    pub(super) fn is_at_boundary(&self) -> bool {
        !self.peek().is_some_and(char::is_alphanumeric)
    }

    /// Whether the number goes on here.
    pub(super) fn is_before_more_digits(&self) -> bool {
        matches!(self.peek(), Some('.' | ',' | '-' | '/'))
            && self.peek_at(1).is_some_and(|c| c.is_ascii_digit())
    }

    pub(super) fn skip(&mut self, characters: usize) {
        self.at = (self.at + characters).min(self.chars.len());
    }

    /// Moves past the character or the word that starts at `start`.
    pub(super) fn step(&mut self, start: usize) {
        self.at = start;
        let word = self.alphanumerics();
        self.at = start + word.chars().count().max(1);
    }

    pub(super) fn since(&self, start: usize) -> String {
        self.chars.get(start..self.at).unwrap_or_default().iter().collect()
    }

    pub(super) fn take(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let found = self.peek().filter(|c| wanted(*c))?;
        self.at += 1;
        Some(found)
    }

    pub(super) fn accept(&mut self, character: char) -> Option<char> {
        self.take(|c| c == character)
    }

    pub(super) fn accept_text(&mut self, text: &str) -> Option<()> {
        let matches = text.chars().enumerate().all(|(ahead, c)| self.peek_at(ahead) == Some(c));
        matches.then(|| self.skip(text.chars().count()))
    }

    /// Skips blanks, including non-breaking ones.
    pub(super) fn blanks(&mut self) {
        while self.peek().is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
    }

    /// Reads all digits here, if there are 1 to `most`.
    pub(super) fn digits(&mut self, most: usize) -> Option<String> {
        let digits: String =
            self.chars.get(self.at..)?.iter().take_while(|c| c.is_ascii_digit()).take(most + 1).collect();
        if digits.is_empty() || digits.len() > most {
            return None;
        }
        self.at += digits.len();
        Some(digits)
    }

    /// Reads all digits here as a number below 10000.
    pub(super) fn number(&mut self, most_digits: usize) -> Option<u16> {
        self.digits(most_digits.min(4))?.parse().ok()
    }

    /// Reads letters and digits.
    pub(super) fn alphanumerics(&mut self) -> String {
        self.take_while(char::is_alphanumeric)
    }

    /// Reads letters, folded.
    pub(super) fn word(&mut self) -> String {
        folded(&self.take_while(char::is_alphabetic))
    }

    /// Reads the next word after blanks, folded, if it is one of these; otherwise reads nothing.
    pub(super) fn word_of(&mut self, words: &[&str]) -> Option<String> {
        let start = self.at;
        self.blanks();
        let word = self.word();
        if !word.is_empty() && self.is_at_boundary() && words.contains(&word.as_str()) {
            return Some(word);
        }
        self.at = start;
        None
    }

    /// The words before `at`, folded, nearest first.
    pub(super) fn words_before(&self, at: usize, most: usize) -> Vec<String> {
        let text: String = self.chars.get(at.saturating_sub(80)..at).unwrap_or_default().iter().collect();
        text.split_whitespace().rev().take(most).map(folded).collect()
    }

    /// The text up to the next blank, limited to the length of an address.
    pub(super) fn rest_of_word(&self) -> String {
        const LONGEST: usize = 300;
        let rest = self.chars.get(self.at..).unwrap_or_default();
        rest.iter().take(LONGEST).take_while(|c| !c.is_whitespace()).collect()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let take_while: String =
            self.chars.get(self.at..).unwrap_or_default().iter().take_while(|c| wanted(**c)).collect();
        self.at += take_while.chars().count();
        take_while
    }
}
