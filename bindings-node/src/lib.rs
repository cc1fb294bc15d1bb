//! The native half of the npm package `ayni`: conversions only. Requests and answers cross as JSON text, which serde
//! reads and writes; vectors and files cross as memory.
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "JavaScript reaches and prints them, not Rust"
)]
// napi leaves its functions out of a build for tests.
#![cfg_attr(test, allow(dead_code))]

mod call;
mod chat;
mod convert;
mod documents;
mod embedder;
mod failure;
mod image;
mod openai;
mod procurement;
mod services;
mod vectors;

use napi_derive::{module_init, napi};

/// The most worker threads. Calls mostly wait; arithmetic has its own threads.
const MAX_WORKERS: usize = 4;

/// Gives napi a runtime of our size. If it cannot be built, napi builds its own at the first call.
#[module_init]
fn init() {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("ayni")
        .enable_all()
        .build();
    if let Ok(runtime) = runtime {
        napi::bindgen_prelude::create_custom_tokio_runtime(runtime);
    }
}

/// The version shared by crate, wheel and addon.
#[napi]
pub fn version() -> &'static str {
    ayni::VERSION
}

/// Every error kind, as `err.code` spells it.
#[napi]
pub fn error_kinds() -> Vec<&'static str> {
    ayni::ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect()
}
