#![doc = include_str!("docs.md")]

mod chat;
mod client;
mod config;
mod embed;
mod stream;
mod wire;

pub use client::Ollama;
pub use config::OllamaConfig;
