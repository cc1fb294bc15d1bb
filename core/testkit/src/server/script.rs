//! Matches requests with the exchanges of a case, and reports what did not fit.

use ayni::http::is_credential_header;
use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use serde::Serialize;
use serde_json::{Value, json};

use super::form;
use super::request::Received;
use crate::case::{DropPoint, Exchange, Host, RequestSpec, Respond};
use crate::matcher::{differences_at, exact_differences};
use crate::placeholders::{CANARY_HF_KEY, CANARY_KEY};

/// What the server received, compared with its script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Requests that arrived, and connections that were dropped before theirs could.
    pub requests_seen: usize,
    /// The positions of the exchanges that were used, in order of use.
    pub matched: Vec<usize>,
    /// Requests that no exchange expected, with the reasons.
    pub mismatched: Vec<Mismatch>,
    /// Exchanges that no request used.
    pub unconsumed: Vec<String>,
    /// Fields with credentials that arrived at the other origin although the exchange does not expect them.
    pub credentials_on_other: Vec<String>,
}

/// A request that no exchange expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mismatch {
    /// Method, path and address.
    pub request: String,
    /// Why each possible next exchange does not fit.
    pub differences: Vec<String>,
}

impl Report {
    /// Every fault of the client, a line each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for mismatch in &self.mismatched {
            let why = mismatch.differences.join("; ");
            faults.push(format!("unexpected request {}: {why}", mismatch.request));
        }
        faults.extend(self.unconsumed.iter().map(|exchange| format!("unconsumed exchange {exchange}")));
        faults.extend(
            self.credentials_on_other
                .iter()
                .map(|name| format!("a credential came to another origin in {name}")),
        );
        faults
    }
}

/// The exchanges of one case that are left.
#[derive(Debug, Default)]
pub(super) struct Script {
    pending: Vec<Pending>,
    report: Report,
    requests: Vec<Received>,
}

#[derive(Debug)]
struct Pending {
    position: usize,
    left: usize,
    exchange: Exchange,
}

impl Script {
    pub(super) fn new(exchanges: Vec<Exchange>) -> Self {
        let pending = exchanges.into_iter().enumerate();
        let pending =
            pending.map(|(position, exchange)| Pending { position, left: exchange.times, exchange });
        Self { pending: pending.collect(), ..Self::default() }
    }

    pub(super) fn report(&self) -> Report {
        let name = |pending: &Pending| {
            let request = &pending.exchange.request;
            format!("{} ({} {}), {} to come", pending.position, request.method, request.path, pending.left)
        };
        Report { unconsumed: self.pending.iter().map(name).collect(), ..self.report.clone() }
    }

    pub(super) fn requests(&self) -> &[Received] {
        &self.requests
    }

    pub(super) fn requests_seen(&self) -> usize {
        self.report.requests_seen
    }

    /// Uses an exchange that drops its connection before reading, if one may come next.
    pub(super) fn drops_on_accept(&mut self) -> bool {
        let drops = |pending: &&Pending| pending.exchange.respond.drop == Some(DropPoint::OnAccept);
        let Some(position) = self.candidates().find(drops).map(|pending| pending.position) else {
            return false;
        };
        self.report.requests_seen += 1;
        self.consume(position);
        true
    }

    /// Uses the exchange that `request` fits, and gives its answer.
    pub(super) fn answer(&mut self, request: Received) -> Result<Respond, Mismatch> {
        self.report.requests_seen += 1;
        let fits = |pending: &&Pending| mismatches(&pending.exchange.request, &request).is_empty();
        let found = self.candidates().find(fits).map(|pending| (pending.position, pending.exchange.clone()));
        let allowed = found.as_ref().map(|(_, exchange)| &exchange.request);
        let leaked = leaked_credentials(&request, allowed);
        self.report.credentials_on_other.extend(leaked);
        let outcome = match found {
            Some((position, exchange)) => {
                self.consume(position);
                Ok(exchange.respond)
            }
            None => {
                let mismatch = self.mismatch(&request);
                self.report.mismatched.push(mismatch.clone());
                Err(mismatch)
            }
        };
        self.requests.push(request);
        outcome
    }

    /// The exchanges that may come next: the first one, or the whole unordered group that starts with it.
    fn candidates(&self) -> impl Iterator<Item = &Pending> {
        let ordered = self.pending.first().is_some_and(|first| !first.exchange.unordered);
        let group = self.pending.iter().take_while(move |pending| ordered || pending.exchange.unordered);
        group.take(if ordered { 1 } else { usize::MAX })
    }

