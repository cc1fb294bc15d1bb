//! The two real models of the tests, which `make models` fetches.

use std::path::PathBuf;

/// SmolLM2-135M-Instruct as a GGUF file.
///
/// # Panics
/// Where `make models` did not fetch it.
pub fn smollm2() -> PathBuf {
    fetched("smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf")
}

/// The folder of all-MiniLM-L6-v2.
///
/// # Panics
/// Where `make models` did not fetch it.
pub fn all_minilm() -> PathBuf {
    let mut weights = fetched("all-minilm-l6-v2/model.safetensors");
    weights.pop();
    weights
}

/// A file below the folder of models in the cache.
fn fetched(name: &str) -> PathBuf {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = folder("AYNI_CACHE").or_else(|| {
        let caches = folder("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
        Some(caches?.join("ayni"))
    });
    let file = cache.unwrap_or_default().join("models").join(name);
    assert!(file.is_file(), "{} is not there: run `make models`", file.display());
    file
}
