//! Questions about a tender.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The lowest value of [`Question::most_characters`].
const MIN_CHARACTERS: usize = 2_000;
const MAX_QUESTION_CHARS: usize = 4_000;

/// A question about a tender, with its options.
///
/// ```
/// use ayni::procure::analysis::{Language, Question};
/// let question = Question::go_no_go().with_language(Language::English).with_most_claims(5);
/// let own = Question::free("¿Exige boleta de garantía?");
/// assert_ne!(question, own);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Question {
    /// The question.
    pub ask: QuestionKind,
    /// The language of the answer.
    pub language: Language,
    /// The most characters of the record in the prompt. What does not fit is left out and listed.
    pub most_characters: usize,
    /// The most claims.
    pub most_claims: usize,
    /// The most tokens of an answer.
    pub most_tokens: u32,
    /// Whether the prompt contains names, telephone numbers and mail addresses of the buyer's officials.
    pub personal_data: bool,
}

/// A kind of question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QuestionKind {
    /// What the tender is about.
    #[default]
    Summary,
    /// The requirements for an offer.
    Requirements,
    /// The risks for a bidder.
    Risks,
    /// Whether to make an offer.
    GoNoGo,
    /// The deadlines.
    Deadlines,
    /// A free question.
    Free(String),
}

/// The language of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Language {
    /// Spanish, with numbers in Chilean format: `1.250.000,50`.
    #[default]
    #[serde(rename = "es")]
    Spanish,
    /// English, with numbers as in `1,250,000.50`.
    #[serde(rename = "en")]
    English,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            ask: QuestionKind::default(),
            language: Language::default(),
            most_characters: 24_000,
            most_claims: 12,
            most_tokens: 2_048,
            personal_data: false,
        }
    }
}

macro_rules! presets {
    ($($(#[doc = $doc:literal])+ $name:ident = $ask:ident;)+) => {
        $($(#[doc = $doc])+
        pub fn $name() -> Self {
            Self::of(QuestionKind::$ask)
        })+
    };
}

impl Question {
    presets! {
        /// What the tender is about.
        summary = Summary;
        /// The requirements for an offer.
        requirements = Requirements;
        /// The risks for a bidder.
        risks = Risks;
        /// Whether to make an offer.
        go_no_go = GoNoGo;
        /// The deadlines.
        deadlines = Deadlines;
    }

    /// A free question. It is sent to the model as an instruction: never put a record's text into it.
    pub fn free(question: impl Into<String>) -> Self {
        Self::of(QuestionKind::Free(question.into()))
    }

    /// A question of this kind.
    pub fn of(ask: QuestionKind) -> Self {
        Self { ask, ..Self::default() }
    }

    setters! {
        /// Sets the language of the answer.
        with_language: language = Language;
        /// Sets the most characters of the record in the prompt.
        with_most_characters: most_characters = usize;
        /// Sets the most claims.
        with_most_claims: most_claims = usize;
        /// Sets the most tokens of an answer.
        with_most_tokens: most_tokens = u32;
        /// Sets whether the prompt contains names, telephone numbers and mail addresses of the buyer's officials.
        with_personal_data: personal_data = bool;
    }

    /// Checks the question and its options.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check(&self) -> Result<()> {
        if let QuestionKind::Free(question) = &self.ask {
            if question.trim().is_empty() {
                return Err(Error::invalid_request("the question is empty"));
            }
            if question.chars().count() > MAX_QUESTION_CHARS {
                return Err(Error::invalid_request(format!(
                    "the question is longer than {MAX_QUESTION_CHARS} characters"
                )));
            }
        }
        if self.most_characters < MIN_CHARACTERS {
            return Err(Error::invalid_request(format!(
                "`most_characters` is below {MIN_CHARACTERS}, which leaves too little of a record"
            )));
        }
        if self.most_claims == 0 || self.most_tokens == 0 {
            return Err(Error::invalid_request("`most_claims` and `most_tokens` must be at least 1"));
        }
        Ok(())
    }
}

impl Language {
    /// `es` or `en`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spanish => "es",
            Self::English => "en",
        }
    }
}