    fn consume(&mut self, position: usize) {
        self.report.matched.push(position);
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.position == position) {
            pending.left -= 1;
        }
        self.pending.retain(|pending| pending.left > 0);
    }

    fn mismatch(&self, request: &Received) -> Mismatch {
        let mut differences = Vec::new();
        for pending in self.candidates() {
            let position = pending.position;
            let found = mismatches(&pending.exchange.request, request);
            differences
                .extend(found.into_iter().map(|difference| format!("exchange {position}: {difference}")));
        }
        if differences.is_empty() {
            differences.push("no request is expected any more".to_owned());
        }
        Mismatch { request: request.summary(), differences }
    }
}

/// Where `request` differs from what the exchange expects.
fn mismatches(expected: &RequestSpec, request: &Received) -> Vec<String> {
    let mut found = Vec::new();
    let mut same = |what: &str, expected: &str, actual: &str| {
        if expected != actual {
            found.push(format!("{what}: expected {expected}, got {actual}"));
        }
    };
    same("host", expected.host.as_str(), request.host.as_str());
    same("method", &expected.method, &request.method);
    same("path", &expected.path, &request.path);
    found.extend(query_mismatches(expected, request));
    for (name, value) in &expected.headers {
        let actual = request.header(&name.to_ascii_lowercase()).map(|text| Value::String(text.to_owned()));
        found.extend(differences_at(&format!("header {name}"), value, actual.as_ref()));
    }
    found.extend(body_mismatches(expected, request));
    found
}

fn query_mismatches(expected: &RequestSpec, request: &Received) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in &expected.query {
        let actual = request.query.iter().find(|(parameter, _)| parameter == name);
        let actual = actual.map(|(_, text)| Value::String(text.clone()));
        found.extend(differences_at(&format!("query {name}"), value, actual.as_ref()));
    }
    let unlisted = request.query.iter().filter(|(name, _)| !expected.query.contains_key(name));
    found.extend(unlisted.map(|(name, _)| format!("query {name}: is not expected")));
    found
}

fn body_mismatches(expected: &RequestSpec, request: &Received) -> Vec<String> {
    let mut found = Vec::new();
    let text = String::from_utf8_lossy(&request.body);
    if expected.json.is_some() || expected.json_equals.is_some() {
        match request.json() {
            None => found.push("body: is not JSON".to_owned()),
            Some(json) => {
                let subset =
                    expected.json.iter().flat_map(|matcher| differences_at("body", matcher, Some(&json)));
                found.extend(subset);
                found.extend(
                    expected.json_equals.iter().flat_map(|whole| exact_differences("body", whole, &json)),
                );
            }
        }
    }
    if let Some(start) = expected.body_starts_with.as_deref().filter(|start| !text.starts_with(*start)) {
        found.push(format!("body: does not begin with {start:?}"));
    }
    for part in expected.body_contains.iter().filter(|part| !text.contains(*part)) {
        found.push(format!("body: does not contain {part:?}"));
    }
    if expected
        .body_base64
        .as_ref()
        .is_some_and(|bytes| BASE64.decode(bytes).ok().as_ref() != Some(&request.body))
    {
        found.push(format!("body: its {} bytes differ", request.body.len()));
    }
    if let Some(form) = &expected.form {
        match form::fields(request) {
            None => found.push("body: is not a multipart form".to_owned()),
            Some(fields) => {
                found.extend(form.iter().flat_map(|(name, value)| form::compare(name, value, &fields)));
            }
        }
    }
    found
}

/// Fields of a request to the other origin that contain a credential which the exchange does not expect.
fn leaked_credentials(request: &Received, expected: Option<&RequestSpec>) -> Vec<String> {
    if request.host == Host::Main {
        return Vec::new();
    }
    let asked_for = |name: &str| {
        let mut asked = expected.iter().flat_map(|spec| &spec.headers);
        asked.any(|(field, value)| field.eq_ignore_ascii_case(name) && !value.is_null())
    };
    let holds_key = |text: &str| text.contains(CANARY_KEY) || text.contains(CANARY_HF_KEY);
    let headers = request
        .headers
        .iter()
        .filter(|(name, value)| (is_credential_header(name) || holds_key(value)) && !asked_for(name));
    let mut leaked: Vec<String> = headers.map(|(name, _)| name.clone()).collect();
    leaked.extend(
        request.query.iter().filter(|(_, value)| holds_key(value)).map(|(name, _)| format!("query {name}")),
    );
    leaked
}

