//! The result of an analysis.

use std::fmt;

use serde::Serialize;

use super::question::{Language, Question};
use crate::info::{Route, Usage};
use crate::procure::{Source, Timestamp};

/// What a model says about a tender, as far as the record supports it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Analysis {
    /// The tender's code.
    pub code: String,
    /// The question.
    pub question: Question,
    /// The claims that the record supports.
    pub claims: Vec<Claim>,
    /// The claims that the record does not support.
    pub rejected: Vec<RejectedClaim>,
    /// The advice whether to make an offer, if that was asked and at least one claim supports it.
    pub verdict: Option<Verdict>,
    /// The parts of the record that were left out of the prompt because it was too long.
    pub left_out: Vec<String>,
    /// The source of the record.
    pub source: Source,
    /// The time as of which the record is valid.
    pub as_of: Timestamp,
    /// The time of the question.
    pub asked: Timestamp,
    /// Whether the first answer could not be parsed, so that the model was asked again.
    pub repaired: bool,
    /// The tokens of all requests.
    pub usage: Usage,
    /// The backend that answered.
    pub route: Route,
}

impl Analysis {
    /// The language of the claims.
    pub fn language(&self) -> Language {
        self.question.language
    }
}

/// A sentence about the tender. Its values are those of the fields that it references, and were written by code; the other
/// words are the model's, and hold no value and no fact that none of these fields carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Claim {
    /// The sentence.
    pub text: String,
    /// The fields that it references.
    pub citations: Vec<Citation>,
    /// Whether it references no field but code and title, so that it is only the model's opinion.
    pub opinion: bool,
}

/// A field that a claim references.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Citation {
    /// The path: a JSON pointer into the record's JSON form, or below `/derived` for a value that was derived from it on the
    /// day of the question.
    pub path: String,
    /// The value as it was in the prompt.
    pub value: String,
}

/// A claim that the record does not support.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RejectedClaim {
    /// The sentence, as the model wrote it.
    pub text: String,
    /// The fields that it references, as far as they exist.
    pub citations: Vec<Citation>,
    /// The reason.
    pub reason: Rejection,
}

/// Why a claim was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Rejection {
    /// It references a field that does not exist.
    UnknownField {
        /// The field as written in the claim.
        field: String,
    },
    /// No field that it references says this: a value that is not a reference, an excerpt that is not in its field, or a
    /// fact in plain words.
    NotInFields {
        /// The value as written in the claim.
        written: String,
    },
    /// It cannot be checked: it denies a state, or a reference has no end.
    Unclear {
        /// The part as written in the claim.
        written: String,
    },
    /// It is empty or too long.
    Length,
    /// It repeats an earlier claim.
    Repeated,
    /// It is beyond the requested number of claims.
    TooMany,
    /// It advises an offer for a tender that is closed for offers.
    TakesNoOffers,
    /// It is advice for or against an offer, and no claim is left that supports it. Opinions do not.
    NothingLeft,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField { field } => write!(f, "field {field} does not exist"),
            Self::NotInFields { written } => write!(f, "no field that it references says: {written}"),
            Self::Unclear { written } => write!(f, "it cannot be checked: {written}"),
            Self::Length => f.write_str("it is empty or too long"),
            Self::Repeated => f.write_str("it repeats an earlier claim"),
            Self::TooMany => f.write_str("it is beyond the requested number of claims"),
            Self::TakesNoOffers => f.write_str("the tender is closed for offers"),
            Self::NothingLeft => f.write_str("no claim is left that supports it"),
        }
    }
}

/// The model's advice whether to make an offer. It is not checked against the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Make an offer.
    Go,
    /// Make no offer.
    NoGo,
    /// The record does not contain enough.
    Unclear,
}

names! { Verdict { Go = "go", NoGo = "no_go", Unclear = "unclear" } }
