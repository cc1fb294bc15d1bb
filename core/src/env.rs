//! Environment variables, of the process or given by hand.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{Error, Result};
use crate::secret::Secret;

/// Where `from_env` reads variables: the process's own, or a fixed set that a test or a binding gives.
///
/// ```
/// let env = ayni::Environment::from_pairs([("HF_API_TOKEN", "hf_x"), ("EMPTY", " ")]);
/// assert_eq!(env.get("HF_API_TOKEN").as_deref(), Some("hf_x"));
/// assert_eq!(env.get("EMPTY"), None);
/// ```
#[derive(Clone, Default)]
pub struct Environment(Option<BTreeMap<String, String>>);

impl Environment {
    /// The process's variables, read at every look.
    pub fn process() -> Self {
        Self(None)
    }

    /// No variables at all.
    pub fn empty() -> Self {
        Self(Some(BTreeMap::new()))
    }

    /// Exactly these variables.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(Some(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// The variable's value without surrounding white space; a blank one counts as unset.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            None => std::env::var(name).ok()?,
            Some(fixed) => fixed.get(name)?.clone(),
        };
        let trimmed = value.trim();
        (!trimmed.is_empty()).then(|| trimmed.to_owned())
    }

    /// The first of several variables that is set.
    pub fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }

    /// The first of several variables that is set, as a credential.
    pub fn secret(&self, names: &[&str]) -> Option<Secret> {
        self.first(names).map(Secret::new)
    }

    /// The variable's value as a number.
    ///
    /// # Errors
    /// `config_invalid` naming the variable if it is set to something else.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        match self.get(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Error::config(format!("{name} is '{text}', which is not a number it accepts"))),
            },
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Environment(process)"),
            Some(fixed) => f.debug_tuple("Environment").field(&fixed.keys().collect::<Vec<_>>()).finish(),
        }
    }
}

/// The credential given in a configuration, else the first of the variables that is set.
///
/// # Errors
/// `config_invalid` naming the first variable.
pub(crate) fn required_secret(given: Option<&Secret>, env: &Environment, names: &[&str]) -> Result<Secret> {
    let given = given.filter(|secret| !secret.is_empty()).cloned();
    given.or_else(|| env.secret(names)).ok_or_else(|| {
        let name = names.first().copied().unwrap_or("api_key");
        Error::config(format!("{name} is not set, and the configuration holds no `api_key`"))
    })
}
