#![doc = include_str!("docs.md")]

mod chat;
mod client;
mod config;
mod contents;
mod embed;
mod kept;
mod request;
mod sources;
mod wire;

pub use client::Gemini;
pub use config::GeminiConfig;
