//! Feeds parsers with mutated inputs: recorded bodies, changed with a sense for their structure.
//!
//! A [`Target`] is a parser, the inputs to start from, and a check of what must hold for any input. A run is
//! bounded by time and repeatable by its seed. An input that a parser answers in a new way is mutated further.
//!
//! What may end the process goes into a [`Sweep`]: numbered attempts in child processes. With a [`Folder`] they are
//! mutations of a model's files.
//!
//! ```
//! use std::time::Duration;
//! use ayni_testkit::fuzz::{FuzzOptions, InputKind, Target, fuzz};
//!
//! let check = |input: &[u8]| match serde_json::from_slice::<serde_json::Value>(input) {
//!     Ok(value) if serde_json::from_str(&value.to_string()).is_ok_and(|again: serde_json::Value| again == value) => {
//!         Ok("read".to_owned())
//!     }
//!     Ok(value) => Err(format!("{value} reads back as something else")),
//!     Err(_) => Ok("refused".to_owned()),
//! };
//! let target = Target { name: "json", seeds: vec![br#"{"a": [1, "b"]}"#.to_vec()], kind: InputKind::Json, check };
//! let options = FuzzOptions::new(7, Duration::from_millis(50), std::env::temp_dir());
//! println!("{}", fuzz(vec![target], &options)?);
//! # Ok::<_, String>(())
//! ```

mod folder;
mod mutate;
mod options;
mod run;
mod sweep;
#[cfg(test)]
mod tests;

pub use folder::Folder;
pub use mutate::InputKind;
pub use options::FuzzOptions;
pub use sweep::{Sweep, SweepReport};

/// A parser, inputs to start from, and what must hold.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name. Findings are stored under it.
    pub name: &'static str,
    /// Valid inputs, tried as they are and then mutated.
    pub seeds: Vec<Vec<u8>>,
    /// What an input looks like, which decides how it is mutated.
    pub kind: InputKind,
    /// Parses an input and gives a short text that says how the parser took it: inputs with a new text are mutated
    /// further. `Err` says which promise of the parser was broken. A panic, and more than five seconds, count as
    /// broken promises too.
    pub check: fn(&[u8]) -> Result<String, String>,
}

/// Runs the targets one after the other until the time is up, or tries the one input that `options` names. Gives a
/// line about what was done.
///
/// # Errors
/// The first broken promise: the target, the input's number, the seed, and the file with the input. A target or an
/// input that does not exist.
pub fn fuzz(mut targets: Vec<Target>, options: &FuzzOptions) -> Result<String, String> {
    if let Some(name) = &options.target {
        targets.retain(|target| target.name == name);
        if targets.is_empty() {
            return Err(format!("there is no target '{name}'"));
        }
    }
    if let Some(path) = &options.input {
        return run::one_input(&targets, path);
    }
    match run::run(targets, options.seed, options.duration, options.inputs) {
        Ok(counts) => Ok(format!("seed {}, inputs: {counts:?}", options.seed)),
        Err(finding) => Err(finding.store(&options.findings)),
    }
}
