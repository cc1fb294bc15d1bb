//! TLS of the built-in transport: rustls with ring, and the certificates to trust.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use super::HttpOptions;
use crate::error::{Error, ErrorKind, Result};

/// The configuration of every TLS connection of a transport.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: ClientConfig,
    /// Why no certificate can be verified here. Plain HTTP, so any backend on this machine, still works.
    pub(super) unusable: Option<String>,
}

impl Tls {
    /// # Errors
    /// `config_invalid` naming the option to mend.
    pub(super) fn new(options: &HttpOptions) -> Result<Self> {
        let given = given_certificates(options)?;
        if !options.system_certificates && given.is_empty() {
            return Err(Error::config(
                "`system_certificates` is false, and neither `ca_certificates` nor `ca_file` says what to trust",
            ));
        }
        // ring is named because no provider may be installed for the whole process, or another one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in &given {
            roots.add(certificate.clone()).map_err(|error| {
                Error::config(format!(
                    "`ca_certificates` or `ca_file` holds an unusable certificate: {error}"
                ))
            })?;
        }
        let verifier = verifier(options, given, roots, &provider);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Unexpected, format!("TLS cannot be set up: {error}")))?;
        let (builder, unusable) = match verifier {
            // The verifier is rustls's own or the platform's; "dangerous" is any that is not a list of certificates.
            Ok(verifier) => (builder.dangerous().with_custom_certificate_verifier(verifier), None),
            Err(error) => {
                let reason = format!(
                    "https is not possible: this machine's CA certificates cannot be read ({error}); install them \
                     (the package `ca-certificates`) or name a `ca_file`"
                );
                (builder.with_root_certificates(RootCertStore::empty()), Some(reason))
            }
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config, unusable })
    }
}

fn verifier(
    options: &HttpOptions,
    given: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let provider = Arc::clone(provider);
    if !options.system_certificates {
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        return built.map(|verifier| verifier as _).map_err(|error| error.to_string());
    }
    let built = match given.is_empty() {
        true => Verifier::new(provider),
        false => Verifier::new_with_extra_roots(given, provider),
    };
    built.map(|verifier| Arc::new(verifier) as _).map_err(|error| error.to_string())
}

/// The certificates that the options name.
fn given_certificates(options: &HttpOptions) -> Result<Vec<CertificateDer<'static>>> {
    let mut all = Vec::new();
    if let Some(pem) = &options.ca_certificates {
        let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        all.extend(certificates("`ca_certificates`", read)?);
    }
    if let Some(path) = &options.ca_file {
        let named = format!("`ca_file` '{}'", path.display());
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        all.extend(certificates(&named, read)?);
    }
    Ok(all)
}

fn certificates(
    named: &str,
    read: Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error>,
) -> Result<Vec<CertificateDer<'static>>> {
    let read = read.map_err(|error| Error::config(format!("{named} cannot be read as PEM: {error}")))?;
    if read.is_empty() {
        return Err(Error::config(format!("{named} holds no certificate; expected PEM text")));
    }
    Ok(read)
}
