//! The real models of the tour.

use std::path::PathBuf;

use ayni::Environment;

use crate::show;

/// The folder in which `make models` puts a model with this file. Where it is not there, the tour says so and goes on.
pub(crate) fn folder_of(name: &str, file: &str) -> Option<PathBuf> {
    let cache = Environment::process().get("AYNI_CACHE").map(PathBuf::from);
    let system = || Environment::process().get("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    let folder = cache.or_else(|| Some(system().or_else(home)?.join("ayni"))).unwrap_or_default();
    let folder = folder.join("models").join(name);
    if folder.join(file).is_file() {
        return Some(folder);
    }
    show::line(format!(
        "left out: {} is not there; `make models` fetches it, once and with a network",
        folder.display()
    ));
    None
}
