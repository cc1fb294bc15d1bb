//! The control addresses: `/__report`, and `/__judge`, which compares the outcome of the calls with the case.

use std::fmt;
use std::sync::{Arc, PoisonError};

use serde_json::{Value, json};

use super::Shared;
use super::request::Received;
use super::script::Report;
use crate::case::{Host, Respond};

type Differences = dyn Fn(&Value, &Report) -> Vec<String> + Send + Sync;

/// Compares what a runner posts with what the case expects.
#[derive(Clone)]
pub(crate) struct Judge(Arc<Differences>);

impl Judge {
    pub(crate) fn new(differences: impl Fn(&Value, &Report) -> Vec<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(differences))
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

/// The answer to a request for a control address; none for a request of the case.
pub(super) fn answer(request: &Received, shared: &Shared) -> Option<Respond> {
    if request.host != Host::Main {
        return None;
    }
    let json = match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/__report") => serde_json::to_value(shared.script().report()).unwrap_or_default(),
        ("POST", "/__judge") => judge(request, shared),
        _ => return None,
    };
    Some(Respond { json: Some(json), ..Respond::default() })
}

fn judge(request: &Received, shared: &Shared) -> Value {
    let judge = shared.judge.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let report = shared.script().report();
    let differences = match (judge, request.json()) {
        (Some(Judge(judge)), Some(outcome)) => judge(&outcome, &report),
        (Some(_), None) => vec!["what the runner posted is not JSON".to_owned()],
        (None, _) => vec!["the server plays no case".to_owned()],
    };
    json!({ "passed": differences.is_empty(), "differences": differences })
}
