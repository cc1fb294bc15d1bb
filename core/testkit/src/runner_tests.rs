//! Loading and running, with a small hosted backend of these tests over the built-in transport.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::*;
use ayni::context::Context;
use ayni::http::{HeaderValue, HttpRequest, Method};
use ayni::{AnyChat, ChatBackend, ChatRequest, ChatResponse, ChatStream};
use ayni::{BackendInfo, Route};
use ayni::{Error, ErrorKind, Result};

/// The smallest hosted backend: no classes of errors, no streams.
#[derive(Debug)]
struct Wire {
    info: BackendInfo,
    base_url: String,
    key: String,
}

impl ChatBackend for Wire {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        let url = format!("{}/chat/completions", self.base_url).parse().expect("a URL");
        let mut http = HttpRequest::new(Method::POST, url);
        let key = HeaderValue::from_str(&format!("Bearer {}", self.key)).expect("a key");
        http.headers.insert("authorization", key);
        http.body = json!({ "model": &*self.info.model, "messages": request.messages }).to_string().into();
        let sent = async {
            let mut response = ayni::http::transport(cx)?.send(http).await.map_err(|error| lost(&error))?;
            let mut body = Vec::new();
            while let Some(piece) = response.body.next().await {
                body.extend(piece.map_err(|error| lost(&error))?);
            }
            Ok((response.status.as_u16(), body))
        };
        let (status, body) = cx.guard(sent).await?;
        if status != 200 {
            return Err(Error::new(ErrorKind::Unavailable, "not served").with_http_status(status));
        }
        let json: Value = serde_json::from_slice(&body).map_err(|_| Error::response_invalid("not JSON"))?;
        let text = json["choices"][0]["message"]["content"].as_str().unwrap_or_default();
        Ok(ChatResponse::new(text, Route::new(&self.info)))
    }

    async fn stream(&self, _: &Context, _: ChatRequest) -> Result<ChatStream> {
        Err(Error::unsupported("no streams"))
    }
}

fn lost(error: &ayni::http::TransportError) -> Error {
    Error::new(ErrorKind::Interrupted, error.to_string()).with_sent(error.sent())
}

fn open_wire(_: Capability, from: &OpenFrom) -> Result<Opened> {
    let field = |name: &str| {
        let config = from.config.as_ref().expect("a configuration");
        config[name].as_str().unwrap_or_default().to_owned()
    };
    let (base_url, key) = (field("base_url"), field("api_key"));
    let info = BackendInfo::new("wire", field("model"));
    Ok(Opened::Chat(AnyChat::new(Wire { info, base_url, key })))
}

fn write(folder: &Path, name: &str, case: &Value) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a folder");
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, case.to_string()).expect("a file");
    path
}

/// A case of one chat at one exchange, with some fields changed.
fn wire_case(changes: Value) -> Value {
    let mut case = json!({
        "name": "a",
        "why": "stands for this test",
        "capability": "chat",
        "config": { "backend": "wire", "model": "m", "base_url": "{{base_url}}/v1", "api_key": "{{key}}" },
        "call": { "operation": "chat", "request": { "messages": [{ "role": "user", "content": "{{prompt}}" }] } },
        "server": [{
            "request": {
                "method": "POST",
                "path": "/v1/chat/completions",
                "headers": { "authorization": "Bearer {{key}}", "x-foo": null },
                "json": { "model": "m", "messages": [{ "content": "{{prompt}}" }] },
                "body_starts_with": "{\"model\":",
            },
            "respond": { "json": { "choices": [{ "message": { "content": "hola" } }] } },
        }],
        "expect": { "ok": { "text": "hola" } },
        "requests_seen": 1,
    });
    for (name, value) in changes.as_object().expect("fields") {
        case[name] = value.clone();
    }
    case
}

async fn run_wire(changes: Value) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = CaseFile::load(&write(folder.path(), "a", &wire_case(changes))).expect("a case");
    run_case(&file, &open_wire).await.err().unwrap_or_default()
}

#[tokio::test]
async fn a_case_passes_over_real_http() {
    assert_eq!(run_wire(json!({})).await, Vec::<String>::new());
}

