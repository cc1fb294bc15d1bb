//! Settings of the built-in transport: certificates, proxy, user agent.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::secret::Secret;
use crate::transport::Transport;

/// How the built-in transport connects: which certificates it trusts, through which proxy it goes, what it calls itself.
///
/// The default trusts this machine's certificate authorities and takes the system's proxy (`HTTPS_PROXY`, `HTTP_PROXY`,
/// `NO_PROXY`). Requests to this machine, and those for URLs that an answer named, never go through a proxy.
///
/// It is the field `http` of a [`Setup`](crate::Setup), or becomes the transport of a [`Context`](crate::Context).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpOptions {
    /// Certificate authorities to trust, as PEM text.
    pub ca_certificates: Option<String>,
    /// A PEM file with certificate authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// Whether to trust this machine's certificate authorities too.
    pub system_certificates: bool,
    /// The proxy for all requests: `http://host:port` or `https://host:port`, without credentials.
    pub proxy: Option<String>,
    /// The user name for the proxy.
    pub proxy_username: Option<String>,
    /// The password for the proxy.
    pub proxy_password: Option<Secret>,
    /// Hosts that are reached without `proxy`: names (with all their subdomains), addresses, or networks (`10.0.0.0/8`).
    pub no_proxy: Vec<String>,
    /// Whether to take the system's proxy where `proxy` is not set.
    pub system_proxy: bool,
    /// The `User-Agent` of requests for which a backend sets none; `ayni/` and the version by default.
    pub user_agent: Option<String>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            ca_certificates: None,
            ca_file: None,
            system_certificates: true,
            proxy: None,
            proxy_username: None,
            proxy_password: None,
            no_proxy: Vec::new(),
            system_proxy: true,
            user_agent: None,
        }
    }
}

impl HttpOptions {
    /// Trusts the certificate authorities in a PEM text.
    pub fn with_ca_certificates(mut self, pem: impl Into<String>) -> Self {
        self.ca_certificates = Some(pem.into());
        self
    }

    /// Trusts the certificate authorities in a PEM file.
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Says whether to trust this machine's certificate authorities too.
    pub fn with_system_certificates(mut self, trust: bool) -> Self {
        self.system_certificates = trust;
        self
    }

    /// Sends requests through a proxy.
    pub fn with_proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Sets the credentials for the proxy.
    pub fn with_proxy_credentials(
        mut self,
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        self.proxy_username = Some(username.into());
        self.proxy_password = Some(Secret::new(password));
        self
    }

    /// Sets the hosts that are reached without the proxy.
    pub fn with_no_proxy<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.no_proxy = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// Says whether to take the system's proxy where none is set.
    pub fn with_system_proxy(mut self, take: bool) -> Self {
        self.system_proxy = take;
        self
    }

    /// Sets the `User-Agent` of requests for which a backend sets none.
    pub fn with_user_agent(mut self, user_agent: impl Into<String>) -> Self {
        self.user_agent = Some(user_agent.into());
        self
    }

    /// Whether nothing is set.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// A transport with these settings. It keeps its own connections; share it between contexts.
    ///
    /// # Errors
    /// `config_invalid` naming the field to mend; `unsupported` without the feature `http`.
    pub fn transport(&self) -> Result<Arc<dyn Transport>> {
        if self.is_default() {
            return super::built_in();
        }
        #[cfg(feature = "http")]
        return Ok(Arc::new(super::reqwest::ReqwestTransport::new(self)?));
        #[cfg(not(feature = "http"))]
        super::built_in()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "http")]
    use crate::error::ErrorKind;

    #[test]
    fn the_json_form_is_the_builder_and_hides_the_password() {
        let json = r#"{"ca_file": "/a.pem", "system_certificates": false, "proxy": "http://p.test:3128",
            "proxy_username": "u", "proxy_password": "CANARY", "no_proxy": ["b.test"], "user_agent": "me/1"}"#;
        let options: HttpOptions = serde_json::from_str(json).expect("valid");
        let built = HttpOptions::default()
            .with_ca_file("/a.pem")
            .with_system_certificates(false)
            .with_proxy("http://p.test:3128")
            .with_proxy_credentials("u", "CANARY")
            .with_no_proxy(["b.test"])
            .with_user_agent("me/1");
        assert_eq!(options, built);
        let shown = format!("{options:?} {}", serde_json::to_string(&options).expect("JSON"));
        assert!(!shown.contains("CANARY"), "{shown}");
        assert!(serde_json::from_str::<HttpOptions>(r#"{"verify": false}"#).is_err());
    }

    #[cfg(feature = "http")]
    #[test]
    fn what_cannot_be_used_is_named() {
        let defaults = HttpOptions::default;
        let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (options, named) in [
            (defaults().with_ca_file("/nonexistent/ca.pem"), "`ca_file` '/nonexistent/ca.pem'"),
            (defaults().with_ca_certificates("nothing"), "`ca_certificates`"),
            (defaults().with_ca_certificates(not_a_certificate), "`ca_certificates`"),
            (defaults().with_system_certificates(false), "`ca_file`"),
            (defaults().with_proxy("ftp://p.test"), "`proxy`"),
            (defaults().with_proxy("p.test:3128"), "`proxy`"),
            (defaults().with_proxy("http://u:CANARY@p.test"), "`proxy_password`"),
            (defaults().with_no_proxy(["a.test"]), "`no_proxy`"),
            (defaults().with_proxy_credentials("u", "p"), "`proxy_username`"),
            (defaults().with_user_agent("a\nb"), "`user_agent`"),
        ] {
            let error = options.transport().expect_err(named);
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{named}");
            assert!(error.message().contains(named) && !error.message().contains("CANARY"), "{error}");
        }
    }

    #[cfg(not(feature = "http"))]
    #[test]
    fn without_the_feature_the_message_says_what_to_do() {
        let error = HttpOptions::default().transport().expect_err("not compiled in");
        assert!(error.message().contains("feature `http`"), "{error}");
    }
}
