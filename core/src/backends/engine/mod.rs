#![doc = include_str!("docs.md")]

mod clip;
mod config;
mod image;
mod service;

pub use clip::{ClipHealth, ClipService};
pub use config::{ClipServiceConfig, ImageEngineConfig};
pub use image::{EngineStatus, ImageEngine};
