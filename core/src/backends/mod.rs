//! The backends: one folder each, the same file names in each.

pub mod engine;
pub mod gemini;
pub mod huggingface;
pub mod mercado_publico;
pub mod ollama;
pub mod openai;
pub mod scripted;
pub mod tei;

pub(crate) mod vectors;
