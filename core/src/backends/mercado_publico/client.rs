//! The client: the three services, their accounts and the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use ::http::header::USER_AGENT;
use tokio::sync::OnceCell;

use super::config::MercadoPublicoConfig;
use super::failures;
use super::gate::account_lock::AccountQueue;
use super::gate::ledger::{Ledger, Quota};
use super::gate::lock_file::LockFile;
use super::gate::store_lease::StoreLease;
use super::gate::{self};
use crate::context::Context;
use crate::env::Environment;
use crate::error::Operation;
use crate::error::{Error, Result};
use crate::http::client::{ApiClient, Auth};
use crate::http::header_value;
use crate::info::BackendInfo;
use crate::procure::store::{SharedStore, StoreAddress, StoreKind, open_store};
use crate::procure::{Source, SourceInfo, Timestamp};
use crate::secret::Secret;

pub(super) const NAME: &str = "mercado_publico";

/// A client of Mercado Público. Cheap to clone; clones share queue, quota and store.
#[derive(Clone, Debug)]
pub struct MercadoPublico(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: MercadoPublicoConfig,
    pub(super) info: BackendInfo,
    pub(super) sources: Vec<SourceInfo>,
    v1: ApiClient,
    quick: ApiClient,
    ocds: ApiClient,
    pub(super) bulk: ApiClient,
    pub(super) months_dir: PathBuf,
    v1_queue: Arc<AccountQueue>,
    quick_queue: Arc<AccountQueue>,
    v1_account: String,
    quick_account: String,
    has_ticket: bool,
    address: StoreAddress,
    store: OnceCell<SharedStore>,
    pub(super) answers_stored: AtomicU64,
    /// By how many seconds this machine's clock is ahead of the services', as of the last answer.
    pub(super) clock_ahead: AtomicI64,
}

/// By how much the clocks of a machine and of a service may differ.
pub(super) const MAX_CLOCK_ERROR: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    V1,
    Quick,
    Ocds,
}

impl Api {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Quick => "compra_agil_v2",
            Self::Ocds => "ocds",
        }
    }

    pub(super) fn source(self) -> Source {
        match self {
            Self::V1 => Source::V1,
            Self::Quick => Source::COMPRA_AGIL,
            Self::Ocds => Source::OCDS,
        }
    }
}

impl MercadoPublico {
    pub(super) fn open(mut config: MercadoPublicoConfig, env: &Environment) -> Result<Self> {
        crate::procure::time::check_zone()?;
        let gap = check(&config)?;
        let given = |ticket: &mut Option<Secret>| ticket.take().filter(|ticket| !ticket.is_empty());
        let ticket = given(&mut config.ticket).or_else(|| env.secret(&["MERCADO_PUBLICO_TICKET"]));
        let quick_ticket = given(&mut config.quick_ticket).or_else(|| ticket.clone());
        let auth = |ticket: &Option<Secret>, of: fn(&'static str, Secret) -> Auth| {
            ticket.clone().map_or(Auth::None, |ticket| of("ticket", ticket))
        };
        let agent = header_value("User-Agent", &agent())?;
        let client =
            |url: &str| Ok::<_, Error>(ApiClient::new(NAME, url)?.with_header(USER_AGENT, agent.clone()));
        let v1 = client(&config.base_url)?.with_auth(auth(&ticket, Auth::Query))?.with_classify(failures::v1);
        let quick = client(&config.quick_url)?
            .with_auth(auth(&quick_ticket, Auth::Header))?
            .with_classify(failures::quick);
        let ocds = client(&config.ocds_url)?.with_classify(failures::ocds);
        let bulk = client(&config.bulk_url)?;
        // With one ticket for both APIs there is one account, whose quota is counted once.
        let account =
            |ticket: &Option<Secret>| gate::account(&v1.host(), ticket.as_ref().unwrap_or(&Secret::new("")));
        let (v1_account, quick_account) = (account(&ticket), account(&quick_ticket));
        let by_variable = || env.get("DATABASE_URL").map(StoreAddress::from);
        let address = config.store.clone().or_else(by_variable).unwrap_or_else(|| "memory".into());
        let kind = StoreKind::parse(&address)?;
        let folder = lock_dir(&config, &kind, env);
        // With a lock in the database, no lock file is needed.
        let by_file = config.lock && (kind != StoreKind::Postgres || config.lock_dir.is_some());
        let lock = |account: &str| by_file.then(|| LockFile::new(&folder, account));
        let months_dir = config.bulk_dir.as_ref().map_or_else(|| folder.join("months"), PathBuf::from);
        let v1_queue = AccountQueue::of(&v1_account, gap, lock(&v1_account));
        // Quick purchases may overlap with other requests, so they share only a breaker.
        let quick_queue = AccountQueue::of(&format!("{quick_account}-quick"), Duration::ZERO, None);
        let info = BackendInfo::new(NAME, "").with_host(v1.host()).with_credential(v1.credential());
        Ok(Self(Arc::new(Inner {
            has_ticket: ticket.is_some(),
            config,
            info,
            sources: sources(),
            v1,
            quick,
            ocds,
            bulk,
            months_dir,
            v1_queue,
            quick_queue,
            v1_account,
            quick_account,
            address,
            store: OnceCell::new(),
            answers_stored: AtomicU64::new(0),
            clock_ahead: AtomicI64::new(0),
        })))
    }

    /// The same backend over a store that is open already.
    ///
    /// # Errors
    /// `conflict` if it has already opened its own store.
    pub fn with_opened_store(self, store: SharedStore) -> Result<Self> {
        let set = self.0.store.set(store);
        set.map_err(|_| {
            Error::new(crate::ErrorKind::Conflict, "the backend has already opened its own store")
        })?;
        Ok(self)
    }

