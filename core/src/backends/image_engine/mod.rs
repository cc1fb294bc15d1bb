#![doc = include_str!("docs.md")]

mod client;
mod config;
mod image;
mod wire;

pub use client::{EngineStatus, ImageEngine};
pub use config::ImageEngineConfig;
