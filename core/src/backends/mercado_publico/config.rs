//! Configuration of the `mercado_publico` backend.

use serde::{Deserialize, Serialize};

use super::MercadoPublico;
use crate::env::Environment;
use crate::error::Result;
use crate::procure::ZoneMark;
use crate::procure::store::StoreAddress;
use crate::secret::Secret;

/// Chile's public procurement: tenders, purchase orders, quick purchases, buyers, suppliers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct MercadoPublicoConfig {
    /// The ticket; `MERCADO_PUBLICO_TICKET` by default.
    pub ticket: Option<Secret>,
    /// The ticket of the quick-purchase API, where it is another one.
    pub quick_ticket: Option<Secret>,
    /// Where the API of tenders and orders is.
    pub base_url: String,
    /// Where the API of quick purchases is.
    pub quick_url: String,
    /// Where the OCDS service is.
    pub ocds_url: String,
    /// Where the monthly files are.
    pub bulk_url: String,
    /// Where monthly files are put while they are read; a folder beside the lock file by default.
    pub bulk_dir: Option<String>,
    /// Where to keep quota, cursors, answers and records: `memory`, `sqlite:<path>`, or
    /// `postgres://user:password@host/database` for several machines; `DATABASE_URL` by default, else `memory`.
    pub store: Option<StoreAddress>,
    /// Whether processes take turns with the ticket: those of this machine by a lock file, or, with a store in
    /// PostgreSQL, all that share the store.
    pub lock: bool,
    /// The folder of the lock file; the store's by default, else the user's state folder, else the folder for
    /// temporary files. With a store in PostgreSQL there is a lock file only if this is set.
    pub lock_dir: Option<String>,
    /// The requests that a ticket has a day.
    pub daily_quota: u32,
    /// The requests that ayni uses of them at most.
    pub soft_limit: u32,
    /// The least time between the end of a request and the beginning of the next.
    pub min_gap_seconds: f64,
    /// How old a list of a day that is not over may be.
    pub today_ttl_seconds: f64,
    /// How many past days are asked for again, because records enter a day's list late.
    pub reread_days: u32,
    /// The most rows of a page of quick purchases; halved while the service times out. Even, from 10 to 50.
    pub page_size: u32,
    /// How the `Z` behind the times of quick purchases and OCDS is to be read.
    pub zone_mark: ZoneMark,
    /// Whether names, telephones and mail addresses of persons are kept. Otherwise they are dropped from every
    /// answer before it is parsed or stored.
    pub personal_data: bool,
}

impl Default for MercadoPublicoConfig {
    fn default() -> Self {
        Self {
            ticket: None,
            quick_ticket: None,
            base_url: "https://api.mercadopublico.cl/servicios/v1".to_owned(),
            quick_url: "https://api2.mercadopublico.cl/v2".to_owned(),
            ocds_url: "https://api.mercadopublico.cl/APISOCDS/OCDS".to_owned(),
            bulk_url: "https://transparenciachc.blob.core.windows.net".to_owned(),
            bulk_dir: None,
            store: None,
            lock: true,
            lock_dir: None,
            daily_quota: 10_000,
            soft_limit: 9_500,
            min_gap_seconds: 2.0,
            today_ttl_seconds: 300.0,
            reread_days: 2,
            page_size: 20,
            zone_mark: ZoneMark::WallClock,
            personal_data: true,
        }
    }
}

impl MercadoPublicoConfig {
    /// The public services, with the ticket of the environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the ticket.
    pub fn with_ticket(mut self, ticket: impl Into<Secret>) -> Self {
        self.ticket = Some(ticket.into());
        self
    }

    /// Sends every call to one server instead of the public services: a mock, or a proxy.
    pub fn with_server(mut self, url: impl AsRef<str>) -> Self {
        let url = url.as_ref().trim_end_matches('/');
        self.base_url = format!("{url}/servicios/v1");
        self.quick_url = format!("{url}/v2");
        self.ocds_url = format!("{url}/APISOCDS/OCDS");
        self.bulk_url = url.to_owned();
        self
    }

    /// Says where to keep what must not be forgotten: `memory`, `sqlite:<path>`, or `postgres://…`.
    pub fn with_store(mut self, store: impl Into<StoreAddress>) -> Self {
        self.store = Some(store.into());
        self
    }

    /// Sets the least time between two requests.
    pub fn with_min_gap_seconds(mut self, seconds: f64) -> Self {
        self.min_gap_seconds = seconds;
        self
    }

    /// Sets the requests a day that ayni uses at most.
    pub fn with_soft_limit(mut self, requests: u32) -> Self {
        self.soft_limit = requests;
        self
    }

    /// Says whether processes take turns, and in which folder the lock file is.
    pub fn with_lock(mut self, lock: bool, folder: Option<String>) -> Self {
        (self.lock, self.lock_dir) = (lock, folder);
        self
    }

    /// Says whether personal data is kept.
    pub fn with_personal_data(mut self, kept: bool) -> Self {
        self.personal_data = kept;
        self
    }

    /// Opens the backend. Nothing is sent and no file is opened yet.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to mend.
    pub fn open(&self, env: &Environment) -> Result<MercadoPublico> {
        MercadoPublico::open(self.clone(), env)
    }
}
