//! The `main` of a test that runs a suite: one trial a case, and a count at the end.

// The last line is what a person, and CI, reads.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ayni::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::case::{Capability, Case};
use crate::open::{Open, OpenFrom, Opened};
use crate::runner::{Check, PARALLEL_CASES, run_checked, run_must_fail};
use crate::suite::{CaseFile, Suite};

/// Runs every case of the suite in `folder` on what `open` opens. It is the `main` of a test with
/// `harness = false`, and takes libtest's arguments: `cargo test --test behavior -- rate-limit`.
///
/// With `AYNI_UPDATE_MANIFEST=1` in the environment it writes `manifest.json` first. It fails if a case fails, a
/// must-fail case passes, or a case that the manifest lists was not run.
///
/// ```
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     ayni_testkit::test_main("../conformance", ayni_testkit::open)
/// }
/// ```
pub fn test_main(
    folder: impl AsRef<Path>,
    open: impl Fn(Capability, &OpenFrom) -> Result<Opened> + Send + Sync + 'static,
) -> ExitCode {
    test_main_with(folder, open, |_, _| Vec::new())
}

/// The same, and `check` says what else is wrong with the outcome of a case that should pass, a line each. The outcome is
/// `{"outcomes": [{"ok": …} or {"error": …}, …], "progress": […]}`.
pub fn test_main_with(
    folder: impl AsRef<Path>,
    open: impl Fn(Capability, &OpenFrom) -> Result<Opened> + Send + Sync + 'static,
    check: impl Fn(&Case, &Value) -> Vec<String> + Send + Sync + 'static,
) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(PARALLEL_CASES);
    match load(folder.as_ref()).and_then(|suite| Trials::new(suite, open, check)) {
        Ok(trials) => trials.run(&arguments),
        Err(error) => {
            eprintln!("behavior: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(folder: &Path) -> Result<Suite> {
    let mut suite = Suite::load(folder)?;
    if std::env::var_os("AYNI_UPDATE_MANIFEST").is_some_and(|value| value == "1") {
        suite.update_manifest()?;
    }
    Ok(suite)
}

struct Trials {
    suite: Suite,
    shared: Arc<Shared>,
}

/// What every trial needs.
struct Shared {
    open: Box<Open>,
    check: Box<Check>,
    /// One for all trials: the built-in transport keeps connections, which live in the runtime that made them.
    runtime: Runtime,
    executed: AtomicUsize,
    failed_as_expected: AtomicUsize,
}

impl Trials {
    fn new(
        suite: Suite,
        open: impl Fn(Capability, &OpenFrom) -> Result<Opened> + Send + Sync + 'static,
        check: impl Fn(&Case, &Value) -> Vec<String> + Send + Sync + 'static,
    ) -> Result<Self> {
        let runtime = Runtime::new()
            .map_err(|error| ayni::Error::config(format!("the tokio runtime does not start: {error}")))?;
        let shared = Shared {
            open: Box::new(open),
            check: Box::new(check),
            runtime,
            executed: AtomicUsize::new(0),
            failed_as_expected: AtomicUsize::new(0),
        };
        Ok(Self { suite, shared: Arc::new(shared) })
    }

    fn run(self, arguments: &Arguments) -> ExitCode {
        let differences = self.suite.manifest_differences();
        let manifest = Trial::test("manifest", move || {
            outcome(if differences.is_empty() { Ok(()) } else { Err(differences) })
        });
        let cases = self.suite.cases.iter().map(|file| self.case(file));
        let must_fail = self.suite.must_fail.iter().map(|file| self.must_fail(file));
        let trials = std::iter::once(manifest).chain(cases).chain(must_fail).collect();
        let conclusion = libtest_mimic::run(arguments, trials);
        if arguments.list {
            return ExitCode::SUCCESS;
        }
        let complete = self.report();
        let filtered = conclusion.num_filtered_out > 0;
        if filtered {
            println!("behavior: {} trials were filtered out", conclusion.num_filtered_out);
        }
        match !conclusion.has_failed() && (filtered || complete) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }

    fn case(&self, file: &CaseFile) -> Trial {
        let (run, shared) = (file.clone(), Arc::clone(&self.shared));
        let trial = Trial::test(file.id(), move || {
            shared.executed.fetch_add(1, Ordering::Relaxed);
            outcome(shared.runtime.block_on(run_checked(&run, &*shared.open, &*shared.check)))
        });
        self.marked_if_skipped(file, trial)
    }

    fn must_fail(&self, file: &CaseFile) -> Trial {
        let (run, shared) = (file.clone(), Arc::clone(&self.shared));
        let trial = Trial::test(file.id(), move || {
            outcome(shared.runtime.block_on(run_must_fail(&run, &*shared.open)))?;
            shared.failed_as_expected.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        self.marked_if_skipped(file, trial)
    }

    /// A skip shows as ignored, with its reason as the trial's kind.
    fn marked_if_skipped(&self, file: &CaseFile, trial: Trial) -> Trial {
        match self.suite.skip_reason(file) {
            Some(reason) => trial.with_kind(format!("skip: {reason}")).with_ignored_flag(true),
            None => trial,
        }
    }

    /// Prints the last line; false if the counts differ from the manifest's.
    fn report(&self) -> bool {
        let skipped =
            |files: &[CaseFile]| files.iter().filter(|file| self.suite.skip_reason(file).is_some()).count();
        let (skipped_cases, skipped_must_fail) = (skipped(&self.suite.cases), skipped(&self.suite.must_fail));
        let executed = self.shared.executed.load(Ordering::Relaxed);
        let failed = self.shared.failed_as_expected.load(Ordering::Relaxed);
        let (cases, must_fail) = (self.suite.listed_cases(), self.suite.listed_must_fail());
        let skips = match skipped_cases + skipped_must_fail {
            0 => String::new(),
            _ => format!(" ({skipped_cases} cases and {skipped_must_fail} must-fail skipped by name)"),
        };
        println!(
            "behavior: executed {executed} of {cases} cases, must-fail {failed} of {must_fail} failed as they \
             should{skips}"
        );
        executed + skipped_cases == cases && failed + skipped_must_fail == must_fail
    }
}

fn outcome(result: Result<(), Vec<String>>) -> Result<(), Failed> {
    result.map_err(|differences| Failed::from(differences.join("\n")))
}
