use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::*;
use crate::http::{HeaderText, Method, StatusCode, header_map};

/// A server of raw sockets on threads of its own, so that no runtime of a test drives it.
pub(super) fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

/// Reads the header of a request; `None` when the client has closed.
pub(super) fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    String::from_utf8(head).ok()
}

fn transport() -> ReqwestTransport {
    ReqwestTransport::new(&HttpOptions::default()).expect("TLS can be set up")
}

fn get(address: SocketAddr) -> HttpRequest {
    request(&format!("http://{address}/path?key=CANARY"))
}

pub(super) fn request(url: &str) -> HttpRequest {
    HttpRequest::new(Method::GET, url.parse().expect("a URL"))
}

async fn text(response: HttpResponse) -> Result<String, TransportError> {
    let chunks: Vec<Bytes> = response.body.try_collect().await?;
    Ok(String::from_utf8(chunks.concat()).expect("text"))
}

fn assert_discreet(error: &TransportError) {
    assert!(!error.message.contains("CANARY") && !error.message.contains("http:"), "{error}");
    assert!(!error.message.is_empty());
}

#[tokio::test]
async fn a_request_arrives_as_given_and_a_gzipped_answer_is_unpacked() {
    const GZIPPED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xabV\xca\xcfV\xb2*)*M\xad\x05\x00\x90_\xd4\xa7\x0b\x00\x00\x00";
    let (seen, heads) = mpsc::channel();
    let address = serve(move |mut stream| {
        let head = read_head(&mut stream).expect("a request");
        let mut body = [0; 4];
        stream.read_exact(&mut body).expect("a body");
        seen.send((head.to_ascii_lowercase(), body)).expect("the test waits");
        let head = format!(
            "HTTP/1.1 418 x\r\nContent-Encoding: gzip\r\nX-Two: a\r\nX-Two: b\r\nContent-Length: {}\r\n\r\n",
            GZIPPED.len()
        );
        stream.write_all(&[head.as_bytes(), GZIPPED].concat()).expect("the client reads");
    });
    let mut request = HttpRequest { method: Method::POST, body: Bytes::from_static(b"body"), ..get(address) };
    request.headers = header_map(&[("Authorization", "Bearer x")]);
    let response = transport().send(request).await.expect("an answer");
    assert_eq!(response.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers.get_all("x-two").iter().count(), 2);
    assert_eq!(text(response).await.expect("a body"), r#"{"ok":true}"#);
    let (head, body) = heads.recv().expect("a request was seen");
    assert!(head.starts_with("post /path?key=canary http/1.1\r\n"), "{head}");
    for field in
        ["authorization: bearer x", "accept-encoding: gzip", "user-agent: ayni/", "content-length: 4"]
    {
        assert!(head.contains(field), "{field} in {head}");
    }
    assert_eq!(&body, b"body");
}

#[tokio::test]
async fn redirects_are_answers_and_not_followed() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = serve(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        while read_head(&mut stream).is_some() {
            let answer = b"HTTP/1.1 307 x\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).expect("the client reads");
        }
    });
    let response = transport().send(get(address)).await.expect("an answer");
    assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(response.headers.text("location"), Some("/elsewhere"));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refused_connection_was_certainly_not_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let error = transport().send(get(closed.expect("a port"))).await.expect_err("nobody listens");
    assert_eq!((error.phase, error.timed_out), (TransportPhase::Connect, false));
    assert!(error.message.to_ascii_lowercase().contains("refused"), "{error}");
    assert_discreet(&error);
}

#[tokio::test]
async fn a_connection_that_dies_before_the_answer_may_have_been_sent() {
    let address = serve(|stream| {
        // Closing with unread bytes resets the connection.
        stream.peek(&mut [0]).expect("a request");
    });
    let error = transport().send(get(address)).await.expect_err("no answer came");
    assert_eq!((error.phase, error.timed_out), (TransportPhase::Exchange, false));
    assert_discreet(&error);
}

#[tokio::test]
async fn a_connection_that_dies_inside_the_body_gives_what_came_before() {
    let address = serve(|mut stream| {
        read_head(&mut stream).expect("a request");
        stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\nhalf").expect("the client reads");
    });
    let mut response = transport().send(get(address)).await.expect("an answer");
    assert_eq!(response.body.try_next().await.expect("the first half"), Some(Bytes::from("half")));
    let error = response.body.try_next().await.expect_err("the second half is missing");
    assert_eq!(error.phase, TransportPhase::Body);
    assert_discreet(&error);
}

#[tokio::test]
async fn a_damaged_gzip_body_fails_in_the_body() {
    let address = serve(|mut stream| {
        read_head(&mut stream).expect("a request");
        let answer = b"HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nnotgzip";
        stream.write_all(answer).expect("the client reads");
    });
    let response = transport().send(get(address)).await.expect("an answer");
    assert_eq!(text(response).await.expect_err("not gzip").phase, TransportPhase::Body);
}

