//! No model folder or GGUF file ends the process, holds it, or gives numbers that are none: mutations of the tiny embedders
//! and chat models, in child processes. `make fuzz` tries more of them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::process::ExitCode;

#[cfg(feature = "candle")]
#[path = "mutated_models/chat.rs"]
mod chat;
#[cfg(feature = "candle")]
#[path = "mutated_models/models.rs"]
mod models;

fn main() -> ExitCode {
    #[cfg(feature = "candle")]
    return models::main();
    #[cfg(not(feature = "candle"))]
    ExitCode::SUCCESS
}
