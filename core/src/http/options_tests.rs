//! Certificates, proxies and user agents of the built-in transport, against real sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::tests::{keep_alive, read_head, request, serve};
use super::*;
use crate::http::StatusCode;

/// A certificate authority of its own, in PEM, and the address of a server with a certificate of it for `localhost`.
fn company() -> (String, SocketAddr) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("a server");
    let config = Arc::new(config);
    let address = serve(move |stream| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let mut head = [0; 1024];
        // A client that does not trust us closes the connection.
        if stream.read(&mut head).is_ok_and(|bytes| bytes > 0) {
            let _ = stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (authority.pem(), address)
}

async fn get(options: HttpOptions, address: SocketAddr) -> Result<StatusCode, TransportError> {
    let url = format!("https://localhost:{}/", address.port());
    let transport = options.transport().expect("valid options");
    transport.send(request(&url)).await.map(|response| response.status)
}

#[tokio::test]
async fn a_given_authority_is_trusted_as_text_and_as_file_beside_the_systems_and_alone() {
    let (pem, address) = company();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &pem).expect("written");
    for options in [
        HttpOptions::default().with_ca_certificates(&pem),
        HttpOptions::default().with_ca_certificates(&pem).with_system_certificates(false),
        HttpOptions::default().with_ca_file(&file).with_system_certificates(false),
    ] {
        assert_eq!(get(options, address).await.expect("trusted"), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let ((other, _), (_, address)) = (company(), company());
    let options = HttpOptions::default().with_ca_certificates(other);
    for options in [options.clone(), options.with_system_certificates(false)] {
        let error = get(options, address).await.expect_err("not trusted");
        assert_eq!((error.phase, error.timed_out), (TransportPhase::Connect, false));
        assert!(error.message.contains("certificate"), "{error}");
    }
}

/// A proxy that answers every request itself and tells what it was asked.
fn proxy() -> (SocketAddr, mpsc::Receiver<String>) {
    let (seen, heads) = mpsc::channel();
    let address = serve(move |mut stream: TcpStream| {
        while let Some(head) = read_head(&mut stream) {
            let _ = seen.send(head.to_ascii_lowercase());
            stream.write_all(b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n").expect("the client reads");
        }
    });
    (address, heads)
}

#[tokio::test]
async fn requests_go_through_the_given_proxy_with_its_credentials() {
    let (address, heads) = proxy();
    let options = HttpOptions::default()
        .with_proxy(format!("http://{address}"))
        .with_proxy_credentials("user", "pass")
        .with_no_proxy(["direct.test"])
        .with_user_agent("company/1");
    let transport = options.transport().expect("valid options");
    assert!(!format!("{transport:?}").contains("pass"));
    transport.send(request("http://api.test/v1?a=b")).await.expect("the proxy answers");
    let head = heads.recv().expect("a request was seen");
    assert!(head.starts_with("get http://api.test/v1?a=b http/1.1\r\n"), "{head}");
    for field in ["proxy-authorization: basic dxnlcjpwyxnz", "user-agent: company/1"] {
        assert!(head.contains(field), "{field} in {head}");
    }
    transport.send(request(&format!("http://{}/", keep_alive()))).await.expect("this machine answers");
    let error = transport.send(request("http://direct.test/")).await.expect_err("no such host");
    assert_eq!(error.phase, TransportPhase::Connect);
    assert!(heads.try_recv().is_err(), "neither asked the proxy");
}
