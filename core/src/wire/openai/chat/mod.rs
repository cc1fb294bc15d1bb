//! Chat completions: requests, whole responses and streamed chunks.
//!
//! A server reads a [`CompletionRequest`] and writes a [`Completion`] or the [`CompletionEvents`] of a stream. The client's half reads what many servers make of the protocol; it is for the backends of this
//! crate.

mod completion;
mod delta;
mod event_stream;
mod message;
mod options;
mod raw;
mod reader;
mod request;
#[cfg(test)]
mod round_trip_tests;
mod stream_reader;
mod stream_writer;
mod think;
mod tool_calls;
mod usage;

pub use completion::{Completion, CompletionHead};
pub use event_stream::{CompletionEvents, EventsPiece};
pub use request::CompletionRequest;
pub use stream_writer::ChunkWriter;
pub use think::InlineReasoning;

pub(crate) use options::StreamOptionsJson;
pub(crate) use raw::RawCompletion;
pub(crate) use reader::CompletionReader;
pub(crate) use request::CompletionBody;
pub(crate) use stream_reader::ChunkReader;
