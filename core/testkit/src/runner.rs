//! Runs cases.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::call::perform;
use crate::case::{Call, Case, ContextSpec};
use crate::judge::judge;
use crate::open::{Open, OpenFrom};
use crate::results;
use crate::server::{Judge, MockServer};
use crate::suite::{CaseFile, Suite};
use ayni::context::{Cancellation, Context, PhaseTimeouts, Progress};
use ayni::{Error, Result};

/// The longest that a case may take.
const CASE_TIMEOUT: Duration = Duration::from_secs(20);
/// How many cases run at a time: more than there are cores, because cases mostly wait.
pub(crate) const PARALLEL_CASES: usize = 8;

/// Runs one case: `Ok`, or every difference from what the case expects.
///
/// # Errors
/// The differences, a line each.
pub async fn run_case(file: &CaseFile, open: &Open) -> Result<(), Vec<String>> {
    run_checked(file, open, &|_, _| Vec::new()).await
}

/// Says what is wrong with what the calls of a case came to: `{"outcomes": [{"ok": …}, …], "progress": […]}`.
pub(crate) type Check = dyn Fn(&Case, &Value) -> Vec<String> + Send + Sync;

/// The same, and `check` looks at the outcome too.
pub(crate) async fn run_checked(file: &CaseFile, open: &Open, check: &Check) -> Result<(), Vec<String>> {
    let differences = match tokio::time::timeout(CASE_TIMEOUT, play(file, open, check)).await {
        Ok(Ok(differences)) => differences,
        Ok(Err(error)) => vec![error.message().to_owned()],
        Err(_) => vec![format!("the case did not end within {} s", CASE_TIMEOUT.as_secs())],
    };
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

/// Runs a case that is wrong on purpose: `Ok` if it fails for the reason in its `fails_with`.
///
/// # Errors
/// What happened instead.
pub async fn run_must_fail(file: &CaseFile, open: &Open) -> Result<(), Vec<String>> {
    let reason = file.case.fails_with.as_deref().unwrap_or_default();
    match run_case(file, open).await {
        Ok(()) => Err(vec!["passed, though it is wrong on purpose".to_owned()]),
        Err(differences) if differences.iter().any(|difference| difference.contains(reason)) => Ok(()),
        Err(differences) => Err(vec![format!("failed, but not with {reason:?}: {}", differences.join("; "))]),
    }
}

/// The result of a run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// How many cases ran.
    pub executed: usize,
    /// The cases that failed.
    pub failures: Vec<Failure>,
}

/// A case that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Folder and name.
    pub case: String,
    /// The differences, a line each.
    pub differences: Vec<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} executed, {} failed", self.executed, self.failures.len())?;
        for failure in &self.failures {
            write!(f, "\n{}", failure.case)?;
            failure.differences.iter().try_for_each(|difference| write!(f, "\n  {difference}"))?;
        }
        Ok(())
    }
}

/// Runs the cases of `suite` that pass `filter`, a few at a time.
pub async fn run(suite: &Suite, open: &Open, filter: impl Fn(&Case) -> bool) -> Summary {
    let chosen = suite.cases.iter().filter(|file| filter(&file.case) && suite.skip_reason(file).is_none());
    let mut outcomes = stream::iter(chosen)
        .map(|file| async move { (file.id(), run_case(file, open).await) })
        .buffer_unordered(PARALLEL_CASES);
    let mut summary = Summary::default();
    while let Some((case, outcome)) = outcomes.next().await {
        summary.executed += 1;
        summary.failures.extend(outcome.err().map(|differences| Failure { case, differences }));
    }
    summary.failures.sort_by(|a, b| a.case.cmp(&b.case));
    summary
}

