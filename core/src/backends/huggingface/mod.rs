//! Hugging Face: hf-inference tasks and the providers behind the router.

mod config;
mod space;
#[cfg(test)]
mod testing;

pub use config::HuggingFaceConfig;
pub use space::{Space, SpaceConfig, SpaceStage, SpaceTokenHeader};
pub(crate) use space::{Waking, classify_not_ready};
