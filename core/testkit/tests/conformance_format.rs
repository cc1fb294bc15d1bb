//! The files of `conformance/` against `conformance/schema.json`, and the schema against mistakes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance")
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&read(&folder().join("schema.json"))).expect("a schema of the draft 2020-12")
}

fn mistakes(validator: &Validator, case: &Value) -> Vec<String> {
    validator.iter_errors(case).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn json_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            json_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

#[test]
fn the_schema_follows_its_own_draft() {
    let schema = read(&folder().join("schema.json"));
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
}

#[test]
fn every_case_follows_the_schema() {
    let validator = validator();
    let mut files = Vec::new();
    json_files(&folder().join("cases"), &mut files);
    json_files(&folder().join("must-fail"), &mut files);
    assert!(files.len() > 20, "{} files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let case = read(&path);
        wrong.extend(
            mistakes(&validator, &case).into_iter().map(|mistake| format!("{}: {mistake}", path.display())),
        );
        let must_fail = path.parent().is_some_and(|folder| folder.ends_with("must-fail"));
        if must_fail != case.get("fails_with").is_some() {
            wrong.push(format!("{}: `fails_with` is for must-fail and only there", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_example_of_the_readme_is_a_case() {
    let readme = std::fs::read_to_string(folder().join("README.md")).expect("a README");
    let example =
        readme.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let case: Value = serde_json::from_str(example).expect("JSON");
    assert_eq!(mistakes(&validator(), &case), Vec::<String>::new());
}

#[test]
fn the_schema_refuses_mistakes() {
    let good = json!({
        "name": "a-b", "why": "because a server really does this", "capability": "chat",
        "config": { "backend": "scripted" },
        "call": { "operation": "chat", "request": {} },
        "server": [{ "request": { "method": "GET", "path": "/" }, "respond": { "json": {} } }],
        "expect": { "ok": { "text": { "$contains": "a" } } },
    });
    let validator = validator();
    assert_eq!(mistakes(&validator, &good), Vec::<String>::new());
    let bad = [
        ("/name", json!("A_b")),
        ("/why", json!("short")),
        ("/capability", json!("chats")),
        ("/config", json!({})),
        ("/call/operation", json!("talk")),
        ("/server/0/request/path", json!("/a?b=c")),
        ("/server/0/request/method", json!("get")),
        ("/server/0/respond", json!({ "jsn": {} })),
        ("/server/0/respond", json!({ "sse": [{ "dta": "a" }] })),
        ("/server/0/respond", json!({ "text": "a", "line_end": "\n\r" })),
        ("/expect", json!({})),
        ("/expect", json!({ "ok": 1, "error": { "kind": "timeout" } })),
        ("/expect", json!({ "error": { "kind": "timed_out" } })),
        ("/expect", json!({ "error": { "kind": "timeout", "status": 1 } })),
        ("/expect/ok/text", json!({ "$length": -1 })),
        ("/expect/ok/text", json!({ "$contains": "a", "more": 1 })),
    ];
    for (pointer, value) in bad {
        let mut case = good.clone();
        *case.pointer_mut(pointer).expect(pointer) = value.clone();
        assert!(!mistakes(&validator, &case).is_empty(), "{pointer} {value}");
    }
}
