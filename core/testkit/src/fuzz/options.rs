//! How long, from which seed, and which targets.

use std::path::PathBuf;
use std::time::Duration;

/// What a run does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FuzzOptions {
    /// Where the random numbers start. The same seed gives the same inputs.
    pub seed: u64,
    /// How long the run takes at most.
    pub duration: Duration,
    /// How many inputs each target gets at most, so that a slow machine tries what a fast one does.
    pub inputs: Option<u64>,
    /// The folder for inputs that break a promise; it is made when needed.
    pub findings: PathBuf,
    /// Only this target.
    pub target: Option<String>,
    /// Instead of a run: try this stored input.
    pub input: Option<PathBuf>,
}

impl FuzzOptions {
    /// A run of all targets.
    pub fn new(seed: u64, duration: Duration, findings: impl Into<PathBuf>) -> Self {
        Self { seed, duration, inputs: None, findings: findings.into(), target: None, input: None }
    }

    /// With so many inputs for each target at most.
    #[must_use]
    pub fn with_inputs(mut self, inputs: u64) -> Self {
        self.inputs = Some(inputs);
        self
    }

    /// These options, changed by the environment: `AYNI_FUZZ_SEED`, `AYNI_FUZZ_SECONDS` (then only the time counts),
    /// `AYNI_FUZZ_TARGET` and `AYNI_FUZZ_INPUT` (the path of a stored input).
    ///
    /// # Errors
    /// Names the variable that should be a number.
    pub fn with_env(mut self) -> Result<Self, String> {
        if let Some(seed) = number("AYNI_FUZZ_SEED")? {
            self.seed = seed;
        }
        if let Some(seconds) = number("AYNI_FUZZ_SECONDS")? {
            self.duration = Duration::from_secs(seconds);
            self.inputs = None;
        }
        self.target = std::env::var("AYNI_FUZZ_TARGET").ok().or(self.target);
        self.input = std::env::var_os("AYNI_FUZZ_INPUT").map(PathBuf::from).or(self.input);
        Ok(self)
    }
}

pub(super) fn number(name: &str) -> Result<Option<u64>, String> {
    let Ok(text) = std::env::var(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("{name} is '{text}', not a number"))
}
