//! The native half of the Python package `ayni`: conversions only.

use pyo3::prelude::*;

/// The native module `ayni._ayni`.
#[pymodule]
fn _ayni(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", ayni::VERSION)?;
    let kinds: Vec<&str> = ayni::ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
    module.add("ERROR_KINDS", kinds)
}