/// The answer to a request that no exchange expects.
pub(super) fn refusal(mismatch: &Mismatch) -> Respond {
    Respond { status: Some(404), json: Some(json!({ "ayni_mock": mismatch })), ..Respond::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(exchanges: Value) -> Script {
        Script::new(serde_json::from_value(exchanges).expect("exchanges"))
    }

    fn get(path: &str) -> Received {
        Received {
            host: Host::Main,
            method: "GET".into(),
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn exchange(path: &str, status: u16, unordered: bool) -> Value {
        json!({"request": {"method": "GET", "path": path}, "respond": {"status": status}, "unordered": unordered})
    }

    fn status(outcome: Result<Respond, Mismatch>) -> Option<u16> {
        outcome.ok().and_then(|respond| respond.status)
    }

    #[test]
    fn exchanges_are_used_in_order_and_groups_in_any() {
        let mut script = script(json!([
            exchange("/a", 201, false),
            exchange("/b", 202, true),
            exchange("/c", 203, true),
            exchange("/d", 204, false),
        ]));
        assert_eq!(status(script.answer(get("/b"))), None, "not before /a");
        let answers = ["/a", "/c", "/d", "/b", "/d"].map(|path| status(script.answer(get(path))));
        assert_eq!(answers, [Some(201), Some(203), None, Some(202), Some(204)]);
        let report = script.report();
        assert_eq!((report.requests_seen, report.matched.as_slice()), (6, &[0, 2, 1, 3][..]));
        assert!(report.faults()[0].contains("path: expected /a, got /b"), "{report:?}");
    }

    #[test]
    fn an_exchange_may_come_several_times_and_what_is_left_is_reported() {
        let mut script = script(
            json!([{"request": {"method": "GET", "path": "/a"}, "respond": {"status": 201}, "times": 3}]),
        );
        assert_eq!(status(script.answer(get("/a"))), Some(201));
        assert_eq!(script.report().faults(), ["unconsumed exchange 0 (GET /a), 2 to come"]);
    }

    #[test]
    fn a_query_that_is_not_listed_does_not_fit() {
        let expected = |query: Value| -> RequestSpec {
            serde_json::from_value(json!({"method": "GET", "path": "/", "query": query})).expect("a request")
        };
        let request = Received { query: vec![("alt".into(), "sse".into())], ..get("/") };
        assert!(mismatches(&expected(json!({"alt": "sse"})), &request).is_empty());
        assert_eq!(mismatches(&expected(json!({})), &request), ["query alt: is not expected"]);
        assert_eq!(mismatches(&expected(json!({"alt": "sse", "k": "v"})), &request).len(), 1);
    }

    #[test]
    fn header_fields_can_be_asked_for_and_forbidden() {
        let expected: RequestSpec = serde_json::from_value(json!({
            "method": "GET", "path": "/", "headers": {"Authorization": {"$starts_with": "Bearer "}, "x-foo": null},
        }))
        .expect("a request");
        let with = |fields: &[(&str, &str)]| {
            let headers =
                fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            mismatches(&expected, &Received { headers, ..get("/") })
        };
        assert!(with(&[("authorization", "Bearer k")]).is_empty());
        assert_eq!(with(&[("x-foo", "1")]).len(), 2);
    }

    #[test]
    fn credentials_at_the_other_origin_are_faults_unless_asked_for() {
        let request = Received {
            host: Host::Other,
            headers: vec![("authorization".into(), "Bearer x".into()), ("x-note".into(), CANARY_KEY.into())],
            query: vec![("key".into(), CANARY_HF_KEY.into())],
            ..get("/")
        };
        assert_eq!(leaked_credentials(&request, None), ["authorization", "x-note", "query key"]);
        let asked: RequestSpec = serde_json::from_value(json!({
            "method": "GET", "path": "/", "host": "other", "headers": {"Authorization": "Bearer x", "x-note": null},
        }))
        .expect("a request");
        assert_eq!(leaked_credentials(&request, Some(&asked)), ["x-note", "query key"]);
        assert!(leaked_credentials(&Received { host: Host::Main, ..request }, None).is_empty());
    }
}
