//! Any OpenAI-compatible API: one row a vendor.

mod config;

pub use config::OpenAiConfig;
