//! Asking a language model about a tender, with proof.
//!
//! The model answers with a list of claims. In place of values they hold references to numbered fields of the record:
//! `{4}`, or `{12: multa del 5 %}` for a part of a text. The code writes the values there. A claim with a value of its own, or
//! with a fact in plain words that no referenced field carries, is rejected and listed with the reason. Records are written by
//! strangers: a text that tries to instruct the model can at most make it claim something, which is checked like everything
//! else.
//!
//! ```
//! use ayni::backends::scripted::{Scripted, ScriptedConfig};
//! use ayni::procure::analysis::{Question, analyse};
//! use ayni::procure::{AnyProcurement, GetRequest};
//! use ayni::{AnyChat, Context};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let cx = Context::new();
//! let tender = AnyProcurement::new(Scripted::default()).tender(&cx, GetRequest::new("9002-7-LR26")).await?.record;
//! // Field 1 is the code, field 4 the closing time. The prompt tells the model so.
//! let answer = r#"{"claims": ["La licitación {1} cierra el {4}.", "Cierra el 3 de febrero."]}"#;
//! let chat = AnyChat::new(Scripted::new(ScriptedConfig::default().with_replies([answer]))?);
//!
//! let analysis = analyse(&cx, &tender, &Question::deadlines(), &chat).await?;
//! assert_eq!(analysis.claims[0].text, "La licitación 9002-7-LR26 cierra el 02-02-2026 17:00.");
//! assert_eq!(analysis.claims[0].citations[1].path, "/row/closes");
//! assert_eq!(analysis.rejected[0].text, "Cierra el 3 de febrero.");
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod claim;
pub(crate) mod clean;
mod outcome;
mod prompt;
mod question;
mod view;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

pub use outcome::{Analysis, Citation, Claim, RejectedClaim, Rejection, Verdict};
pub use question::{Language, Question, QuestionKind};
#[cfg(feature = "pdf")]
pub(in crate::procure) use view::labels;

use answer::{MalformedAnswer, RawAnswer};
use prompt::AnswerFormat;
use view::View;

use crate::chat::{ChatBackend, ChatRequest, ChatResponse, FinishReason};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::info::Usage;
use crate::procure::tables::folded;
use crate::procure::{Tender, TenderState, Timestamp};

/// Asks a model about a tender, and returns the claims that the record supports.
///
/// It works with any chat backend: it requests a JSON Schema, else any JSON, else plain text, as far as the backend supports
/// it. If the answer cannot be parsed, it asks once more. Logs and errors contain nothing of the record, the question or the
/// answer.
///
/// # Errors
/// `invalid_request` for an invalid question; `response_invalid` if the second answer cannot be parsed either;
/// `content_rejected` if a filter cut the answer; those of the backend.
pub async fn analyse(
    cx: &Context,
    tender: &Tender,
    question: &Question,
    chat: &impl ChatBackend,
) -> Result<Analysis> {
    question.check()?;
    let asked = Timestamp::of_system_time(cx.clock().system_time());
    let view = View::of(tender, question, asked);
    let mut form = AnswerFormat::Schema;
    let request = prompt::request(question, &view);
    let first = ask(cx, chat, &request, &mut form, question).await?;
    let usage = first.usage;
    match read(&first, question) {
        Ok(answered) => Ok(outcome(tender, question, &view, asked, answered, first, usage)),
        Err(fault) => {
            let request = prompt::repeat_request(request, &first.text, fault.0);
            let second = ask(cx, chat, &request, &mut form, question).await?;
            let usage = usage.plus(second.usage);
            let answered = read(&second, question).map_err(|fault| unreadable(chat, fault))?;
            let analysis = outcome(tender, question, &view, asked, answered, second, usage);
            Ok(Analysis { repaired: true, ..analysis })
        }
    }
}