    /// The store. It is opened at the first use.
    ///
    /// # Errors
    /// Those of opening it.
    pub async fn store(&self) -> Result<SharedStore> {
        let opened = self.0.store.get_or_try_init(|| open_store(&self.0.address)).await;
        opened.cloned().map_err(|error| error.with_backend(NAME))
    }

    /// The state of the ticket's daily quota.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn quota(&self, cx: &Context) -> Result<Quota> {
        self.ledger(Api::V1).await?.quota(self.now(cx)).await
    }

    pub(super) async fn ledger(&self, api: Api) -> Result<Ledger> {
        let account = if api == Api::Quick { &self.0.quick_account } else { &self.0.v1_account };
        Ok(Ledger::new(
            self.store().await?,
            account.as_str(),
            self.0.config.soft_limit.min(self.0.config.daily_quota),
        ))
    }

    /// The lock of the ticket between machines, if they share the store.
    pub(super) async fn lease(&self) -> Result<Option<StoreLease>> {
        let store = self.store().await?;
        let shared = self.0.config.lock && store.spans_machines();
        Ok(shared.then(|| StoreLease::new(store, &self.0.v1_account)))
    }

    pub(super) fn api(&self, api: Api) -> &ApiClient {
        match api {
            Api::V1 => &self.0.v1,
            Api::Quick => &self.0.quick,
            Api::Ocds => &self.0.ocds,
        }
    }

    pub(super) fn queue(&self, api: Api) -> &Arc<AccountQueue> {
        if api == Api::Quick { &self.0.quick_queue } else { &self.0.v1_queue }
    }

    /// Fails if a call needs a ticket and there is none.
    pub(super) fn check_ticket(&self, api: Api) -> Result<()> {
        if self.0.has_ticket || api == Api::Ocds || (api == Api::Quick && self.0.quick.credential().is_some())
        {
            return Ok(());
        }
        Err(Error::config("MERCADO_PUBLICO_TICKET is not set, and the configuration holds no `ticket`"))
    }

    /// Fails if this machine's clock differs from the service's.
    ///
    /// # Errors
    /// `config_invalid`, saying by how much.
    pub(super) fn check_clock(&self) -> Result<()> {
        let seconds = self.0.clock_ahead.load(Ordering::Relaxed);
        if seconds.unsigned_abs() <= MAX_CLOCK_ERROR.as_secs() {
            return Ok(());
        }
        let side = if seconds > 0 { "ahead of" } else { "behind" };
        let minutes = seconds.unsigned_abs() / 60;
        Err(Error::config(format!(
            "this machine's clock is {minutes} minutes {side} the service's: set it, or days are taken as over too early"
        )))
    }

    pub(super) fn now(&self, cx: &Context) -> Timestamp {
        Timestamp::of_system_time(cx.clock().system_time())
    }
}

fn sources() -> Vec<SourceInfo> {
    use Operation as O;
    let v1 = [
        O::ListTenders,
        O::GetTender,
        O::ListPurchaseOrders,
        O::GetPurchaseOrder,
        O::ListBuyers,
        O::ListSuppliers,
    ];
    vec![
        SourceInfo { needs_ticket: true, counts_quota: true, ..SourceInfo::new(Source::V1, v1) },
        SourceInfo {
            needs_ticket: true,
            counts_quota: true,
            ranges: true,
            text: true,
            pages: true,
            changes: true,
            ..SourceInfo::new(Source::COMPRA_AGIL, [O::ListQuickPurchases, O::GetQuickPurchase])
        },
        SourceInfo {
            pages: true,
            bidders: true,
            ..SourceInfo::new(Source::OCDS, [O::ListTenders, O::GetTender])
        },
    ]
}

/// The `User-Agent`.
fn agent() -> String {
    format!("ayni/{} (https://github.com/ayni-rs/ayni)", crate::VERSION)
}

/// Checks the numbers of a configuration and returns the gap.
fn check(config: &MercadoPublicoConfig) -> Result<Duration> {
    let refuse = |field: &'static str, why: &str| {
        Err(Error::config(format!("`{field}` {why}")).with_context("field", field))
    };
    if config.soft_limit == 0 || config.soft_limit > config.daily_quota {
        return refuse("soft_limit", "must be from 1 to `daily_quota`");
    }
    if config.max_calls == 0 {
        return refuse("max_calls", "must be at least 1");
    }
    if !(10..=50).contains(&config.page_size) || !config.page_size.is_multiple_of(2) {
        return refuse("page_size", "must be an even number from 10 to 50");
    }
    if Duration::try_from_secs_f64(config.today_ttl_seconds).is_err() {
        return refuse("today_ttl_seconds", "must be a number of seconds from 0 up");
    }
    match Duration::try_from_secs_f64(config.min_gap_seconds) {
        Ok(gap) if gap <= Duration::from_secs(3600) => Ok(gap),
        _ => refuse("min_gap_seconds", "must be from 0 to 3600"),
    }
}

fn lock_dir(config: &MercadoPublicoConfig, store: &StoreKind, env: &Environment) -> PathBuf {
    if let Some(folder) = &config.lock_dir {
        return PathBuf::from(folder);
    }
    if let StoreKind::Sqlite(path) = store {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        return folder.map_or_else(|| PathBuf::from("."), PathBuf::from);
    }
    let state = env.get("XDG_STATE_HOME").map(PathBuf::from);
    let home = || env.get("HOME").map(|home| PathBuf::from(home).join(".local").join("state"));
    state.or_else(home).unwrap_or_else(std::env::temp_dir).join("ayni")
}
