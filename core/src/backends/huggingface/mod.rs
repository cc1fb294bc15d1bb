//! Hugging Face: hf-inference tasks and the providers behind the router.

mod config;

pub use config::HuggingFaceConfig;
