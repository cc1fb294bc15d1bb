//! Tokenizers: from texts to token ids.
//!
//! [`encode`] applies the tokenizer of a repository: its `tokenizer.json`, or one that [`vocabulary`] makes of the older
//! vocabulary files, [`sentencepiece`] models among them. [`check`] looks through that file before the crate that reads it
//! does; [`long`] stops when a text has filled the window. Vocabularies in the metadata of GGUF files will be read here too,
//! by a file of their own, into the same [`Tokenizer`].

mod charsmap;
mod check;
mod encode;
mod long;
mod sentencepiece;
mod vocabulary;

pub(crate) use encode::{Cleaning, Encoded, Tokenizer};
