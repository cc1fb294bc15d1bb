//! What an analysis says.

use std::fmt;

use serde::{Serialize, Serializer};

use super::question::{Language, Question};
use crate::info::{Route, Usage};
use crate::procure::{Source, Timestamp};

/// What a model says of a tender, as far as the record bears it out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Analysis {
    /// The tender's code.
    pub code: String,
    /// What was asked.
    pub question: Question,
    /// What the model says, and the record bears out.
    pub claims: Vec<Claim>,
    /// What the model said, and the record does not bear out.
    pub rejected: Vec<RejectedClaim>,
    /// Whether to make an offer, where that was asked and at least one claim speaks for the answer.
    pub verdict: Option<Verdict>,
    /// What of the record the model was not shown, because it was too long.
    pub left_out: Vec<String>,
    /// Where the record is from.
    pub source: Source,
    /// As of when the record holds.
    pub as_of: Timestamp,
    /// When it was asked.
    pub asked: Timestamp,
    /// Whether the first answer could not be read, and the model was asked again.
    pub repaired: bool,
    /// Tokens used by all answers.
    pub usage: Usage,
    /// Who served.
    pub route: Route,
}

impl Analysis {
    /// The language of the claims.
    pub fn language(&self) -> Language {
        self.question.language
    }
}

/// A sentence about the tender and the fields that it stands on. Amounts, days, times, RUTs, codes, percentages,
/// counts, states, links and quotations in it are those of the fields; its other words are the model's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Claim {
    /// The sentence.
    pub text: String,
    /// The fields that it stands on; at least one.
    pub citations: Vec<Citation>,
    /// What was found in the sentence and held against the fields. If there is nothing, the claim is only a reading of
    /// the fields.
    pub checked: Vec<Checked>,
}

/// A field of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Citation {
    /// Its place: a JSON pointer into the record's JSON form, or below `/derived` for what follows from it on the day of
    /// the question.
    pub path: String,
    /// Its value as the model was shown it.
    pub value: String,
}

/// Something in a claim that a field says too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Checked {
    /// What kind of thing.
    pub kind: CheckKind,
    /// How the claim writes it.
    pub written: String,
    /// The field that says so.
    pub path: String,
}

/// A claim that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RejectedClaim {
    /// The sentence.
    pub text: String,
    /// The fields that it named, as far as they exist.
    pub citations: Vec<Citation>,
    /// Why it does not hold.
    pub reason: Rejection,
}

/// Why a claim does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Rejection {
    /// It names no field.
    NoCitation,
    /// It names a field that the record does not have.
    UnknownField {
        /// The field, as the claim names it.
        field: String,
    },
    /// The fields that it names do not say this.
    NotInFields {
        /// What kind of thing.
        what: CheckKind,
        /// How the claim writes it.
        written: String,
    },
    /// It cannot be checked, as an amount in words.
    Unclear {
        /// How the claim writes it.
        written: String,
    },
    /// It says nothing, or much more than a claim should.
    Length,
    /// It says what an earlier claim says.
    Repeated,
    /// It is one more than was asked for.
    TooMany,
    /// It advises an offer for a tender that takes none.
    TakesNoOffers,
    /// It advises for or against an offer, and no claim is left that speaks for it.
    NothingLeft,
}

/// What can be checked in a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CheckKind {
    /// An amount of money.
    Amount,
    /// A day or a time.
    Date,
    /// A tax number.
    Rut,
    /// The code of a record, or a word of letters and digits.
    Code,
    /// A percentage.
    Percentage,
    /// A number.
    Number,
    /// A state.
    State,
    /// An address of a page or a mailbox.
    Link,
    /// What somebody is said to have written.
    Quotation,
}

impl CheckKind {
    /// `amount`, `date`, `rut`, `code`, `percentage`, `number`, `state`, `link` or `quotation`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::Date => "date",
            Self::Rut => "rut",
            Self::Code => "code",
            Self::Percentage => "percentage",
            Self::Number => "number",
            Self::State => "state",
            Self::Link => "link",
            Self::Quotation => "quotation",
        }
    }
}

impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for CheckKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCitation => f.write_str("it names no field"),
            Self::UnknownField { field } => write!(f, "there is no field {field}"),
            Self::NotInFields { what, written } => {
                write!(f, "the fields that it names do not say this {what}: {written}")
            }
            Self::Unclear { written } => write!(f, "it cannot be checked: {written}"),
            Self::Length => f.write_str("it says nothing, or too much at once"),
            Self::Repeated => f.write_str("an earlier claim says the same"),
            Self::TooMany => f.write_str("it is more than was asked for"),
            Self::TakesNoOffers => f.write_str("the tender takes no offers"),
            Self::NothingLeft => f.write_str("no claim is left that speaks for it"),
        }
    }
}

/// Whether to make an offer: the model's advice, which no field proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Make one.
    Go,
    /// Make none.
    NoGo,
    /// The record does not say enough.
    Unclear,
}

impl Verdict {
    /// `go`, `no_go` or `unclear`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::NoGo => "no_go",
            Self::Unclear => "unclear",
        }
    }

    /// The verdict spelt `text`, if there is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Go, Self::NoGo, Self::Unclear].into_iter().find(|verdict| verdict.as_str() == text)
    }
}
