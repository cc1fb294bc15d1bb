//! Where the server is and how it is spoken to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};

use super::tls::Tls;
use crate::error::{Error, Result};
use crate::procure::store::StoreAddress;

/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// A network that swallows what is sent shows within this time.
const SILENCE: Duration = Duration::from_secs(10);

/// The parameters of an address that are passed on as they are.
const PASSED_ON: [&str; 12] = [
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

/// A server.
pub(super) struct Server {
    config: Config,
    /// Where connections may be encrypted.
    tls: Option<Tls>,
    address: StoreAddress,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.address).finish()
    }
}

/// What an address says of TLS.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    mode: Option<String>,
    roots: Option<PathBuf>,
}

impl Server {
    /// Reads an address as libpq and SQLAlchemy write it.
    ///
    /// Unlike libpq, every encrypted connection is to a server whose certificate is trusted: by this machine, or
    /// by the file that `sslrootcert` names. Without `sslmode`, servers of this machine are spoken to as they
    /// are, others encrypted if they offer it.
    ///
    /// # Errors
    /// `config_invalid`, with nothing of what may be a password.
    pub(super) fn parse(address: &StoreAddress) -> Result<Self> {
        let (url, wanted) = split(address.expose())?;
        // What its error says may be a part of the password.
        let mut config: Config = url.parse().map_err(|_| {
            Error::config(
                "the store's address is no PostgreSQL URL such as 'postgres://user:password@host:5432/database'; \
                 write '@', ':', '/' and '?' in a password as %40, %3A, %2F and %3F",
            )
        })?;
        if config.get_hosts().is_empty() {
            return Err(Error::config(
                "the store's address names no server: 'postgres://user@host/database'",
            ));
        }
        let (mode, encrypts) = ssl_mode(wanted.mode.as_deref(), &config)?;
        config.ssl_mode(mode).tcp_user_timeout(SILENCE).keepalives_idle(Duration::from_secs(30));
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("ayni");
        }
        let tls = encrypts.then(|| Tls::new(wanted.roots.as_deref())).transpose()?;
        Ok(Self { config, tls, address: address.clone() })
    }

    /// The address, without its password.
    pub(super) fn address(&self) -> &StoreAddress {
        &self.address
    }

    /// A new connection. It is served by a task of the present runtime.
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
    // How it ends, whoever uses the connection is told.
    tokio::spawn(async move { drop(connection.await) });
}

/// The URL for the protocol's library, and what the address says of TLS.
fn split(address: &str) -> Result<(String, Wanted)> {
    let (scheme, rest) = address.split_once(':').unwrap_or(("", address));
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    if !place.starts_with("//") {
        return Err(Error::config("the store's address lacks '//': 'postgres://user@host/database'"));
    }
    // `postgresql+asyncpg` names a driver of Python's.
    let scheme = scheme.split('+').next().unwrap_or(scheme);
    let (mut wanted, mut passed) = (Wanted::default(), Vec::new());
    for pair in parameters.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let value = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
        match name {
            "sslmode" | "ssl" => wanted.mode = value,
            "sslrootcert" => wanted.roots = value.map(PathBuf::from),
            _ if PASSED_ON.contains(&name) => passed.push(pair),
            _ => {
                return Err(Error::config(
                    "the store's address has a parameter that ayni does not know; valid: sslmode, sslrootcert, host, \
                     port, user, password, dbname, options, application_name, connect_timeout, keepalives, \
                     keepalives_idle, target_session_attrs, channel_binding",
                ));
            }
        }
    }
    Ok((format!("{scheme}:{place}?{}", passed.join("&")), wanted))
}

/// The mode, and whether it takes certificates.
fn ssl_mode(wanted: Option<&str>, config: &Config) -> Result<(SslMode, bool)> {
    let is_near = |host: &Host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    match wanted {
        None if config.get_hosts().iter().all(is_near) => Ok((SslMode::Disable, false)),
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
