//! What to ask about a tender.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The least characters of a record that a question may leave.
const LEAST_CHARACTERS: usize = 2_000;
/// The longest question in words of one's own.
const LONGEST_QUESTION: usize = 4_000;

/// What to ask about a tender, and how.
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
    /// What is asked.
    pub ask: Ask,
    /// In which language to answer.
    pub language: Language,
    /// The most characters of the record that the model is shown; what does not fit is left out, and named.
    pub most_characters: usize,
    /// The most claims that are asked for.
    pub most_claims: usize,
    /// The most tokens of an answer.
    pub most_tokens: u32,
    /// Whether the model is shown names, telephones and mail addresses of the buyer's officials.
    pub personal_data: bool,
}

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ask {
    /// What the tender is about.
    #[default]
    Summary,
    /// What an offer has to fulfil.
    Requirements,
    /// What may go wrong for who makes an offer.
    Risks,
    /// Whether to make an offer.
    GoNoGo,
    /// What has to be done by when.
    Deadlines,
    /// Something else, in words of one's own.
    Free(String),
}

/// The language of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Language {
    /// Spanish, with numbers as Chile writes them: `1.250.000,50`.
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
            ask: Ask::default(),
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
            Self::of(Ask::$ask)
        })+
    };
}

impl Question {
    presets! {
        /// What the tender is about.
        summary = Summary;
        /// What an offer has to fulfil.
        requirements = Requirements;
        /// What may go wrong for who makes an offer.
        risks = Risks;
        /// Whether to make an offer.
        go_no_go = GoNoGo;
        /// What has to be done by when.
        deadlines = Deadlines;
    }

    /// A question in words of one's own. They are sent to the model as an instruction: never put a record's text into
    /// them.
    pub fn free(question: impl Into<String>) -> Self {
        Self::of(Ask::Free(question.into()))
    }

    /// Any question.
    pub fn of(ask: Ask) -> Self {
        Self { ask, ..Self::default() }
    }

    /// Sets the language of the answer.
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// Sets the most characters of the record that the model is shown.
    pub fn with_most_characters(mut self, characters: usize) -> Self {
        self.most_characters = characters;
        self
    }

    /// Sets the most claims.
    pub fn with_most_claims(mut self, claims: usize) -> Self {
        self.most_claims = claims;
        self
    }

    /// Sets the most tokens of an answer.
    pub fn with_most_tokens(mut self, tokens: u32) -> Self {
        self.most_tokens = tokens;
        self
    }

    /// Says whether the model is shown names, telephones and mail addresses of the buyer's officials.
    pub fn with_personal_data(mut self, shown: bool) -> Self {
        self.personal_data = shown;
        self
    }

    /// Fails on what cannot be asked.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check(&self) -> Result<()> {
        if let Ask::Free(question) = &self.ask {
            if question.trim().is_empty() {
                return Err(Error::invalid_request("the question is empty"));
            }
            if question.chars().count() > LONGEST_QUESTION {
                return Err(Error::invalid_request(format!(
                    "the question is longer than {LONGEST_QUESTION} characters"
                )));
            }
        }
        if self.most_characters < LEAST_CHARACTERS {
            return Err(Error::invalid_request(format!(
                "`most_characters` is below {LEAST_CHARACTERS}, which leaves too little of a record"
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