/// Serves the case in `path` to a runner in another process. The second value is the line of JSON that this
/// runner needs: the addresses, and the case with its placeholders filled.
///
/// # Errors
/// `config_invalid` if the case is wrong, `unavailable` if the port is taken.
pub async fn serve_case(path: &Path, port: u16) -> Result<(MockServer, String)> {
    let file = CaseFile::load(path)?;
    let server = MockServer::bind(port).await?;
    let case = prepare(&file, &server)?;
    server.judge_with(Judge::new(move |outcome, report| judge(&case, outcome, report)));
    let line = json!({
        "base_url": server.base_url(),
        "other_url": server.other_url(),
        "case": file.fill_raw(&server.placeholders())?,
    });
    Ok((server, line.to_string()))
}

fn prepare(file: &CaseFile, server: &MockServer) -> Result<Case> {
    let case = file.fill(&server.placeholders())?;
    server.play(case.server.clone());
    Ok(case)
}

async fn play(file: &CaseFile, open: &Open, check: &Check) -> Result<Vec<String>> {
    let server = MockServer::bind(0).await?;
    let case = prepare(file, &server)?;
    let from = OpenFrom { config: case.config.clone(), variables: case.env.clone().unwrap_or_default() };
    let opened = match open(case.capability, &from) {
        Ok(opened) => opened,
        Err(error) => {
            let outcome = json!({ "open_error": results::error(&error) });
            return Ok(judge(&case, &outcome, &server.report()));
        }
    };
    let progress = ProgressList::default();
    let mut outcomes = Vec::new();
    for (call, _) in case.calls() {
        let context = CallContext::new(&case.context, &progress);
        let work = perform(&opened, &context.cx, call, context.cancel_after_events());
        let outcome = tokio::select! {
            outcome = work => outcome,
            never = context.cancel_after_requests(&server) => never,
        };
        outcomes.push(outcome.map_err(|what| in_call(call, &what))?);
    }
    let outcome = json!({ "outcomes": outcomes, "progress": progress.take() });
    let mut differences = judge(&case, &outcome, &server.report());
    differences.extend(check(&case, &outcome));
    Ok(differences)
}

fn in_call(call: &Call, what: &str) -> Error {
    Error::config(format!("the call '{}' cannot be made: {what}", call.operation))
}

/// The context of a call, and when to cancel it.
struct CallContext<'a> {
    spec: &'a ContextSpec,
    cx: Context,
    cancellation: Cancellation,
}

impl<'a> CallContext<'a> {
    fn new(spec: &'a ContextSpec, progress: &ProgressList) -> Self {
        let cancellation = Cancellation::new();
        let mut phases = PhaseTimeouts::default();
        phases.connect = ContextSpec::duration(spec.connect_ms);
        phases.first_byte = ContextSpec::duration(spec.first_byte_ms);
        phases.idle = ContextSpec::duration(spec.idle_ms);
        let mut cx = Context::new().with_progress(progress.sink()).with_phase_timeouts(phases);
        if let Some(timeout) = ContextSpec::duration(spec.timeout_ms) {
            cx = cx.with_timeout(timeout);
        }
        if spec.cancel_after_requests.is_some() || spec.cancel_after_events.is_some() {
            cx = cx.with_cancellation(cancellation.clone());
        }
        Self { spec, cx, cancellation }
    }

    fn cancel_after_events(&self) -> Option<(usize, Cancellation)> {
        self.spec.cancel_after_events.map(|events| (events, self.cancellation.clone()))
    }

    /// Cancels once the server has seen enough requests. Never completes.
    async fn cancel_after_requests<T>(&self, server: &MockServer) -> T {
        if let Some(requests) = self.spec.cancel_after_requests {
            server.seen(requests).await;
            self.cancellation.cancel();
        }
        std::future::pending().await
    }
}

/// The progress events of a case.
#[derive(Clone, Default)]
struct ProgressList(Arc<Mutex<Vec<Value>>>);

impl ProgressList {
    fn sink(&self) -> impl Fn(Progress) + Send + Sync + 'static {
        let list = self.clone();
        move |event| list.lock().push(results::data(&event))
    }

    fn take(&self) -> Vec<Value> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
