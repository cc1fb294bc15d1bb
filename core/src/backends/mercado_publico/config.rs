//! Configuration of the `mercado_publico` backend.

use serde::{Deserialize, Serialize};

use super::MercadoPublico;
use crate::env::Environment;
use crate::error::Result;
use crate::procure::ZoneMark;
use crate::procure::setters;
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
    /// The ticket for the quick-purchase API, if it has its own.
    pub quick_ticket: Option<Secret>,
    /// The URL of the API for tenders and orders.
    pub base_url: String,
    /// The URL of the API for quick purchases.
    pub quick_url: String,
    /// The URL of the OCDS service.
    pub ocds_url: String,
    /// The URL of the monthly files.
    pub bulk_url: String,
    /// The URL of the rates of currencies by day: mindicador.cl's API.
    pub rates_url: String,
    /// The folder for monthly files while they are read; by default one beside the lock file.
    pub bulk_dir: Option<String>,
    /// The store for quota, checkpoints, answers and records: `memory`, `sqlite:<path>`, or
    /// `postgres://user:password@host/database` for several machines; `DATABASE_URL` by default, else `memory`.
    pub store: Option<StoreAddress>,
    /// Whether processes lock the ticket while they send a request: by a lock file for those on this machine, or, with a
    /// store in PostgreSQL, through the store for all that share it.
    pub lock: bool,
    /// The folder of the lock file; by default that of the store, else the user's state folder, else the folder for
    /// temporary files. With a store in PostgreSQL there is a lock file only if this is set.
    pub lock_dir: Option<String>,
    /// The ticket's requests per day.
    pub daily_quota: u32,
    /// The most requests per day that ayni sends.
    pub soft_limit: u32,
    /// The most calls of one request, unless the request says otherwise. A listing that needs more ends there with a cursor.
    pub max_calls: u32,
    /// The shortest time between the end of a request and the start of the next.
    pub min_gap_seconds: f64,
    /// How old a stored list of today may be.
    pub today_ttl_seconds: f64,
    /// How many past days are read again, because records are added to a day's list late.
    pub reread_days: u32,
    /// The rows of a page of quick purchases; halved when the service times out. Even, from 10 to 50.
    pub page_size: u32,
    /// The most megabytes of stored answers. The oldest are deleted first; records and events stay.
    pub answers_max_megabytes: u32,
    /// The most days that an answer is stored.
    pub answers_max_days: u32,
    /// How to read the `Z` in the times of quick purchases and OCDS.
    pub zone_mark: ZoneMark,
    /// Whether to keep names, telephone numbers and mail addresses of persons. Otherwise they are removed from every
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
            rates_url: "https://mindicador.cl/api".to_owned(),
            bulk_dir: None,
            store: None,
            lock: true,
            lock_dir: None,
            daily_quota: 10_000,
            soft_limit: 9_500,
            max_calls: 50,
            min_gap_seconds: 2.0,
            today_ttl_seconds: 300.0,
            reread_days: 2,
            page_size: 20,
            answers_max_megabytes: 256,
            answers_max_days: 400,
            zone_mark: ZoneMark::WallClock,
            personal_data: true,
        }
    }
}

impl MercadoPublicoConfig {
    /// The public services, with the ticket from the environment.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Sets the ticket.
        with_ticket: ticket = some into Secret;
    }

    /// Sends every request to one server instead of the public services: a mock or a proxy.
    pub fn with_server(mut self, url: impl AsRef<str>) -> Self {
        let url = url.as_ref().trim_end_matches('/');
        self.base_url = format!("{url}/servicios/v1");
        self.quick_url = format!("{url}/v2");
        self.ocds_url = format!("{url}/APISOCDS/OCDS");
        self.bulk_url = url.to_owned();
        self.rates_url = format!("{url}/api");
        self
    }

    setters! {
        /// Sets the store: `memory`, `sqlite:<path>`, or `postgres://…`.
        with_store: store = some into StoreAddress;
        /// Sets the shortest time between two requests.
        with_min_gap_seconds: min_gap_seconds = f64;
        /// Sets the most requests per day that ayni sends.
        with_soft_limit: soft_limit = u32;
        /// Sets the most calls of one request.
        with_max_calls: max_calls = u32;
    }

    /// Sets whether processes lock the ticket, and the folder of the lock file.
    pub fn with_lock(mut self, lock: bool, folder: Option<String>) -> Self {
        (self.lock, self.lock_dir) = (lock, folder);
        self
    }

    setters! {
        /// Sets whether to keep personal data.
        with_personal_data: personal_data = bool;
    }

    /// Opens the backend. This sends nothing and opens no file yet.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to mend.
    pub fn open(&self, env: &Environment) -> Result<MercadoPublico> {
        MercadoPublico::open(self.clone(), env)
    }
}