/// Asks with the strictest format that the backend supports.
async fn ask(
    cx: &Context,
    chat: &impl ChatBackend,
    request: &ChatRequest,
    form: &mut AnswerFormat,
    question: &Question,
) -> Result<ChatResponse> {
    loop {
        let response = match chat.chat(cx, form.apply(request.clone(), &question.ask)).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => match form.less_strict() {
                Some(weaker) => {
                    *form = weaker;
                    continue;
                }
                None => return Err(error),
            },
            other => other?,
        };
        if response.finish == FinishReason::ContentFilter {
            let error =
                Error::new(ErrorKind::ContentRejected, "a safety filter cut the answer about the tender");
            return Err(error.with_sent(Sent::Yes).with_backend(&*chat.info().backend));
        }
        return Ok(response);
    }
}

fn read(response: &ChatResponse, question: &Question) -> Result<RawAnswer, MalformedAnswer> {
    let answered = answer::read(&response.text, &question.ask);
    match (answered, &response.finish) {
        (Err(_), FinishReason::Length) => Err(MalformedAnswer("it is cut off at the token limit")),
        (answered, _) => answered,
    }
}

fn unreadable(chat: &impl ChatBackend, fault: MalformedAnswer) -> Error {
    Error::response_invalid(format!("the model's answer was not in the requested format, twice: {}", fault.0))
        .with_backend(&*chat.info().backend)
}

fn outcome(
    tender: &Tender,
    question: &Question,
    view: &View,
    asked: Timestamp,
    answered: RawAnswer,
    response: ChatResponse,
    usage: Usage,
) -> Analysis {
    let (claims, mut rejected) = checked(view, question, answered.claims);
    let verdict = answered.verdict.and_then(|verdict| match contradiction(verdict, tender, &claims, asked) {
        None => Some(verdict),
        Some(reason) => {
            let text = verdict.as_str().to_owned();
            rejected.push(RejectedClaim { text, citations: Vec::new(), reason });
            None
        }
    });
    let origin = &tender.row.origin;
    Analysis {
        code: clean::visible(&tender.row.code, false),
        question: question.clone(),
        claims,
        rejected,
        verdict,
        left_out: view.left_out.clone(),
        source: origin.source.clone(),
        as_of: origin.as_of,
        asked,
        repaired: false,
        usage,
        route: response.route,
    }
}

/// Splits claims into those that the record supports and those that it does not.
fn checked(view: &View, question: &Question, made: Vec<String>) -> (Vec<Claim>, Vec<RejectedClaim>) {
    let (mut claims, mut rejected): (Vec<Claim>, Vec<RejectedClaim>) = (Vec::new(), Vec::new());
    for made in made {
        match claim::write(view, &made, question.language) {
            Ok(claim) => {
                let same = |known: &Claim| folded(&known.text) == folded(&claim.text);
                let reason = match claims.len() {
                    _ if claims.iter().any(same) => Some(Rejection::Repeated),
                    held if held >= question.most_claims => Some(Rejection::TooMany),
                    _ => None,
                };
                match reason {
                    None => claims.push(claim),
                    Some(reason) => {
                        rejected.push(RejectedClaim { text: claim.text, citations: claim.citations, reason });
                    }
                }
            }
            Err(claim) => rejected.push(claim),
        }
    }
    (claims, rejected)
}

fn contradiction(verdict: Verdict, tender: &Tender, claims: &[Claim], now: Timestamp) -> Option<Rejection> {
    let decided = matches!(
        tender.row.state,
        TenderState::Closed
            | TenderState::Deserted
            | TenderState::Awarded
            | TenderState::Revoked
            | TenderState::Suspended
    );
    let is_over = tender.row.closes.is_some_and(|closes| closes.time_left(now).is_none());
    match verdict {
        Verdict::Go if decided || is_over => Some(Rejection::TakesNoOffers),
        Verdict::Go | Verdict::NoGo if claims.iter().all(|claim| claim.opinion) => {
            Some(Rejection::NothingLeft)
        }
        _ => None,
    }
}
