//! Ollama by its native routes.

mod config;

pub use config::OllamaConfig;
