//! Runs the behaviour suite of `conformance/`, one trial a case, and counts.

// The last line is what a person, and CI, reads.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ayni::conformance::{CaseFile, Suite, open, run_case, run_must_fail};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

/// Cases mostly wait, so that more of them run at a time than there are cores.
const AT_A_TIME: usize = 8;

#[derive(Default)]
struct Tally {
    executed: AtomicUsize,
    failed_as_they_should: AtomicUsize,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_A_TIME);
    match load() {
        Ok(suite) => run(&arguments, &suite),
        Err(error) => {
            eprintln!("behavior: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load() -> ayni::Result<Suite> {
    let mut suite = Suite::bundled()?;
    if std::env::var_os("AYNI_UPDATE_MANIFEST").is_some_and(|value| value == "1") {
        suite.update_manifest()?;
    }
    Ok(suite)
}

fn run(arguments: &Arguments, suite: &Suite) -> ExitCode {
    // One runtime for all: the built-in transport keeps connections, which live in the runtime that made them.
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            eprintln!("behavior: {error}");
            return ExitCode::FAILURE;
        }
    };
    let tally = Arc::new(Tally::default());
    let differences = suite.manifest_differences();
    let manifest = Trial::test("manifest", move || outcome(if_empty(differences)));
    let cases = suite.cases.iter().map(|file| case(suite, file, &runtime, &tally));
    let must_fail = suite.must_fail.iter().map(|file| wrong_case(suite, file, &runtime, &tally));
    let trials = std::iter::once(manifest).chain(cases).chain(must_fail).collect();
    let conclusion = libtest_mimic::run(arguments, trials);
    if arguments.list {
        return ExitCode::SUCCESS;
    }
    let counted = report(suite, &tally);
    let filtered = conclusion.num_filtered_out > 0;
    if filtered {
        println!("behavior: {} trials were filtered out", conclusion.num_filtered_out);
    }
    match !conclusion.has_failed() && (filtered || counted) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn case(suite: &Suite, file: &CaseFile, runtime: &Arc<Runtime>, tally: &Arc<Tally>) -> Trial {
    let (run, runtime, tally) = (file.clone(), Arc::clone(runtime), Arc::clone(tally));
    let trial = Trial::test(file.id(), move || {
        tally.executed.fetch_add(1, Ordering::Relaxed);
        outcome(runtime.block_on(run_case(&run, &open)))
    });
    named_skip(suite, file, trial)
}

fn wrong_case(suite: &Suite, file: &CaseFile, runtime: &Arc<Runtime>, tally: &Arc<Tally>) -> Trial {
    let (run, runtime, tally) = (file.clone(), Arc::clone(runtime), Arc::clone(tally));
    let trial = Trial::test(file.id(), move || {
        outcome(runtime.block_on(run_must_fail(&run, &open)))?;
        tally.failed_as_they_should.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    named_skip(suite, file, trial)
}

/// A skip shows as ignored, with its reason as the trial's kind.
fn named_skip(suite: &Suite, file: &CaseFile, trial: Trial) -> Trial {
    match suite.skip_reason(file) {
        Some(reason) => trial.with_kind(format!("skip: {reason}")).with_ignored_flag(true),
        None => trial,
    }
}

fn if_empty(differences: Vec<String>) -> Result<(), Vec<String>> {
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

fn outcome(result: Result<(), Vec<String>>) -> Result<(), Failed> {
    result.map_err(|differences| Failed::from(differences.join("\n")))
}

/// Prints the last line; false if the counts are not those of the manifest.
fn report(suite: &Suite, tally: &Tally) -> bool {
    let skipped = |files: &[CaseFile]| files.iter().filter(|file| suite.skip_reason(file).is_some()).count();
    let (skipped_cases, skipped_must_fail) = (skipped(&suite.cases), skipped(&suite.must_fail));
    let executed = tally.executed.load(Ordering::Relaxed);
    let failed = tally.failed_as_they_should.load(Ordering::Relaxed);
    let (cases, must_fail) = (suite.listed_cases(), suite.listed_must_fail());
    let skips = match skipped_cases + skipped_must_fail {
        0 => String::new(),
        _ => format!(" ({skipped_cases} cases and {skipped_must_fail} must-fail skipped by name)"),
    };
    println!(
        "behavior: executed {executed} of {cases} cases, must-fail {failed} of {must_fail} failed as they should{skips}"
    );
    executed + skipped_cases == cases && failed + skipped_must_fail == must_fail
}
