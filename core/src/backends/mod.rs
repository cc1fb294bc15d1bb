//! The backends: one folder each, the same file names in each.

pub mod anthropic;
pub mod clip_service;
pub mod gemini;
pub mod huggingface;
pub mod image_engine;
#[cfg(feature = "procurement")]
pub mod mercado_publico;
#[cfg(feature = "procurement")]
pub mod mindicador;
pub mod ollama;
pub mod openai;
pub mod scripted;
pub mod tei;

mod space_service;
pub(crate) mod vectors;
