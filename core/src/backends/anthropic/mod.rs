#![doc = include_str!("docs.md")]

mod answer;
mod chat;
mod client;
mod config;
mod request;
mod turns;
mod wire;

pub use client::Anthropic;
pub use config::AnthropicConfig;
