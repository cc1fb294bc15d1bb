#![doc = include_str!("docs.md")]

pub mod bodies;
#[cfg(test)]
mod broken_store_tests;
pub mod bulk;
mod client;
mod config;
mod cursor;
mod failures;
mod fetch;
mod filter;
#[cfg(test)]
mod fuzz_tests;
pub(crate) mod gate;
#[cfg(test)]
mod limits_tests;
mod own_file;
mod procure;
mod quick;
mod search;
mod set_aside;
mod sync;
#[cfg(test)]
mod sync_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

/// Whom to name as the source of records that are republished unchanged.
pub const ATTRIBUTION: &str = "Dirección ChileCompra";

pub use client::MercadoPublico;
pub use config::MercadoPublicoConfig;
pub use gate::ledger::Quota;
pub use set_aside::FailedRead;
pub use sync::{EventPage, EventRequest, SyncReport, SyncRequest};
