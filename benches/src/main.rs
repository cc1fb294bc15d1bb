//! `cargo run --release -p ayni-benches -- overhead [--quick] [--json FILE]`
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod allocations;
mod overhead;
mod report;

use std::process::ExitCode;

const HELP: &str = "\
Measures what ayni costs.

Usage: ayni-benches SUITE [--quick] [--json FILE]

Suites:
  overhead   the policy stack around a backend that does nothing, and the stream parsers

Options:
  --quick      fewer repetitions
  --json FILE  also write the figures as JSON
  --help       this text

Every line is `figure NAME VALUE UNIT` (medians) or `ratio NAME VALUE`; a target that is missed is marked and
makes the command fail.";

fn main() -> ExitCode {
    let mut suite = None;
    let mut quick = false;
    let mut json = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" => {
                println!("{HELP}");
                return ExitCode::SUCCESS;
            }
            "--quick" => quick = true,
            "--json" => json = arguments.next(),
            name if suite.is_none() && !name.starts_with('-') => suite = Some(name.to_owned()),
            other => return usage(&format!("'{other}' is not understood")),
        }
    }
    let outcome = match suite.as_deref() {
        Some("overhead") => overhead::run(quick),
        Some(other) => return usage(&format!("there is no suite '{other}'")),
        None => return usage("no suite was named"),
    };
    match outcome {
        Ok(report) => report.finish(json.as_deref()),
        Err(error) => {
            eprintln!("ayni-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("ayni-benches: {problem}\n\n{HELP}");
    ExitCode::from(2)
}
