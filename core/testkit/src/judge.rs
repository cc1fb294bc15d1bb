//! Compares the outcome of a case's calls with what it expects.

use serde_json::{Map, Value};

use crate::case::{Case, Expect};
use crate::matcher::{differences_at, short};
use crate::placeholders::CANARIES;
use crate::server::Report;

/// Every difference from what the case expects. `outcome` is what a runner posts:
/// `{"outcomes": [{"ok": …} or {"error": …}, …], "progress": […]}` or `{"open_error": {…}}`.
pub(crate) fn judge(case: &Case, outcome: &Value, report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    match (&case.open_error, outcome.get("open_error")) {
        (Some(expected), Some(error)) => found.extend(error_differences("open_error", expected, error)),
        (Some(_), None) => found.push("opening succeeded where an error was expected".to_owned()),
        (None, Some(error)) => found.push(format!("opening failed: {}", in_words(error))),
        (None, None) => {
            found.extend(call_differences(case, outcome));
            found.extend(progress_differences(&case.progress, outcome));
        }
    }
    found.extend(report.faults());
    if let Some(expected) = case.requests_seen.filter(|expected| *expected != report.requests_seen) {
        found.push(format!("requests_seen: expected {expected}, got {}", report.requests_seen));
    }
    found
}

fn call_differences(case: &Case, outcome: &Value) -> Vec<String> {
    let empty = Vec::new();
    let outcomes = outcome.get("outcomes").and_then(Value::as_array).unwrap_or(&empty);
    let expected: Vec<&Expect> = case.calls().filter_map(|(_, expect)| expect).collect();
    if expected.len() != outcomes.len() {
        return vec![format!("{} calls have {} outcomes", expected.len(), outcomes.len())];
    }
    let mut found = Vec::new();
    for (index, (expect, outcome)) in expected.iter().zip(outcomes).enumerate() {
        let path = if expected.len() == 1 { String::new() } else { format!("call {index}: ") };
        found.extend(one_call(expect, outcome).into_iter().map(|difference| format!("{path}{difference}")));
    }
    found
}

fn one_call(expect: &Expect, outcome: &Value) -> Vec<String> {
    match (expect, outcome.get("ok"), outcome.get("error")) {
        (Expect::Ok(matcher), Some(result), None) => differences_at("ok", matcher, Some(result)),
        (Expect::Error(expected), None, Some(error)) => error_differences("error", expected, error),
        (Expect::Ok(_), None, Some(error)) => vec![format!("expected ok, got the error {}", in_words(error))],
        (Expect::Error(_), Some(result), None) => {
            vec![format!("expected an error, got ok {}", short(result))]
        }
        _ => vec![format!("an outcome is neither ok nor error: {}", short(outcome))],
    }
}

fn error_differences(path: &str, expected: &Map<String, Value>, error: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    for (name, value) in expected {
        if name == "message_contains" {
            let parts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing = parts.filter(|part| !message.contains(part));
            found.extend(
                missing.map(|part| format!("{path}.message: does not contain {part:?}, is {message:?}")),
            );
        } else {
            found.extend(differences_at(&format!("{path}.{name}"), value, error.get(name)));
        }
    }
    if !found.is_empty() {
        found.push(format!("{path}: the error was {}", in_words(error)));
    }
    found.extend(shown_canaries(path, error));
    found
}

/// Where an error shows a credential or a prompt. The text that a stream delivered belongs to the caller.
fn shown_canaries(path: &str, error: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["message", "context", "request_id", "display", "debug"] {
        let shown = error.get(name).map(Value::to_string).unwrap_or_default();
        if CANARIES.iter().any(|canary| shown.contains(canary)) {
            found.push(format!("{path}.{name}: shows a credential or a prompt"));
        }
    }
    found
}

fn in_words(error: &Value) -> String {
    match error.get("display").or_else(|| error.get("message")).and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => short(error),
    }
}

/// The expected events must come in order; others may come in between.
fn progress_differences(expected: &[Value], outcome: &Value) -> Vec<String> {
    let mut events = outcome.get("progress").and_then(Value::as_array).into_iter().flatten();
    let mut found = Vec::new();
    for (index, matcher) in expected.iter().enumerate() {
        if !events.any(|event| differences_at("", matcher, Some(event)).is_empty()) {
            let all = outcome.get("progress").unwrap_or(&Value::Null);
            found.push(format!(
                "progress.{index}: no event matches {}; events: {}",
                short(matcher),
                short(all)
            ));
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::placeholders::CANARY_PROMPT;

    fn case(extra: Value) -> Case {
        let mut case = json!({
            "name": "a", "why": "b", "capability": "chat", "config": {"backend": "scripted"},
            "call": {"operation": "chat"}, "expect": {"ok": {"text": "hola"}},
        });
        for (name, value) in extra.as_object().expect("fields") {
            case[name] = value.clone();
        }
        serde_json::from_value(case).expect("a case")
    }

    #[track_caller]
    fn judged(extra: Value, outcome: Value) -> String {
        judge(&case(extra), &outcome, &Report::default()).join("; ")
    }

    #[test]
    fn what_is_expected_passes() {
        let outcome = json!({"outcomes": [{"ok": {"text": "hola"}}]});
        assert_eq!(judged(json!({}), outcome), "");
    }

    #[test]
    fn an_error_where_ok_is_expected_is_told_in_its_own_words() {
        let outcome = json!({"outcomes": [{"error": {"kind": "timeout", "display": "timeout: slow"}}]});
        assert_eq!(judged(json!({}), outcome), "expected ok, got the error timeout: slow");
    }

    #[test]
    fn errors_are_compared_field_by_field_and_may_not_show_a_canary() {
        let expect = json!({"expect": {"error": {"kind": "timeout", "message_contains": ["slow", "wait"]}}});
        let outcome = json!({"outcomes": [{"error": {
            "kind": "cancelled", "message": "slow", "display": CANARY_PROMPT,
        }}]});
        let found = judged(expect, outcome);
        for part in ["error.kind: expected \"timeout\"", "does not contain \"wait\"", "error.display: shows"]
        {
            assert!(found.contains(part), "{part}: {found}");
        }
    }

    #[test]
    fn progress_comes_in_order_with_others_in_between() {
        let events =
            json!([{"type": "waiting"}, {"type": "inputs", "done": 1}, {"type": "inputs", "done": 2}]);
        let outcome = json!({"outcomes": [{"ok": {"text": "hola"}}], "progress": events});
        let in_order = json!({"progress": [{"type": "waiting"}, {"done": 2}]});
        assert_eq!(judged(in_order, outcome.clone()), "");
        let upside_down = json!({"progress": [{"done": 2}, {"type": "waiting"}]});
        assert!(judged(upside_down, outcome).contains("progress.1: no event matches"));
    }

    #[test]
    fn a_missing_outcome_is_a_fault() {
        assert_eq!(judged(json!({}), json!({"outcomes": []})), "1 calls have 0 outcomes");
        assert!(judged(json!({}), json!({"outcomes": [{}]})).contains("neither ok nor error"));
    }
}
