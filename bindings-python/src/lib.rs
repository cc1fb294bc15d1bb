//! The native half of the Python package `ayni`: conversions only.

mod call;
mod chat;
mod convert;
mod documents;
mod embedder;
mod failure;
mod image;
mod openai;
mod procurement;
mod runtime;
mod services;
mod vectors;

use pyo3::prelude::*;

/// The native module `ayni._ayni`. It does not support free-threaded interpreters.
#[pymodule(gil_used = true)]
fn _ayni(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", ayni::VERSION)?;
    let kinds: Vec<&str> = ayni::ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
    module.add("ERROR_KINDS", kinds)?;
    let stop = wrap_pyfunction!(runtime::stop_delivering, module)?;
    module.py().import("atexit")?.call_method1("register", (stop,))?;
    module.add_class::<call::CallSettings>()?;
    module.add_class::<call::CancellationHandle>()?;
    module.add_class::<call::RunningCall>()?;
    module.add_class::<vectors::Block>()?;
    module.add_class::<embedder::Embedder>()?;
    module.add_class::<embedder::VectorStream>()?;
    module.add_function(wrap_pyfunction!(vectors::similarity, module)?)?;
    module.add_function(wrap_pyfunction!(vectors::top_k, module)?)?;
    module.add_class::<chat::Chat>()?;
    module.add_class::<chat::EventStream>()?;
    module.add_class::<chat::Modes>()?;
    module.add_class::<image::ImageGenerator>()?;
    module.add("STATUSES", openai::statuses(module.py())?)?;
    module.add_class::<openai::OpenAiRequest>()?;
    module.add_class::<openai::OpenAiEvents>()?;
    module.add_function(wrap_pyfunction!(openai::openai_models, module)?)?;
    module.add_function(wrap_pyfunction!(openai::failure_body, module)?)?;
    module.add_function(wrap_pyfunction!(openai::check_body, module)?)?;
    module.add_class::<procurement::Procurement>()?;
    module.add_class::<documents::AnalysedTender>()?;
    module.add_class::<documents::Pieces>()?;
    module.add_function(wrap_pyfunction!(documents::analyse, module)?)?;
    module.add_function(wrap_pyfunction!(documents::tender_file, module)?)?;
    module.add_function(wrap_pyfunction!(documents::export, module)?)?;
    module.add_function(wrap_pyfunction!(services::models, module)?)?;
    module.add_function(wrap_pyfunction!(services::health, module)?)?;
    module.add_function(wrap_pyfunction!(services::hardware, module)?)?;
    module.add_function(wrap_pyfunction!(services::known_models, module)?)?;
    module.add_function(wrap_pyfunction!(services::next_events, module)?)?;
    module.add_function(wrap_pyfunction!(services::prometheus_text, module)?)?;
    #[cfg(debug_assertions)]
    module.add_function(wrap_pyfunction!(call::panic_inside, module)?)?;
    Ok(())
}
