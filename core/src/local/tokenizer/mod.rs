//! Tokenizers: from texts to token ids.
//!
//! [`encode`] applies the tokenizer of an embedder's repository: its `tokenizer.json`, or one that [`vocabulary`] makes of
//! the older vocabulary files, [`sentencepiece`] models among them. [`check`] looks through that file before the crate that
//! reads it does; [`long`] stops when a text has filled the window. [`ChatTokenizer`] is that of a chat model: from
//! `tokenizer.json` or from the metadata of a GGUF file, and back from ids to text.

mod added;
mod bytes;
mod charsmap;
mod chat;
mod chat_files;
mod check;
mod decoder;
mod encode;
mod gguf;
mod long;
mod pre_tokenizers;
mod prompt;
mod scored_pairs;
mod sentencepiece;
#[cfg(test)]
pub(crate) mod testing;
mod vocabulary;

pub(crate) use added::Guarding;
pub(crate) use chat::ChatTokenizer;
pub(crate) use decoder::TokenDecoder;
pub(crate) use encode::{Cleaning, Encoded, Tokenizer};
pub(crate) use prompt::Prompt;
