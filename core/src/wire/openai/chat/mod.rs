//! Chat completions: requests, whole responses and streamed chunks.
//!
//! A server reads a [`CompletionRequest`] and writes a [`Completion`] or the [`CompletionEvents`] of a stream. The client's half reads what many servers make of the protocol; it is for the backends of this
//! crate.

mod annotations;
mod ask;
mod audio;
mod completion;
mod delta;
mod event_stream;
mod message;
mod options;
mod parts;
mod raw;
mod reader;
mod reasoning_details;
mod request;
#[cfg(test)]
mod round_trip_tests;
mod rules;
mod stream_reader;
mod stream_writer;
mod text;
mod think;
mod tool_calls;
mod usage;

pub use completion::{Completion, CompletionHead};
pub use event_stream::{CompletionEvents, EventsPiece};
pub use request::CompletionRequest;
pub use stream_writer::ChunkWriter;
pub use text::TextCompletionRequest;
pub use think::InlineReasoning;

pub(crate) use annotations::read_annotation;
pub(crate) use ask::{ask, ask_streams, check_addresses};
pub(crate) use options::StreamOptionsJson;
pub(crate) use parts::{cache_control, default_name};
pub(crate) use raw::RawCompletion;
pub(crate) use reader::{CompletionReader, refused};
pub(crate) use request::{CompletionBody, read_messages};
pub(crate) use rules::{FileDialect, MessageRules, MessageStyle, ReasoningReturn};
pub(crate) use stream_reader::ChunkReader;
#[cfg(feature = "schema")]
pub(crate) use text::TextCompletionBody;
pub(crate) use usage::{read_logprobs, read_usage};
