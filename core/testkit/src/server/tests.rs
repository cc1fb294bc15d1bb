//! The server, tested through a socket.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn connect(url: &str) -> io::Result<TcpStream> {
    TcpStream::connect(url.trim_start_matches("http://")).await
}

async fn send(stream: &mut TcpStream, request: &str) {
    stream.write_all(request.as_bytes()).await.expect("the server reads");
}

/// Everything until the server closes, or the error that it ends with.
async fn read_all(stream: &mut TcpStream) -> (String, Option<io::ErrorKind>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await.err().map(|error| error.kind());
    (String::from_utf8_lossy(&bytes).into_owned(), end)
}

async fn read_some(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 65_536];
    let read = stream.read(&mut bytes).await.expect("an answer");
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}

async fn play(respond: Value) -> (MockServer, TcpStream) {
    let exchange = json!([{ "request": { "method": "GET", "path": "/" }, "respond": respond }]);
    let server = MockServer::start(&exchange).await.expect("exchanges");
    let stream = connect(&server.base_url()).await.expect("a connection");
    (server, stream)
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn one_connection_serves_several_requests() {
    let exchange = |path: &str| json!({ "request": { "method": "POST", "path": path, "json": { "a": 1 } }, "respond": { "json": path } });
    let server = MockServer::start(&json!([exchange("/a"), exchange("/b")])).await.expect("exchanges");
    let mut stream = connect(&server.base_url()).await.expect("a connection");
    let length = "POST /a HTTP/1.1\r\ncontent-length: 7\r\n\r\n{\"a\":1}";
    let chunked =
        "POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{\"a\r\n4;x=y\r\n\":1}\r\n0\r\n\r\n";
    send(&mut stream, length).await;
    assert!(read_some(&mut stream).await.ends_with("content-length: 4\r\n\r\n\"/a\""));
    send(&mut stream, chunked).await;
    assert!(read_some(&mut stream).await.ends_with("\"/b\""));
    assert_eq!(server.report().faults(), Vec::<String>::new());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_client_that_waits_for_a_go_ahead_gets_one() {
    let (_server, mut stream) = play(json!({ "status": 204 })).await;
    send(&mut stream, "GET / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n").await;
    assert_eq!(read_some(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    send(&mut stream, "{}").await;
    assert_eq!(read_some(&mut stream).await, "HTTP/1.1 204 As Scripted\r\n\r\n");
}

#[tokio::test]
async fn a_request_that_does_not_fit_is_answered_404_with_the_reasons() {
    let (server, mut stream) = play(json!({ "text": "never" })).await;
    send(&mut stream, "GET /other?a=b HTTP/1.1\r\n\r\n").await;
    let answer = read_some(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.contains("exchange 0: path: expected /, got /other"), "{answer}");
    let report = server.report();
    assert_eq!((report.requests_seen, report.mismatched.len(), report.unconsumed.len()), (1, 1, 1));
}

#[tokio::test]
async fn frames_are_chunks_and_a_cut_inside_a_character_stays_there() {
    let (_server, mut stream) = play(json!({
        "sse": [{ "data": "ñ" }], "line_end": "\r\n", "chunks": { "cut_at": [7, 9] },
    }))
    .await;
    send(&mut stream, GET).await;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"0\r\n\r\n") {
        stream.read_buf(&mut bytes).await.expect("an answer");
    }
    let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| bytes[at + 4..].to_vec());
    let expected =
        [&b"7\r\ndata: \xc3\r\n"[..], b"2\r\n\xb1\r\r\n", b"3\r\n\n\r\n\r\n", b"0\r\n\r\n"].concat();
    assert_eq!(body.expect("a body"), expected);
}

#[tokio::test]
async fn a_disconnect_leaves_the_body_open_and_a_reset_is_a_reset() {
    for (end, expected) in [("disconnect", None), ("reset", Some(io::ErrorKind::ConnectionReset))] {
        let (_server, mut stream) = play(json!({ "text": "half", "end": end })).await;
        send(&mut stream, GET).await;
        let (answer, error) = read_all(&mut stream).await;
        assert!(answer.ends_with("4\r\nhalf\r\n"), "{end}: {answer}");
        assert_eq!(error, expected, "{end}");
    }
}

#[tokio::test]
async fn a_content_length_that_lies_is_followed_by_the_end_of_the_connection() {
    let (_server, mut stream) = play(json!({ "text": "half", "content_length": 100 })).await;
    send(&mut stream, GET).await;
    let (answer, error) = read_all(&mut stream).await;
    assert!(answer.contains("content-length: 100\r\n") && answer.ends_with("\r\n\r\nhalf"), "{answer}");
    assert_eq!(error, None);
}

#[tokio::test]
async fn a_connection_is_dropped_before_or_after_its_request() {
    for (point, seen) in [("on_accept", 0), ("after_request", 1)] {
        let (server, mut stream) = play(json!({ "drop": point })).await;
        // The reset may come before the request is written.
        let _ = stream.write_all(GET.as_bytes()).await;
        let (answer, error) = read_all(&mut stream).await;
        assert_eq!((answer.as_str(), error), ("", Some(io::ErrorKind::ConnectionReset)), "{point}");
        assert_eq!(server.requests().len(), seen, "{point}");
        assert_eq!(server.report().requests_seen, 1, "{point}");
        assert!(server.report().faults().is_empty(), "{point}");
    }
}

#[tokio::test]
async fn silence_lasts_as_long_as_the_client_waits() {
    for respond in [json!({ "drop": "never_answer" }), json!({ "text": "a", "end": "hang" })] {
        let (server, mut stream) = play(respond.clone()).await;
        send(&mut stream, GET).await;
        server.seen(1).await;
        let answer = tokio::time::timeout(Duration::from_millis(50), read_all(&mut stream)).await;
        assert!(answer.is_err(), "{respond}");
    }
}

#[tokio::test]
async fn pauses_are_kept() {
    let (_server, mut stream) = play(json!({
        "delay_ms": 20, "body_delay_ms": 20, "chunk_delay_ms": 20, "ndjson": [{ "a": 1 }, "text"],
    }))
    .await;
    let start = Instant::now();
    send(&mut stream, GET).await;
    let mut answer = String::new();
    while !answer.ends_with("0\r\n\r\n") {
        answer.push_str(&read_some(&mut stream).await);
    }
    assert!(start.elapsed() >= Duration::from_millis(60), "{:?}", start.elapsed());
    assert!(answer.contains("8\r\n{\"a\":1}\n\r\n5\r\ntext\n\r\n"), "{answer}");
}

#[tokio::test]
async fn header_fields_can_be_set_repeated_and_left_out() {
    let (_server, mut stream) = play(json!({
        "json": {}, "headers": { "Content-Type": "text/html", "set-cookie": ["a=1", "b=2"], "content-length": null },
    }))
    .await;
    send(&mut stream, GET).await;
    let answer = read_some(&mut stream).await;
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\n{}"
    );
}

#[tokio::test]
async fn a_head_request_gets_no_body() {
    let exchange = json!([{ "request": { "method": "HEAD", "path": "/" }, "respond": { "text": "abc" } }]);
    let server = MockServer::start(&exchange).await.expect("exchanges");
    let mut stream = connect(&server.base_url()).await.expect("a connection");
    send(&mut stream, "HEAD / HTTP/1.1\r\n\r\n").await;
    assert!(read_some(&mut stream).await.ends_with("content-length: 3\r\n\r\n"));
}

#[tokio::test]
async fn the_other_origin_notices_credentials_and_the_closed_port_refuses() {
    let exchange = json!([{ "request": { "method": "GET", "path": "/", "host": "other" }, "respond": {} }]);
    let server = MockServer::start(&exchange).await.expect("exchanges");
    let mut stream = connect(&server.other_url()).await.expect("a connection");
    send(&mut stream, "GET / HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n").await;
    read_some(&mut stream).await;
    assert_eq!(server.report().faults(), ["a credential came to another origin in authorization"]);
    let refused = connect(&server.closed_url()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn the_report_is_served_and_does_not_count() {
    let (server, mut stream) = play(json!({})).await;
    send(&mut stream, "GET /__report HTTP/1.1\r\n\r\n").await;
    let answer = read_some(&mut stream).await;
    assert!(answer.contains("\"unconsumed\":[\"0 (GET /), 1 to come\"]"), "{answer}");
    assert_eq!(server.report().requests_seen, 0);
}
