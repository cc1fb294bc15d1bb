//! `ayni-mock` as runners in other languages use it: started, asked over HTTP, ended by closing its input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ayni-mock"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn case(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance").join(path).display().to_string()
}

/// The program, and the line that it begins with.
fn start(path: &str) -> (Child, Value) {
    let mut child =
        program().args(["--case", &case(path), "--port", "0"]).spawn().expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    (child, ready)
}

/// The JSON body of the answer.
fn ask(base_url: &Value, method: &str, path: &str, body: &str) -> Value {
    let host = base_url.as_str().expect("a URL").trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&host).expect("a connection");
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{body}")
        .expect("sent");
    stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn finish(child: Child) -> Output {
    // Closes the standard input first.
    child.wait_with_output().expect("the program ends")
}

#[test]
fn a_runner_gets_the_filled_case_and_a_judgement() {
    let (child, ready) = start("must-fail/unconsumed-exchange-is-noticed.json");
    let prompt = &ready["case"]["call"]["request"]["messages"][0]["content"];
    assert_eq!(
        (ready["case"]["name"].as_str(), prompt),
        (Some("unconsumed-exchange-is-noticed"), &json!("hola"))
    );
    let good = json!({ "outcomes": [{ "ok": { "text": "You asked: hola" } }] }).to_string();
    let judged = ask(&ready["base_url"], "POST", "/__judge", &good);
    let unconsumed = json!(["unconsumed exchange 0 (GET /never), 1 to come"]);
    assert_eq!(judged, json!({ "passed": false, "differences": unconsumed }));
    assert_eq!(ask(&ready["base_url"], "GET", "/never", ""), json!({}));
    assert_eq!(
        ask(&ready["base_url"], "POST", "/__judge", &good),
        json!({ "passed": true, "differences": [] })
    );
    let report = ask(&ready["base_url"], "GET", "/__report", "");
    assert_eq!((&report["requests_seen"], &report["matched"]), (&json!(1), &json!([0])));
    assert!(finish(child).status.success());
}

#[test]
fn a_wrong_outcome_is_judged_wrong() {
    let (child, ready) = start("cases/chat/scripted-misspelt-setting-is-refused.json");
    let judge = |outcome: Value| ask(&ready["base_url"], "POST", "/__judge", &outcome.to_string());
    let opened = judge(json!({ "outcomes": [] }));
    assert_eq!(opened["differences"], json!(["opening succeeded where an error was expected"]));
    let refused =
        judge(json!({ "open_error": { "kind": "config_invalid", "message": "unknown field `modle`" } }));
    assert_eq!(refused["passed"], true);
    assert_eq!(ask(&ready["base_url"], "POST", "/__judge", "{")["passed"], false);
    assert!(finish(child).status.success());
}

#[test]
fn help_is_given_and_mistakes_are_named() {
    let run = |arguments: &[&str]| finish(program().args(arguments).spawn().expect("the program starts"));
    let help = run(&["--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--case FILE"));
    for (arguments, status, reason) in [
        (&["--cases"][..], 2, "'--cases' is unknown"),
        (&[], 2, "--case is missing"),
        (&["--case"], 2, "--case lacks its value"),
        (&["--case", "x", "--port", "p"], 2, "'p' is not a port"),
        (&["--case", "no-such.json"], 1, "no-such.json"),
        (&["chilecompra", "--case"], 2, "'--case' is unknown"),
        (&["chilecompra", "--world", "{"], 2, "--world is not a world"),
        (&["chilecompra", "--world", r#"{"bodies": 0}"#], 1, "`bodies`"),
    ] {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}

#[test]
fn chilecompra_is_served_and_controlled() {
    let world =
        json!({ "seed": 3, "now": "2026-10-14T12:00:00-03:00", "running": false, "tenders": 5 }).to_string();
    let mut child = program().args(["chilecompra", "--world", &world]).spawn().expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(ready["now"], "2026-10-14T12:00:00-03:00");
    let list = "/servicios/v1/publico/licitaciones.json?fecha=13102026&ticket=x";
    let tenders = ask(&ready["base_url"], "GET", list, "");
    assert!(tenders["Cantidad"].as_u64().is_some_and(|count| count > 0), "{tenders}");
    let report = ask(&ready["base_url"], "POST", "/__chilecompra", r#"{"advance_seconds": 86400}"#);
    assert_eq!((&report["now"], &report["requests"]), (&json!("2026-10-15T12:00:00-03:00"), &json!(1)));
    assert!(finish(child).status.success());
}
