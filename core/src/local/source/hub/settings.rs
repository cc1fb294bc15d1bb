//! The Hub's address, the cache and the token, from the same variables as Python's `huggingface_hub`.

use std::io::ErrorKind as Io;
use std::path::PathBuf;

use crate::env::Environment;
use crate::error::{Error, Result};
use crate::secret::Secret;

/// The default Hub.
pub(super) const PUBLIC: &str = "https://huggingface.co";

/// What the environment says about the Hub.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// `HF_ENDPOINT`.
    pub(super) endpoint: String,
    /// `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
    pub(super) cache: PathBuf,
    /// `HF_HUB_OFFLINE`.
    pub(super) offline: bool,
    token: Option<Secret>,
    token_file: Option<PathBuf>,
}

impl Settings {
    /// # Errors
    /// `config_invalid` if there is no folder for the cache.
    pub(super) fn from_env(env: &Environment) -> Result<Self> {
        let is_true = |name: &str| {
            let value = env.get(name).unwrap_or_default().to_ascii_uppercase();
            ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
        };
        let home = home_of_hugging_face(env)?;
        let cache = env.first(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]);
        let cache = cache.map_or_else(|| Ok(home.join("hub")), |path| expand(&path, env))?;
        let token_file = match env.get("HF_TOKEN_PATH") {
            Some(path) => expand(&path, env)?,
            None => home.join("token"),
        };
        let implicit = !is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        Ok(Self {
            endpoint: env.get("HF_ENDPOINT").unwrap_or_else(|| PUBLIC.to_owned()),
            cache,
            // `HF_HUB_OFFLINE=0` overrides the older variable, as in Python.
            offline: is_true("HF_HUB_OFFLINE")
                || env.get("HF_HUB_OFFLINE").is_none() && is_true("TRANSFORMERS_OFFLINE"),
            token: env.secret(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).filter(|_| implicit),
            token_file: implicit.then_some(token_file),
        })
    }

    /// `HF_TOKEN`, else the token that `hf auth login` has saved.
    ///
    /// # Errors
    /// `config_invalid` if there is such a file, but it cannot be read.
    pub(super) fn token(&self) -> Result<Option<Secret>> {
        let Some(path) = self.token_file.as_ref().filter(|_| self.token.is_none()) else {
            return Ok(self.token.clone());
        };
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let token = text.trim();
                Ok((!token.is_empty()).then(|| Secret::new(token)))
            }
            Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => Ok(None),
            Err(error) => {
                let text = format!("the token file {} cannot be read: {}", path.display(), error.kind());
                Err(Error::config(format!("{text}; fix that, or set HF_TOKEN")).with_source(error))
            }
        }
    }
}

fn home_of_hugging_face(env: &Environment) -> Result<PathBuf> {
    match env.get("HF_HOME") {
        Some(path) => expand(&path, env),
        None => Ok(caches(env)?.join("huggingface")),
    }
}

/// The folder of what ayni itself keeps: `AYNI_CACHE`, else `ayni` in the folder of caches.
///
/// # Errors
/// `config_invalid` if there is no home folder.
pub(in crate::local::source) fn cache_home(env: &Environment) -> Result<PathBuf> {
    match env.get("AYNI_CACHE") {
        Some(path) => expand(&path, env),
        None => Ok(caches(env)?.join("ayni")),
    }
}

fn caches(env: &Environment) -> Result<PathBuf> {
    match env.get("XDG_CACHE_HOME") {
        Some(path) => expand(&path, env),
        None => Ok(home(env)?.join(".cache")),
    }
}

fn home(env: &Environment) -> Result<PathBuf> {
    let home = env.get("HOME").map(PathBuf::from).or_else(std::env::home_dir);
    home.ok_or_else(|| Error::config("there is no home folder for models: set HF_HOME"))
}

/// Expands `~` and `$NAME` as a shell does; unset variables stay as they are written.
fn expand(text: &str, env: &Environment) -> Result<PathBuf> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let braced = after.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, behind) =
            braced.unwrap_or_else(|| after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())));
        match env.get(name) {
            Some(value) => expanded.push_str(&value),
            None => expanded.push_str(rest.get(before.len()..rest.len() - behind.len()).unwrap_or_default()),
        }
        rest = behind;
    }
    expanded.push_str(rest);
    match expanded.strip_prefix('~') {
        Some("") => home(env),
        Some(inside) if inside.starts_with('/') => Ok(home(env)?.join(inside.trim_start_matches('/'))),
        _ => Ok(PathBuf::from(expanded)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_env(&Environment::from_pairs(pairs.iter().copied())).unwrap()
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        for (pairs, cache) in [
            (&[("HOME", "/h")] as &[_], "/h/.cache/huggingface/hub"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/models")], "/h/models/hub"),
            (&[("HF_HOME", "/models"), ("HF_HUB_CACHE", "/fast")], "/fast"),
            (&[("HF_HOME", "/models"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
            (&[("HF_HOME", "$DISK/${KIND}/hf"), ("DISK", "/d"), ("KIND", "big")], "/d/big/hf/hub"),
            (&[("HF_HOME", "/a/$NOBODY/${SET_IT}/b")], "/a/$NOBODY/${SET_IT}/b/hub"),
        ] {
            assert_eq!(settings(pairs).cache, PathBuf::from(cache), "{pairs:?}");
        }
    }

    #[test]
    fn offline_is_on_for_what_python_takes_as_true() {
        for (value, offline) in [("1", true), ("true", true), ("YES", true), ("0", false), ("no", false)] {
            assert_eq!(settings(&[("HF_HOME", "/h"), ("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
        assert!(settings(&[("HF_HOME", "/h"), ("TRANSFORMERS_OFFLINE", "1")]).offline);
        let overruled = [("HF_HOME", "/h"), ("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "0")];
        assert!(!settings(&overruled).offline);
    }

    #[test]
    fn the_token_comes_from_the_environment_else_from_its_file() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().to_str().unwrap();
        let shown = |settings: &Settings| settings.token().unwrap().map(|token| token.expose().to_owned());
        assert_eq!(shown(&settings(&[("HF_HOME", at)])), None);
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(shown(&settings(&[("HF_HOME", at)])).as_deref(), Some("hf_file"));
        let both = settings(&[("HF_HOME", at), ("HF_TOKEN", "hf_env")]);
        assert_eq!(shown(&both).as_deref(), Some("hf_env"));
        assert!(!format!("{both:?}").contains("hf_env"));
        let disabled = [("HF_HOME", at), ("HF_TOKEN", "hf_env"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(shown(&settings(&disabled)), None);
    }

    #[test]
    fn a_token_file_that_cannot_be_read_is_named() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("token")).unwrap();
        let error = settings(&[("HF_HOME", home.path().to_str().unwrap())]).token().unwrap_err();
        assert!(error.message().contains("token file"), "{error}");
    }
}
