//! What a model is given: text in which some words are control tokens and others only look like them.

/// Code points that Unicode reserves for the inside of programs. One that no text of a conversation has marks what must
/// not be read as a control token.
const GUARDS: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// A text to be made tokens of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prompt {
    /// The text, with a guard inside every word of a user that is spelled like a control token.
    text: String,
    guard: Option<char>,
    /// Whether a chat template wrote it.
    is_chat: bool,
}

impl Prompt {
    /// A text that is completed as it is: control tokens in it are tokens, and the model's first token is put before it.
    pub(crate) fn completion(text: impl Into<String>) -> Self {
        Self { text: text.into(), guard: None, is_chat: false }
    }

    /// A conversation as its template wrote it, with `guard` in the texts of others that are spelled like control tokens.
    pub(crate) fn chat(text: impl Into<String>, guard: Option<char>) -> Self {
        Self { text: text.into(), guard, is_chat: true }
    }

    /// A guard that does not occur in `texts`, if there is one.
    pub(crate) fn free_guard<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Option<char> {
        GUARDS.into_iter().find(|guard| !texts.clone().any(|text| text.contains(*guard)))
    }

    /// Whether a character may be a guard.
    pub(crate) fn may_guard(character: char) -> bool {
        GUARDS.contains(&character)
    }

    /// The text as people would read it.
    pub(crate) fn to_text(&self) -> String {
        match self.guard {
            Some(guard) => self.text.replace(guard, ""),
            None => self.text.clone(),
        }
    }

    /// The text with its guards.
    pub(super) fn guarded(&self) -> (&str, Option<char>) {
        (&self.text, self.guard)
    }

    /// Whether a chat template wrote it.
    pub(super) fn is_chat(&self) -> bool {
        self.is_chat
    }

    /// Whether it ends with `suffix`, white space aside.
    pub(crate) fn ends_with(&self, suffix: &str) -> bool {
        self.text.trim_end().ends_with(suffix)
    }

    /// Puts a text in the place of each of a template's control tokens of this name; says how many there were. What others
    /// wrote is none of them.
    pub(crate) fn replace(&mut self, token: &str, text: &str) -> usize {
        let count = self.text.matches(token).count();
        if count > 0 {
            self.text = self.text.replace(token, text);
        }
        count
    }

    /// Adds what the template would have written next.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }
}
