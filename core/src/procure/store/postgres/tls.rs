//! TLS with rustls, and with the certificate authorities of this machine or of a file.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use crate::error::{Error, Result};

/// Makes encrypted connections and verifies the servers' certificates.
#[derive(Clone, Debug)]
pub(super) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the certificate authorities of this machine, or those in `roots`, a PEM file.
    ///
    /// # Errors
    /// `config_invalid` if they cannot be read.
    pub(super) fn new(roots: Option<&Path>) -> Result<Self> {
        // Named explicitly: the process may have no default provider, or another one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::config(format!("TLS to the store cannot be set up: {error}")))?;
        let config = match roots {
            None => builder.with_platform_verifier().map_err(|error| {
                Error::config(format!("this machine's CA certificates cannot be read: {error}"))
            })?,
            Some(path) => builder.with_root_certificates(authorities(path)?),
        };
        Ok(Self(Arc::new(config.with_no_client_auth())))
    }
}

fn authorities(path: &Path) -> Result<rustls::RootCertStore> {
    let invalid_file = |why: String| Error::config(format!("`sslrootcert` '{}' {why}", path.display()));
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| invalid_file(format!("cannot be read: {error}")))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| invalid_file(format!("is not a PEM file: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| invalid_file(format!("contains no usable certificate: {error}")))?;
    }
    if roots.is_empty() {
        return Err(invalid_file("contains no certificate".to_owned()));
    }
    Ok(roots)
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = EncryptedStream;
    type TlsConnect = Handshake;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Self::Error> {
        Ok(Handshake { config: Arc::clone(&self.0), server: ServerName::try_from(host.to_owned())? })
    }
}

#[derive(Debug)]
pub(super) struct Handshake {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = EncryptedStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<EncryptedStream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let connector = tokio_rustls::TlsConnector::from(self.config);
            connector.connect(self.server, socket).await.map(|stream| EncryptedStream(Box::new(stream)))
        })
    }
}

#[derive(Debug)]
pub(super) struct EncryptedStream(Box<tokio_rustls::client::TlsStream<Socket>>);

impl TlsStream for EncryptedStream {
    /// None. With `channel_binding=require` the connection is refused.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for EncryptedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for EncryptedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
