#![doc = include_str!("docs.md")]

mod chat;
mod client;
mod config;
mod embed;
mod image;
mod mapping;
mod providers;
mod space;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod wire;

pub use client::HuggingFace;
pub use config::HuggingFaceConfig;
pub(crate) use space::Waking;
pub use space::{Space, SpaceConfig, SpaceStage, SpaceTokenHeader};
