//! The behaviour suite: cases, the mock server that they run against, and their runner.
//!
//! Not covered by semver. The cases are data, in `conformance/` beside this crate's sources, and
//! `conformance/README.md` explains them. A backend outside ayni runs them, or its own, on its own opener:
//!
//! ```
//! use ayni::conformance::{self, Suite};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let suite = Suite::bundled()?;
//! let summary = conformance::run(&suite, &conformance::open, |case| case.name.starts_with("scripted-")).await;
//! assert!(summary.executed > 0 && summary.failures.is_empty(), "{summary}");
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

pub mod bulk;
mod call;
mod case;
pub mod chilecompra;
mod judge;
mod matcher;
mod open;
mod others;
mod placeholders;
mod results;
mod runner;
mod server;
mod suite;

pub use call::OtherCalls;
pub use case::{
    Call, Capability, Case, Chunks, ContextSpec, DropPoint, End, EventFrame, Exchange, Expect, Frame, Host,
    PauseFrame, RawFrame, Repeat, RequestSpec, Respond,
};
pub use matcher::differences;
pub use open::{Open, OpenFrom, Opened, PickMode, open};
pub use placeholders::{CANARIES, CANARY_HF_KEY, CANARY_KEY, CANARY_PROMPT, JPEG, PNG};
pub use runner::{Failure, Summary, run, run_case, run_must_fail, serve_case};
pub use server::{Mismatch, MockServer, Received, Report};
pub use suite::{CaseFile, Suite};

#[cfg(test)]
mod tests;
