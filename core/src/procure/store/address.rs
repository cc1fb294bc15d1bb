//! Addresses of stores.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The address of a store: `memory`, `sqlite:<path>`, a path, or `postgres://user:password@host/database`.
///
/// `Debug`, `Display` and `Serialize` write `***` for a password. Only [`expose`](Self::expose) returns it.
///
/// ```
/// use ayni::procure::store::StoreAddress;
/// let address = StoreAddress::new("postgres://ana:secret@db.example/app?sslmode=require");
/// assert_eq!(address.to_string(), "postgres://ana:***@db.example/app?***");
/// assert_eq!(StoreAddress::new("sqlite:data.db").to_string(), "sqlite:data.db");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StoreAddress(Zeroizing<String>);

impl StoreAddress {
    /// An address. It is parsed when the store is opened.
    pub fn new(text: impl Into<String>) -> Self {
        let text = Zeroizing::new(text.into());
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    /// The whole address, with its password. Never log it or put it into an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.expose();
        match (StoreKind::parse(self), text.split_once("://")) {
            (Ok(StoreKind::Memory | StoreKind::Sqlite(_)), _) => f.write_str(text),
            (_, Some((scheme, rest))) => write!(f, "{scheme}://{}", without_password(rest)),
            _ => f.write_str("***"),
        }
    }
}

/// `user:password@server/database?parameters` with everything masked that may be part of a password, escaped or not.
fn without_password(text: &str) -> String {
    let (user, server) = text.rsplit_once('@').unwrap_or(("", text));
    let user = match user.split_once(':') {
        _ if user.contains(['?', '=', '&']) => "***@".to_owned(),
        Some((name, _)) => format!("{name}:***@"),
        None if user.is_empty() => String::new(),
        None => format!("{user}@"),
    };
    // Parameters may contain a password too.
    match server.split_once('?') {
        Some((server, _)) => format!("{user}{server}?***"),
        None => format!("{user}{server}"),
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

impl Serialize for StoreAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StoreAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(String::deserialize(deserializer)?))
    }
}

impl From<&str> for StoreAddress {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for StoreAddress {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for StoreAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StoreAddress".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Memory,
    Sqlite(PathBuf),
    /// A PostgreSQL server; the address has the rest.
    Postgres,
}

impl StoreKind {
    pub(crate) fn parse(address: &StoreAddress) -> Result<Self> {
        let address = address.expose();
        let (scheme, rest) = address.split_once(':').unwrap_or(("sqlite", address));
        // `C:\data.db` is a path.
        let is_drive = scheme.len() == 1;
        let scheme = if is_drive { "sqlite" } else { scheme.split('+').next().unwrap_or(scheme) };
        let path = match rest.strip_prefix("//") {
            // sqlite:///relative.db and sqlite:////absolute.db; sqlite://relative.db is in use too.
            Some(rest) => rest.strip_prefix('/').unwrap_or(rest),
            None => rest,
        };
        match (address, scheme) {
            ("memory" | "sqlite::memory:" | "sqlite://", _) => Ok(Self::Memory),
            ("", _) => Err(Error::config(
                "the store's address is empty; use 'memory', 'sqlite:<path>' or 'postgres://…'",
            )),
            (_, "sqlite") if path.is_empty() || path == ":memory:" => Ok(Self::Memory),
            (_, "sqlite") if address.contains("password=") || address.contains("host=") => {
                Err(Error::config(
                    "the store's address is not a path; write a PostgreSQL server as 'postgres://…'",
                ))
            }
            (_, "sqlite") => Ok(Self::Sqlite(if is_drive { address.into() } else { path.into() })),
            (_, "postgres" | "postgresql") => Ok(Self::Postgres),
            // This may be a password in an address without a scheme.
            (_, other) if other.len() > 12 || !other.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Err(Error::config(
                    "the store's address is invalid; valid: memory, sqlite:<path>, postgres://<server>/<database>",
                ))
            }
            (_, other) => Err(Error::config(format!(
                "the store's address begins with '{other}:', which is unknown; valid: memory, sqlite:<path>, \
                 postgres://<server>/<database>"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_applications_write_them() {
        let sqlite = |path: &str| StoreKind::Sqlite(path.into());
        for (address, expected) in [
            ("memory", StoreKind::Memory),
            ("sqlite::memory:", StoreKind::Memory),
            ("sqlite://", StoreKind::Memory),
            ("sqlite:///./app.db", sqlite("./app.db")),
            ("sqlite:////data/app.db", sqlite("/data/app.db")),
            ("sqlite+aiosqlite:///app.db", sqlite("app.db")),
            ("sqlite:/data/app.db", sqlite("/data/app.db")),
            ("/data/app.db", sqlite("/data/app.db")),
            (r"C:\data\app.db", sqlite(r"C:\data\app.db")),
            ("postgres://x/y", StoreKind::Postgres),
            ("postgresql+asyncpg://a:b@x/y", StoreKind::Postgres),
        ] {
            assert_eq!(StoreKind::parse(&address.into()).expect(address), expected, "{address}");
        }
        for address in ["", "mysql://x/y", "host=db user=ana password=CANARY", "ana:CANARY@db/app"] {
            let error = StoreKind::parse(&address.into()).expect_err(address);
            assert!(!error.to_string().contains("CANARY"), "{error}");
        }
    }

    #[test]
    fn no_form_of_an_address_shows_its_password() {
        for (address, shown) in [
            ("postgres://ana:CANARY@db:5432/app", "postgres://ana:***@db:5432/app"),
            ("postgresql+asyncpg://ana:CANARY@db/app?ssl=require", "postgresql+asyncpg://ana:***@db/app?***"),
            ("postgres://ana:CANARY/@x@db/app", "postgres://ana:***@db/app"),
            ("postgres://ana@db/app", "postgres://ana@db/app"),
            ("postgres://ana:CAN?ARY@db/app", "postgres://***@db/app"),
            ("postgres://db/app?user=ana&password=CANARY", "postgres://db/app?***"),
            ("postgres://db/app?password=CANARY&user=a@b", "postgres://***@b"),
            ("postgres:ana:CANARY@db", "***"),
            ("host=db password=CANARY", "***"),
            ("/data/app.db", "/data/app.db"),
        ] {
            let address = StoreAddress::new(address);
            assert_eq!(address.to_string(), shown);
            let written = serde_json::to_string(&address).expect("json");
            assert_eq!((format!("{address:?}"), written), (format!("{shown:?}"), format!("\"{shown}\"")));
        }
    }
}
