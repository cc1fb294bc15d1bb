//! Google's native API.

mod config;

pub use config::GeminiConfig;
