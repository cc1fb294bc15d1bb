//! Clients of the services that run on ayni: the CLIP embedding service and the image engine.

mod config;

pub use config::{ClipServiceConfig, ImageEngineConfig};