#[tokio::test]
async fn wrong_headers_and_bodies_fail_as_the_must_fail_cases_say() {
    let suite = Suite::load(concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance")).expect("a suite");
    let hosted =
        |file: &&CaseFile| file.case.config.as_ref().is_some_and(|config| config["backend"] == "openai");
    let over_http: Vec<_> = suite.must_fail.iter().filter(hosted).collect();
    assert!(over_http.len() >= 3, "{over_http:?}");
    for file in over_http {
        assert_eq!(run_must_fail(file, &open_wire).await, Ok(()), "{}", file.id());
    }
}

#[tokio::test]
async fn a_must_fail_case_that_passes_or_fails_otherwise_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let must_fail = |changes: Value| {
        let file = CaseFile::load(&write(folder.path(), "a", &wire_case(changes))).expect("a case");
        async move { run_must_fail(&file, &open_wire).await.expect_err("not as it should").join("; ") }
    };
    let passed = must_fail(json!({ "fails_with": "elsewhere" })).await;
    assert!(passed.contains("passed, though"), "{passed}");
    let other = must_fail(json!({ "fails_with": "elsewhere", "requests_seen": 2 })).await;
    assert!(
        other.contains("failed, but not with \"elsewhere\": requests_seen: expected 2, got 1"),
        "{other}"
    );
}

