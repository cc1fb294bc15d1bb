//! text-embeddings-inference by its native routes.

mod config;

pub use config::TeiConfig;
