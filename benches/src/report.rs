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

impl Report {
    /// Prints and keeps a figure.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: &str, target: Target) {
        let (holds, wanted) = match target {
            Target::AtMost(most) => (value <= most, format!("  (target ≤ {most})")),
            Target::AtLeast(least) => (value >= least, format!("  (target ≥ {least})")),
            Target::None => (true, String::new()),
        };
        let mark = if holds { "" } else { "  MISSED" };
        println!("figure {name} {value:.3} {unit}{wanted}{mark}");
        self.figures.push(json!({ "name": name, "value": value, "unit": unit, "holds": holds }));
        if !holds {
            self.missed.push(name.to_owned());
        }
    }

    /// Prints and keeps a ratio.
    pub(crate) fn ratio(&mut self, name: &str, value: f64) {
        println!("ratio {name} {value:.3}");
        self.figures.push(json!({ "name": name, "value": value, "unit": "ratio", "holds": true }));
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
