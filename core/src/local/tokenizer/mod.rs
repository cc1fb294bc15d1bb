//! From text to the numbers that models read.

mod sentencepiece;
mod tokenise;
mod vocabulary;

pub(crate) use tokenise::{Cleaning, Tokenised, Tokeniser};