#[tokio::test]
async fn a_compressed_body_arrives_unpacked() {
    let compressed = json!({ "text": "{\"choices\":[{\"message\":{\"content\":\"hola\"}}]}", "count": 1 });
    let mut case = wire_case(json!({}));
    case["server"][0]["respond"] = json!({ "gzip_repeat": compressed });
    assert_eq!(run_wire(json!({ "server": case["server"] })).await, Vec::<String>::new());
    let padded = json!({
        "prefix": "{\"choices\":[{\"message\":{\"content\":\"hola\"}}],\"padding\":\"",
        "text": "na", "count": 500_000, "suffix": "\"}",
    });
    case["server"][0]["respond"] = json!({ "gzip_repeat": padded });
    assert_eq!(run_wire(json!({ "server": case["server"] })).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_call_is_cancelled_when_the_server_has_its_request() {
    let mut case = wire_case(json!({}));
    case["server"][0]["respond"] = json!({ "drop": "never_answer" });
    let changes = json!({
        "server": case["server"],
        "context": { "cancel_after_requests": 1 },
        "expect": { "error": { "kind": "cancelled" } },
    });
    assert_eq!(run_wire(changes).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_seen_to_break_off() {
    for (end, content_length) in [("disconnect", None), ("reset", None), ("normal", Some(1000))] {
        let mut case = wire_case(json!({}));
        let respond = &mut case["server"][0]["respond"];
        respond["end"] = json!(end);
        respond["content_length"] = json!(content_length);
        let expect = json!({ "error": { "kind": "interrupted", "sent": "yes" } });
        let found = run_wire(json!({ "server": case["server"], "expect": expect })).await;
        assert_eq!(found, Vec::<String>::new(), "{end}");
    }
}

#[tokio::test]
async fn a_call_names_its_mode_and_one_that_cannot_be_had_is_an_error_of_the_call() {
    let open = |capability: Capability, _: &OpenFrom| -> Result<Opened> {
        assert_eq!(capability, Capability::Modes);
        Ok(Opened::Modes(std::sync::Arc::new(|mode: Option<&str>| match mode {
            None => Ok(AnyChat::new(ayni::backends::scripted::Scripted::default())),
            Some(mode) => Err(Error::config(format!("llm_mode '{mode}' is unknown; valid: mock"))),
        })))
    };
    let request = json!({ "messages": [{ "role": "user", "content": "hola" }] });
    let unknown = json!({ "error": { "kind": "config_invalid", "message_contains": ["'x'", "mock"] } });
    let case = json!({
        "name": "a", "why": "stands for this test", "capability": "modes", "env": { "DEFAULT_LLM_MODE": "mock" },
        "calls": [
            { "operation": "chat", "request": request, "expect": { "ok": { "text": "You asked: hola" } } },
            { "operation": "stream", "request": request, "expect": { "ok": { "events": { "$length": 5 } } } },
            { "operation": "chat", "mode": "x", "request": request, "expect": unknown },
        ],
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = CaseFile::load(&write(folder.path(), "a", &case)).expect("a case");
    assert_eq!(run_case(&file, &open).await, Ok(()));
}

#[tokio::test]
async fn an_error_that_shows_the_key_fails_its_case() {
    let open = |_: Capability, _: &OpenFrom| -> Result<Opened> { Err(Error::config(CANARY_KEY)) };
    let folder = tempfile::tempdir().expect("a folder");
    let case = json!({
        "name": "a", "why": "stands for this test", "capability": "chat", "config": { "backend": "x" },
        "open_error": { "kind": "config_invalid" },
    });
    let file = CaseFile::load(&write(folder.path(), "a", &case)).expect("a case");
    let found = run_case(&file, &open).await.expect_err("the key is shown").join("; ");
    assert!(found.contains("open_error.message: shows a credential or a prompt"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn a_case_that_does_not_end_is_ended() {
    let case = json!({
        "config": { "backend": "scripted", "latency_seconds": 3600 },
        "server": [], "requests_seen": 0,
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = CaseFile::load(&write(folder.path(), "a", &wire_case(case))).expect("a case");
    let start = tokio::time::Instant::now();
    let found = run_case(&file, &open).await.expect_err("it hangs");
    assert_eq!(found, ["the case did not end within 20 s"]);
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_run_counts_and_says_what_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let chat = folder.path().join("cases/chat");
    write(&chat, "a", &wire_case(json!({})));
    write(&chat, "b", &wire_case(json!({ "name": "b", "requests_seen": 5 })));
    write(&chat, "c", &wire_case(json!({ "name": "c" })));
    let suite = Suite::load(folder.path()).expect("a suite");
    let summary = run(&suite, &open_wire, |case| case.name != "c").await;
    assert_eq!(summary.executed, 2);
    assert_eq!(summary.to_string(), "2 executed, 1 failed\nchat/b\n  requests_seen: expected 5, got 1");
}

#[test]
fn a_manifest_notices_a_missing_and_an_extra_file_and_keeps_skips() {
    let folder = tempfile::tempdir().expect("a folder");
    let chat = folder.path().join("cases/chat");
    let first = write(&chat, "a", &wire_case(json!({})));
    let mut suite = Suite::load(folder.path()).expect("a suite");
    assert_eq!(suite.manifest_differences(), ["chat/a is not listed"]);
    suite.update_manifest().expect("written");
    let manifest = folder.path().join("manifest.json");
    let text = std::fs::read_to_string(&manifest).expect("a manifest");
    std::fs::write(&manifest, text.replace("\"skips\": {}", "\"skips\": {\"chat/a\": \"no time\"}"))
        .expect("a file");
    write(&chat, "b", &wire_case(json!({ "name": "b" })));
    let mut suite = Suite::load(folder.path()).expect("a suite");
    assert_eq!(suite.skip_reason(&suite.cases[0]), Some("no time"));
    suite.update_manifest().expect("written");
    let suite = Suite::load(folder.path()).expect("a suite");
    assert_eq!((suite.manifest_differences(), suite.listed_cases()), (Vec::new(), 2));
    assert_eq!(suite.skip_reason(&suite.cases[0]), Some("no time"));
    std::fs::remove_file(first).expect("removed");
    let suite = Suite::load(folder.path()).expect("a suite");
    assert_eq!(suite.manifest_differences(), ["chat/a is listed and missing"]);
}

#[test]
fn a_case_that_contradicts_itself_is_refused_with_its_file() {
    let exchange =
        |respond: Value| json!([{ "request": { "method": "GET", "path": "/" }, "respond": respond }]);
    let cases = [
        (json!({ "name": "b" }), "calls itself 'b'"),
        (json!({ "why": " " }), "`why` is empty"),
        (json!({ "config": null }), "give `config`, `env` or both"),
        (json!({ "expect": null }), "give `call` and `expect`"),
        (json!({ "open_error": { "kind": "timeout" } }), "`open_error` goes without"),
        (json!({ "expect": { "error": { "kind": "timeuot" } } }), "kind is unknown"),
        (json!({ "expect": { "error": { "kind": "timeout", "retryafter": 1 } } }), "no field 'retryafter'"),
        (json!({ "server": exchange(json!({ "json": 1, "text": "a" })) }), "two bodies"),
        (
            json!({ "server": exchange(json!({ "drop": "after_request", "text": "a" })) }),
            "neither status nor body",
        ),
        (
            json!({ "server": exchange(json!({ "text": "a", "chunks": { "every": 0 } })) }),
            "pieces of no bytes",
        ),
        (json!({ "server": exchange(json!({ "txt": "a" })) }), "unknown field `txt`"),
        (json!({ "call": { "operation": "chat", "request": { "x": "{{nobody}}" } } }), "{{nobody}}"),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    for (changes, reason) in cases {
        let path = write(folder.path(), "a", &wire_case(changes));
        let error = CaseFile::load(&path).expect_err(reason);
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().contains(reason) && error.message().contains("a.json"), "{error}");
    }
}
