#![doc = include_str!("docs.md")]

mod client;
mod config;
mod embed;
mod wire;

pub use client::{ClipHealth, ClipService};
pub use config::ClipServiceConfig;
