//! The native half of the npm package `ayni`: conversions only.

use napi_derive::napi;

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
