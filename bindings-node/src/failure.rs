//! Errors of ayni on their way to JavaScript: nothing is thrown, an outcome is the answer or a [`Failed`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use ayni::{Error, ErrorKind, Result};
use napi::bindgen_prelude::Either;
use napi_derive::napi;
use serde::Serialize;

/// Why a call failed.
#[derive(Debug)]
#[napi(object, object_from_js = false)]
pub struct Failed {
    /// The error as JSON: its fields, its one-line form, and the same of its causes.
    pub error: String,
}

/// What a native function returns: the answer, or an object with `error`.
pub(crate) type Outcome<T> = Either<T, Failed>;

#[derive(Serialize)]
struct Described<'a> {
    #[serde(flatten)]
    error: &'a Error,
    display: String,
    cause: Option<Cause<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Cause<'a> {
    Ours(Box<Described<'a>>),
    Other { display: String, cause: Option<Box<Self>> },
}

impl<'a> Described<'a> {
    fn new(error: &'a Error) -> Self {
        Self { error, display: error.to_string(), cause: Cause::of(error) }
    }
}

impl<'a> Cause<'a> {
    fn of(error: &'a (dyn std::error::Error + 'static)) -> Option<Self> {
        let source = error.source()?;
        Some(match source.downcast_ref::<Error>() {
            Some(ours) => Self::Ours(Box::new(Described::new(ours))),
            None => Self::Other { display: source.to_string(), cause: Self::of(source).map(Box::new) },
        })
    }
}

impl Failed {
    fn new(error: &Error) -> Self {
        let unwritten =
            |_| r#"{"kind":"unexpected","message":"the error cannot be written as JSON"}"#.to_owned();
        Self { error: serde_json::to_string(&Described::new(error)).unwrap_or_else(unwritten) }
    }
}

/// A result as JavaScript gets it.
pub(crate) fn outcome<T>(result: Result<T>) -> Outcome<T> {
    match result {
        Ok(answer) => Either::A(answer),
        Err(error) => Either::B(Failed::new(&error)),
    }
}

/// Does the work of a synchronous function, in which a panic would end the process.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Outcome<T> {
    outcome(catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked())))
}

/// What a caught panic becomes.
pub(crate) fn panicked() -> Error {
    Error::new(ErrorKind::Unexpected, "ayni panicked; the message is on the standard error stream")
}
