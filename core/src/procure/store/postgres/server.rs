//! The server's address and how to connect to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};

use super::tls::Tls;
use crate::error::{Error, Result};
use crate::procure::store::StoreAddress;

/// How long connecting to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long sent data may stay unacknowledged before the connection counts as broken.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// The parameters of an address that tokio-postgres reads.
const FORWARDED_PARAMETERS: [&str; 12] = [
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "target_session_attrs",
    "channel_binding",
];

pub(super) struct Server {
    config: Config,
    /// Set if connections may be encrypted.
    tls: Option<Tls>,
    address: StoreAddress,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.address).finish()
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct TlsOptions {
    mode: Option<String>,
    roots: Option<PathBuf>,
}

impl Server {
    /// Parses an address in the form of libpq or SQLAlchemy.
    ///
    /// Unlike libpq, every encrypted connection verifies the server's certificate, with the authorities of this machine
    /// or of the file in `sslrootcert`. Without `sslmode`, connections to this machine are not encrypted, and others are
    /// if the server offers it.
    ///
    /// # Errors
    /// `config_invalid`, without anything that may be part of a password.
    pub(super) fn parse(address: &StoreAddress) -> Result<Self> {
        let (url, options) = split_tls_options(address.expose())?;
        // The message of its error may contain a part of the password.
        let mut config: Config = url.parse().map_err(|_| {
            Error::config(
                "the store's address is not a PostgreSQL URL such as 'postgres://user:password@host:5432/database'; \
                 write '@', ':', '/' and '?' in a password as %40, %3A, %2F and %3F",
            )
        })?;
        if config.get_hosts().is_empty() {
            return Err(Error::config(
                "the store's address names no server: 'postgres://user@host/database'",
            ));
        }
        let (mode, encrypts) = ssl_mode(options.mode.as_deref(), &config)?;
        config.ssl_mode(mode).tcp_user_timeout(TCP_USER_TIMEOUT).keepalives_idle(Duration::from_secs(30));
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("ayni");
        }
        let tls = encrypts.then(|| Tls::new(options.roots.as_deref())).transpose()?;
        Ok(Self { config, tls, address: address.clone() })
    }

    /// The address. It is displayed without its password.
    pub(super) fn address(&self) -> &StoreAddress {
        &self.address
    }

    /// Connects. A task of the current runtime drives the connection.
    pub(super) async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                serve(connection);
                Ok(client)
            }
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                serve(connection);
                Ok(client)
            }
        }
    }
}

fn serve(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) {
    // The client gets the connection's error too.
    tokio::spawn(async move { drop(connection.await) });
}

/// Separates the TLS parameters from the URL that tokio-postgres reads.
fn split_tls_options(address: &str) -> Result<(String, TlsOptions)> {
    let (scheme, rest) = address.split_once(':').unwrap_or(("", address));
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if !place.starts_with("//") {
        return Err(Error::config("the store's address lacks '//': 'postgres://user@host/database'"));
    }
    // `postgresql+asyncpg` names a Python driver.
    let scheme = scheme.split('+').next().unwrap_or(scheme);
    let (mut options, mut forwarded) = (TlsOptions::default(), Vec::new());
    for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let value = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
        match name {
            "sslmode" | "ssl" => options.mode = value,
            "sslrootcert" => options.roots = value.map(PathBuf::from),
            _ if FORWARDED_PARAMETERS.contains(&name) => forwarded.push(pair),
            _ => {
                return Err(Error::config(
                    "the store's address has a parameter that ayni does not know; valid: sslmode, sslrootcert, host, \
                     port, user, password, dbname, options, application_name, connect_timeout, keepalives, \
                     keepalives_idle, target_session_attrs, channel_binding",
                ));
            }
        }
    }
    Ok((format!("{scheme}:{place}?{}", forwarded.join("&")), options))
}

fn ssl_mode(options: Option<&str>, config: &Config) -> Result<(SslMode, bool)> {
    let is_local = |host: &Host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    match options {
        None if config.get_hosts().iter().all(is_local) => Ok((SslMode::Disable, false)),
        None | Some("prefer" | "allow") => Ok((SslMode::Prefer, true)),
        Some("disable" | "false") => Ok((SslMode::Disable, false)),
        Some("require" | "verify-full" | "true") => Ok((SslMode::Require, true)),
        Some(_) => Err(Error::config(
            "`sslmode` of the store's address is unknown; valid: disable, prefer, require, verify-full",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_as_libpq_and_sqlalchemy_write_them() {
        for (address, mode) in [
            ("postgres://ana:x@localhost/app", SslMode::Disable),
            ("postgresql://ana@db.example:6432/app", SslMode::Prefer),
            ("postgresql+asyncpg://ana:x@db.example/app?ssl=require", SslMode::Require),
            ("postgres://ana@/app?host=/run/postgresql&application_name=x", SslMode::Disable),
            (
                "postgres://ana@one,two/app?sslmode=verify-full&target_session_attrs=read-write",
                SslMode::Require,
            ),
        ] {
            let server = Server::parse(&address.into()).expect(address);
            assert_eq!(server.config.get_ssl_mode(), mode, "{address}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_without_showing_the_password() {
        for (address, says) in [
            ("postgres:ana:CANARY@db/app", "//"),
            ("postgres:///app", "no server"),
            ("postgres://ana:CAN ARY@db:port/app", "%40"),
            ("postgres://ana:CANARY@db/app?sslmode=verify-ca", "verify-full"),
            ("postgres://ana:CANARY@db/app?CANARY=1", "does not know"),
            ("postgres://ana:CANARY@db/app?sslmode=require&sslrootcert=/nowhere.pem", "/nowhere.pem"),
        ] {
            let error = Server::parse(&address.into()).expect_err(address);
            assert_eq!(error.kind(), crate::ErrorKind::ConfigInvalid);
            assert!(error.message().contains(says), "{error}");
            assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
        }
    }

    #[test]
    fn a_server_shows_no_password() {
        let server = Server::parse(&"postgres://ana:CANARY@localhost/app".into()).expect("parsed");
        assert_eq!(format!("{server:?}"), "Server(\"postgres://ana:***@localhost/app\")");
    }
}
