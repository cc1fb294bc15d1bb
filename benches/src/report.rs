//! Figures, printed as they come and judged at the end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The figures of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Value>,
    missed: Vec<String>,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// No target: for comparison.
    None,
}

impl Target {
    /// Whether the value is what it should be.
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::None => true,
        }
    }

    /// The target in words; nothing without one.
    pub(crate) fn words(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most}"),
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::None => String::new(),
        }
    }

    fn remark(self, value: f64) -> String {
        let mark = if self.holds(value) { "" } else { "  MISSED" };
        match self {
            Self::None => String::new(),
            _ => format!("  (target {}){mark}", self.words()),
        }
    }
}

impl Report {
    /// Prints and keeps a figure.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: &str, target: Target) {
        println!("figure {name} {value:.3} {unit}{}", target.remark(value));
        self.keep(name, value, unit, target);
    }

    /// Prints and keeps a ratio.
    pub(crate) fn ratio(&mut self, name: &str, value: f64, target: Target) {
        println!("ratio {name} {value:.3}{}", target.remark(value));
        self.keep(name, value, "ratio", target);
    }

    fn keep(&mut self, name: &str, value: f64, unit: &str, target: Target) {
        let holds = target.holds(value);
        self.figures.push(json!({ "name": name, "value": value, "unit": unit, "holds": holds }));
        if !holds {
            self.missed.push(name.to_owned());
        }
    }

    /// Writes the JSON file, and fails if a target was missed.
    pub(crate) fn finish(self, json_file: Option<&str>) -> ExitCode {
        if let Some(path) = json_file {
            let text = format!("{:#}\n", Value::Array(self.figures));
            if let Err(error) = std::fs::write(path, text) {
                eprintln!("ayni-benches: could not write {path}: {error}");
                return ExitCode::FAILURE;
            }
        }
        if self.missed.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!("ayni-benches: targets missed: {}", self.missed.join(", "));
        ExitCode::FAILURE
    }
}

/// The median of several measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How long `work` takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let outcome = work();
    (start.elapsed(), outcome)
}
