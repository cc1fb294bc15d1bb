#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bulk;
mod call;
mod case;
pub mod chilecompra;
pub mod fuzz;
mod judge;
mod matcher;
mod open;
mod placeholders;
mod random;
mod results;
mod runner;
#[cfg(test)]
mod runner_tests;
mod server;
mod services;
mod suite;
mod test_main;
pub mod tiny_images;

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
pub use test_main::{test_main, test_main_with};
