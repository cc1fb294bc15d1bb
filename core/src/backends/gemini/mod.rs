#![doc = include_str!("docs.md")]

mod chat;
mod client;
mod config;
mod embed;
mod request;
mod wire;

pub use client::Gemini;
pub use config::GeminiConfig;