#[tokio::test]
async fn the_connect_timeout_covers_a_handshake_that_never_comes() {
    let address = serve(|mut stream| while read_head(&mut stream).is_some() {});
    let mut tls = transport();
    // The handshake never begins, so whether this machine has CA certificates does not matter.
    tls.tls.unusable = None;
    let url = format!("https://{address}/?key=CANARY");
    let request = HttpRequest { connect_timeout: Duration::from_millis(50), ..request(&url) };
    let error = tls.send(request).await.expect_err("no handshake");
    assert_eq!((error.phase, error.timed_out), (TransportPhase::Connect, true));
    assert_discreet(&error);
}

#[tokio::test]
async fn without_ca_certificates_https_says_so_and_http_works() {
    let mut tls = transport();
    tls.tls.unusable = Some("no CA certificates".to_owned());
    let error = tls.send(request("https://127.0.0.1:9/")).await.expect_err("not possible");
    assert_eq!((error.phase, error.message.as_str()), (TransportPhase::Setup, "no CA certificates"));
    assert_eq!(tls.send(get(keep_alive())).await.expect("an answer").status, StatusCode::OK);
}

#[tokio::test]
async fn dropping_the_request_closes_the_connection() {
    let (closed, notice) = mpsc::channel();
    let address = serve(move |mut stream| {
        read_head(&mut stream).expect("a request");
        closed.send("arrived").expect("the test waits");
        while read_head(&mut stream).is_some() {}
        closed.send("closed").expect("the test waits");
    });
    let transport = transport();
    let mut sending = transport.send(get(address));
    let arrived = loop {
        tokio::select! {
            _ = &mut sending => panic!("nobody answers"),
            () = tokio::task::yield_now() => if let Ok(arrived) = notice.try_recv() { break arrived },
        }
    };
    assert_eq!(arrived, "arrived");
    drop(sending);
    let next = tokio::task::spawn_blocking(move || notice.recv_timeout(Duration::from_secs(20)));
    assert_eq!(next.await.expect("no panic"), Ok("closed"));
}

#[tokio::test]
async fn hosts_off_the_public_internet_are_refused_before_connecting() {
    let port = keep_alive().port();
    for host in ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{port}/?key=CANARY");
        let request = HttpRequest { public_hosts_only: true, ..request(&url) };
        let error = transport().send(request).await.expect_err("refused");
        assert_eq!((error.phase, error.message.as_str()), (TransportPhase::Connect, NOT_PUBLIC), "{host}");
    }
}

/// A server that answers any number of requests on one connection.
pub(super) fn keep_alive() -> SocketAddr {
    serve(|mut stream| {
        while read_head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nok").expect("the client reads");
        }
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn get_text(transport: &ReqwestTransport, address: SocketAddr) -> String {
    let answer =
        async { text(transport.send(get(address)).await.expect("an answer")).await.expect("a body") };
    tokio::time::timeout(Duration::from_secs(20), answer).await.expect("an answer in time")
}

#[test]
fn a_runtime_that_stands_still_does_not_hold_up_another() {
    let (transport, address) = (transport(), keep_alive());
    let (still, moving) = (runtime(), runtime());
    assert_eq!(still.block_on(get_text(&transport, address)), "ok");
    assert_eq!(moving.block_on(get_text(&transport, address)), "ok");
    drop(still);
    assert_eq!(moving.block_on(get_text(&transport, address)), "ok");
}

#[test]
fn many_runtimes_one_after_another_share_a_bounded_number_of_clients() {
    let (transport, address) = (transport(), keep_alive());
    for _ in 0..MAX_CLIENTS + 3 {
        assert_eq!(runtime().block_on(get_text(&transport, address)), "ok");
    }
    assert_eq!(transport.clients.lock().expect("not poisoned").len(), MAX_CLIENTS);
}

#[test]
fn one_runtime_uses_its_connection_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = serve(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        while read_head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\nok").expect("the client reads");
        }
    });
    let transport = transport();
    runtime().block_on(async {
        for _ in 0..5 {
            assert_eq!(get_text(&transport, address).await, "ok");
        }
    });
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn outside_a_runtime_the_transport_says_what_it_needs() {
    let transport = transport();
    let sent = futures_util::FutureExt::now_or_never(transport.send(request("http://127.0.0.1:9/")));
    let error = sent.expect("no waiting").expect_err("no runtime");
    assert_eq!(error.phase, TransportPhase::Setup);
    assert!(error.message.contains("tokio runtime"), "{error}");
}

#[test]
fn a_runtime_that_lacks_timers_or_sockets_is_told_apart() {
    let (transport, address) = (transport(), keep_alive());
    let bare = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let error = bare.block_on(transport.send(get(address))).expect_err("no timers");
    assert_eq!(error.phase, TransportPhase::Setup);
    assert!(error.message.contains("enable_time"), "{error}");
    let timed = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let error = timed.block_on(transport.send(get(address))).expect_err("no sockets");
    assert!(error.message.contains("enable_io"), "{error}");
}

#[test]
fn every_context_shares_one_transport() {
    let (first, second) = (shared().expect("TLS"), shared().expect("TLS"));
    assert!(Arc::ptr_eq(&first, &second));
}
